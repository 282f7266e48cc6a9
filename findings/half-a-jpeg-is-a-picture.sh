#!/usr/bin/env bash
# imagecodecs 2026.3.6, pylibjpeg-libjpeg 2.5.0 (2026-11-30): a JPEG that was cut off decodes without
# an error, of 8 and 12 bits and lossless alike; what is missing is filled up. tifffile reads JPEG
# inside TIFF by the first, pydicom JPEG and JPEG-LS by the second. PNG and JPEG-LS that are cut raise
# in imagecodecs, and Pillow 13.0.0 refuses the same 8-bit file. So a copy that broke off passes as a
# picture: look for the marker FF D9 at the end.
# Seen:
#   8 bits: half a file read, 0.385 of the pixels right
#   12 bits: half a file read, 0.418 of the pixels right
#   lossless: half a file read, 0.496 of the pixels right
#   pylibjpeg: half a file read, 0.496 of the pixels right
#   Pillow: image file is truncated (279 bytes not processed)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    imagecodecs==2026.3.6 numpy==2.4.6 pillow==13.0.0 pylibjpeg-libjpeg==2.5.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

import imagecodecs
import libjpeg
import numpy as np
from PIL import Image

noise = np.random.default_rng(0).integers(0, 4096, (64, 64, 3)).astype(np.uint16)
eight = (noise >> 4).astype(np.uint8)
files = {
    "8 bits": imagecodecs.jpeg_encode(eight, level=95),
    "12 bits": imagecodecs.jpeg_encode(noise, level=95, bitspersample=12),
    "lossless": imagecodecs.ljpeg_encode(noise[..., 0], bitspersample=12),
}
for name, data in files.items():
    whole = imagecodecs.jpeg_decode(data)
    half = imagecodecs.jpeg_decode(data[: len(data) // 2])
    right = float((half == whole).mean())
    print(f"{name}: half a file read, {right:.3f} of the pixels right")
    assert half.shape == whole.shape and right < 0.9
lossless = bytes(files["lossless"])
half = libjpeg.decode(lossless[: len(lossless) // 2])
right = float((half == noise[..., 0]).mean())
print(f"pylibjpeg: half a file read, {right:.3f} of the pixels right")
assert half.shape == (64, 64) and right < 0.9
try:
    Image.open(io.BytesIO(files["8 bits"][: len(files["8 bits"]) // 2])).load()
except OSError as error:
    print("Pillow:", error)
else:
    raise SystemExit("Pillow reads it too")
for encode, decode in (("png_encode", "png_decode"), ("jpegls_encode", "jpegls_decode")):
    data = getattr(imagecodecs, encode)(noise[..., 0].copy())
    try:
        getattr(imagecodecs, decode)(data[: len(data) // 2])
    except Exception as error:
        print(f"{decode}: {error}"[:70])
    else:
        raise SystemExit(f"{decode} reads half a file too")
PYTHON
