"""Selections compared: paired differences, NormDEL by alpha, areas, ranks; and their costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import starmap
from typing import Any

from meddel_fast.benchmark.report.figures import style_of
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import (
    DOWN,
    NOTHING,
    UP,
    Cell,
    Head,
    Row,
    Table,
    count,
    share,
)
from meddel_fast.benchmark.report.text import data_sets, duration, number, span, where
from meddel_fast.benchmark.scores.floors import TITLES
from meddel_fast.benchmark.scores.statistics import MEAN
from meddel_fast.benchmark.scores.verdicts import marks

Found = Mapping[str, Any]

_ALPHA, _BY_ALPHA = "\u03b1", "NormDEL by alpha"


def comparisons(run: Run) -> dict[str, Any] | None:
    """Give the tables of paired differences, NormDEL over alpha, areas and ranks.

    None where there are none.
    """
    differences = _of_sets(run.differences)
    alphas, ranks, areas = (
        _of_sets(run.statistics.get(name, [])) for name in ("alphas", "ranks", "areas")
    )
    area = "Area below NormDEL, over the retained share"
    floored = [row for row in differences if row["against"] in TITLES]
    compared = [row for row in differences if row["against"] not in TITLES]
    tables = [
        _block(run, "Against random and all data", compared, _DIFFERENCES, _differences, "judged"),
        _block(run, "Against the floors", floored, _DIFFERENCES, _differences, "judged"),
        _alphas(run, alphas),
        _block(run, "Ranks over the data sets", ranks, _RANKS, _ranks),
        _block(run, area, areas, _AREAS, _areas),
    ]
    shown = [(table, _where(table, alphas)) for table in tables if table is not None]
    if not shown:
        return None
    return {"confidence": float(run.statistics.get("confidence", 0.95)), "tables": shown}


def _of_sets(rows: Sequence[Found]) -> list[Found]:
    """Leave out the mean of a single data set."""
    alone = len({row["dataset"] for row in rows if "dataset" in row} - {MEAN}) == 1
    return [row for row in rows if not (alone and row.get("dataset") == MEAN)]


def costs(run: Run) -> Table | None:
    """Tell what each selection keeps, and what all takes that it needs.

    A column stands only where the run has something in it.
    """
    columns = [c for c in _COSTS if any(row.get(c[0]) for row in run.costs)]
    heads = [("Kept", UP), *((title, DOWN) for _, title, _ in columns)]

    def cells(one: Found) -> list[Cell]:
        found = [_ratio(one["ratio"])._replace(small=number(int(one["kept"])))]
        for name, _, write in columns:
            value = one.get(name)
            found.append(NOTHING if value is None else Cell(write(value), value))
        return found

    return _block(run, "Costs", run.costs, heads, cells)


def _block(
    run: Run,
    title: str,
    rows: Sequence[Found],
    heads: Sequence[tuple[str, int]],
    cells: Callable[[Found], list[Cell]],
    kind: str = "",
) -> Table | None:
    """Make a table with a row for each of `rows`, that begins with the selector."""
    if not rows:
        return None
    lines = [_line(run, str(one["selector"]), cells(one)) for one in rows]
    return Table(title, [Head("Selector", UP), *starmap(Head, heads)], lines, kind)


def _line(run: Run, selector: str, cells: list[Cell]) -> Row:
    return Row(selector, cells, style_of(selector, run.selectors))


def _set(name: object) -> Cell:
    return Cell("Mean" if name == MEAN else str(name))


def _ratio(value: Any) -> Cell:
    """Write a share, or "all" for what covers several."""
    return share(value) if isinstance(value, (int, float)) else Cell("all", 2)


def _span(mean: float, low: float, high: float, signed: bool = False) -> Cell:
    """Write a score with its interval, in per cent."""
    form = "+.2f" if signed else ".2f"
    numbers = [format(100 * v, form).replace("-", "\u2212") for v in (mean, low, high)]
    return Cell(numbers[0], mean, f"[{numbers[1]}, {numbers[2]}]")


_DIFFERENCES = [("Kept", UP), ("Data set", UP), ("Against", UP), ("NormDEL", DOWN), ("mIoU", DOWN),
                ("At once", DOWN), ("Verdict", UP)]  # fmt: skip


def _differences(one: Found) -> list[Cell]:
    alone, other = (
        _span(one[f"{metric}_difference"], one[f"{metric}_low"], one[f"{metric}_high"], True)
        for metric in ("miou", "normdel")
    )
    at_once = span(one["miou_all_low"], one["miou_all_high"])
    return [
        *(_ratio(one["ratio"]), _set(one["dataset"]), Cell(str(one["against"]))),
        *(other, alone, Cell(at_once, one["miou_all_low"], f"of {one['comparisons']}")),
        Cell(str(one["verdict"]), None, str(one["why"]), bool(marks([one]))),
    ]


def _alphas(run: Run, rows: Sequence[Found]) -> Table | None:
    """Give NormDEL and rank for each weight of the retained share, on the last data set."""
    if not rows:
        return None
    dataset = data_sets(rows)[-1]
    alphas = sorted({float(one["alpha"]) for one in rows})
    found = {
        (one["selector"], one["ratio"], float(one["alpha"])): one
        for one in rows
        if one["dataset"] == dataset
    }
    heads = [Head("Selector", UP), Head("Kept", UP)]
    heads += [Head(f"{_ALPHA} = {alpha:g}", DOWN) for alpha in alphas]
    lines = []
    for selector, ratio in dict.fromkeys((s, r) for s, r, _ in found):
        cells = [_ratio(ratio)]
        for alpha in alphas:
            one = found[selector, ratio, alpha]
            mean = float(one["normdel_mean"])
            cells.append(Cell(f"{100 * mean:.2f}", mean, f"rank {one['rank']}"))
        lines.append(_line(run, str(selector), cells))
    return Table(_BY_ALPHA, heads, lines)


def _where(table: Table, alphas: Sequence[Found]) -> str:
    """Say on what NormDEL by alpha was taken; nothing of the other tables."""
    if table.name != _BY_ALPHA:
        return ""
    return where(data_sets(alphas)[-1])


_RANKS = [("Kept", UP), ("Average rank", UP), ("Data sets", DOWN), ("Friedman p", UP),
          ("Critical difference", UP)]  # fmt: skip


def _ranks(one: Found) -> list[Cell]:
    tests = [
        NOTHING if one[name] is None else Cell(f"{one[name]:.3g}", one[name])
        for name in ("p_value", "critical_difference")
    ]
    rank = one["average_rank"]
    return [_ratio(one["ratio"]), Cell(f"{rank:.2f}", rank), count(one["datasets"]), *tests]


_AREAS = [(_ALPHA, UP), ("Data set", UP), ("From", UP), ("To", DOWN), ("Area", DOWN)]


def _areas(one: Found) -> list[Cell]:
    ends = [share(one[end], 3) for end in ("from", "to")]
    alpha = Cell(f"{one['alpha']:g}", one["alpha"])
    return [alpha, _set(one["dataset"]), *ends, _span(one["area"], one["low"], one["high"])]


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f}"


_COSTS: list[tuple[str, str, Callable[[float], str]]] = [
    ("kept_bytes", "MB", _megabytes),
    ("steps", "Steps", lambda value: number(int(value))),
    ("encoder_seconds", "Encoder", duration),
    ("embed_seconds", "Embedding", duration),
    ("loss_seconds", "Losses", duration),
    ("select_seconds", "Selection", duration),
    ("pretrain_seconds", "Pre-training", duration),
    ("total_seconds", "Together", duration),
    ("gpu_hours", "GPU hours", "{:.3g}".format),
    ("energy_wh_estimated", "Energy, estimated", "{:.3g}\u00a0Wh".format),
]
