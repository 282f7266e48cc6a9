"""A right file of each kind that data sets come in, and what reads it: a part of `readers`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import depths
import dicoms
from containers import frame, png, tarred, write_dicom, zipped

DEEP = ("deep.png", "deep.tif", "float.tif", "deep.jp2", "deep.jpg", "deep.pgm")
MEMBERS = {f"images/{k}.png": png(k) for k in range(3)} | {"notes.txt": b"hello", "../out": b"x"}


class Reader(NamedTuple):
    """`make` writes a right file into a folder and returns it; `read` reads it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def make_image(suffix: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"image{suffix}"
        pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return make


def read_image(path: Path) -> None:
    from meddel_fast.images.address import ImageError
    from meddel_fast.images.load_images import examine, load_image
    from meddel_fast.images.load_masks import load_mask
    from meddel_fast.images.masks.rule import Meaning, Rule

    examine(path.read_bytes(), path)
    load_image(path, 16)
    with contextlib.suppress(ImageError):  # colours of floats are no mask
        load_mask(path, 16, Meaning((("", Rule(above=127.5)),)))  # noise has no meaning of its own


def make_deep(kind: str) -> Callable[[Path], Path]:
    """A file of 16 bits, which libraries beside Pillow read."""

    def make(folder: Path) -> Path:
        colours = depths.ramp(4095, np.uint16, 1.0, 0.8, 0.5)
        data = {
            "deep.png": lambda: depths.png(colours, 16, 2, [(b"sBIT", bytes([12] * 3))]),
            "deep.tif": lambda: depths.tiff(colours, compression=8, planar=True),
            "float.tif": lambda: depths.tiff(colours.astype(np.float16), order=">"),
            "deep.jp2": lambda: imagecodecs.jpeg2k_encode(colours, level=0, bitspersample=12),
            "deep.jpg": lambda: imagecodecs.jpeg_encode(colours, level=95, bitspersample=12),
            "deep.pgm": lambda: b"P5 32 32 4095\n" + colours[..., 0].astype(">u2").tobytes(),
        }
        (folder / kind).write_bytes(data[kind]())
        return folder / kind

    return make


def make_pages(folder: Path) -> Path:
    first, *others = (Image.fromarray(frame(k)) for k in range(3))
    first.save(folder / "pages.tif", save_all=True, append_images=others, compression="tiff_lzw")
    return folder / "pages.tif"


def make_dicom(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 999, (3, 20, 24)).astype(np.uint16)
    write_dicom(folder / "frames.dcm", pixels, WindowCenter=500, WindowWidth=900)
    return folder / "frames.dcm"


def make_coded_dicom(folder: Path) -> Path:
    frame = depths.ramp(4095, np.uint16)
    syntax, encoder, options = dicoms.ENCODED["jpeg lossless"]
    coded = bytes(getattr(imagecodecs, encoder)(frame, bitspersample=12, **options))
    data = dicoms.dataset(frame[None].repeat(2, axis=0), BitsStored=12, RescaleSlope=2)
    return dicoms.save_encoded(data, folder / "IM1", syntax, [coded] * 2)


def make_deflated_dicom(folder: Path) -> Path:
    frames = depths.ramp(4095, np.uint16)[None].repeat(2, axis=0)
    return dicoms.save(dicoms.dataset(frames), folder / "x.dcm", dicoms.DEFLATED)


def read_frames(path: Path) -> None:
    """Read all that a container holds, as a scan does, and once more as training does."""
    from meddel_fast.images.load_images import examine_part, load_image
    from meddel_fast.images.pixels import read_pixels
    from meddel_fast.images.sources import Sampling, part_hash, units

    for unit in units(path, Sampling()):
        read_pixels(unit)
        if unit != path:
            part_hash(unit)
            examine_part(unit)
        load_image(unit, 16)


def make_zip(folder: Path) -> Path:
    (folder / "set.zip").write_bytes(zipped(MEMBERS))
    return folder / "set.zip"


def make_tar(folder: Path) -> Path:
    (folder / "set.tar").write_bytes(tarred(MEMBERS))
    return folder / "set.tar"


def read_archive(path: Path) -> None:
    from meddel_fast.images.archive import open_archive
    from meddel_fast.images.scan.folder import scan_folder

    archive = open_archive(path)
    for name in archive.names:
        assert ".." not in Path(name).parts
        archive.read(name)
    scan_folder(path, workers=1)


def make_manifest(folder: Path) -> Path:
    from meddel_fast.images.scan.folder import scan_folder

    (folder / "set" / "images").mkdir(parents=True)
    for k in range(5):
        make_image(".png")(folder).rename(folder / "set" / "images" / f"{k}.png")
    scan_folder(folder / "set").save(folder / "manifest.parquet")
    return folder / "manifest.parquet"


def read_manifest(path: Path) -> None:
    from meddel_fast.images.manifest import Manifest

    manifest = Manifest.load(path)
    manifest.fingerprint, manifest.image_paths(), manifest.split("train")


def make_splits(folder: Path) -> Path:
    (folder / "splits.csv").write_text(
        "file,split,group,frame\na.png,train,v1,1\nb/c.png,test,v2,2\n"
    )
    return folder / "splits.csv"


def read_splits(path: Path) -> None:
    from meddel_fast.images.splits import read_splits as read

    read(path)


def make_boxes(folder: Path) -> Path:
    corners = {"label": "polyp", "xmin": 2, "ymin": 4, "xmax": 20, "ymax": 30}
    table = {f"{k}": {"width": 64, "height": 48, "bbox": [corners]} for k in range(3)}
    (folder / "boxes.json").write_text(json.dumps(table))
    return folder / "boxes.json"


def read_boxes(path: Path) -> None:
    from meddel_fast.images.readers.boxes import from_json
    from meddel_fast.images.readers.tree import Tree

    tree = Tree([path.parent])
    (item,) = tree.named(r".*\.json")
    from_json(tree, item.parts[:-1])


def make_lines(folder: Path) -> Path:
    (folder / "0.txt").write_text("3 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.5 0.5\n")
    return folder / "0.txt"


def read_lines(path: Path) -> None:
    from meddel_fast.images.readers.boxes import from_text
    from meddel_fast.images.readers.tree import Tree

    for item in Tree([path.parent]).named(r".*\.txt"):
        from_text(item)


def make_capsule(kind: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from releases import kvasir_capsule

        kvasir_capsule(kind).write(folder)
        return folder / "Kvasir-Capsule" / f"metadata.{kind}"

    return make


def read_capsule(path: Path) -> None:
    from meddel_fast.images.readers.capsule import Capsule
    from meddel_fast.images.readers.tree import Tree

    Capsule().find(Tree([path.parent]))


READERS = {
    "jpeg": Reader(make_image(".jpg"), read_image),
    "png": Reader(make_image(".png"), read_image),
    "tiff": Reader(make_image(".tif", compression="tiff_lzw"), read_image),
    **{kind: Reader(make_deep(kind), read_image) for kind in DEEP},
    "tiff pages": Reader(make_pages, read_frames),
    "dicom": Reader(make_dicom, read_frames),
    "dicom coded": Reader(make_coded_dicom, read_frames),
    "dicom deflated": Reader(make_deflated_dicom, read_frames),
    "zip": Reader(make_zip, read_archive),
    "tar": Reader(make_tar, read_archive),
    "manifest": Reader(make_manifest, read_manifest),
    "splits": Reader(make_splits, read_splits),
    "boxes": Reader(make_boxes, read_boxes),
    "boxes text": Reader(make_lines, read_lines),
    "capsule csv": Reader(make_capsule("csv"), read_capsule),
    "capsule json": Reader(make_capsule("json"), read_capsule),
}
