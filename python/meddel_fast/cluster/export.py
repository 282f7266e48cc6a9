"""The kept images as a data set of their own, in the layouts that other programs read.

===============  ===================================================================================
``folder``       ``images/``, ``masks/`` and ``splits.csv``, as `images.scan` reads them
``webdataset``   tars of ``KEY.jpg``, ``KEY.mask.png``, ``KEY.txt`` and ``KEY.json``
``huggingface``  Parquet files a split with the images in them, and a card, for ``load_dataset``
``coco``         ``images/`` and a file of annotations a split: boxes, masks as run lengths
``yolo``         ``images/SPLIT``, ``labels/SPLIT`` and ``data.yaml``: boxes
===============  ===================================================================================

Files and members are copied byte for byte; frames and pages, which are no files, become PNGs.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.atomic import atomic_directory
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.suffixes import DICOMS, PAGED
from meddel_fast.images.address import UNION, parse, place
from meddel_fast.images.load_masks import load_mask, meanings
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.masks.rule import Meaning
from meddel_fast.images.prefetch import reading
from meddel_fast.images.sources import open_image, read_bytes
from meddel_fast.selectors.selection import Selection

with needs("benchmark"):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

SHARD_BYTES = 256 << 20
"""A tar or Parquet file is ended when it has so many bytes of images."""
_NAMES = {"train": "train", "val": "validation", "test": "test"}  # of splits on the hub
_IGNORED = 255  # of `load_mask`


@dataclass(frozen=True)
class Exported:
    """What was written: its kind, and how many images, masks, boxes and files.

    ``left_out`` are kept images of which no boxes are told, which ``yolo`` has no place for.
    """

    kind: str
    images: int
    masks: int
    boxes: int
    files: int
    left_out: int = 0


@dataclass(frozen=True)
class _Sample:
    """A kept image: its row, its place as a relative path with a suffix, its bytes, its mask."""

    row: dict[str, Any]
    name: str
    data: bytes
    mask: tuple[str, bytes] | None  # suffix, and bytes
    pixels: NDArray[np.uint8] | None  # of the mask, of 0, 1 and 255

    @property
    def boxes(self) -> list[list[float]]:
        """The boxes, none where none are told."""
        return json.loads(self.row["boxes"]) if self.row["boxes"] else []


def export(
    manifest: Manifest,
    selection: Selection,
    out: StrPath,
    kind: str,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> Exported:
    """Write the kept images of a manifest as a data set that other programs read.

    Parameters
    ----------
    manifest
        The n images that were selected from; on a disk or by URL.
    selection
        Which are kept. They come in the manifest's order.
    out
        A new folder of this machine; there as a whole or not at all.
    kind
        One of those at the head of this module.
    shard_bytes
        Bytes of images after which a tar or Parquet file is ended.
    progress
        Called as ``progress(done, total)`` after every image.

    Returns
    -------
    Exported
        What was written, counted.

    Raises
    ------
    ValueError
        Of an unknown kind; a selection of another length; two images of one place; boxes are
        wanted and none are told; a URL to write to.
    FileExistsError
        The folder is there and not empty.
    ImageError, OSError
        An image cannot be read.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes must be at least 1, got {shard_bytes}")
    selection.check_length("manifest", len(manifest))
    kept, left_out = manifest.take(selection.indices), 0
    if not len(kept):
        raise ValueError("selection must keep at least one image, it keeps none")
    if kind == "yolo":  # an image of which no boxes are told is no image without an object
        told = np.flatnonzero([boxes is not None for boxes in kept.column("boxes")])
        if not len(told):
            raise ValueError("yolo needs boxes, the manifest tells none of the kept images")
        left_out, kept = len(kept) - len(told), kept.take(told)
    names = _names(kept, kind)
    counts: Counter[str] = Counter()
    with atomic_directory(out) as folder:
        samples = _samples(kept, names, kind == "coco", counts, progress)
        KINDS[kind](samples, folder, _About(kept, selection, shard_bytes))
        files = sum(path.is_file() for path in folder.rglob("*"))
    return Exported(kind, counts["images"], counts["masks"], counts["boxes"], files, left_out)


@dataclass(frozen=True)
class _About:
    manifest: Manifest
    selection: Selection
    shard_bytes: int

    @property
    def labels(self) -> list[str]:
        """The labels that there are, sorted; one for images that have boxes and no label."""
        found = {label for label in self.manifest.column("label") if label is not None}
        bare = zip(self.manifest.column("label"), self.manifest.column("boxes"), strict=True)
        return sorted(found | ({"object"} if any(b and c is None for c, b in bare) else set()))


