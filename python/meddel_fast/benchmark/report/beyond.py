"""What else a run scored: other tasks, encoders of others, encoders pre-trained on one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddel_fast.benchmark.report.figures import style_of
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import DOWN, NOTHING, UP, Cell, Head, Row, Table, share
from meddel_fast.benchmark.report.text import number, signed, span
from meddel_fast.benchmark.scores.statistics import MEAN, RANDOM
from meddel_fast.benchmark.scores.verdicts import marks

_JUDGED = "Against random"

Rows = Sequence[Mapping[str, Any]]


def beyond(run: Run) -> dict[str, Any] | None:
    """Give the tables of other tasks, references and generalisation; None without any."""
    tasks = _tasks(run)
    across = _generalisation(run)
    if not tasks and across is None:
        return None
    heads = {row["head"] for row in run.generalisation}
    judged = (*run.task_differences, *run.generalisation_differences)
    return {
        "tasks": tasks,
        "across": across,
        "head": next(iter(heads), ""),
        "judged": any(row["against"] == RANDOM for row in judged),
    }


def _tasks(run: Run) -> list[Table]:
    """Make a table for each task; segmentation only where a reference stands beside it."""
    compared = any(row["ratio"] == "-" for row in run.tasks)
    names = dict.fromkeys(str(row["task"]) for row in run.tasks)
    return [
        _task(run, name, [row for row in run.tasks if row["task"] == name])
        for name in names
        if name != "segmentation" or compared
    ]


def _task(run: Run, name: str, rows: Rows) -> Table:
    scores = list(dict.fromkeys(str(row["score"]) for row in rows))
    sets = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    sets = [s for s in sets if s != MEAN or len(sets) > 2]
    verdicts = {
        (r["selector"], r["ratio"], r["dataset"]): r
        for r in run.task_differences
        if r["task"] == name and r["against"] == RANDOM
    }
    judged = {r["dataset"]: str(r["score"]) for r in verdicts.values() if r["dataset"] in sets}
    heads = [Head("Selector or reference", UP), Head("Kept", UP), Head("Runs", DOWN)]
    heads += [Head(score, DOWN, "mean" if s == MEAN else s) for s in sets for score in scores]
    heads += [Head(_JUDGED, DOWN, f"{score}, {s}") for s, score in judged.items()]
    found = {(r["selector"], r["ratio"], r["dataset"], r["score"]): r for r in rows}
    lines = []
    for selector, ratio in dict.fromkeys((r["selector"], r["ratio"]) for r in rows):
        cells = [found.get((selector, ratio, s, score)) for s in sets for score in scores]
        first = next(cell for cell in cells if cell is not None)
        kept = NOTHING
        if ratio != "-":
            kept = share(float(ratio))._replace(small=number(int(first["kept"])))
        runs = Cell(str(first["runs"]), float(first["runs"]))
        style = None if ratio == "-" else style_of(selector, run.selectors)
        told = [_verdict(verdicts.get((selector, ratio, s)), "score_") for s in judged]
        lines.append(Row(selector, [kept, runs, *map(_score, cells), *told], style))
    return Table(name, heads, lines, "beyond")


def _score(row: Mapping[str, Any] | None, of: str = "") -> Cell:
    if row is None or row[f"{of}mean"] is None:
        return NOTHING
    mean, low, high = (100 * float(row[f"{of}{part}"]) for part in ("mean", "low", "high"))
    return Cell(f"{mean:.2f}", mean, f"[{low:.2f}, {high:.2f}]")


def _verdict(row: Mapping[str, Any] | None, of: str) -> Cell:
    """Write a verdict against random, with the interval that it goes by."""
    if row is None:
        return NOTHING
    gap = float(row[f"{of}difference"])
    small = f"{signed(gap)} {span(row[f'{of}all_low'], row[f'{of}all_high'])}"
    small += f", {row['why']}" if row["why"] else ""
    return Cell(str(row["verdict"]), gap, small, bool(marks([row])))


def _generalisation(run: Run) -> Table | None:
    rows = run.generalisation
    if not rows:
        return None
    targets = list(dict.fromkeys(str(row["tested_on"]) for row in rows))
    heads = [Head("Selector", UP), Head("Kept", UP), Head("Pre-trained on", UP), Head("Runs", DOWN)]
    verdicts = {
        (r["selector"], r["pretrained_on"], r["dataset"]): r
        for r in run.generalisation_differences
        if r["against"] == RANDOM
    }
    judged = targets if verdicts else []
    heads += [Head(target, DOWN, "mIoU") for target in targets]
    heads += [Head(_JUDGED, DOWN, target) for target in judged]
    found = {(r["selector"], r["pretrained_on"], r["tested_on"]): r for r in rows}
    lines = []
    for selector, source in dict.fromkeys((r["selector"], r["pretrained_on"]) for r in rows):
        cells = [found[selector, source, target] for target in targets]
        scores = [_score(cell, "miou_") for cell in cells]
        ratio, runs = float(cells[0]["ratio"]), int(cells[0]["runs"])
        kept = share(ratio)._replace(small=number(int(cells[0]["kept"])))
        told = [_verdict(verdicts.get((selector, source, target)), "miou_") for target in judged]
        line = [kept, Cell(str(source)), Cell(str(runs), runs), *scores, *told]
        lines.append(Row(str(selector), line, style_of(str(selector), run.selectors)))
    return Table("Pre-trained on one set, tested on each", heads, lines, "beyond")
