"""What a run shows: a live list of stages on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meddel_fast.common.extras import needs

with needs("benchmark"):
    from rich.console import Console
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

if TYPE_CHECKING:
    from meddel_fast.benchmark.stages.stage import Stage

TITLES = {
    "make": "make frames",
    "data": "read data",
    "encoder": "train encoder",
    "pretrain": "pre-train",
    "embed": "embed",
    "leakage": "audit leakage",
    "select": "select",
    "probe": "probe",
    "untrained": "untrained floor",
    "evaluate": "evaluate",
    "generalisation": "generalise",
    "score": "score",
    "report": "report",
    "index": "index",
    "verify": "verify",
    "manifest": "read images",
    "embeddings": "embed",
    "duplicates": "find duplicates",
    "selection": "select",
    "kept": "list what is kept",
}
_PLAIN_INTERVAL = 15.0  # seconds between the plain lines of one stage


def clock(seconds: float) -> str:
    """Write a duration: ``4.2 s``, ``3:05``, ``2:03:05``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass
class Meter:
    """Progress of one stage: what is done, how fast, how long to go."""

    unit: str
    started: float
    done: int = 0
    total: int = 0
    first: tuple[float, int] | None = None  # when and where the counting began (resumed: not at 0)
    last: float = 0.0

    def update(self, now: float, done: int, total: int) -> None:
        """Take in a progress call made at `now` seconds; a pass that begins anew is timed anew."""
        if self.first is None or done < self.done or total != self.total:
            self.first = (now, done)
        self.done, self.total, self.last = done, total, now

    @property
    def fraction(self) -> float:
        """Share that is done, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def rate(self) -> float:
        """Units per second since the first call; 0 when not known yet."""
        if self.first is None or self.last <= self.first[0]:
            return 0.0
        return (self.done - self.first[1]) / (self.last - self.first[0])

    @property
    def left(self) -> float | None:
        """Seconds to go, None when not known yet."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def speed(self) -> str:
        """Write the rate with its unit; empty when not known yet, or without a unit."""
        rate = self.rate
        digits = 0 if rate >= 100 else 1 if rate >= 1 else 2
        return f"{rate:.{digits}f} {self.unit}/s" if self.unit and rate > 0 else ""


@dataclass
class Row:
    """One group of stages in the list."""

    title: str
    stages: int
    skipped: int = 0
    worked: int = 0
    seconds: float = 0.0
    speed: str = ""
    current: str = ""
    meter: Meter | None = None

    @property
    def ended(self) -> int:
        """Stages that are valid now."""
        return self.skipped + self.worked

    def completed(self) -> float:
        """Stages done, the current one by its share."""
        return self.ended + (self.meter.fraction if self.meter else 0.0)

    def left(self) -> float | None:
        """Seconds to the end of the group, from the mean of the stages worked on so far."""
        if self.meter is None or self.meter.left is None:
            return None
        stage = self.meter.last - self.meter.started + self.meter.left
        mean = (self.seconds + stage) / (self.worked + 1)
        return self.meter.left + (self.stages - self.ended - 1) * mean


class Board:
    """The state of the list; a `stage.Watcher` that only remembers."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.started = time.monotonic()
        self.rows: dict[str, Row] = {}
        for stage in stages:
            self.rows.setdefault(stage.group, Row(TITLES[stage.group], 0)).stages += 1

    def begin(self, stage: Stage, reason: str) -> None:
        """See `stage.Watcher`."""
        row = self.rows[stage.group]
        row.current = stage.label
        row.meter = Meter(stage.unit, time.monotonic())
        self.active = row

    def progress(self, done: int, total: int) -> None:
        """See `stage.Watcher`."""
        if self.active.meter is not None:
            self.active.meter.update(time.monotonic(), done, total)

    def end(self, stage: Stage, skipped: bool, seconds: float) -> None:
        """See `stage.Watcher`."""
        row = self.rows[stage.group]
        if skipped:
            row.skipped += 1
        else:
            row.worked += 1
            row.seconds += seconds
            row.speed = _speed(stage, row.meter)
        row.current, row.meter = "", None

    def __rich__(self) -> Table:
        """Draw the list."""
        grid = Table.grid(padding=(0, 1))
        for column in ("left", "left", "left", "right", "left", "right"):
            grid.add_column(justify=column, no_wrap=True)
        for row in self.rows.values():
            grid.add_row(*_cells(row))
        elapsed = clock(time.monotonic() - self.started)
        grid.add_row("", Text(f"elapsed {elapsed}", style="dim"))
        return grid


def _speed(stage: Stage, meter: Meter | None) -> str:
    known = stage.speed() if stage.speed is not None else ""
    return known or (meter.speed() if meter else "")


def _cells(row: Row) -> tuple[Text, Text, ProgressBar | Text, Text, Text, Text]:
    bar = ProgressBar(total=row.stages, completed=row.completed(), width=24)
    count = Text(f"{row.ended}/{row.stages}")
    if row.meter is not None:
        what = " ".join(part for part in (row.current, row.meter.speed()) if part)
        left = row.left()
        eta = Text("" if left is None else f"{clock(left)} left")
        return Text("▶", "cyan"), Text(row.title, "bold"), bar, count, Text(what), eta
    if row.ended < row.stages:
        return Text("·", "dim"), Text(row.title), bar, count, Text(""), Text("")
    if not row.worked:
        note = Text("skipped, already done", "dim")
        return Text("✓", "green"), Text(row.title), bar, count, note, Text("")
    note = Text(row.speed + (f"  ({row.skipped} already done)" if row.skipped else ""))
    return Text("✓", "green"), Text(row.title), bar, count, note, Text(clock(row.seconds))


class Lines:
    """Plain lines for logs and pipes: one when a stage starts to take long, one when it ends."""

    def __init__(self, stages: Sequence[Stage], console: Console) -> None:
        self.console = console
        self.number = 0
        self.stages = len(stages)
        self.printed = 0.0
        self.name = ""
        self.meter = Meter("", 0.0)

    def begin(self, stage: Stage, reason: str) -> None:
        """See `stage.Watcher`."""
        now = time.monotonic()
        self.name, self.meter, self.printed = stage.name, Meter(stage.unit, now), now
        if reason != "new":
            self._print(f"{stage.name}: {reason}")

    def progress(self, done: int, total: int) -> None:
        """See `stage.Watcher`."""
        now = time.monotonic()
        self.meter.update(now, done, total)
        if now - self.printed >= _PLAIN_INTERVAL:
            self.printed = now
            left = "" if self.meter.left is None else f"{clock(self.meter.left)} left"
            known = [f"{done}/{total} {self.meter.unit}", self.meter.speed(), left]
            self._print(f"{self.name}: {', '.join(filter(None, known))}")

    def end(self, stage: Stage, skipped: bool, seconds: float) -> None:
        """See `stage.Watcher`."""
        self.number += 1
        speed = "" if skipped else _speed(stage, self.meter)
        how = f"done in {clock(seconds)}" + (f" ({speed})" if speed else "")
        text = "skipped, already done" if skipped else how
        self._print(f"[{self.number}/{self.stages}] {stage.name}: {text}")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def watch(stages: Sequence[Stage], console: Console) -> Iterator[Board | Lines]:
    """Show `stages` while they are worked on: live on a terminal, else as lines."""
    if not console.is_terminal:
        yield Lines(stages, console)
        return
    board = Board(stages)
    with Live(board, console=console, refresh_per_second=5):
        yield board
