#!/usr/bin/env bash
# webdataset 1.0.2: a sample's key ends at the FIRST dot of a name, so frames of a video that are
# numbered behind a dot (case1.0001.png, case1.0002.png) are not samples of their own but fields of
# one: 3 frames are 1 sample, whose field is not called "png". Beside a case1.png they are dropped
# from what to_tuple("png") gives without a word: 2 of 4 images. "case1_0001.png" gives all.
# Seen on 2026-11-30:
#   case1.0001.png case1.0002.png case1.0003.png: 1 samples
#   case1.png case1.0001.png case1.0002.png case2.png: to_tuple("png") gives 2 of 4 images
#   case1_0001.png case1_0002.png case1_0003.png: 3 samples
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet webdataset==1.0.2 numpy pillow
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import io
import tarfile

import webdataset as wds
from PIL import Image


def samples(names):
    with tarfile.open("0.tar", "w") as tar:
        for name in names:
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8)).save(buffer, "PNG")
            info = tarfile.TarInfo(name)
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    return wds.WebDataset("0.tar", shardshuffle=False)


dotted = [f"case1.000{n}.png" for n in (1, 2, 3)]
plain = [f"case1_000{n}.png" for n in (1, 2, 3)]
mixed = ["case1.png", "case1.0001.png", "case1.0002.png", "case2.png"]
joined, whole = len(list(samples(dotted))), len(list(samples(plain)))
given = len(list(samples(mixed).decode("pil").to_tuple("png")))
print(f"{' '.join(dotted)}: {joined} samples")
print(f"{' '.join(mixed)}: to_tuple(\"png\") gives {given} of {len(mixed)} images")
print(f"{' '.join(plain)}: {whole} samples")
raise SystemExit((joined, given, whole) != (1, 2, 3))
PYTHON
