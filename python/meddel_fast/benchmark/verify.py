"""Score the saved predictions of a run again, from the masks on disk, and compare.

What this shows: the numbers in the results are those of the saved predictions, and the masks are
those that the manifest names. What it cannot show is that a model made the predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.results import (
    Result,
    floors_of_run,
    masked_rows,
    read_run,
    results_of_run,
)
from meddel_fast.common.atomic import write_json
from meddel_fast.common.files import Progress, read_json
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.masks.rule import IGNORED
from meddel_fast.training.predictions import Predictions, confusion_matrices

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

VERDICTS = "verified.json"
_BATCH = 256  # masks in memory at once: 13 MB at 224 pixels


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
        One for each result that the run's settings ask for, those of the untrained encoders last.
        A result agrees when every score in it is, bit for bit, the one computed from its
        predictions and the masks.

    Raises
    ------
    FileNotFoundError
        No run directory, or a manifest of it is missing.
    ValueError
        `roots` names a data set that the run does not have.
    """
    about = read_run(run_dir)
    results = results_of_run(run_dir, about) + floors_of_run(run_dir, about)
    tested = {d["name"]: d for d in about["config"]["data"] if "test" in d["use"]}
    unknown = sorted(set(roots or {}) - set(tested))
    if unknown:
        raise ValueError(f"roots must name test sets of {sorted(tested)}, got {unknown[0]!r}")
    sets: dict[str, tuple[Manifest, str]] = {}
    for name, data in tested.items():
        rows = masked_rows(run_dir, data, "test")
        rows = replace(rows, root=roots[name]) if roots and name in roots else rows
        sets[name] = rows, wrong_masks(rows)
    verdicts = []
    for done, result in enumerate(results, start=1):
        verdicts.append(judge(result, *sets[result.data]))
        if progress is not None:
            progress(done, len(results))
    write_json(run_dir / VERDICTS, {v.name: asdict(v) for v in verdicts})
    return verdicts


def wrong_masks(rows: Manifest) -> str:
    """Say which mask of the rows is not the one that was scanned; empty when all are."""
    from meddel_fast.images.image_check import read_one

    expected = rows.column("mask_sha256")
    for name, path, wanted in zip(rows.ids, rows.mask_paths(), expected, strict=True):
        if path is None:
            return f"{name} has no mask"
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
            reason = _difference(read_json(result.path), Predictions.load(result.predictions), rows)
        except ValueError as error:
            reason = str(error)
    return Verdict(result.name, not reason, reason, *hashes)


def _difference(written: Any, found: Predictions, rows: Manifest) -> str:
    """Say what differs between the written scores and those of the predictions."""
    from meddel_fast.training.segmentation import scores

    if not isinstance(written, dict):
        return "the result holds no scores"
    if found.ids != rows.ids:
        return "the predictions are of other images than the manifest's test rows"
    parts = []
    for truth, predicted in _side_by_side(found, rows):
        if truth.shape != predicted.shape:
            return f"a saved mask has the shape {predicted.shape[1:]}, its truth {truth.shape[1:]}"
        parts.append(confusion_matrices(truth == 1, predicted, truth == IGNORED))
    counts = np.concatenate(parts)
    if not np.array_equal(counts, found.confusions):
        return "the saved counts are not those of the saved masks"
    ignored = found.pixels - int(counts.sum())
    wanted = {**scores(counts), "images": len(rows), "ignored_pixels": ignored}
    for name, value in wanted.items():
        if {"ignored_pixels": 0, **written}.get(name) != value:
            return f"{name} is {value}, the result says {written.get(name)}"
    return ""


def _side_by_side(
    found: Predictions, rows: Manifest
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield truths and predictions, (k, h, w), at the size that they were scored at."""
    if found.shapes is not None:
        from meddel_fast.images.load_masks import load_mask, meanings

        paths = (path for path in rows.mask_paths() if path is not None)
        for path, meaning, one in zip(paths, meanings(rows), found.each(), strict=True):
            yield load_mask(path, None, meaning)[None], one[None]
        return
    from meddel_fast.training.loader import frames

    masks = frames(rows, found.size, masks=True)
    for first in range(0, len(rows), _BATCH):
        some = np.arange(first, min(first + _BATCH, len(rows)))
        yield masks[some], replace(found, bits=found.bits[some]).masks


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
