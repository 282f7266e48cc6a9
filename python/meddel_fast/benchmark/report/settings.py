"""How the run was made: wall time, hardware, versions, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import DOWN, UP, Cell, Head, Row, Table
from meddel_fast.benchmark.report.text import duration


def settings(run: Run) -> dict[str, Any]:
    """Give the stages' times; and hardware, versions and settings."""
    titles = {"hardware": "Hardware", "versions": "Versions", "config": "Settings"}
    heads = [Head("Name", UP), Head("Value", UP)]
    tables = [
        Table(title, heads, [Row(k, [Cell(v)]) for k, v in _flat(run.about[name])], "plain")
        for name, title in titles.items()
        if run.about.get(name)
    ]
    return {"times": _times(run), "tables": tables}


def _times(run: Run) -> Table | None:
    if not run.seconds:
        return None
    longest = max(run.seconds.values()) or 1.0
    rows = [
        Row(group, [Cell(duration(seconds), seconds, gauge=seconds / longest)])
        for group, seconds in run.seconds.items()
    ]
    note = f"Wall time, together {duration(sum(run.seconds.values()))}"
    heads = [Head("Stage", UP), Head("Time", DOWN)]
    return Table("Wall time by stage", heads, rows, "times", note)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Flatten nested settings into dotted names and texts; of absolute paths the last part."""
    if isinstance(value, Mapping) and value:
        return [pair for k, v in value.items() for pair in _flat(v, f"{name}.{k}" if name else k)]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [pair for i, v in enumerate(value) for pair in _flat(v, f"{name} {i + 1}")]
    if isinstance(value, list):
        return [(name, ", ".join(_plain(v) for v in value))]
    return [(name, _plain(value))]


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.startswith("/"):
        return "…/" + value.rstrip("/").rpartition("/")[2]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)
