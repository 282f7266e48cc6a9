"""WebDataset shards: tars in which the members of one sample share a name up to its first dot."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from meddel_fast.data.address import SUFFIXES, ImageError, member, parse
from meddel_fast.data.archive import open_archive
from meddel_fast.data.folder import finished
from meddel_fast.data.manifest import Manifest
from meddel_fast.data.readers.scan import rows_of
from meddel_fast.data.readers.tree import Sample
from meddel_fast.data.splits import Dealing
from meddel_fast.files import Progress, StrPath

MASKS = frozenset({"mask.png", "seg.png", "mask", "seg"})
"""Extensions of masks; ``cls`` and ``txt`` hold a label."""

_LABELS = ("cls", "txt")
_LONGEST = 200  # characters of a label; a longer text is a caption


def scan_shards(
    root: StrPath,
    *,
    name: str | None = None,
    require_masks: bool = False,
    min_size: int = 16,
    dealing: Dealing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read a data set of WebDataset tars, in place.

    A sample's image is the member whose extension is an image's, its mask the one with an extension
    in :data:`MASKS`, its label the text of ``cls`` or ``txt``; other members are passed over.
    Splits are dealt as by :func:`meddel_fast.data.folder.scan_folder`.

    Parameters
    ----------
    root
        A tar, or a folder of tars.
    name
        Name of the data set; the folder's name if not given.
    require_masks
        Skip images without a mask.
    min_size
        Skip images with a side below this many pixels.
    dealing
        How images get their splits.
    workers
        Threads; all cores if not given.
    progress
        Called as ``progress(done, total)`` after every image.

    Raises
    ------
    FileNotFoundError
        There is no such tar or folder.
    ValueError
        No shard holds an image, or none can be used.
    """
    root = Path(root).resolve()
    shards = [root] if root.is_file() else sorted(root.glob("*.tar"))
    if not root.exists():
        raise FileNotFoundError(f"root: no folder or tar {root}")
    samples = [sample for shard in shards for sample in _samples(shard)]
    if not samples:
        raise ValueError(f"root: no image in the {len(shards)} tars of {root}")
    base = root if root.is_dir() else root.parent
    notes: list[str] = []
    rows = rows_of(
        samples,
        base,
        require_masks=require_masks,
        min_size=min_size,
        dealing=dealing,
        notes=notes,
        workers=workers,
        progress=progress,
    )
    return finished(name or root.stem, base, rows, notes)


def _samples(shard: Path) -> list[Sample]:
    try:
        archive = open_archive(shard)
    except ImageError as error:
        return [Sample(shard, reason=error.reason)]
    by_key: dict[str, dict[str, str]] = defaultdict(dict)
    for inside in archive.names:
        path = PurePosixPath(inside)
        stem, _, extension = path.name.partition(".")
        by_key[str(path.parent / stem)][extension.lower()] = inside
    samples = [Sample(member(shard, bad), reason=why) for bad, why in archive.refused.items()]
    for parts in by_key.values():
        image = next((parts[e] for e in sorted(parts) if f".{e}" in SUFFIXES), None)
        if image is None:
            continue
        mask = next((member(shard, parts[e]) for e in sorted(MASKS & parts.keys())), None)
        text = next((parts[e] for e in _LABELS if e in parts), None)
        label = None if text is None else archive.read(text).decode("utf-8", "replace").strip()
        if label is not None and len(label) > _LONGEST:
            label = None
        samples.append(Sample(member(shard, image), mask, label=label))
    return samples


def are_shards(root: Path) -> bool:
    """Tell whether a path looks like shards: a tar, or a folder with tars."""
    if root.is_file():
        return parse(root).suffix == ".tar"
    return any(root.glob("*.tar"))
