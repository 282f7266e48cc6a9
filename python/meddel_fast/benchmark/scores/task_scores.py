"""Scores of all tasks and references in one long table, ``score/tasks.csv``: a row a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from meddel_fast.benchmark.results import UNTRAINED, predictions_path
from meddel_fast.benchmark.scores.bootstrap import Floats, Run, Sample, average, resample
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import write_rows
from meddel_fast.benchmark.scores.statistics import COLUMNS as STATISTICS
from meddel_fast.benchmark.scores.statistics import MEAN, Key, differences
from meddel_fast.common.columns import aligned
from meddel_fast.common.files import read_json
from meddel_fast.training.tasks import TASKS

_NORMDEL = ("normdel_mean", "normdel_std", "normdel_low", "normdel_high")
TASK_COLUMNS = (
    *("selector", "ratio", "retained", "kept", "dataset", "task", "score", "primary"),
    *("runs", "repeats", "mean", "std", "low", "high", *_NORMDEL),
)
TASK_DIFFERENCES = (
    *("task", "score"),
    *(name.replace("miou_", "score_") for name in STATISTICS["differences"]),
)


class TaskRun(NamedTuple):
    """One result of a task: of which repetition, by which seed, and its file."""

    repeat: int
    seed: int
    path: Path


class Scored(NamedTuple):
    """A selection, or a reference, with its results.

    Attributes
    ----------
    selector, ratio
        What was asked for, or the name of a reference or of the untrained encoder and anything.
    share
        (kept, pool); None for a reference or the untrained encoder, which have no pool.
    results
        Task -> data set -> its runs.
    """

    selector: str
    ratio: float
    share: tuple[int, int] | None
    results: Mapping[str, Mapping[str, Sequence[TaskRun]]]

    @property
    def is_reference(self) -> bool:
        """Whether it is an encoder that is evaluated as it is; the untrained one is repeated."""
        return self.share is None and self.selector != UNTRAINED


Groups = Mapping[str, Mapping[str, Sequence[str]]]
"""Task -> data set -> video or patient of each test image, empty for none."""


Samples = Mapping[tuple[int, str, str, str], Sample]
"""By place among what is scored, task, data set and score."""


def draw_tasks(scored: Sequence[Scored], groups: Groups) -> Samples:
    """Draw runs and images for every score of all that is scored.

    Parameters
    ----------
    scored
        What has results.
    groups
        What is drawn together.
    """
    samples: dict[tuple[int, str, str, str], Sample] = {}
    for kind in (False, True):  # the runs of references are no repetitions
        places = [i for i, one in enumerate(scored) if one.is_reference == kind]
        samples |= _samples(scored, places, groups)
    return samples


def task_rows(scored: Sequence[Scored], samples: Samples, alpha: float) -> list[dict[str, Any]]:
    """Make the rows of all selections and references.

    Parameters
    ----------
    scored
        What has results, in the order of the rows.
    samples
        What :func:`draw_tasks` made of it.
    alpha
        NormDEL's weight.

    Returns
    -------
    list of dict
        Keys `TASK_COLUMNS`; scores are fractions. References and the untrained encoder have no
        share retained: their ratio is "-", and they have no NormDEL, which otherwise is that of a
        task's primary score. Deviations are those of a sample, 0 of a single run. ``low`` and
        ``high`` are 95 % intervals from draws of runs and images (`bootstrap`). Rows of the data
        set "mean" average a task's data sets run by run.
    """
    return [
        row
        for place, one in enumerate(scored)
        for task, sets in one.results.items()
        for score in TASKS[task].scores
        for row in _rows(
            one, task, score, {name: samples[place, task, name, score] for name in sets}, alpha
        )
    ]


def task_differences(
    scored: Sequence[Scored], samples: Samples, alpha: float
) -> list[dict[str, Any]]:
    """Judge the selections by the primary score of each task but segmentation.

    By the rule of all tables: against the untrained encoder, "random" and all data. Segmentation is
    in ``differences.csv``.

    Returns
    -------
    list of dict
        Keys `TASK_DIFFERENCES`.
    """
    rows: list[dict[str, Any]] = []
    tasks = dict.fromkeys(task for one in scored for task in one.results)
    for task in tasks:
        if task == "segmentation":
            continue
        score = TASKS[task].primary
        table: dict[Key, dict[str, Sample]] = {}
        shares: dict[Key, float] = {}
        for place, one in enumerate(scored):
            if one.is_reference or task not in one.results:
                continue
            sets = one.results[task]
            table[one.selector, one.ratio] = {n: samples[place, task, n, score] for n in sets}
            if one.share is not None:
                shares[one.selector, one.ratio] = one.share[0] / one.share[1]
        for row in differences(table, shares, alpha):
            named = {key.replace("miou_", "score_"): value for key, value in row.items()}
            rows.append({"task": task, "score": score, **named})
    return rows


def _samples(
    scored: Sequence[Scored], places: Sequence[int], groups: Groups
) -> dict[tuple[int, str, str, str], Sample]:
    """Draw from what was answered to the images: every score of each task and data set."""
    found: dict[tuple[int, str, str, str], Sample] = {}
    for task, sets in groups.items():
        for name, together in sets.items():
            of = {i: scored[i].results.get(task, {}).get(name, ()) for i in places}
            counts = {i: _counts(task, runs) for i, runs in of.items() if runs}
            if not counts:
                continue
            drawn: list[Run] = [(run.repeat, run.seed) for run in of[next(iter(counts))]]
            for score in TASKS[task].scores:
                measure = partial(_measured, task, score)
                each = resample(counts, drawn, name, groups=together, measure=measure)
                found |= {(i, task, name, score): sample for i, sample in each.items()}
    return found


def _counts(task: str, runs: Sequence[TaskRun]) -> Floats:
    """Read what each image adds to the sums of each run, (runs, images, k)."""
    return np.stack(
        [TASKS[task].counts(predictions_path(run.path), read_json(run.path))[1] for run in runs]
    )


def _measured(task: str, score: str, sums: Floats) -> Floats:
    return TASKS[task].measure(sums)[score]


def _rows(
    one: Scored, task: str, score: str, samples: Mapping[str, Sample], alpha: float
) -> list[dict[str, Any]]:
    """Make the rows of one score: the data sets, then their mean."""
    runs = one.results[task]
    values = {
        name: np.array([float(read_json(run.path)[score]) for run in each])
        for name, each in runs.items()
    }
    about: dict[str, Any] = {"selector": one.selector, "ratio": "-", "retained": None, "kept": None}
    if one.share is not None:
        kept, pool = one.share
        about |= {"ratio": one.ratio, "retained": kept / pool, "kept": kept}
    primary = score == TASKS[task].primary
    about |= {"task": task, "score": score, "primary": primary}
    about["repeats"] = len({run.repeat for each in runs.values() for run in each})
    table = _statistics("", values, samples)
    if one.share is not None and primary:
        weigh = partial(_weighed, about["retained"], alpha)
        weighed = {name: weigh(each) for name, each in values.items()}
        drawn = {name: sample.map(weigh) for name, sample in samples.items()}
        more = _statistics("normdel_", weighed, drawn)
    else:
        more = [dict.fromkeys(_NORMDEL)] * len(table)
    names, counts = (*runs, MEAN), len(next(iter(values.values())))
    return [
        {**about, "dataset": name, "runs": counts, **row, **rest}
        for name, row, rest in zip(names, table, more, strict=True)
    ]


def _weighed(retained: float, alpha: float, scores: Floats) -> Floats:
    return np.asarray(normdel(scores, retained, alpha), np.float64)


def _statistics(
    prefix: str, values: Mapping[str, Floats], samples: Mapping[str, Sample]
) -> list[dict[str, Any]]:
    """Give mean, deviation and interval of each data set, and of their mean, run by run."""
    columns = [*values.values(), np.mean(list(values.values()), axis=0)]
    drawn = [*(samples[name] for name in values), average(list(samples.values()))]
    return [
        {
            f"{prefix}mean": float(each.mean()),
            f"{prefix}std": float(each.std(ddof=1)) if len(each) > 1 else 0.0,
            **dict(zip((f"{prefix}low", f"{prefix}high"), sample.interval(), strict=True)),
        }
        for each, sample in zip(columns, drawn, strict=True)
    ]


def write_tasks(
    folder: Path, rows: Sequence[Mapping[str, Any]], judged: Sequence[Mapping[str, Any]]
) -> None:
    """Write ``tasks.csv`` and ``task_differences.csv``, and each as JSON."""
    write_rows(folder, "tasks", TASK_COLUMNS, rows)
    write_rows(folder, "task_differences", TASK_DIFFERENCES, judged)


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
        blocks.append("\n".join([f"{task}: {mine[0]['score']}, per cent", *aligned(lines, 2)]))
    return "\n\n".join(blocks)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
