"""WebDataset shards: tars in which the members of one sample share a name up to its first dot."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.pool import Pool
from meddel_fast.common.remote_path import is_remote, listing_once, path_of
from meddel_fast.common.suffixes import IMAGES
from meddel_fast.images.address import PART, ImageError, member
from meddel_fast.images.archive import Archive, open_archive
from meddel_fast.images.image_check import settle_masks
from meddel_fast.images.left_out import Tally
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.masks.census import Census
from meddel_fast.images.prefetch import reading
from meddel_fast.images.readers.tree import Sample
from meddel_fast.images.scan.accounting import account, is_hidden
from meddel_fast.images.scan.datadel_set import rows_of
from meddel_fast.images.scan.folder import finished
from meddel_fast.images.splits import Dealing, split_named

_MASK = re.compile(r"(.+)\.(?:mask|seg)(\.\w+)?", re.IGNORECASE)
_LABELS = (".cls", ".txt")
_AT_ONCE = 8  # remote tars whose lists are read at a time
_LONGEST = 200  # characters of a label; a longer text is a caption
_NOT_A_SAMPLE = re.compile(r"(^|/)__[^/]*__($|/)")  # WebDataset's own notes, which it passes over


@listing_once
def scan_shards(
    root: StrPath,
    *,
    name: str | None = None,
    require_masks: bool = False,
    min_size: int = 16,
    mask: Mapping[str, Any] | None = None,
    dealing: Dealing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read a data set of WebDataset tars, in place.

    A sample is what shares a name up to its first dot. Its image is the member whose extension is
    an image's, its mask the one whose extension is ``mask`` or ``seg``, an image's suffix behind it
    or not (``a.seg.png``), its label the text of ``cls`` or ``txt``. Where no extension is an
    image's (``case1.0001.png``), images go by their last suffix: each is a sample, all of one name
    up to the first dot are a group, in whatever shard they lie, and masks and labels belong to the
    image that they are named after, or to the group. So do numbered ones beside ``case1.png``.

    What is left out of a sample (a second image or mask, a mask without an image), and a sample
    without an image, is a skipped row; other members are counted in `Manifest.left_out`. Splits are
    those of the folders, where the tars lie in folders named train, val, test; else they are dealt
    by content, as by :func:`meddel_fast.images.scan.folder.scan_folder`.

    Parameters
    ----------
    root
        A tar, or a folder of tars, or of folders of tars that are named after splits.
    name
        Name of the data set; the folder's name if not given.
    require_masks
        Skip images without a mask.
    min_size
        Skip images with a side below this many pixels.
    mask
        What the numbers in masks mean (:func:`meddel_fast.images.masks.rule.parse_mask`); told from
        all masks of the set if not given.
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
        No shard holds an image, none can be used, or the masks have no one meaning.
    """
    root = path_of(root).resolve()
    if not root.exists():
        raise FileNotFoundError(f"root: no folder or tar {root}")
    with Pool(_AT_ONCE if is_remote(str(root)) else 1) as pool:
        shards = list(pool.map(lambda found: _Shard.read(*found), _tars(root)))
    samples = list(_samples(shards))
    if not samples:
        raise ValueError(f"root: no image in the {len(shards)} tars of {root}")
    base = root if root.is_dir() else root.parent
    notes: list[str] = []
    census = Census()
    rows = rows_of(
        samples,
        base,
        require_masks=require_masks,
        min_size=min_size,
        dealing=dealing,
        notes=notes,
        census=census,
        workers=workers,
        progress=progress,
    )
    settle_masks(rows, census, mask)
    left_out = account(
        base,
        rows,
        [root],
        tables={path for shard in shards for path in shard.labels},
        noticed=list(_noticed(shards)),
    )
    return finished(name or root.stem, base, rows, left_out, notes)


def are_shards(root: Path) -> bool:
    """Tell whether a path looks like shards: a tar, or a folder with tars."""
    return any(_tars(root))


def _tars(root: Path) -> Iterator[tuple[Path, str]]:
    """Find the tars, each with the split that its folder is named after."""
    if root.is_file():
        if root.suffix.lower() == ".tar":
            yield root, ""
        return
    inside = sorted(path for path in root.iterdir() if not is_hidden(path.name))
    yield from ((path, "") for path in inside if _is_tar(path))
    for folder in inside:
        if folder.is_dir() and (split := split_named(folder.name)):
            below = sorted(path for path in folder.iterdir() if not is_hidden(path.name))
            yield from ((path, split) for path in below if _is_tar(path))


def _is_tar(path: Path) -> bool:
    return path.suffix.lower() == ".tar" and path.is_file()