def _names(manifest: Manifest, kind: str) -> list[str]:
    """Name each image by its place, without the folder ``images`` that all may lie in."""
    found = []
    for name in manifest.column("image"):
        parts = place(name).split("/")
        parts = parts[1:] if parts[0] == "images" and len(parts) > 1 else parts
        found.append("/".join(parts) + ("" if _is_whole(name) else ".png"))
    stems = [(_key(name) if kind == "webdataset" else _stem(name)).casefold() for name in found]
    twice = next((stem for stem, count in Counter(stems).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"two of the kept images have the place {twice!r}: export them apart")
    return found


def _key(name: str) -> str:
    """Give the key of a sample of WebDataset, which ends at the first dot."""
    return _stem(name).replace(".", "_")


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _is_whole(path: str) -> bool:
    """Tell whether an address leads to a file or member that other programs show as it is."""
    address = parse(path)
    return address.index is None and UNION not in path and address.suffix not in DICOMS


def _samples(
    manifest: Manifest,
    names: Sequence[str],
    pixels: bool,
    counts: Counter[str],
    progress: Progress | None,
) -> Iterator[_Sample]:
    rows = manifest.table.to_pylist()
    images, masks, told = manifest.image_paths(), manifest.mask_paths(), meanings(manifest)
    with reading(list(zip(images, masks, strict=True))) as ahead:
        for number, row in enumerate(rows):
            with ahead.using(number):
                mask = masks[number]
                data = _image(images[number], row["image"])
                drawn = None if mask is None else _mask(mask, row["mask"], told[number])
                values = load_mask(mask, None, told[number]) if mask and pixels else None
            sample = _Sample(row, names[number], data, drawn, values)
            counts += Counter(images=1, masks=int(mask is not None), boxes=len(sample.boxes))
            yield sample
            if progress is not None:
                progress(number + 1, len(rows))


def _image(path: Path, name: str) -> bytes:
    if _is_whole(name):
        return read_bytes(path)
    with open_image(path) as image:
        return _png(image.convert("RGB"))


def _mask(path: Path, name: str, meaning: Meaning | None) -> tuple[str, bytes]:
    """Copy a mask; draw what is no file as 0 and 255, and 127 where pixels do not count."""
    if _is_whole(name) and parse(name).suffix not in PAGED:
        return parse(name).suffix, read_bytes(path)
    found = load_mask(path, None, meaning)
    grey = np.where(found == _IGNORED, 127, np.where(found == 1, 255, 0)).astype(np.uint8)
    return ".png", _png(Image.fromarray(grey))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _put(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _folder(samples: Iterator[_Sample], folder: Path, about: _About) -> None:
    lines = [["file", "split", "group", "frame"]]
    for sample in samples:
        row = sample.row
        _put(folder, f"images/{sample.name}", sample.data)
        if sample.mask is not None:
            _put(folder, f"masks/{_stem(sample.name)}{sample.mask[0]}", sample.mask[1])
        lines.append([f"images/{sample.name}", row["split"], row["group"], row["frame"]])
    with (folder / "splits.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def _webdataset(samples: Iterator[_Sample], folder: Path, about: _About) -> None:
    shard, held, number = None, 0, 0
    try:
        for sample in samples:
            if shard is None or held >= about.shard_bytes:
                if shard is not None:
                    shard.close()
                name, held, number = folder / f"{number:06d}.tar", 0, number + 1
                shard = tarfile.open(name, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
            key = _key(sample.name)
            row = {k: sample.row[k] for k in ("id", "split", "group", "frame", "label", "boxes")}
            members = {PurePosixPath(sample.name).suffix.lower(): sample.data}
            if sample.mask is not None:
                members[f".mask{sample.mask[0]}"] = sample.mask[1]
            if sample.row["label"] is not None:  # WebDataset takes .cls for a number
                members[".txt"] = sample.row["label"].encode()
            members[".json"] = json.dumps(row, ensure_ascii=False).encode()
            for end, data in members.items():
                entry = tarfile.TarInfo(f"{key}{end}")
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))
                held += len(data)
    finally:
        if shard is not None:
            shard.close()


def _huggingface(samples: Iterator[_Sample], folder: Path, about: _About) -> None:
    waiting: dict[str, list[dict[str, Any]]] = defaultdict(list)
    held: Counter[str] = Counter()
    written: Counter[str] = Counter()

    def write(split: str) -> None:
        path = folder / "data" / f"{split}-{written[split]:05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(waiting.pop(split), schema=_HUB), path)
        written[split] += 1
        held[split] = 0

    for sample in samples:
        row, split = sample.row, _NAMES[sample.row["split"]]
        mask = None
        if sample.mask is not None:
            mask = {"bytes": sample.mask[1], "path": f"{_stem(sample.name)}{sample.mask[0]}"}
        image = {"bytes": sample.data, "path": sample.name}
        told = {name: row[name] for name in ("id", "group", "label")}
        waiting[split].append(told | {"image": image, "mask": mask, "boxes": sample.boxes})
        held[split] += len(sample.data)
        if held[split] >= about.shard_bytes:
            write(split)
    for split in list(waiting):
        write(split)
    (folder / "README.md").write_text(_card(about, list(written)), encoding="utf-8")


_FILE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "mask": {"_type": "Image"},
    "label": {"dtype": "string", "_type": "Value"},
    "group": {"dtype": "string", "_type": "Value"},
    "boxes": {"feature": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "List"},
              "_type": "List"},
}  # fmt: skip
_HUB = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("image", _FILE),
        pa.field("mask", _FILE),
        pa.field("label", pa.string()),
        pa.field("group", pa.string()),
        pa.field("boxes", pa.list_(pa.list_(pa.float64()))),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


