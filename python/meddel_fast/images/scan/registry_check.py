"""What is there of the data sets of the registry, what is missing, broken, or off in count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.remote_path import listing_once, path_of
from meddel_fast.common.suffixes import ARCHIVES
from meddel_fast.images.address import ImageError
from meddel_fast.images.datadel.data_set import DataSet, Located
from meddel_fast.images.datadel.registry import known_set, located
from meddel_fast.images.masks.census import Census, MaskError
from meddel_fast.images.readers.plain_names import release_name
from meddel_fast.images.readers.tree import Sample, Tree
from meddel_fast.images.scan.datadel_set import FoundPart, find_parts, rows_of
from meddel_fast.images.sources import Sampling
from meddel_fast.images.splits import Dealing

_ONE_FRAME = Sampling(stride=1 << 40)  # a video is checked by its first frame
_EXAMPLES = 3


@dataclass(frozen=True)
class PartReport:
    """One part of a data set as found.

    Attributes
    ----------
    name, unit
        The part, and what is counted: "images" or "videos".
    status
        "complete", "missing", "corrupt" or "off" (in count).
    found
        How many are there, broken ones included.
    expected
        Counts of sound copies; empty where none is known.
    corrupt
        How many of those found cannot be used.
    absent
        How many a table of the release lists that are not there.
    examples
        A few of what is wrong, with the reason.
    unfit
        How many images there are besides that are no samples: without a mask, or of no class.
    """

    name: str
    unit: str
    status: str
    found: int = 0
    expected: tuple[int, ...] = ()
    corrupt: int = 0
    absent: int = 0
    examples: tuple[str, ...] = ()
    unfit: int = 0


@dataclass(frozen=True)
class SetReport:
    """One data set as found.

    ``status`` is "complete", "missing" (no folder of its name), "unrecognised" (a folder in which
    no layout fits), "corrupt", "off" (in count) or "partial" (a part is missing); ``where`` are the
    folders and archives, ``problem`` what is wrong, ``download`` where to get what is not there,
    ``notes`` what was not looked at, and why; ``beside`` are archives of which all lies in
    ``where``.
    """

    key: str
    status: str
    where: tuple[str, ...] = ()
    parts: tuple[PartReport, ...] = ()
    problem: str = ""
    download: str = ""
    notes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.status == "complete"


@listing_once
def check(
    root: StrPath,
    keys: Sequence[str] | None = None,
    *,
    quick: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[SetReport]:
    """Compare what is below `root` with the registry.

    Parameters
    ----------
    root
        Folder that holds the data sets, each a folder or archive named like it, or several.
    keys
        Data sets to look for; all if not given, and those collections of them that are there: what
        lies in one is then told of as part of it.
    quick
        Count only. Otherwise every image is decoded in full, and of every video the first frame;
        without PyAV videos are counted by their names.
    workers
        Threads; all cores if not given.
    progress
        Called as ``progress(done, total)`` after every image.

    Returns
    -------
    list of SetReport
        In the order of the registry, or of `keys`.

    Raises
    ------
    FileNotFoundError
        `root` is no folder.
    ValueError
        A key is unknown.
    """
    for key in keys or ():
        known_set(key)
    root = path_of(root).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"root: no folder {root}")
    closed = "" if quick else _no_videos()
    found = [
        _find(known_set(key), place, by_name=quick or bool(closed))
        for key, place in located(root, keys).items()
    ]
    total = sum(len(part.samples) for each in found for part in each.parts)
    done = 0
    reports = []
    for each in found:
        told, census, problem = [], Census(), each.problem
        for part in each.parts:
            read = not quick and not (closed and part.part.videos is not None)
            counted = _shifted(progress, done, total)
            told.append(_part(part, root, read, census, workers, counted))
            done += len(part.samples)
        try:
            census.settle(each.data.mask)
        except MaskError as error:
            problem = problem or f"masks: {error}"
        reports.append(_set(replace(each, problem=problem), root, told, closed))
    return reports


@dataclass(frozen=True)
class _Found:
    """A data set's place and what was found there; ``problem`` where its tables are broken."""

    data: DataSet
    place: Located
    parts: list[FoundPart]
    copies: int = 0
    problem: str = ""


def _find(data: DataSet, place: Located, by_name: bool) -> _Found:
    if not place.where:
        return _Found(data, place, [])
    tree = Tree(place.where, _ONE_FRAME, by_name)
    try:
        parts = find_parts(data, tree)
    except ImageError as error:
        return _Found(data, place, [], problem=str(error))
    return _Found(data, place, parts, len(tree.copies))