@dataclass(frozen=True)
class _Member:
    """A member of a shard: its address, what it is, and its name without the suffixes for that."""

    path: Path
    kind: str
    stem: str

    @classmethod
    def of(cls, shard: Path, name: str) -> _Member:
        place = PurePosixPath(name)
        suffix, masked = place.suffix.lower(), _MASK.fullmatch(place.name)
        stem, kind = place.stem, suffix if suffix in _LABELS else ""
        if masked and (masked[2] or suffix).lower() in IMAGES | {".mask", ".seg"}:
            stem, kind = masked[1], "mask"
        elif suffix in IMAGES:
            kind = "image"
        return cls(member(shard, name), kind, str(place.parent / stem))


@dataclass
class _Shard:
    """What was found in a tar: samples, keys of images, labels read, texts that are no labels.

    ``series`` are the keys of several images, or of a numbered one: others may be elsewhere.
    """

    samples: list[Sample] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    series: set[str] = field(default_factory=set)
    labels: list[Path] = field(default_factory=list)
    captions: list[Path] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, split: str) -> _Shard:
        found = cls()
        try:
            archive = open_archive(path)
        except ImageError as error:
            found.samples.append(Sample(path, reason=error.reason))
            return found
        by_key: dict[str, list[_Member]] = defaultdict(list)
        for name in sorted(archive.names):
            if not is_hidden(name) and not _NOT_A_SAMPLE.search(name):
                place = PurePosixPath(name)
                key = str(place.parent / place.name.partition(".")[0])
                by_key[key].append(_Member.of(path, name))
        refused = ((member(path, bad), why) for bad, why in archive.refused.items())
        found.samples += [Sample(where, reason=why) for where, why in refused]
        told = [[m.path for m in each if m.kind in _LABELS] for each in by_key.values()]
        with reading(told) as ahead:
            for number, (key, members) in enumerate(by_key.items()):
                with ahead.using(number):
                    found._add(archive, key, members)
        found.samples = [replace(sample, split=split) for sample in found.samples]
        return found

    def _add(self, archive: Archive, key: str, members: Sequence[_Member]) -> None:
        """Make samples of what shares a name up to the first dot."""
        images = [m for m in members if m.kind == "image"]
        masks = [m for m in members if m.kind == "mask"]
        if not images and not masks:
            self.samples.append(Sample(members[0].path, reason="no image of this key"))
        first = [image for image in images if image.stem == key][:1]  # WebDataset's own rule
        numbered = [image for image in images if _number(image.stem) >= 0 and image.stem != key]
        taken = {image.stem: image for image in reversed([*first, *numbered] if first else images)}
        self.keys += taken
        if len(taken) > 1 or any(_number(stem) >= 0 for stem in taken.keys() - {key}):
            self.series.add(key)
        for stem, image in sorted(taken.items()):
            near = [m for m in masks if m.stem == stem]
            if not near and len(taken) == 1:
                near = [m for m in masks if m.stem == key]
            sample = Sample(
                image.path,
                near[0].path if near else None,
                group=key,
                frame=_number(stem),
                label=self._label(archive, members, (stem, key)),
            )
            self.samples.append(sample)
            masks = [m for m in masks if m not in near[:1]]
        others = [image for image in images if image not in taken.values()]
        self.samples += [Sample(image.path, reason="second image of its key") for image in others]
        why = "second mask of its key" if images else "mask without an image"
        self.samples += [Sample(mask.path, reason=why) for mask in masks]

    def _label(
        self, archive: Archive, members: Sequence[_Member], stems: Iterable[str]
    ) -> str | None:
        """Read the label of an image: by its own name before that of its key."""
        told = (m for stem in stems for end in _LABELS for m in members
                if m.kind == end and m.stem == stem)  # fmt: skip
        found = next(told, None)
        if found is None:
            return None
        name = str(found.path).removeprefix(f"{archive.path}{PART}")
        with archive.open(name) as file:
            text = file.read(8 * _LONGEST).decode("utf-8", "replace").strip()
        if len(text) > _LONGEST:
            self.captions.append(found.path)
            return None
        self.labels.append(found.path)
        return text


def _samples(shards: Sequence[_Shard]) -> Iterator[Sample]:
    """Give the samples of all shards; a series of several images is a group, wherever they lie."""
    series = {key for shard in shards for key in shard.series}
    every = [sample for shard in shards for sample in shard.samples]
    counts = Counter(sample.group for sample in every)
    for sample in every:
        several = sample.group in series and counts[sample.group] > 1
        yield sample if several else replace(sample, group="", frame=-1)


def _number(stem: str) -> int:
    """Give the number behind a name's last dot; -1 if it has none."""
    _, dot, tail = PurePosixPath(stem).name.rpartition(".")
    return int(tail) if dot and re.fullmatch(r"[0-9]{1,9}", tail) else -1


def _noticed(shards: Sequence[_Shard]) -> Iterator[Tally]:
    keys = Counter(key for shard in shards for key in set(shard.keys))
    if twice := sorted(key for key, count in keys.items() if count > 1):
        yield Tally.of("keys in several shards", twice)
    if captions := [path for shard in shards for path in shard.captions]:
        what = f"texts of more than {_LONGEST} characters, not read as labels"
        yield Tally.of(what, (path.name for path in captions))
