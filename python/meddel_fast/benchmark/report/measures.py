"""What a run measured of its selections, in one shape for pre-training and for the probe.

Verdicts are read, never made, here: ``scores/`` gives them by its one rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meddel_fast.benchmark.probe.table import PROBES
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.text import METRIC_TITLES, data_sets
from meddel_fast.benchmark.scores.statistics import FULL, MEAN, RANDOM
from meddel_fast.benchmark.scores.verdicts import BETTER, NOT_JUDGED, marks

_MIOU = ("miou_mean", "miou_low", "miou_high")

Key = tuple[str, float]


@dataclass(frozen=True)
class Difference:
    """A selection against something: the mean, its interval within the family, the verdict."""

    key: Key
    against: str
    mean: float
    low: float | None
    high: float | None
    verdict: str
    why: str
    comparisons: int


@dataclass(frozen=True)
class Group:
    """All that was measured by one yardstick: a data set, or a probe on a data set.

    `runs` counts the draws of a probe, and otherwise repetitions times heads.
    """

    name: str
    metric: str
    runs: int
    differences: Sequence[Difference]
    scores: Mapping[Key, float]
    ends: Mapping[Key, tuple[float, float]]  # of each score's interval by itself
    kept: Mapping[Key, int]
    better: Collection[Key]  # than random: what tables set off

    def of(self, key: Key, against: str) -> Difference | None:
        """Give one selection's difference, if it is there."""
        found = (d for d in self.differences if d.key == key and d.against == against)
        return next(found, None)

    def judged(self) -> list[Difference]:
        """List what is compared with random, without all data."""
        return [d for d in self.differences if d.against == RANDOM and d.key[0] != FULL]

    @property
    def floors(self) -> list[str]:
        """List what any selection should be better than, before two are told apart."""
        names = dict.fromkeys(d.against for d in self.differences)
        return [name for name in names if name not in (RANDOM, FULL)]

    def clears(self, key: Key) -> bool | None:
        """Tell whether a selection is better than each floor; None where that is not judged."""
        found = [d.verdict for name in self.floors if (d := self.of(key, name))]
        return None if not found or NOT_JUDGED in found else set(found) == {BETTER}

    @property
    def cleared(self) -> bool | None:
        """Whether any selection clears the floors; None where that is judged of none."""
        keys = {d.key for d in self.differences if d.against in self.floors}
        told = {self.clears(key) for key in keys} - {None}
        return None if not told else True in told


@dataclass(frozen=True)
class Measure:
    """Pre-training, or the probe.

    Attributes
    ----------
    probe
        Whether it is the probe.
    rule
        How verdicts came about, of ``statistics.json`` or ``probe.json``.
    groups
        All groups, in the order of the file; the mean of the data sets is none, and each probe is
        there by its first metric.
    deciding
        Those that the answer goes by: pre-training's mean over the data sets, or the one there is;
        of the probe all groups.
    beside
        The probes by their other metrics.
    """

    probe: bool
    rule: Mapping[str, Any]
    groups: Sequence[Group]
    deciding: Sequence[Group]
    beside: Sequence[Group] = ()

    @property
    def ratios(self) -> list[float]:
        """Shares at which something is compared with random."""
        found = {d.key[1] for group in self.deciding for d in group.judged()}
        return sorted(found, reverse=True)

    def verdicts(self, key: Key, against: str = RANDOM) -> list[str]:
        """Give a selection's verdicts, a deciding group after the other."""
        found = [group.of(key, against) for group in self.deciding]
        return [d.verdict for d in found if d is not None]


def pretraining(run: Run) -> Measure | None:
    """Read what pre-training showed; None without verdicts."""
    rows = run.differences
    if not rows or not run.scores:
        return None
    sets, better = data_sets(run.scores), marks(rows)
    groups = {
        name: Group(
            name,
            METRIC_TITLES["miou"],
            int(run.scores[0]["seeds"]),
            [_difference(row, "miou_") for row in rows if row["dataset"] == name],
            *_scores([r for r in run.scores if r["dataset"] == name], *_MIOU),
            {(selector, ratio) for selector, ratio, where in better if where == name},
        )
        for name in sets
    }
    real = [group for name, group in groups.items() if name != MEAN]
    return Measure(False, run.statistics["rule"], real, [groups[sets[-1]]])


def probing(run: Run) -> Measure | None:
    """Read what the probe showed; None without one."""
    rows = run.probe.get("rows", [])
    if not rows:
        return None
    tasks = {str(row["task"]) for row in rows}
    groups: dict[tuple[str, ...], list[Group]] = {}
    for place in dict.fromkeys(map(_place, rows)):
        groups.setdefault(place[:3], []).append(_probe_group(run, place, len(tasks) > 1))
    first = [found[0] for found in groups.values()]
    others = [group for found in groups.values() for group in found[1:]]
    return Measure(True, run.probe["rule"], first, first, others)


def _probe_group(run: Run, place: tuple[str, ...], several: bool) -> Group:
    probe, task, dataset, metric = place
    rows = [row for row in run.probe["rows"] if _place(row) == place]
    mine = [row for row in run.probe["differences"] if _place(row) == place]
    return Group(
        (f"{task} by " if several else "") + f"{PROBES.get(probe, probe)} on {dataset}",
        METRIC_TITLES.get(metric, metric.replace("_", " ")),
        int(rows[0]["draws"]),
        [_difference(row) for row in mine],
        *_scores(rows, "mean", "low", "high"),
        {(selector, ratio) for selector, ratio, _ in marks(mine)},
    )


def _scores(
    rows: Sequence[Mapping[str, Any]], mean: str, low: str, high: str
) -> tuple[dict[Key, float], dict[Key, tuple[float, float]], dict[Key, int]]:
    """Give means, ends of their intervals and counts of images kept, of rows that have them."""
    ends = {_key(r): (float(r[low]), float(r[high])) for r in rows if r.get(low) is not None}
    kept = {_key(row): int(row["kept"]) for row in rows if row["kept"] is not None}
    return {_key(row): float(row[mean]) for row in rows}, ends, kept


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("probe", "task", "dataset", "metric"))


def _key(row: Mapping[str, Any]) -> Key:
    return str(row["selector"]), float(row["ratio"])


def _difference(row: Mapping[str, Any], of: str = "") -> Difference:
    return Difference(
        _key(row),
        str(row["against"]),
        float(row[f"{of}difference"]),
        row[f"{of}all_low"],
        row[f"{of}all_high"],
        str(row["verdict"]),
        str(row["why"]),
        int(row["comparisons"]),
    )
