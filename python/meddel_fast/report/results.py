"""The report's numbers: headline, table, curves, losses."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from meddel_fast.report.figures import Axis, Point, Series, chart, key, style_of
from meddel_fast.report.load import FULL, Run, Tag
from meddel_fast.report.tables import DOWN, UP, sortable
from meddel_fast.report.text import (
    MEAN,
    best_rows,
    by_selection,
    data_sets,
    escape,
    number,
    percent,
)

METRICS = (("normdel", "NormDEL"), ("miou", "mIoU"), ("dice", "Dice"))
DOWNLOADS = (
    *("scores.csv", "scores.json", "planted.csv", "costs.csv", "statistics.json"),
    *("differences.csv", "alphas.csv", "areas.csv", "ranks.csv"),
)
_NOTE = (
    '<p class="note"><span class="star">★</span> best of the column; '
    "<strong>bold</strong>: best at its share of the data. Per cent, mean ± sample standard "
    "deviation over the seeds of the segmentation heads, or in brackets the mean\u2019s interval. "
    "Column heads sort, selectors can be left out.</p>"
)
_LOSS_POINTS = 60  # a curve is averaged to at most this many

Scored = Mapping[str, Mapping[str, Any]]


def headline(run: Run) -> str:
    """Say in a few tiles what came out."""
    if not run.scores:
        return ""
    grouped = by_selection(run.scores)
    dataset = data_sets(run.scores)[-1]
    best = min(best_rows(run.scores, dataset, "normdel"), key=lambda k: (k[1], k[0]))
    row = grouped[best][dataset]
    where = "mean of the data sets" if dataset == MEAN else escape(dataset)
    tiles = [
        (
            f"{100 * row['normdel_mean']:.2f}",
            "highest NormDEL",
            f"{escape(best[0])} at {percent(best[1])}, {where}",
        )
    ]
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
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{value}</b><span>{escape(title)}</span><small>{note}</small></div>'
        for value, title, note in tiles
    ) + "</div>"  # fmt: skip


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


def table(run: Run) -> str:
    """Make the sortable table; radio buttons above it choose the metric."""
    if not run.scores:
        return '<p class="empty">No scores yet: the run has not come to its score stage.</p>'
    sets = data_sets(run.scores)
    grouped = by_selection(run.scores)
    best = {(d, m): best_rows(run.scores, d, m) for d in sets for m, _ in METRICS}
    rivals = Counter(ratio for _, ratio in grouped)
    at_ratio = {
        (d, m, ratio): best_rows([r for r in run.scores if float(r["ratio"]) == ratio], d, m)
        for d in sets for m, _ in METRICS for ratio in rivals
    }  # fmt: skip
    heads = [("Selector", UP), ("Kept", UP)]
    heads += [("Mean" if d == MEAN else escape(d), DOWN) for d in sets]
    lines: list[str] = []
    previous = -1.0
    for (selector, ratio), found in grouped.items():
        count = int(next(iter(found.values()))["kept"])
        first = (
            f'<th scope="row" data-value="{escape(selector)}">'
            f"{key(style_of(selector, run.selectors))}{escape(selector)}</th>"
            f'<td data-value="{ratio}">{percent(ratio)} <small>{number(count)}</small></td>'
        )
        cells = ""
        style = style_of(selector, run.selectors)
        for dataset in sets:
            marks = {
                m: (
                    (selector, ratio) in best[dataset, m],
                    rivals[ratio] > 1 and (selector, ratio) in at_ratio[dataset, m, ratio],
                )
                for m, _ in METRICS
            }
            cells += _cell(found.get(dataset), marks)
        lines.append(f"{row(style, ratio != previous)}{first}{cells}</tr>")
        previous = ratio
    attributes = 'id="scores" data-metric="normdel"'
    name = "Scores by selector, share of the data kept, and data set, in per cent"
    shown = sortable(name, heads, lines, attributes=attributes)
    return f"{_metric_buttons()}{legend(run)}{shown}{_NOTE}{_downloads(run)}"


def row(style: int, first: bool) -> str:
    """Open a selector's table row; the first one of its share of the data is set off."""
    return f'<tr data-style="{style}"{" class=first" * first}>'


def _metric_buttons() -> str:
    buttons = "".join(
        f'<label><input type="radio" name="metric" value="{m}"{" checked" * (m == "normdel")}>'
        f"<span>{name}</span></label>"
        for m, name in METRICS
    )
    return f'<fieldset class="switch metric"><legend>Show</legend>{buttons}</fieldset>'


