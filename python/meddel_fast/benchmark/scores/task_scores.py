"""Scores of all tasks and references in one long table, ``score/tasks.csv``: a row a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.results import UNTRAINED
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import as_csv
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.training.tasks import TASKS

TASK_COLUMNS = (
    *("selector", "ratio", "retained", "kept", "dataset", "task", "score", "primary"),
    *("seeds", "mean", "std", "normdel_mean", "normdel_std"),
)
_MEAN = "mean"  # the rows that average the data sets, as in scores.csv

Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]  # task -> data set -> per seed


def task_rows(
    selector: str, ratio: float, share: tuple[int, int] | None, results: Results, alpha: float
) -> list[dict[str, Any]]:
    """Make the rows of one selection, or of one reference.

    Parameters
    ----------
    selector, ratio
        What was asked for, or the name of a reference or of the untrained encoder and anything.
    share
        (kept, pool); None for a reference or the untrained encoder, which have no pool: their
        ratio is "-", and they have no NormDEL.
    results
        Task -> data set -> one result per seed.
    alpha
        NormDEL's weight.

    Returns
    -------
    list of dict
        Keys `TASK_COLUMNS`; scores are fractions, ``normdel_*`` only of a task's primary score,
        otherwise None. Deviations are those of a sample, 0 of a single seed. Rows of the data set
        "mean" average a task's data sets seed by seed.
    """
    about: dict[str, Any] = {"selector": selector, "ratio": "-", "retained": None, "kept": None}
    if share is not None:
        about |= {"ratio": ratio, "retained": share[0] / share[1], "kept": share[0]}
    rows = []
    for task, sets in results.items():
        for score in TASKS[task].scores:
            primary = score == TASKS[task].primary
            columns = {
                name: _values([run[score] for run in runs], about["retained"], primary, alpha)
                for name, runs in sets.items()
            }
            columns[_MEAN] = np.mean(list(columns.values()), axis=0)
            for name, values in columns.items():
                rows.append(
                    {
                        **about,
                        "dataset": name,
                        "task": task,
                        "score": score,
                        "primary": primary,
                        "seeds": len(values),
                        **_statistics(values),
                    }
                )
    return rows


def _values(
    scores: Sequence[float], retained: Any, primary: bool, alpha: float
) -> NDArray[np.float64]:
    """Per seed (rows) the score, and NormDEL where there is one."""
    if retained is None or not primary:
        return np.array(scores, np.float64)[:, None]
    return np.array([[score, normdel(float(score), retained, alpha)] for score in scores])


def _statistics(values: NDArray[np.float64]) -> dict[str, float | None]:
    means = [float(mean) for mean in values.mean(axis=0)]
    several = len(values) > 1
    deviations = [float(d) for d in values.std(axis=0, ddof=1)] if several else [0.0] * len(means)
    known = len(means) > 1
    return {
        "mean": means[0],
        "std": deviations[0],
        "normdel_mean": means[1] if known else None,
        "normdel_std": deviations[1] if known else None,
    }


def write_tasks(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``tasks.csv`` and ``tasks.json``."""
    write_text(folder / "tasks.csv", as_csv(TASK_COLUMNS, rows))
    write_json(folder / "tasks.json", rows)


def task_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the primary scores, a block a task, for the terminal; per cent.

    Segmentation is left to the score table, unless a reference stands beside it.
    """
    blocks = []
    compared = any(row["ratio"] == "-" and row["selector"] != UNTRAINED for row in rows)
    for task in dict.fromkeys(row["task"] for row in rows):
        if task == "segmentation" and not compared:
            continue
        mine = [row for row in rows if row["task"] == task and row["primary"]]
        sets = list(dict.fromkeys(str(row["dataset"]) for row in mine))
        sets = sets[:-1] if len(sets) == 2 else sets  # one set is its own mean
        found: dict[tuple[Any, Any], dict[str, Mapping[str, Any]]] = {}
        for row in mine:
            found.setdefault((row["selector"], row["ratio"]), {})[str(row["dataset"])] = row
        lines = [["selector", "kept", *sets, "NormDEL"]]
        for (selector, ratio), cells in found.items():
            last = cells[sets[-1]]
            kept = "-" if ratio == "-" else f"{100 * ratio:g} % ({last['kept']})"
            score = "-" if last["normdel_mean"] is None else _percent(last["normdel_mean"])
            lines.append([selector, kept, *(_percent(cells[name]["mean"]) for name in sets), score])
        blocks.append("\n".join([f"{task}: {mine[0]['score']}, per cent", *_aligned(lines)]))
    return "\n\n".join(blocks)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
