"""Score the saved predictions of a run again, from the masks on disk, and compare.

What this shows: the numbers in the results are those of the saved predictions, and the masks are
those that the manifest names. What it cannot show is that a model made the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.results import (
    Result,
    floors_of_run,
    others_of_run,
    read_run,
    results_of_run,
)
from meddel_fast.common.atomic import write_json
from meddel_fast.common.files import Progress, read_json
from meddel_fast.common.hashes import sha256_file
from meddel_fast.training.tasks import TASKS

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

VERDICTS = "verified.json"


@dataclass(frozen=True)
class Verdict:
    """Whether a result is what its predictions come to; `reason` says what is not, else empty.

    The hashes are those of the two files that were compared; empty where one is not there.
    """

    name: str
    agrees: bool
    reason: str
    result_sha256: str
    predictions_sha256: str


def verify(
    run_dir: Path,
    *,
    roots: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
) -> list[Verdict]:
    """Re-score every result of a run, and write the verdicts to ``verified.json`` in it.

    Parameters
    ----------
    run_dir
        A run directory.
    roots
        Data set -> folder, for data that have moved since.
    progress
        Called as ``progress(results_done, results)``.

    Returns
    -------
    list of Verdict
        One for each result that the run's settings ask for: of its selections, of the
        untrained encoders, then of other tasks, references and generalisation. A result agrees when
        every score in it is, bit for bit, the one computed from its predictions and the masks,
        boxes or labels.

    Raises
    ------
    FileNotFoundError
        No run directory, or a manifest of it is missing.
    ValueError
        `roots` names a data set that the run does not have.
    """
    about = read_run(run_dir)
    results = results_of_run(run_dir, about) + floors_of_run(run_dir, about)
    results += others_of_run(run_dir, about)
    tested = {d["name"]: d for d in about["config"]["data"] if "test" in d["use"]}
    unknown = sorted(set(roots or {}) - set(tested))
    if unknown:
        raise ValueError(f"roots must name test sets of {sorted(tested)}, got {unknown[0]!r}")
    sets: dict[tuple[str, str], tuple[Manifest, str]] = {}
    verdicts = []
    for done, result in enumerate(results, start=1):
        key = (result.task, result.data)
        if key not in sets:
            rows = tested_rows(run_dir, about["config"], tested[result.data], result.task)
            rows = replace(rows, root=(roots or {}).get(result.data, rows.root))
            sets[key] = rows, wrong_masks(rows)
        verdicts.append(judge(result, *sets[key]))
        if progress is not None:
            progress(done, len(results))
    write_json(run_dir / VERDICTS, {v.name: asdict(v) for v in verdicts})
    return verdicts


def tested_rows(
    run_dir: Path, config: Mapping[str, Any], data: Mapping[str, Any], task: str
) -> Manifest:
    """Give the test images of a data set that a task can use."""
    from meddel_fast.images.manifest import Manifest

    rows = Manifest.load(run_dir / "data" / f"{data['name']}.parquet").splits(data["test_splits"])
    known = {f.name for f in fields(TASKS[task].settings)}
    given = {k: v for k, v in config.get(task, {}).items() if k in known}
    return TASKS[task].usable(rows, TASKS[task].settings(**given))


def wrong_masks(rows: Manifest) -> str:
    """Say which mask of the rows is not the one that was scanned; empty when all are."""
    from meddel_fast.images.image_check import read_one

    expected = rows.column("mask_sha256")
    for name, path, wanted in zip(rows.ids, rows.mask_paths(), expected, strict=True):
        if path is None:  # the task has boxes or a label instead
            continue
        found = read_one(path)
        if found.reason:
            return f"the mask of {name} cannot be read at {path}: {found.reason}"
        if found.sha256 != wanted:
            return f"the mask of {name} is not the one of the manifest"
    return ""


def judge(result: Result, rows: Manifest, unusable: str) -> Verdict:
    """Compare one result with what its predictions come to on the masks of `rows`."""
    paths = (result.path, result.predictions)
    hashes = [sha256_file(path) if path.is_file() else "" for path in paths]
    reason = unusable or next(
        (f"{p.name} is missing" for p, found in zip(paths, hashes, strict=True) if not found), ""
    )
    if not reason:
        try:
            reason = _difference(result, read_json(result.path), rows)
        except ValueError as error:
            reason = str(error)
    return Verdict(result.name, not reason, reason, *hashes)


def _difference(result: Result, written: Any, rows: Manifest) -> str:
    """Say what differs between the written scores and those of the predictions."""
    if not isinstance(written, dict):
        return "the result holds no scores"
    wanted = TASKS[result.task].rescore(result.predictions, rows, written)
    for name, value in wanted.items():
        if {"ignored_pixels": 0, **written}.get(name) != value:
            return f"{name} is {value}, the result says {written.get(name)}"
    return ""


def is_verified(run_dir: Path, result: Result) -> bool:
    """Tell whether :func:`verify` agreed with a result whose files are still the same."""
    path = run_dir / VERDICTS
    verdict = read_json(path).get(result.name) if path.is_file() else None
    return bool(
        verdict
        and verdict["agrees"]
        and result.path.is_file()
        and result.predictions.is_file()
        and verdict["result_sha256"] == sha256_file(result.path)
        and verdict["predictions_sha256"] == sha256_file(result.predictions)
    )