def _card(about: _About, splits: Sequence[str]) -> str:
    """Write the card: how the images were selected, and from what."""
    selection, manifest = about.selection, about.manifest
    files = "".join(f"  - split: {s}\n    path: data/{s}-*.parquet\n" for s in sorted(splits))
    fates = "".join(f"| {why} | {n} |\n" for why, n in selection.counts().items() if n)
    settings = json.dumps(selection.settings, indent=2, sort_keys=True, ensure_ascii=False)
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n# {manifest.name}\n\n"
        f"{len(manifest)} of {selection.n} images, selected by `{selection.method}` of "
        f"meddel-fast. Fingerprint of the kept rows: `{manifest.fingerprint}`.\n\n"
        f"| fate | images |\n|---|---|\n{fates}\n"
        f"Settings, and what the method found:\n\n```json\n{settings}\n```\n\n"
        "The licence is that of the data selected from: name it here before you publish.\n"
    )


def _coco(samples: Iterator[_Sample], folder: Path, about: _About) -> None:
    labels = about.labels + ["mask"] * any(about.manifest.column("mask"))
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels), start=1)}
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: {"images": [], "annotations": []})
    for number, sample in enumerate(samples, start=1):
        row, table = sample.row, found[sample.row["split"]]
        _put(folder, f"images/{sample.name}", sample.data)
        size = {"width": row["width"], "height": row["height"]}
        table["images"].append({"id": number, "file_name": sample.name, **size})
        shapes: list[dict[str, Any]] = []
        for x0, y0, x1, y1 in sample.boxes:
            box = [x0, y0, x1 - x0, y1 - y0]
            label = numbers[row["label"] or "object"]
            shapes.append({"bbox": box, "area": box[2] * box[3], "category_id": label})
            shapes[-1] |= {"segmentation": [], "iscrowd": 0}
        if sample.pixels is not None and (sample.pixels == 1).any():
            shapes.append(_run_lengths(sample.pixels == 1) | {"category_id": numbers["mask"]})
        for shape in shapes:
            at = {"id": len(table["annotations"]) + 1, "image_id": number}
            table["annotations"].append(at | shape)
    for split, table in found.items():
        kinds = [{"id": number, "name": label} for label, number in numbers.items()]
        text = json.dumps({**table, "categories": kinds}, ensure_ascii=False)
        _put(folder, f"annotations/{split}.json", text.encode())


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Write a mask as COCO does: lengths of runs down the columns, beginning with background."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends.tolist(), len(flat)]).tolist()
    counts = [0, *runs] if flat[0] else runs
    rows, columns = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
    shape = {"counts": counts, "size": list(mask.shape)}
    return {"segmentation": shape, "bbox": box, "area": int(mask.sum()), "iscrowd": 1}


def _yolo(samples: Iterator[_Sample], folder: Path, about: _About) -> None:
    numbers, splits = {label: n for n, label in enumerate(about.labels)}, set()
    for sample in samples:
        row = sample.row
        splits.add(row["split"])
        lines = []
        for x0, y0, x1, y1 in sample.boxes:
            sides = (row["width"], row["height"])
            centre = ((x0 + x1) / 2 / sides[0], (y0 + y1) / 2 / sides[1])
            shares = (*centre, (x1 - x0) / sides[0], (y1 - y0) / sides[1])
            lines.append(" ".join([str(numbers[row["label"] or "object"]), *map(repr, shares)]))
        _put(folder, f"images/{row['split']}/{sample.name}", sample.data)
        text = "".join(f"{line}\n" for line in lines)
        _put(folder, f"labels/{row['split']}/{_stem(sample.name)}.txt", text.encode())
    text = "".join(
        f"{split}: images/{split}\n" for split in ("train", "val", "test") if split in splits
    )
    names = "".join(f"  {number}: {json.dumps(label)}\n" for label, number in numbers.items())
    _put(folder, "data.yaml", f"{text}names:\n{names}".encode())


KINDS: dict[str, Callable[[Iterator[_Sample], Path, _About], None]] = {
    "folder": _folder,
    "webdataset": _webdataset,
    "huggingface": _huggingface,
    "coco": _coco,
    "yolo": _yolo,
}
"""What :func:`export` writes."""
