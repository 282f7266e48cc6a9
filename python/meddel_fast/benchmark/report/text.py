"""Numbers and names as the report writes them, and the scores as a table for the terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from meddel_fast.benchmark.scores.statistics import FULL, MEAN
from meddel_fast.benchmark.scores.verdicts import marks

METRIC_TITLES = {
    "miou": "mIoU",
    "dice": "Dice",
    "image_iou": "IoU by image",
    "image_dice": "Dice by image",
}

_UNSEEN = ("Cc", "Cf", "Cs")

Rows = Sequence[Mapping[str, Any]]


def visible(value: object) -> str:
    """Write what has no looks of its own as an escape, as Python does.

    That is control characters, marks that turn the direction of writing, which could make a name
    look like another one, and bytes of file names that are no text.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSEEN else c
        for c in text
    )


def percent(ratio: float, digits: int = 4) -> str:
    """Write a share: ``5 %``, ``33 %``, with a no-break space."""
    return f"{100 * ratio:.{digits}g}\u00a0%"


def number(count: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """Write a time span: ``4.2 s``, ``3 min 05 s``, ``2 h 03 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s"


def signed(fraction: float) -> str:
    """Write a difference of scores in points: ``+2.10``, with a minus sign where it is one."""
    return f"{round(100 * fraction, 2) + 0.0:+.2f}".replace("-", "\u2212")  # no \u22120.00


def span(low: float | None, high: float | None) -> str:
    """Write the interval of a difference; without one, that there is none."""
    return "[no interval]" if low is None or high is None else f"[{signed(low)}, {signed(high)}]"


def counted(count: int, noun: str, several: str = "") -> str:
    """Write a count with its noun: ``1 head``, ``3 heads``."""
    return f"{number(count)} {noun if count == 1 else several or noun + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Join parts of a sentence: ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def where(dataset: str) -> str:
    """Name a data set, or the mean of all, in a sentence."""
    return "the mean of the data sets" if dataset == MEAN else dataset


def data_sets(rows: Rows) -> list[str]:
    """List the columns of the table: the data sets, then their mean where there are several."""
    names = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    real = [name for name in names if name != MEAN]
    return [*real, MEAN] if len(real) > 1 and MEAN in names else real or names


def by_selection(rows: Rows) -> dict[tuple[str, float], dict[str, Mapping[str, Any]]]:
    """Group the rows: (selector, ratio) -> data set -> row; the full pool first."""
    grouped: dict[tuple[str, float], dict[str, Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: (r["selector"] != FULL, -float(r["ratio"]))):
        key = (str(row["selector"]), float(row["ratio"]))
        grouped.setdefault(key, {})[str(row["dataset"])] = row
    return grouped


def score_table(
    rows: Rows, statistics: Mapping[str, Any] | None = None, metric: str = "miou"
) -> str:
    """Lay out the scores for the terminal.

    Parameters
    ----------
    rows
        The rows of ``score/scores.json``: selector, ratio, kept, dataset, seeds (the
        number of runs), and mean, deviation and, where they are known, both ends of the 95 %
        interval of mIoU and NormDEL as fractions.
    statistics
        ``score/statistics.json``, whose verdicts, those of mIoU, are marked; None marks nothing.
    metric
        One of `METRIC_TITLES`, which stands beside NormDEL.

    Returns
    -------
    str
        Lines of plain text without a last line end. Per cent; ``*`` marks what is better than
        random, see `verdicts.marks`. Where nothing is judged, a line above says why.
    """
    if not rows:
        return "No scores yet."
    sets = data_sets(rows)
    measures = (("normdel", "NormDEL"), (metric, METRIC_TITLES[metric]))
    columns = [(name, one) for name in sets for one, _ in measures]
    judged = statistics or {}
    starred = marks(judged.get("differences", [])) if metric == "miou" else set()
    why = judged.get("rule", {}).get("why")
    lines = [["", ""] + [name if one == "normdel" else "" for name, one in columns]]
    lines.append(["selector", "kept"] + [dict(measures)[one] for _, one in columns])
    for key, found in by_selection(rows).items():
        count = next(iter(found.values()))["kept"]
        cells = [key[0], f"{100 * key[1]:g} %" + ("" if count is None else f" ({count})")]
        for name, one in columns:
            star = "*" if one == metric and (*key, name) in starred else " "
            spread = name == sets[-1]  # the spread of one data set fits a terminal
            cells.append(_cell(found[name], one, spread) + star if name in found else "-")
        lines.append(cells)
    seeds = max(int(row["seeds"]) for row in rows)
    if any("miou_low" in row for row in rows):
        of = f"means of {_runs(seeds, judged.get('rule', {}))} " if seeds > 1 else ""
        runs = f"{of}[95 % interval]"
    else:
        runs = f"means ± standard deviations of {seeds} runs" if seeds > 1 else "one run"
    above = textwrap.wrap(f"No verdicts: {why}.", 80) if why else []
    star = "; * better than random, by an interval that holds for all of its share at once"
    note = f"Per cent, {runs}{star if starred else ''}."
    return "\n".join([*above, *_aligned(lines), *textwrap.wrap(note, 100)])


def _runs(count: int, rule: Mapping[str, Any]) -> str:
    """Say what the runs of a table differ in: repetitions, seeds of the heads, or both."""
    repeats = int(rule.get("repeats", 1))
    if repeats == 1:
        return f"{count} seeds"
    return f"{repeats} repetitions" if count == repeats else f"{count} runs, {repeats} repetitions"


def _cell(row: Mapping[str, Any], metric: str, spread: bool) -> str:
    mean, deviation = (100 * float(row[f"{metric}_{kind}"]) for kind in ("mean", "std"))
    if spread and f"{metric}_low" in row:
        low, high = (100 * float(row[f"{metric}_{end}"]) for end in ("low", "high"))
        return f"{mean:.2f} [{low:.1f}, {high:.1f}]"
    return f"{mean:.2f} ±{deviation:.2f}" if spread and int(row["seeds"]) > 1 else f"{mean:.2f}"


def _aligned(lines: list[list[str]]) -> list[str]:
    """Pad the cells, text to the left and numbers to the right; a data set heads two columns."""
    widths = [max(len(line[i]) for line in lines[1:]) for i in range(len(lines[0]))]
    for i in range(2, len(widths), 2):
        widths[i] = max(widths[i], len(lines[0][i]) - widths[i + 1] - 2)
    head = " " * (widths[0] + widths[1] + 2)
    for i in range(2, len(widths), 2):
        head += "  " + lines[0][i].ljust(widths[i] + widths[i + 1] + 2)
    body = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines[1:]
    ]
    rule = "-" * max(map(len, body))
    return [head.rstrip(), body[0].rstrip(), rule, *(line.rstrip() for line in body[1:]), rule]