def _no_videos() -> str:
    """Say why videos cannot be opened, or nothing."""
    try:
        with needs("video"):
            import av  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def unclaimed(root: StrPath, reports: Sequence[SetReport]) -> list[str]:
    """Name the folders and archives in `root` that no report of all data sets speaks of."""
    told = {place.split("/")[0] for each in reports for place in (*each.where, *each.beside)}
    if "." in told:  # the root is a data set itself
        return []
    return sorted(
        path.name
        for path in path_of(root).iterdir()
        if path.name not in told
        and not path.name.startswith((".", "__MACOSX"))
        and (path.is_dir() or path.suffix.lower() in ARCHIVES)
    )


def _shifted(progress: Progress | None, start: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(start + done, total)


def _part(
    found: FoundPart,
    root: Path,
    read: bool,
    census: Census,
    workers: int | None,
    progress: Progress | None,
) -> PartReport:
    part, samples = found.part, found.samples
    videos = part.videos is not None
    unit = "videos" if videos else "images"
    known = part.videos if videos else part.images
    expected = () if known is None else (known, *part.also)
    present = [replace(sample, split="") for sample in samples if not sample.reason]
    if not present:
        return PartReport(part.name, unit, "missing", expected=expected)
    rows: list[dict[str, Any]] = []
    if read:
        rows = rows_of(
            present,
            root,
            min_size=1,
            dealing=Dealing(split="train"),  # what is only counted need not be dealt
            census=census,
            workers=workers,
            progress=progress,
        )
    bad = [row for row in rows if row["status"] != "ok"]
    absent = [sample for sample in samples if sample.reason.startswith("missing")]
    unfit = [sample for sample in samples if sample.reason and sample not in absent]
    count = len(present)
    status = "complete"
    if absent or (expected and count not in expected):
        status = "off"
    if bad:
        status = "corrupt"
    examples = [f"{row['id']}: {row['reason']}" for row in bad[:_EXAMPLES]]
    examples += [_example(sample, root) for some in (absent, unfit) for sample in some[:_EXAMPLES]]
    return PartReport(
        part.name,
        unit,
        status,
        count,
        expected,
        len(bad),
        len(absent),
        tuple(examples),
        len(unfit),
    )


def _example(sample: Sample, root: Path) -> str:
    return f"{sample.image.relative_to(root).as_posix()}: {sample.reason}"


def _set(found: _Found, root: Path, told: list[PartReport], closed: str) -> SetReport:
    data, where, problem = found.data, found.place.where, found.problem
    parts = [each.part for each in found.parts]
    there = {p.download for p, report in zip(parts, told, strict=True) if report.found}
    left_out = {p.download for p in parts} - there if there else set()
    counted = [
        report
        for part, report in zip(parts, told, strict=True)
        if report.found or not (part.optional or part.download in left_out)
    ]
    states = {report.status for report in counted}
    if not where:
        status = "missing"
    elif problem or "corrupt" in states:
        status = "corrupt"
    elif not any(report.found for report in told):
        status = "unrecognised"
        problem = f"wanted {data.layout}"
    else:
        status = next((s for s in ("off", "missing") if s in states), "complete")
        status = "partial" if status == "missing" else status
    if status != "complete" and (packed := data.packed(root, where)):
        named = ", ".join(path.relative_to(root).as_posix() for path in packed[:_EXAMPLES])
        first = f"unpack first: {named}"
        problem = f"{problem}; {first}" if status == "corrupt" and problem else first
    places, beside = (
        tuple(path.relative_to(root).as_posix() for path in paths)
        for paths in (where, found.place.unpacked)
    )
    return SetReport(
        data.key,
        status,
        places,
        tuple(counted),
        problem,
        "" if status == "complete" else data.download,
        tuple(_notes(found, root, told, closed, left_out - {""})),
        beside,
    )


def _notes(
    found: _Found, root: Path, told: list[PartReport], closed: str, left_out: set[str]
) -> Iterator[str]:
    """Say what was not looked at."""
    for path in found.place.unpacked:
        yield f"{path.relative_to(root).as_posix()}: not read, all that it holds lies beside it"
    if found.copies:
        yield f"{found.copies:,} members of archives: not read, they lie unpacked beside them"
    names = [release_name(path.stem if path.is_file() else path.name) for path in found.place.where]
    if len(set(names)) < len(names):
        yield "folders and archives of one name are all read, as they hold different files"
    if closed and any(part.unit == "videos" and part.found for part in told):
        yield f"videos were counted by name and not opened: {closed}"
    for name in sorted(left_out):
        yield f"{name}: not here, which is a download of its own"
