"""The report's numbers: table, curves, losses."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from meddel_fast.benchmark.report import chosen, floors
from meddel_fast.benchmark.report.figures import Axis, Chart, Point, Series, chart, style_of
from meddel_fast.benchmark.report.load import Run, Tag
from meddel_fast.benchmark.report.measures import pretraining
from meddel_fast.benchmark.report.tables import DOWN, UP, Head, Row
from meddel_fast.benchmark.report.text import (
    METRIC_TITLES,
    by_selection,
    counted,
    data_sets,
    number,
    percent,
)
from meddel_fast.benchmark.scores.floors import TITLES
from meddel_fast.benchmark.scores.statistics import FULL, MEAN
from meddel_fast.benchmark.scores.verdicts import marks

METRICS = (("normdel", "NormDEL"), *METRIC_TITLES.items())
_JUDGED = ("normdel", "miou")  # at one share, NormDEL rises with mIoU: one verdict for both
DOWNLOADS = (
    *("scores.csv", "scores.json", "floors.csv", "floors.json", "probe.csv", "probe.json"),
    *("planted.csv", "costs.csv", "selections.json", "statistics.json", "differences.csv"),
    *("alphas.csv", "areas.csv", "ranks.csv", "tasks.csv", "generalisation.csv"),
)
_LOSS_POINTS = 60  # a curve is averaged to at most this many

Scored = Mapping[str, Mapping[str, Any]]


class Score(NamedTuple):
    """A mean of a metric in per cent, its spread in words, and whether it is set off."""

    metric: str
    mean: float
    spread: str
    strong: bool


class Line(NamedTuple):
    """A row of the score table: of a floor, share and count are None."""

    row: Row
    ratio: float | None
    kept: int | None
    same: str
    scores: Sequence[Sequence[Score]]


class Plots(NamedTuple):
    """The charts of a metric, one for each data set."""

    name: str
    charts: list[Chart]


def results(run: Run) -> dict[str, Any] | None:
    """Give the sortable table of all scores, and what stands beside it; None of a probe alone."""
    if run.probe and not run.scores:
        return None
    heads, rows = _table(run)
    measure = pretraining(run)
    return {
        "metrics": metrics(run),
        "heads": heads,
        "rows": rows,
        "floors": [] if measure is None else floors.sentences(measure),
        "spread": _spread_note(run),
        "bold": measure is not None,
        "downloads": _downloads(run),
    }


def metrics(run: Run) -> list[tuple[str, str]]:
    """List the metrics that the run's scores have."""
    return [(m, name) for m, name in METRICS if run.scores and f"{m}_mean" in run.scores[0]]


def _spread_note(run: Run) -> str:
    """Say what stands beside a mean."""
    if not run.scores:
        return ""
    results = int(run.scores[0]["seeds"])
    repeats = run.repeats
    told = f"{counted(repeats, 'repetition')} of {counted(results // repeats, 'head')}"
    text = f"Per cent; each number is the mean of {told}"
    if any(_interval(row, m) for row in run.scores for m, _ in METRICS):
        confidence = percent(float(run.statistics.get("confidence", 0.95)))
        text += f"; in brackets its {confidence} interval by itself"
        text += ", which is of heads and test images alone" if repeats == 1 else ""
    if results > 1 and any(_spread(run.scores[0], m).startswith("\u00b1") for m, _ in metrics(run)):
        text += "; after \u00b1 the standard deviation over them"
    return text + "."


def _table(run: Run) -> tuple[list[Head], list[Line]]:
    """Give the heads, and a line for each floor and each selection."""
    if not run.scores:
        return [], []
    sets = data_sets(run.scores)
    better = marks(run.differences)
    shown = metrics(run)
    heads = [Head("Selector", UP), Head("Kept", UP)]
    heads += [Head("Mean" if d == MEAN else d, DOWN) for d in sets]
    alike = chosen.same(run)
    lines = _floor_lines(run, sets)
    previous = -1.0
    for (selector, ratio), found in by_selection(run.scores).items():
        row = Row(selector, [], style_of(selector, run.selectors), ratio != previous)
        scores = [
            [
                Score(
                    m,
                    100 * float(found[d][f"{m}_mean"]),
                    _spread(found[d], m),
                    m in _JUDGED and (selector, ratio, d) in better,
                )
                for m, _ in shown
                if d in found
            ]
            for d in sets
        ]
        kept = next(iter(found.values()))["kept"]
        same = f"the images of {alike[key][0][0]}" if (key := (selector, ratio)) in alike else ""
        lines.append(Line(row, ratio, kept, same, scores))
        previous = ratio
    return heads, lines


def _floor_lines(run: Run, sets: Sequence[str]) -> list[Line]:
    lines = []
    found = {d: floors.found(run, d) for d in sets}
    for floor in TITLES:
        if not any(floor in rows for rows in found.values()):
            continue
        scores = [_floor_scores(run, floor, d, found[d].get(floor, {})) for d in sets]
        lines.append(Line(Row(TITLES[floor], [], floors.STYLES[floor]), None, None, "", scores))
    return lines


def _floor_scores(run: Run, floor: str, dataset: str, row: Mapping[str, Any]) -> list[Score]:
    """Give a floor's scores; its NormDEL, which the share moves, from end to end."""
    scores = []
    for metric, _ in metrics(run):
        if metric == "normdel":
            shares = {float(r["ratio"]): float(r["retained"]) for r in run.scores}
            line = floors.lines(run, dataset, metric, list(shares.items()))
            ends = [p.y for one in line if one.name == TITLES[floor] for p in one.points]
            if ends:
                text = f"to {max(ends):.2f}, by share"
                scores.append(Score(metric, min(ends), text, False))
        elif (mean := row.get(f"{metric}_mean")) is not None:
            scores.append(Score(metric, 100 * float(mean), _spread(row, metric), False))
    return scores


