"""Tables whose columns sort at a click; without scripts they are plain tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meddel_fast.report.text import escape

UP, DOWN = 1, -1


def sortable(
    name: str,
    heads: Sequence[tuple[str, int]],
    lines: Iterable[str],
    *,
    attributes: str = "",
    note: str = "",
) -> str:
    """Make a table.

    Parameters
    ----------
    name
        What a screen reader calls it.
    heads
        Of each column the title, as HTML, and which way it sorts at the first click: `UP` or
        `DOWN`.
    lines
        The rows, as HTML. A cell sorts by its ``data-value``, else by its text.
    attributes
        More attributes of the table, as HTML.
    note
        Shown above the table, as HTML; by default the name is there for screen readers alone.
    """
    titles = "".join(
        f'<th scope="col" aria-sort="none" data-first="{first}">'
        f'<button type="button">{title}</button></th>'
        for title, first in heads
    )
    caption = note or f'<span class="hidden">{escape(name)}</span>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table {attributes}><caption>{caption}</caption>"
        f"<thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def number_cell(value: float, text: str) -> str:
    """Make a cell that sorts by its value."""
    return f'<td data-value="{value:.17g}">{text}</td>'
