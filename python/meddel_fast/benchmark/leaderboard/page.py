"""The leaderboard for people: a table for the terminal, and one HTML file with nothing to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddel_fast.benchmark.leaderboard.entries import Entry
from meddel_fast.benchmark.leaderboard.rank_plot import rank_plot
from meddel_fast.benchmark.leaderboard.standings import Spread, Standings
from meddel_fast.benchmark.report.markup import fill
from meddel_fast.benchmark.report.text import number
from meddel_fast.benchmark.scores.statistics import MEAN
from meddel_fast.benchmark.scores.verdicts import BETTER
from meddel_fast.common.columns import aligned


def text_table(one: Standings) -> str:
    """Lay out the standings of a protocol for the terminal, per cent, in at most 100 columns."""
    place = MEAN if len(one.datasets) > 1 else one.datasets[0]
    lines = [["selector", "kept", "runs", "mIoU", "against random", "NormDEL", "rank", "verified"]]
    for row in one.rows:
        name = row.selector if len(row.selector) <= 22 else row.selector[:21] + "…"
        lines.append([
            name, f"{100 * row.ratio:g} %", str(row.runs), _spread(row.miou.get(place), 1),
            _spread(row.against_random, 1, sign=True) + ("*" if row.verdict == BETTER else ""),
            "-" if place not in row.normdel else f"{100 * row.normdel[place][0]:.2f}",
            "-" if row.rank is None else f"{row.rank:.2f}", "yes" if row.verified else "no",
        ])  # fmt: skip
    body = aligned(lines, 1)
    rule = "-" * max(map(len, body))
    title = f"protocol {one.protocol[:12]}: {', '.join(one.datasets)}"
    where = "mean of the data sets" if place == MEAN else place
    note = (
        f"Per cent, {where}, mean of the runs [95 % interval].\n"
        "Against random: [interval for all selections of a share at once]; * better by it."
    )
    return "\n".join([title, body[0], rule, *body[1:], rule, note, *one.notes])


def _spread(found: Spread | None, digits: int = 2, sign: bool = False) -> str:
    if found is None:
        return "-"
    mean, low, high = (100 * value for value in found)
    plus = "+" if sign else ""
    exact = 2
    if sign and max(-low, high) >= 10:  # little is known then, and decimals say nothing
        exact, digits = 1, 0
    ends = f"[{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"
    return f"{mean:{plus}.{exact}f} {ends}".replace("-", "\u2212")


def page(
    found: Sequence[Standings], entries: Sequence[Entry], notes: Sequence[str], alpha: float
) -> str:
    """Make the page.

    Parameters
    ----------
    found
        The standings of each protocol.
    entries
        All results, copies too.
    notes
        What was left out or counted once.
    alpha
        NormDEL's weight.
    """
    runs = {(e.row["run"], e.row["machine"], e.row["config_hash"]) for e in entries}
    machines = {e.row["machine"] for e in entries}
    parts = [
        f"{number(len(entries))} results",
        _counted(len(runs), "run"),
        _counted(len(machines), "machine"),
        _counted(len(found), "protocol"),
    ]
    return fill(
        "leaderboard",
        about=" · ".join(parts),
        alpha=f"{alpha:g}",
        notes=notes,
        protocols=[_protocol(one, entries) for one in found],
    )


def _counted(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def _protocol(one: Standings, entries: Sequence[Entry]) -> dict[str, Any]:
    """Give what the page shows of a protocol."""
    columns = [*([MEAN] if len(one.datasets) > 1 else []), *one.datasets]
    heads = ["Selector", "Kept", "Runs", f"mIoU, {columns[0]}", "Against random"]
    heads += [f"NormDEL, {columns[0]}", "Rank", "Verified"]
    heads += [f"mIoU, {name}" for name in columns[1:]]
    rows, previous = [], -1.0
    for row in one.rows:
        rows.append({
            "selector": row.selector, "ratio": row.ratio, "first": row.ratio != previous,
            "kept": row.kept, "runs": row.runs, "machines": row.machines,
            "miou": [_score(row.miou.get(name)) for name in columns],
            "against_random": _score(row.against_random, sign=True),
            "better": row.verdict == BETTER,
            "normdel": _score(row.normdel.get(columns[0])),
            "rank": row.rank, "verified": row.verified,
        })  # fmt: skip
        previous = row.ratio
    return {
        "name": one.protocol[:12],
        "heads": heads,
        "rows": rows,
        "notes": one.notes,
        "ranks": [rank_plot(ranks) for ranks in _rank_groups(one)],
        "runs": _provenance(one, entries),
    }


def _score(found: Spread | None, sign: bool = False) -> tuple[str, str] | None:
    """Write a score and its interval."""
    if found is None:
        return None
    mean, _, ends = _spread(found, sign=sign).partition(" ")
    return mean, ends


def _rank_groups(one: Standings) -> list[list[Mapping[str, Any]]]:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in one.ranks:
        groups.setdefault(row["ratio"], []).append(row)
    return list(groups.values())


def _provenance(one: Standings, entries: Sequence[Entry]) -> list[list[str]]:
    """List the runs of a protocol: where from, with what, how many results, how many verified."""
    names = ("run", "machine", "package", "config_hash", "pool_hash")
    counts: dict[tuple[str, ...], list[bool]] = {}
    for entry in entries:
        if entry.row["protocol"] == one.protocol:
            key = tuple(str(entry.row[name]) for name in names)
            counts.setdefault(key, []).append(bool(entry.row["verified"]))
    return [
        [*key[:3], *(part[:12] for part in key[3:]), str(len(checked)), str(sum(checked))]
        for key, checked in sorted(counts.items())
    ]