def _spread(row: Mapping[str, Any], metric: str) -> str:
    """Write the interval of a mean, or the deviation over seeds where it has none."""
    ends = _interval(row, metric)
    if ends is not None:
        return f"[{ends[0]:.2f}, {ends[1]:.2f}]"
    several = int(row.get("seeds", 1)) > 1 and f"{metric}_std" in row
    return f"±{100 * float(row[f'{metric}_std']):.2f}" if several else ""


def _interval(row: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """Give the ends of a mean's interval in per cent, where the run has them."""
    if row.get(f"{metric}_low") is None:
        return None
    return 100 * float(row[f"{metric}_low"]), 100 * float(row[f"{metric}_high"])


def _downloads(run: Run) -> list[tuple[str, str]]:
    links = []
    for name in DOWNLOADS:
        path = run.folder / "score" / name
        if path.is_file():
            kind = "text/csv" if name.endswith("csv") else "application/json"
            data = base64.b64encode(path.read_bytes()).decode()
            links.append((name, f"data:{kind};base64,{data}"))
    return links


def legend(run: Run) -> list[tuple[str, int]]:
    """List the selectors of the plots with their styles."""
    names = [*([FULL] if any(t.selector == FULL for t in run.tags) else []), *run.selectors]
    return [(name, style_of(name, run.selectors)) for name in names] + floors.legend(run)


def curves(run: Run) -> list[Plots] | None:
    """Plot NormDEL and mIoU against the share of the data kept; None without scores."""
    if not run.scores:
        return None
    grouped = by_selection(run.scores)
    ratios = sorted({ratio for _, ratio in grouped})
    axis = Axis("share of the data kept", True, [(r, percent(r)) for r in ratios])
    sets = data_sets(run.scores)
    return [
        Plots(name, [_curve(run, grouped, dataset, metric, name, axis) for dataset in sets])
        for metric, name in METRICS[:2]
    ]


def _curve(
    run: Run,
    grouped: Mapping[tuple[str, float], Scored],
    dataset: str,
    metric: str,
    name: str,
    axis: Axis,
) -> Chart:
    def point(selector: str, ratio: float, shared: bool = False) -> Point:
        row = grouped[selector, ratio][dataset]
        mean, error = (100 * float(row[f"{metric}_{k}"]) for k in ("mean", "std"))
        tip = f"{selector}, {percent(ratio)} kept: {name} {mean:.2f} {_spread(row, metric)}"
        return Point(ratio, mean, error, tip.rstrip(), shared, _interval(row, metric))

    whole = dataset in grouped.get((FULL, 1.0), {})
    series = []
    for selector in run.selectors:
        points = [
            point(s, ratio)
            for s, ratio in sorted(grouped, key=lambda k: k[1])
            if s == selector and dataset in grouped[s, ratio]
        ]
        points += [point(FULL, 1.0, shared=True)] if whole else []
        series.append(Series(selector, style_of(selector, run.selectors), points))
    if whole:
        series.append(Series(FULL, 0, [point(FULL, 1.0)]))
    full = series[-1].points[-1].y if whole else None
    title = "Mean of the data sets" if dataset == MEAN else dataset
    spoken = "; ".join(p.tip for s in series for p in s.points if not p.shared)
    shares = {ratio: float(sets[dataset]["retained"]) for (_, ratio), sets in grouped.items()}
    for line in floors.lines(run, dataset, metric, sorted(shares.items())):
        series.append(line)
        ends = dict.fromkeys(f"{line.points[end].y:.2f}" for end in (0, -1))
        spoken += f"; {line.name} {' to '.join(ends)}"
    text = f"{name} on {title}, per cent. {spoken}"
    return chart(title, text, series, axis, full)


def losses(run: Run) -> list[Chart] | None:
    """Plot the pre-training losses, a chart for each share of the data; None without any."""
    if not run.losses:
        return None
    last = max(float(curve[-1, 0]) for curve in run.losses.values())
    ends = [(i * last / 4, number(round(i * last / 4))) for i in range(5)]
    axis = Axis("optimiser step", False, ends)
    curve_tags = [t for t in run.tags if t.name in run.losses]
    ratios = sorted({t.ratio for t in curve_tags if t.selector != FULL}, reverse=True)
    plots = []
    for ratio in ratios or [1.0]:
        shown = [t for t in curve_tags if t.ratio == ratio or t.selector == FULL]
        series = [one for one in (_loss_series(run, tag) for tag in shown) if one.points]
        if not series:  # every loss was NaN
            continue
        title = f"{percent(ratio)} of the data"
        plots.append(chart(title, f"Pre-training loss, {title}", series, axis, None))
    return plots


def _loss_series(run: Run, tag: Tag) -> Series:
    """Average a loss curve: single steps differ by their images more than curves do."""
    curve = run.losses[tag.name]
    means = [part.mean(axis=0) for part in np.array_split(curve, min(_LOSS_POINTS, len(curve)))]
    points = [Point(float(x), float(y), 0.0, "") for x, y in means if math.isfinite(y)]
    return Series(tag.selector, style_of(tag.selector, run.selectors), points, line_only=True)
