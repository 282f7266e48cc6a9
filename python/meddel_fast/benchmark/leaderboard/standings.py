"""From the entries of one protocol to its standings: means, intervals, differences, ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.leaderboard.entries import Entry, data_names
from meddel_fast.benchmark.results import NOTHING, UNTRAINED
from meddel_fast.benchmark.scores.bootstrap import Run, Sample, resample
from meddel_fast.benchmark.scores.floors import nothing_of
from meddel_fast.benchmark.scores.statistics import (
    FLOORS,
    FULL,
    MEAN,
    RANDOM,
    Key,
    differences,
    normdel_table,
    rank_rows,
    with_mean,
)
from meddel_fast.benchmark.scores.verdicts import rule
from meddel_fast.training.predictions import load_confusions

Spread = tuple[float, float, float]
"""Mean, and both ends of its interval."""


@dataclass(frozen=True)
class Standing:
    """What is known of one selection.

    Attributes
    ----------
    selector, ratio, kept, pool
        The method with its options, the share asked for, images kept and there (None of given
        predictions, which do not tell).
    runs
        Number of runs (training seed and head seed) that every data set has.
    verified
        Whether all of its results are.
    machines
        Number of machines that they come from.
    miou
        Data set -> spread; with "mean" where it has every data set.
    normdel
        Likewise.
    against_random
        Difference of the mean mIoU to "random" at the same ratio, with the interval that holds all
        of the ratio at once; None where there is none.
    verdict
        What that says, see `verdicts.compare`; empty where there is none.
    rank
        Average rank at its ratio; None likewise.
    """

    selector: str
    ratio: float
    kept: int | None
    pool: int | None
    runs: int
    verified: bool
    machines: int
    miou: dict[str, Spread]
    normdel: dict[str, Spread]
    against_random: Spread | None
    verdict: str
    rank: float | None


@dataclass(frozen=True)
class Standings:
    """The standings of one protocol: rows by falling ratio, then by falling mIoU.

    ``ranks`` are rows of `statistics.rank_rows`; ``notes`` say what the rows do not.
    """

    protocol: str
    datasets: list[str]
    rows: list[Standing]
    ranks: list[dict[str, Any]]
    notes: list[str]


class _Group:
    """The entries of one protocol: selection -> data set -> run -> entry."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.names = data_names(entries)
        self.datasets = sorted(self.names.values())
        self.by: dict[Key, dict[str, dict[Run, Entry]]] = {}
        self._drawn: dict[tuple[Key, tuple[Run, ...]], dict[str, Sample]] = {}
        for entry in entries:
            row = entry.row
            sets = self.by.setdefault((entry.label, row["ratio"]), {})
            runs = sets.setdefault(self.names[row["dataset"], row["data_hash"]], {})
            runs[row["training_seed"], row["head_seed"]] = entry

    def runs(self, key: Key) -> list[Run]:
        """Give the runs of a selection that every one of its data sets has."""
        return sorted(set.intersection(*(set(runs) for runs in self.by[key].values())))

    def samples(self, key: Key, runs: Sequence[Run]) -> dict[str, Sample]:
        """Draw from some runs of a selection, a data set at a time; once for the same runs."""
        if (key, tuple(runs)) in self._drawn:
            return self._drawn[key, tuple(runs)]
        found = {}
        for name, entries in sorted(self.by[key].items()):
            counts = _counts(name, key[0], [entries[run].predictions for run in runs])
            found[name] = _draw(counts, runs, entries[runs[0]])
        self._drawn[key, tuple(runs)] = found
        return found

    def floors(self, key: Key, runs: Sequence[Run]) -> dict[Key, dict[str, Sample]]:
        """Draw from the floors of some runs that `key` has; untrained encoders if all have them."""
        found: dict[Key, dict[str, Sample]] = {(floor, 0.0): {} for floor in FLOORS}
        for name, entries in sorted(self.by[key].items()):
            mine = [entries[run] for run in runs]
            counts = _counts(name, key[0], [entry.predictions for entry in mine])
            found[NOTHING, 0.0][name] = _draw(nothing_of(counts), runs, mine[0])
            there = [entry.untrained for entry in mine if entry.untrained is not None]
            if len(there) == len(mine):
                counts = _counts(name, UNTRAINED, there)
                found[UNTRAINED, 0.0][name] = _draw(counts, runs, mine[0])
        return {floor: sets for floor, sets in found.items() if len(sets) == len(self.by[key])}


