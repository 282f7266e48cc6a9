"""What a difference is worth, and what a selection costs: for runs whose scores tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meddel_fast.report.figures import key, style_of
from meddel_fast.report.load import Run
from meddel_fast.report.results import row
from meddel_fast.report.tables import DOWN, UP, number_cell, sortable
from meddel_fast.report.text import MEAN, data_sets, duration, escape, number, percent

Row = Mapping[str, Any]


def worth(run: Run) -> str:
    """Show paired differences, NormDEL over alpha, areas and ranks."""
    found = run.statistics
    parts = [
        _block(run, "Paired differences", found.get("differences", []), _DIFFERENCES, _differences),
        _alphas(run, found.get("alphas", [])),
        _block(run, "Ranks over the data sets", found.get("ranks", []), _RANKS, _ranks),
        _block(
            run, "Area below NormDEL, over the retained share", found.get("areas", []), _AREAS,
            _areas,
        ),
    ]  # fmt: skip
    if not any(parts):
        return ""
    confidence = percent(float(found.get("confidence", 0.95)))
    return (
        f"<p>In brackets {confidence} intervals by bootstrap, of runs and of test images.</p>"
        + "".join(parts)
    )


def costs(run: Run) -> str:
    """Show what each selection keeps and saves, and what its pre-training takes."""
    return _block(run, "", run.costs, _COSTS, _costs)


def _block(
    run: Run,
    title: str,
    rows: Sequence[Row],
    heads: Sequence[tuple[str, int]],
    cells: Callable[[Row], str],
) -> str:
    """Make a table with a row for each of `rows`, that begins with the selector."""
    if not rows:
        return ""
    lines = [f"{_selector(run, one)}{cells(one)}</tr>" for one in rows]
    head = f"<h3>{title}</h3>" if title else ""
    return head + sortable(title or "Costs", [("Selector", UP), *heads], lines)


def _selector(run: Run, one: Row) -> str:
    name = str(one["selector"])
    style = style_of(name, run.selectors)
    return (
        f'{row(style, False)}<th scope="row" data-value="{escape(name)}">'
        f"{key(style)}{escape(name)}</th>"
    )


def _set(name: object) -> str:
    return f"<td>{'Mean' if name == MEAN else escape(name)}</td>"


def _ratio(value: Any) -> str:
    """Write a share, or "all" for what covers several."""
    share = value if isinstance(value, (int, float)) else None
    return "<td data-value=2>all</td>" if share is None else number_cell(share, percent(share))


def _span(mean: float, low: float, high: float, signed: bool = False) -> str:
    """Write a score with its interval, in per cent; bold where a difference's excludes 0."""
    form = "+.2f" if signed else ".2f"
    numbers = [format(100 * v, form).replace("-", "\u2212") for v in (mean, low, high)]
    shown = f"<strong>{numbers[0]}</strong>" if signed and low * high > 0 else numbers[0]
    return number_cell(mean, f"{shown} <small>[{numbers[1]}, {numbers[2]}]</small>")


_DIFFERENCES = [("Kept", UP), ("Data set", UP), ("Against", UP), ("Runs", DOWN), ("mIoU", DOWN),
                ("NormDEL", DOWN)]  # fmt: skip


def _differences(one: Row) -> str:
    spans = [
        _span(one[f"{metric}_difference"], one[f"{metric}_low"], one[f"{metric}_high"], True)
        for metric in ("miou", "normdel")
    ]
    return (
        f"{_ratio(one['ratio'])}{_set(one['dataset'])}<td>{escape(one['against'])}</td>"
        f"{number_cell(one['runs'], number(one['runs']))}{''.join(spans)}"
    )


def _alphas(run: Run, rows: Sequence[Row]) -> str:
    """Show NormDEL and rank for each weight of the retained share, on the last data set."""
    if not rows:
        return ""
    dataset = data_sets(rows)[-1]
    alphas = sorted({float(one["alpha"]) for one in rows})
    found = {
        (one["selector"], one["ratio"], float(one["alpha"])): one
        for one in rows
        if one["dataset"] == dataset
    }
    heads = [("Selector", UP), ("Kept", UP), *((f"&alpha; = {alpha:g}", DOWN) for alpha in alphas)]
    lines = []
    for selector, ratio in dict.fromkeys((s, r) for s, r, _ in found):
        cells = ""
        for alpha in alphas:
            one = found[selector, ratio, alpha]
            mean = float(one["normdel_mean"])
            cells += number_cell(mean, f"{100 * mean:.2f} <small>rank {one['rank']}</small>")
        lines.append(f"{_selector(run, {'selector': selector})}{_ratio(ratio)}{cells}</tr>")
    where = "the mean of the data sets" if dataset == MEAN else escape(dataset)
    return f"<h3>NormDEL by &alpha;, on {where}</h3>" + sortable("NormDEL by alpha", heads, lines)


_RANKS = [("Kept", UP), ("Average rank", UP), ("Data sets", DOWN), ("Friedman p", UP),
          ("Critical difference", UP)]  # fmt: skip


def _ranks(one: Row) -> str:
    tests = "".join(
        "<td>&ndash;</td>" if one[name] is None else number_cell(one[name], f"{one[name]:.3g}")
        for name in ("p_value", "critical_difference")
    )
    rank, sets = one["average_rank"], one["datasets"]
    return (
        f"{_ratio(one['ratio'])}{number_cell(rank, format(rank, '.2f'))}"
        f"{number_cell(sets, number(sets))}{tests}"
    )


_AREAS = [("&alpha;", UP), ("Data set", UP), ("From", UP), ("To", DOWN), ("Area", DOWN)]


def _areas(one: Row) -> str:
    ends = "".join(number_cell(one[end], percent(one[end], 3)) for end in ("from", "to"))
    return (
        f"{number_cell(one['alpha'], format(one['alpha'], 'g'))}{_set(one['dataset'])}{ends}"
        f"{_span(one['area'], one['low'], one['high'])}"
    )


_COSTS = [("Kept", UP), ("Images", DOWN), ("MB kept", DOWN), ("MB saved", DOWN), ("Steps", DOWN),
          ("Embedding", DOWN), ("Selection", DOWN), ("Pre-training", DOWN), ("GPU hours", DOWN),
          ("Energy, estimated", DOWN)]  # fmt: skip


def _costs(one: Row) -> str:
    def cell(name: str, write: Callable[[float], str]) -> str:
        value = one.get(name)
        return "<td>&ndash;</td>" if value is None else number_cell(value, write(value))

    def count(value: float) -> str:
        return number(int(value))

    return _ratio(one["ratio"]) + "".join(
        cell(name, write)
        for name, write in (
            ("kept", count),
            ("kept_bytes", _megabytes),
            ("saved_bytes", _megabytes),
            ("steps", count),
            ("embed_seconds", duration),
            ("select_seconds", duration),
            ("pretrain_seconds", duration),
            ("gpu_hours", "{:.3g}".format),
            ("energy_wh_estimated", "{:.3g}\u00a0Wh".format),
        )
    )


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f}"
