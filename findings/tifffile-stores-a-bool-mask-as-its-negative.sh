#!/bin/bash
# tifffile 2026.3.3 (imwrite of a bool array, also behind imageio and scikit-image), read by Pillow
# 13.0.0 and OpenCV 5.0.0. Seen on 2026-11-30.
#
# imwrite(path, mask) of a boolean mask stores True as 1 and tags the file WhiteIsZero, in which 1 is
# black. tifffile ignores the tag when it reads, so its own round trip is right; every reader that
# obeys the tag gets the negative: the lesion black, the background white. The same mask as uint8
# (0 and 255), or with photometric="minisblack", is read alike by all. Output seen:
#   bool:            tag 0, lesion is 25 of 100 for tifffile, 75 for Pillow, 75 for OpenCV
#   bool minisblack: tag 1, lesion is 25 of 100 for tifffile, 25 for Pillow, 25 for OpenCV
#   uint8:           tag 1, lesion is 25 of 100 for tifffile, 25 for Pillow, 25 for OpenCV
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tifffile==2026.3.3 pillow==13.0.0 opencv-python-headless==5.0.0.* numpy
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
import tifffile
from PIL import Image

mask = np.zeros((10, 10), bool)
mask[:5, :5] = True
found = {}
for name, values, options in (
    ("bool", mask, {}),
    ("bool minisblack", mask, {"photometric": "minisblack"}),
    ("uint8", mask.astype(np.uint8) * 255, {}),
):
    tifffile.imwrite("mask.tif", values, **options)
    with tifffile.TiffFile("mask.tif") as file:
        tag = int(file.pages[0].photometric)
    counts = (
        int((tifffile.imread("mask.tif") > 0).sum()),
        int((np.asarray(Image.open("mask.tif").convert("L")) > 127).sum()),
        int((cv2.imread("mask.tif", cv2.IMREAD_GRAYSCALE) > 127).sum()),
    )
    found[name] = (tag, *counts)
    print(f"{name + ':':17}tag {tag}, lesion is {counts[0]} of 100 for tifffile, "
          f"{counts[1]} for Pillow, {counts[2]} for OpenCV")
wanted = {
    "bool": (0, 25, 75, 75),
    "bool minisblack": (1, 25, 25, 25),
    "uint8": (1, 25, 25, 25),
}
raise SystemExit(0 if found == wanted else 1)
PYTHON