def _counts(name: str, selector: str, predictions: Sequence[Path]) -> NDArray[np.int64]:
    """Read the counts (runs, images, 2, 2) of saved predictions, all of the same images."""
    parts = [load_confusions(path) for path in predictions]
    if any(ids != parts[0][0] for ids, _ in parts):
        raise ValueError(f"{name}: results of {selector} were tested on different images")
    return np.stack([confusions for _, confusions in parts])


def _draw(counts: NDArray[np.int64], runs: Sequence[Run], entry: Entry) -> Sample:
    name = str(entry.row["dataset"])
    return resample({name: counts}, runs, name, groups=entry.groups)[name]


def standings(entries: Sequence[Entry], alpha: float = 1.0) -> list[Standings]:
    """Compare the selections of each protocol.

    Parameters
    ----------
    entries
        Without copies, see `leaderboard.without_copies`.
    alpha
        NormDEL's weight.

    Returns
    -------
    list of Standings
        One for each protocol, that with the most results first.

    Raises
    ------
    ValueError
        Saved predictions are damaged.
    """
    protocols: dict[str, list[Entry]] = {}
    for entry in entries:
        protocols.setdefault(entry.row["protocol"], []).append(entry)
    ordered = sorted(protocols.items(), key=lambda item: (-len(item[1]), item[0]))
    return [_standings(name, found, alpha) for name, found in ordered]


def _standings(name: str, entries: Sequence[Entry], alpha: float) -> Standings:
    group = _Group(entries)
    usable = [key for key in group.by if group.runs(key)]
    notes = [
        f"{key[0]} at {key[1]:g}: no run has all of its data sets, left out"
        for key in group.by if key not in usable
    ]  # fmt: skip
    complete = [key for key in usable if len(group.by[key]) == len(group.datasets)]
    retained = {key: _share(group, key) for key in usable}
    shared = [set(group.runs(key)) for key in complete]
    common = sorted(set.intersection(*shared)) if shared else []
    pairs: dict[Key, dict[str, Any]] = {}
    ranks: list[dict[str, Any]] = []
    if common:
        table = {key: group.samples(key, common) for key in complete}
        floors = group.floors(complete[0], common)
        pairs = {
            (r["selector"], r["ratio"]): r
            for r in differences({**floors, **table}, retained, alpha)
            if (r["dataset"], r["against"]) == (MEAN, RANDOM)
        }
        ranks = rank_rows(table)
        notes.append(
            f"Differences and ranks: over {len(complete)} of {len(group.by)} selections (those "
            f"with every data set) and the {len(common)} runs that all of these have."
        )
        why = rule(common)["why"]
        notes += [f"No verdicts: {why}."] if why else []
    elif len(complete) > 1:
        notes.append("No differences and no ranks: no run is common to all selections.")
    rank_of = {(r["selector"], r["ratio"]): r["average_rank"] for r in ranks}
    rows = [
        _standing(group, key, retained, alpha, pairs.get(key), rank_of.get(key)) for key in usable
    ]
    rows.sort(key=lambda row: (-row.ratio, row.selector != FULL, -_best(row)))
    return Standings(name, group.datasets, rows, ranks, notes)


def _standing(
    group: _Group,
    key: Key,
    retained: dict[Key, float],
    alpha: float,
    pair: dict[str, Any] | None,
    average_rank: float | None,
) -> Standing:
    runs = group.runs(key)
    table = {key: group.samples(key, runs)}
    scores = normdel_table(table, retained, alpha)
    sets, found = (t[key] if len(group.by[key]) < len(group.datasets) else with_mean(t)[key]
                   for t in (table, scores))  # fmt: skip
    entries = [entries[run] for entries in group.by[key].values() for run in runs]
    return Standing(
        *key,
        kept=entries[0].row["kept"],
        pool=entries[0].row["pool"],
        runs=len(runs),
        verified=all(entry.row["verified"] for entry in entries),
        machines=len({entry.row["machine"] for entry in entries}),
        miou={name: (s.mean, *s.interval()) for name, s in sets.items()},
        normdel={name: (s.mean, *s.interval()) for name, s in found.items()},
        against_random=None if pair is None else _ends(pair),
        verdict="" if pair is None else pair["verdict"],
        rank=average_rank,
    )


def _ends(row: dict[str, Any]) -> Spread:
    return row["miou_difference"], row["miou_all_low"], row["miou_all_high"]


def _share(group: _Group, key: Key) -> float:
    row = next(iter(next(iter(group.by[key].values())).values())).row
    return float(row["retained"])


def _best(row: Standing) -> float:
    """Mean mIoU for the order of the rows; that of some data sets where it lacks others."""
    return row.miou[MEAN][0] if MEAN in row.miou else -1.0
