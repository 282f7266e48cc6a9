"""DICOM files as clinics have them, made from arrays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

ENCODED = {  # transfer syntax, and imagecodecs' encoder with its options
    "jpeg lossless": ("1.2.840.10008.1.2.4.70", "ljpeg_encode", {}),
    "jpeg lossless, any predictor": ("1.2.840.10008.1.2.4.57", "ljpeg_encode", {}),
    "jpeg-ls": ("1.2.840.10008.1.2.4.80", "jpegls_encode", {}),
    "jpeg 2000": ("1.2.840.10008.1.2.4.90", "jpeg2k_encode",
                  {"level": 0, "reversible": True, "codecformat": "j2k"}),
    "htj2k": ("1.2.840.10008.1.2.4.201", "htj2k_encode", {}),
}  # fmt: skip
EXPLICIT, IMPLICIT, BIG = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2"))
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"


def dataset(pixels: np.ndarray, kind: str = "MONOCHROME2", **more: Any) -> Any:
    """A data set of frames (n, h, w) or (n, h, w, 3); elements of `more` win."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = generate_uid()
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[:3]
    data.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = kind
    signed = pixels.dtype.kind == "i"
    data.PixelRepresentation = int(signed)
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    for name, value in more.items():
        setattr(data, name, value)
    if more.get("BitsStored") and "HighBit" not in more:
        data.HighBit = more["BitsStored"] - 1
    return data


def save(data: Any, path: Path, syntax: str = EXPLICIT, *, mark: bool = True) -> Path:
    """Write it in a native syntax; without `mark`, as the bare elements that some devices leave."""
    data.file_meta.TransferSyntaxUID = syntax
    if mark:
        data.save_as(path, enforce_file_format=True)
        return path
    implicit, little = syntax == IMPLICIT, syntax != BIG
    bare = io.BytesIO()
    from pydicom.filewriter import dcmwrite

    del data.file_meta
    dcmwrite(bare, data, implicit_vr=implicit, little_endian=little)
    path.write_bytes(bare.getvalue())
    return path


def save_encoded(data: Any, path: Path, syntax: str, frames: list[bytes]) -> Path:
    """Write frames, or the one stream of a video, that are coded already."""
    from pydicom.encaps import encapsulate

    data.PixelData = encapsulate(frames)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path, enforce_file_format=True)
    return path
