"""A report's page taken apart, for the tests that look at it."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np

from meddel_fast.benchmark.report.markup import environment

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects ids, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def having(self, **wanted: str) -> list[dict[str, str | None]]:
        names = {k.rstrip("_").replace("_", "-"): v for k, v in wanted.items()}
        return [a for _, a in self.tags if all(a.get(k) == v for k, v in names.items())]


def draw(macro: str, *values: Any) -> str:
    """One of the charts' macros alone."""
    return str(getattr(environment().get_template("charts.html.j2").module, macro)(*values))


def frame_data(source: str) -> Any:
    """What the page's script knows of the frames."""
    (found,) = re.findall(r'<script type="application/json" id="frame-data">(.*?)</script>', source)
    return json.loads(found)


def column(data: Any, number: int) -> np.ndarray:
    """A column of numbers of the data."""
    kind, text = data["columns"][number]
    types = {"u16": "<u2", "u32": "<u4", "i16": "<i2", "f32": "<f4"}
    return np.frombuffer(base64.b64decode(text), types[kind])
