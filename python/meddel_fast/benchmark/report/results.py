"""The report's numbers: headline, table, curves, losses."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from meddel_fast.benchmark.report.figures import Axis, Chart, Point, Series, chart, style_of
from meddel_fast.benchmark.report.load import FULL, Run, Tag
from meddel_fast.benchmark.report.tables import DOWN, UP, Head, Row
from meddel_fast.benchmark.report.text import (
    MEAN,
    best_rows,
    by_selection,
    data_sets,
    number,
    percent,
)

METRICS = (("normdel", "NormDEL"), ("miou", "mIoU"), ("dice", "Dice"))
DOWNLOADS = (
    *("scores.csv", "scores.json", "planted.csv", "costs.csv", "statistics.json"),
    *("differences.csv", "alphas.csv", "areas.csv", "ranks.csv"),
)
_LOSS_POINTS = 60  # a curve is averaged to at most this many

Scored = Mapping[str, Mapping[str, Any]]


class Score(NamedTuple):
    """A mean of a metric in per cent, its spread in words, and whether it is the best."""

    metric: str
    mean: float
    spread: str
    best: bool
    best_of_share: bool


class Plots(NamedTuple):
    """The charts of a metric, one for each data set."""

    name: str
    charts: list[Chart]


def results(run: Run) -> dict[str, Any]:
    """Give what came out in a few tiles, and the sortable table of all scores."""
    heads, rows = _table(run)
    return {
        "tiles": _tiles(run),
        "metrics": METRICS,
        "heads": heads,
        "rows": rows,
        "downloads": _downloads(run),
    }


def _tiles(run: Run) -> list[tuple[str, str, str]]:
    """Give value, title and note of each tile."""
    if not run.scores:
        return []
    grouped = by_selection(run.scores)
    dataset = data_sets(run.scores)[-1]
    best = min(best_rows(run.scores, dataset, "normdel"), key=lambda k: (k[1], k[0]))
    row = grouped[best][dataset]
    where = "mean of the data sets" if dataset == MEAN else dataset
    note = f"{best[0]} at {percent(best[1])}, {where}"
    tiles = [(f"{100 * row['normdel_mean']:.2f}", "highest NormDEL", note)]
    full = grouped.get((FULL, 1.0), {}).get(dataset)
    if full is not None and best[0] != FULL:
        tiles.append((_difference(row, full), "mIoU against all data", _judgement(row, full)))
    chance = grouped.get(("random", best[1]), {}).get(dataset)
    if chance is not None and best[0] not in ("random", FULL):
        tiles.append((_difference(row, chance), "mIoU against random", _judgement(row, chance)))
    pool = run.selections and next(iter(run.selections.values())).n
    if pool:
        kept = int(row["kept"])
        tiles.append((number(kept), "images kept", f"of {number(pool)} in the pool"))
    return tiles


def _difference(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    points = 100 * (float(row["miou_mean"]) - float(other["miou_mean"]))
    return f"{points:+.2f}".replace("-", "\u2212")


def _judgement(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Set a difference against the spread of the seeds."""
    if int(row["seeds"]) < 2:
        return "points; one seed, no spread known"
    spread = 100 * math.hypot(float(row["miou_std"]), float(other["miou_std"]))
    inside = abs(100 * (float(row["miou_mean"]) - float(other["miou_mean"]))) <= spread
    verdict = "within" if inside else "beyond"
    return f"points, {verdict} the seeds\u2019 spread of {spread:.2f}"


def _table(run: Run) -> tuple[list[Head], list[tuple[Row, float, int | None, list[list[Score]]]]]:
    """Give the heads, and of each selection its row, share, count, and scores by data set."""
    if not run.scores:
        return [], []
    sets = data_sets(run.scores)
    grouped = by_selection(run.scores)
    best = {(d, m): best_rows(run.scores, d, m) for d in sets for m, _ in METRICS}
    rivals = Counter(ratio for _, ratio in grouped)
    at_ratio = {
        (d, m, ratio): best_rows([r for r in run.scores if float(r["ratio"]) == ratio], d, m)
        for d in sets for m, _ in METRICS for ratio in rivals
    }  # fmt: skip
    heads = [Head("Selector", UP), Head("Kept", UP)]
    heads += [Head("Mean" if d == MEAN else d, DOWN) for d in sets]
    lines = []
    previous = -1.0
    for (selector, ratio), found in grouped.items():
        row = Row(selector, [], style_of(selector, run.selectors), ratio != previous)
        scores = [
            [
                Score(
                    m,
                    100 * float(found[d][f"{m}_mean"]),
                    _spread(found[d], m),
                    (selector, ratio) in best[d, m],
                    rivals[ratio] > 1 and (selector, ratio) in at_ratio[d, m, ratio],
                )
                for m, _ in METRICS
                if d in found
            ]
            for d in sets
        ]
        lines.append((row, ratio, next(iter(found.values()))["kept"], scores))
        previous = ratio
    return heads, lines


def _spread(row: Mapping[str, Any], metric: str) -> str:
    """Write the interval of a mean, or the deviation over seeds where it has none."""
    ends = _interval(row, metric)
    if ends is not None:
        return f"[{ends[0]:.2f}, {ends[1]:.2f}]"
    return f"±{100 * float(row[f'{metric}_std']):.2f}" if int(row["seeds"]) > 1 else ""


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
    return [(name, style_of(name, run.selectors)) for name in names]


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
    title = "Mean of the data sets" if dataset == MEAN else dataset
    spoken = "; ".join(p.tip for s in series for p in s.points if not p.shared)
    full = series[-1].points[-1].y if whole else None
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