def _cell(row: Mapping[str, Any] | None, marks: Mapping[str, tuple[bool, bool]]) -> str:
    if row is None:
        return "<td>&ndash;</td>"
    values, spans = "", ""
    for metric, _ in METRICS:
        mean = 100 * float(row[f"{metric}_mean"])
        overall, local = marks[metric]
        values += f' data-{metric}="{mean:.6f}"'
        shown = f"<strong>{mean:.2f}</strong>" if local else f"{mean:.2f}"
        shown += f" <small>{_spread(row, metric)}</small>"
        star = '<span class="star" title="best of the column">★</span>' if overall else ""
        spans += f'<span class="m {metric}">{star}{shown}</span>'
    return f"<td{values}>{spans}</td>"


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


def _downloads(run: Run) -> str:
    links = []
    for name in DOWNLOADS:
        path = run.folder / "score" / name
        if path.is_file():
            kind = "text/csv" if name.endswith("csv") else "application/json"
            data = base64.b64encode(path.read_bytes()).decode()
            links.append(f'<a download="{name}" href="data:{kind};base64,{data}">{name}</a>')
    return f'<p class="downloads">The same numbers: {", ".join(links)}</p>' if links else ""


def legend(run: Run) -> str:
    """Make the key of the plots, whose entries hide and show a selector."""
    names = [*([FULL] if any(t.selector == FULL for t in run.tags) else []), *run.selectors]
    items = "".join(
        f'<button type="button" aria-pressed="true" data-style="{style_of(n, run.selectors)}">'
        f"{key(style_of(n, run.selectors))}{escape(n)}</button>"
        for n in names
    )
    return f'<div class="legend" role="group" aria-label="Selectors shown">{items}</div>'


def curves(run: Run) -> str:
    """Draw NormDEL and mIoU against the share of the data kept, a plot for each data set."""
    if not run.scores:
        return ""
    grouped = by_selection(run.scores)
    ratios = sorted({ratio for _, ratio in grouped})
    axis = Axis("share of the data kept", True, [(r, percent(r)) for r in ratios])
    sets = data_sets(run.scores)
    plots = {
        name: [_curve(run, grouped, dataset, metric, name, axis) for dataset in sets]
        for metric, name in METRICS[:2]
    }
    if len(sets) == 1:  # side by side
        drawn = "".join(f"<div><h3>{name}</h3>{found[0]}</div>" for name, found in plots.items())
        return f'{legend(run)}<div class="charts">{drawn}</div>'
    return legend(run) + "".join(
        f'<h3>{name}</h3><div class="charts">{"".join(found)}</div>'
        for name, found in plots.items()
    )


def _curve(
    run: Run,
    grouped: Mapping[tuple[str, float], Scored],
    dataset: str,
    metric: str,
    name: str,
    axis: Axis,
) -> str:
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
    return f"<figure>{chart(title, text, series, axis, full)}</figure>"


def losses(run: Run) -> str:
    """Draw the pre-training losses, a plot for each share of the data."""
    if not run.losses:
        return ""
    last = max(float(curve[-1, 0]) for curve in run.losses.values())
    ends = [(i * last / 4, number(round(i * last / 4))) for i in range(5)]
    axis = Axis("optimiser step", False, ends)
    curve_tags = [t for t in run.tags if t.name in run.losses]
    ratios = sorted({t.ratio for t in curve_tags if t.selector != FULL}, reverse=True)
    plots = ""
    for ratio in ratios or [1.0]:
        shown = [t for t in curve_tags if t.ratio == ratio or t.selector == FULL]
        series = [one for one in (_loss_series(run, tag) for tag in shown) if one.points]
        if not series:  # every loss was NaN
            continue
        title = f"{percent(ratio)} of the data"
        drawn = chart(title, f"Pre-training loss, {title}", series, axis, None)
        plots += f"<figure>{drawn}</figure>"
    return (
        "<p>Reconstruction error of the masked patches, on the images trained on: fewer images are "
        "easier to learn by heart, so a lower curve is no better encoder. Lines as in the plots "
        f'above; black: all data.</p><div class="charts">{plots}</div>'
    )


def _loss_series(run: Run, tag: Tag) -> Series:
    """Average a loss curve: single steps differ by their images more than curves do."""
    curve = run.losses[tag.name]
    means = [part.mean(axis=0) for part in np.array_split(curve, min(_LOSS_POINTS, len(curve)))]
    points = [Point(float(x), float(y), 0.0, "") for x, y in means if math.isfinite(y)]
    return Series(tag.selector, style_of(tag.selector, run.selectors), points, line_only=True)
