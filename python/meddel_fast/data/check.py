"""What is there of the data sets of the registry, what is missing, broken, or off in count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meddel_fast.data.address import ImageError
from meddel_fast.data.readers.scan import FoundPart, find_parts, rows_of
from meddel_fast.data.registry import DataSet, data_sets, known_set
from meddel_fast.data.sources import Sampling
from meddel_fast.data.splits import Dealing
from meddel_fast.files import Progress, StrPath

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
    """

    name: str
    unit: str
    status: str
    found: int = 0
    expected: tuple[int, ...] = ()
    corrupt: int = 0
    absent: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetReport:
    """One data set as found.

    ``status`` is "complete", "missing" (no folder of its name), "unrecognised" (a folder in which
    no layout fits), "corrupt", "off" (in count) or "partial" (a part is missing); ``where`` are the
    folders and archives, ``problem`` what else is to say, ``download`` where to get what is not
    there.
    """

    key: str
    status: str
    where: tuple[str, ...] = ()
    parts: tuple[PartReport, ...] = ()
    problem: str = ""
    download: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.status == "complete"


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
        Data sets to look for; all if not given.
    quick
        Count only. Otherwise every image is decoded in full, and of every video the first frame.
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
    wanted = list(data_sets().values()) if keys is None else [known_set(key) for key in keys]
    root = Path(root).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"root: no folder {root}")
    found: dict[str, tuple[list[Path], list[FoundPart], str]] = {}
    for data in wanted:
        where = data.locate(root)
        try:
            found[data.key] = (where, find_parts(data, where, _ONE_FRAME) if where else [], "")
        except ImageError as error:
            found[data.key] = (where, [], str(error))
    total = sum(len(part.samples) for _, parts, _ in found.values() for part in parts)
    done = 0
    reports = []
    for data in wanted:
        where, parts, problem = found[data.key]
        told = []
        for part in parts:
            told.append(_part(part, root, quick, workers, _shifted(progress, done, total)))
            done += len(part.samples)
        reports.append(_set(data, root, where, told, problem))
    return reports


def _shifted(progress: Progress | None, start: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(start + done, total)


def _part(
    found: FoundPart, root: Path, quick: bool, workers: int | None, progress: Progress | None
) -> PartReport:
    part, samples = found.part, found.samples
    videos = part.videos is not None
    unit = "videos" if videos else "images"
    known = part.videos if videos else part.images
    expected = () if known is None else (known, *part.also)
    present = [replace(sample, split="") for sample in samples if not sample.reason]
    if not present:
        return PartReport(part.name, unit, "missing", expected=expected)
    rows = (
        []
        if quick
        else rows_of(
            present,
            root,
            min_size=1,
            dealing=Dealing(split="train"),  # what is only counted need not be dealt
            workers=workers,
            progress=progress,
        )
    )
    bad = [row for row in rows if row["status"] != "ok"]
    absent = [sample for sample in samples if sample.reason]
    count = len(present)
    status = "complete"
    if absent or (expected and count not in expected):
        status = "off"
    if bad:
        status = "corrupt"
    examples = [f"{row['id']}: {row['reason']}" for row in bad[:_EXAMPLES]]
    examples += [f"{s.image.relative_to(root)}: {s.reason}" for s in absent[:_EXAMPLES]]
    return PartReport(
        part.name, unit, status, count, expected, len(bad), len(absent), tuple(examples)
    )


def _set(
    data: DataSet, root: Path, where: list[Path], parts: list[PartReport], problem: str
) -> SetReport:
    optional = {part.name for part in data.parts if part.optional}
    counted = [p for p in parts if not (p.name in optional and p.status == "missing")]
    states = {part.status for part in counted}
    if not where:
        status = "missing"
    elif problem or "corrupt" in states:
        status = "corrupt"
    elif not parts or all(part.status == "missing" for part in parts):
        status = "unrecognised"
        problem = f"wanted {data.layout}"
    else:
        status = next((s for s in ("off", "missing") if s in states), "complete")
        status = "partial" if status == "missing" else status
    if status in ("missing", "unrecognised", "partial", "off") and (packed := data.packed(root)):
        named = ", ".join(path.relative_to(root).as_posix() for path in packed[:_EXAMPLES])
        problem = f"unpack first: {named}"
    places = tuple(path.relative_to(root).as_posix() for path in where)
    download = "" if status == "complete" else data.download
    return SetReport(data.key, status, places, tuple(counted), problem, download)
