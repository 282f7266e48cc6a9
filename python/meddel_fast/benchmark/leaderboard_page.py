"""The leaderboard for people: a table for the terminal, and one HTML file with nothing to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from meddel_fast.benchmark.leaderboard import Entry
from meddel_fast.benchmark.rank_plot import rank_plot
from meddel_fast.benchmark.standings import Spread, Standing, Standings
from meddel_fast.benchmark.statistics import MEAN
from meddel_fast.report.text import escape, number, percent

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>MedDEL leaderboard</title>
<style>$style
main > p:first-child { margin-top: 1.25rem; }
.wanting { color: var(--disruptive); }
.ranks { grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
.clique { stroke: var(--ink); stroke-width: 4; stroke-linecap: round; }
</style>
</head>
<body>
<header><div>
<p class="kicker">MedDEL benchmark</p>
<h1>Leaderboard</h1>
<p class="about">$about</p>
</div></header>
<main>
<p>Only results of one protocol stand in one table: the same pool, encoder, pre-training and heads,
told apart by a hash of all settings and of the data. Per cent, mean over the runs and its 95 %
bootstrap interval over runs and test images; &alpha; = $alpha. “Against random” is paired by run
and image. Ranks are those of mIoU at one share of the data. A result is verified when its scores
were computed again from its saved predictions and the masks.</p>
$notes
$sections
</main>
</body>
</html>
""")


def text_table(one: Standings) -> str:
    """Lay out the standings of a protocol for the terminal, per cent, in at most 100 columns."""
    place = MEAN if len(one.datasets) > 1 else one.datasets[0]
    lines = [["selector", "kept", "runs", "mIoU", "against random", "NormDEL", "rank", "verified"]]
    for row in one.rows:
        name = row.selector if len(row.selector) <= 28 else row.selector[:27] + "…"
        lines.append([
            name, f"{100 * row.ratio:g} %", str(row.runs), _spread(row.miou.get(place), 1),
            _spread(row.against_random, 1, sign=True),
            "-" if place not in row.normdel else f"{100 * row.normdel[place][0]:.2f}",
            "-" if row.rank is None else f"{row.rank:.2f}", "yes" if row.verified else "no",
        ])  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    body = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(map(len, body))
    title = f"protocol {one.protocol[:12]}: {', '.join(one.datasets)}"
    where = "mean of the data sets" if place == MEAN else place
    note = f"Per cent, {where}, mean of the runs [95 % interval]."
    return "\n".join([title, body[0], rule, *body[1:], rule, note, *one.notes])


def _spread(found: Spread | None, digits: int = 2, sign: bool = False) -> str:
    if found is None:
        return "-"
    mean, low, high = (100 * value for value in found)
    plus = "+" if sign else ""
    ends = f"[{low:{plus}.{digits}f}, {high:{plus}.{digits}f}]"
    return f"{mean:{plus}.2f} {ends}".replace("-", "\u2212")


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
    return _PAGE.substitute(
        style=files("meddel_fast.report").joinpath("page.css").read_text(encoding="utf-8"),
        about=" · ".join(parts),
        alpha=f"{alpha:g}",
        notes=_paragraphs(notes),
        sections="".join(_section(one, entries) for one in found),
    )


def _counted(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def _paragraphs(notes: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _section(one: Standings, entries: Sequence[Entry]) -> str:
    columns = [*([MEAN] if len(one.datasets) > 1 else []), *one.datasets]
    heads = ["Selector", "Kept", "Runs", f"mIoU, {columns[0]}", "Against random"]
    heads += [f"NormDEL, {columns[0]}", "Rank", "Verified"]
    heads += [f"mIoU, {name}" for name in columns[1:]]
    lines, previous = "", -1.0
    for row in one.rows:
        first = ' class="first"' if row.ratio != previous else ""
        lines += f"<tr{first}>{_cells(row, columns)}</tr>"
        previous = row.ratio
    figures = "".join(f"<figure>{rank_plot(ranks)}</figure>" for ranks in _rank_groups(one))
    plots = f'<h3>Average ranks</h3><div class="charts ranks">{figures}</div>' if figures else ""
    return (
        f'<section id="p{one.protocol[:12]}"><h2>Protocol {one.protocol[:12]}</h2>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Standings"><table><thead><tr>'
        + "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
        + f"</tr></thead><tbody>{lines}</tbody></table></div>{_paragraphs(one.notes)}{plots}"
        f"{_provenance(one, entries)}</section>"
    )


def _cells(row: Standing, columns: Sequence[str]) -> str:
    machines = f" <small>on {row.machines} machines</small>" if row.machines > 1 else ""
    first, *others = (f"<td>{_marked(row.miou.get(name))}</td>" for name in columns)
    verified = "yes" if row.verified else '<span class="wanting">no</span>'
    rank = "&ndash;" if row.rank is None else f"{row.rank:.2f}"
    return (
        f'<th scope="row">{escape(row.selector)}</th>'
        f"<td>{percent(row.ratio)} <small>{number(row.kept)}</small></td>"
        f"<td>{row.runs}{machines}</td>{first}"
        f"<td>{_marked(row.against_random, sign=True)}</td>"
        f"<td>{_marked(row.normdel.get(columns[0]))}</td>"
        f"<td>{rank}</td><td>{verified}</td>{''.join(others)}"
    )


def _marked(found: Spread | None, sign: bool = False) -> str:
    if found is None:
        return "&ndash;"
    mean, _, ends = _spread(found, sign=sign).partition(" ")
    return f"{mean} <small>{ends}</small>"


def _rank_groups(one: Standings) -> list[list[Mapping[str, Any]]]:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in one.ranks:
        groups.setdefault(row["ratio"], []).append(row)
    return list(groups.values())


def _provenance(one: Standings, entries: Sequence[Entry]) -> str:
    """List the runs of a protocol: where from, with what, how many results."""
    names = ("run", "machine", "package", "config_hash", "pool_hash")
    counts: dict[tuple[str, ...], list[bool]] = {}
    for entry in entries:
        if entry.row["protocol"] == one.protocol:
            key = tuple(str(entry.row[name]) for name in names)
            counts.setdefault(key, []).append(bool(entry.row["verified"]))
    lines = "".join(
        "<tr>"
        + "".join(f"<td>{escape(part[:12] if i > 2 else part)}</td>" for i, part in enumerate(key))
        + f"<td>{len(checked)}</td><td>{sum(checked)}</td></tr>"
        for key, checked in sorted(counts.items())
    )
    heads = ("Run", "Machine", "meddel-fast", "Settings", "Pool", "Results", "Verified")
    return (
        '<details><summary>Where the results come from</summary><div class="scroll" tabindex="0" '
        'role="region" aria-label="Runs"><table class="plain"><thead><tr>'
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>{lines}</tbody></table></div></details>"
    )
