#!/usr/bin/env bash
# tifffile 2026.3.3, Pillow 13.0.0 (2026-11-30): imwrite of a boolean array writes a WhiteIsZero TIFF
# (tag 262 is 0) by default, of uint8 a BlackIsZero one. tifffile reads the mask back as it was, as it
# never looks at the sense; Pillow and every viewer turn it over: the lesion becomes background and the
# background lesion. A mask written by one library and read by the other is its own complement.
# photometric="minisblack" when writing agrees in both.
# Seen:
#   bool: photometric 0, tifffile equal True, Pillow equal False, Pillow complement True
#   bool, minisblack: photometric 1, tifffile equal True, Pillow equal True, Pillow complement False
#   uint8: photometric 1, tifffile equal True, Pillow equal True, Pillow complement False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tifffile==2026.3.3 numpy==2.4.6 pillow==13.0.0
"$folder/venv/bin/python" - "$folder/mask.tif" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

mask = np.zeros((40, 60), bool)
mask[5:15, 10:30] = True  # a lesion
cases = {
    "bool": (mask, {}),
    "bool, minisblack": (mask, {"photometric": "minisblack"}),
    "uint8": (mask.astype(np.uint8), {}),
}
seen = {}
for name, (array, options) in cases.items():
    tifffile.imwrite(sys.argv[1], array, **options)
    with tifffile.TiffFile(sys.argv[1]) as file:
        sense = int(file.pages[0].photometric)
    back = tifffile.imread(sys.argv[1]).astype(bool)
    pillow = np.asarray(Image.open(sys.argv[1])).astype(bool)
    told = (back == mask).all(), (pillow == mask).all(), (pillow == ~mask).all()
    seen[name] = (sense, *map(bool, told))
    print(f"{name}: photometric {sense}, tifffile equal {seen[name][1]}, "
          f"Pillow equal {seen[name][2]}, Pillow complement {seen[name][3]}")
right = (1, True, True, False)
sys.exit(seen != {"bool": (0, True, False, True), "bool, minisblack": right, "uint8": right})
PYTHON
