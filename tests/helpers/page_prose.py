"""What a page says in words: all text but tables of values and captions of frames."""

from __future__ import annotations

import re
from html.parser import HTMLParser

BLOCKS = {"p", "li", "h1", "h2", "h3", "h4", "summary", "caption", "title"}
SILENT = {"script", "style", "table", "svg", "nav", "button", "select", "fieldset", "label"}
FRAMES = {"frames", "shares"}  # classes: pictures with their captions
_VOID = {"meta", "link", "input", "br", "img", "hr"}


class Prose(HTMLParser):
    """Collects the page's blocks of text, and what charts say to a screen reader and a pointer.

    Text that stands in none of `BLOCKS` is a block of its own: nothing is passed over.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self.charts: list[str] = []
        self.tips: list[str] = []
        self._open: list[tuple[str, bool]] = []  # tag, and whether what is in it is silent
        self._text = ""
        self.feed(text)
        self.close()
        self._flush()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        classes = set(found.get("class", "").split())
        if tag == "svg" and "chart" in classes:
            self.charts.append(_clean(found["aria-label"]))
        if "data-tip" in found:
            self.tips.append(_clean(found["data-tip"]))
        if tag in BLOCKS:
            self._flush()
        if tag not in _VOID:
            silent = tag in SILENT or bool(classes & FRAMES) or "skip" in classes
            self._open.append((tag, silent or self._silent))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()
        if tag in BLOCKS:
            self._flush()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._text += data

    @property
    def _silent(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def _flush(self) -> None:
        if text := _clean(self._text):
            self.blocks.append(text)
        self._text = ""


def _clean(text: str) -> str:
    """Give text with plain spaces and plain minus signs."""
    return re.sub(r"\s+", " ", text.replace("\u2212", "-").replace("\u202f", "")).strip()
