"""``probe.json``: scores, differences and what is to be said of them; the same as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meddel_fast.benchmark.scores.bootstrap import Sample
from meddel_fast.benchmark.scores.score import as_csv
from meddel_fast.benchmark.scores.statistics import RANDOM, Key, families, judge_above_floors
from meddel_fast.benchmark.scores.verdicts import compare, rule
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.common.columns import aligned
from meddel_fast.common.outputs import FolderKind

ROW_COLUMNS = (
    *("probe", "task", "dataset", "metric", "selector", "ratio", "kept", "draws"),
    *("mean", "low", "high"),
)
DIFFERENCE_COLUMNS = (
    *("probe", "task", "dataset", "metric", "selector", "ratio", "against", "draws"),
    *("comparisons", "difference", "low", "high", "all_low", "all_high", "verdict", "why"),
)
FOLDER = FolderKind("scores of a probe", lambda folder: (folder / "probe.json").is_file())
PROBES = {"knn": "nearest neighbours", "linear": "linear model", "mlp": "MLP"}
_SHOWN = {"accuracy": "accuracy", "miou": "mIoU"}  # one metric of each task, on a terminal


@dataclass(frozen=True)
class Scores:
    """One metric of one probe on one data set.

    Attributes
    ----------
    probe, task, dataset, metric
        What it is of.
    floor
        Key of the floor among the samples, at ratio 0.
    samples
        Selection -> sample; the floor too.
    kept
        Selection -> samples kept, the mean over the draws.
    """

    probe: str
    task: str
    dataset: str
    metric: str
    floor: str
    samples: Mapping[Key, Sample]
    kept: Mapping[Key, float] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, str]:
        """The columns that say what it is of."""
        names = ("probe", "task", "dataset", "metric")
        return {name: getattr(self, name) for name in names}


def tables(scores: Sequence[Scores], about: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give what ``probe.json`` holds."""
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for one in scores:
        rows += _rows(one)
        differences += _differences(one)
    runs = next(iter(scores[0].samples.values())).runs
    return {
        "rule": rule(runs),
        "data": list(about),
        "rows": rows,
        "differences": differences,
    }


def join(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what :func:`tables` gave for several tasks; the rule of the first is that of all."""
    parts = ("data", "rows", "differences")
    return {"rule": found[0]["rule"]} | {
        name: [row for one in found for row in one[name]] for name in parts
    }


def write_tables(folder: Path, found: Mapping[str, Any]) -> None:
    """Write ``probe.json``, and its tables as CSV files."""
    write_json(folder / "probe.json", found)
    write_text(folder / "probe.csv", as_csv(ROW_COLUMNS, found["rows"]))
    write_text(folder / "probe_differences.csv", as_csv(DIFFERENCE_COLUMNS, found["differences"]))


def as_text(found: Mapping[str, Any]) -> str:
    """Give the tables for a terminal: per probe, data set and selection its score and verdict."""
    against = {
        (*_about(row), row["selector"], row["ratio"]): row
        for row in found["differences"]
        if row["against"] == RANDOM
    }
    blocks: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in found["rows"]:
        if row["metric"] not in _SHOWN:
            continue
        scored = f"{_percent(row['mean'])} [{_percent(row['low'])}, {_percent(row['high'])}]"
        kept = f"{100 * row['ratio']:g} % ({row['kept']})" if row["ratio"] else ""
        other = against.get((*_about(row), row["selector"], row["ratio"]))
        told = ("", "")
        if other is not None:
            ends = (f"{100 * other[end]:+.1f}" for end in ("all_low", "all_high"))
            told = (f"{100 * other['difference']:+.1f} [{', '.join(ends)}]", other["verdict"])
        cells = (row["selector"], kept, scored, *told)
        blocks.setdefault(_about(row), []).append(cells)
    return "\n\n".join(_block(about, rows) for about, rows in blocks.items())


def _about(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("probe", "task", "dataset", "metric"))


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _block(about: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    probe, _, dataset, metric = about
    heads = ("", "kept", _SHOWN[metric], "against random", "")
    name = PROBES[probe]
    return "\n".join(
        [f"{name[0].upper()}{name[1:]}, {dataset}", *aligned([heads, *rows], len(heads))]
    )


def _rows(one: Scores) -> list[dict[str, Any]]:
    rows = []
    for (selector, ratio), sample in one.samples.items():
        low, high = sample.interval()
        rows.append({
            **one.about, "selector": selector, "ratio": ratio,
            "kept": round(one.kept.get((selector, ratio), 0)), "draws": len(sample.observed),
            "mean": sample.mean, "low": low, "high": high,
        })  # fmt: skip
    return rows


def _differences(one: Scores) -> list[dict[str, Any]]:
    """Compare the selections of each ratio with the floor, with "random" and with all data."""
    rows = []
    for other, family, alike in families(one.samples, [one.floor]):
        found = compare(
            {key: one.samples[key] for key in family},
            one.samples[other],
            alike=[one.samples[key] for key in alike],
        )
        for (selector, ratio), comparison in found.items():
            row = {**one.about, "selector": selector, "ratio": ratio, "against": other[0]}
            row |= {"draws": len(one.samples[other].observed), **comparison.row()}
            rows.append({column: row[column] for column in DIFFERENCE_COLUMNS})
    return judge_above_floors(rows, [one.floor])
