"""Stages that know when they are done, one run at a time, and what is shown of them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from rich.console import Console

from meddel_fast.benchmark import display
from meddel_fast.benchmark.display import Board, Lines, Meter, clock
from meddel_fast.benchmark.stages.stage import Records, Stage, digest, listing
from meddel_fast.common.atomic import write_text
from meddel_fast.common.files import read_json
from meddel_fast.common.lock import LockedError, lock


class Log:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.reasons: dict[str, str] = {}

    def begin(self, stage: Stage, reason: str) -> None:
        self.reasons[stage.name] = reason

    def progress(self, done: int, total: int) -> None:
        pass

    def end(self, stage: Stage, skipped: bool, seconds: float) -> None:
        (self.skipped if skipped else self.done).append(stage.name)


class Chain:
    """Two stages, the second of which copies the first one's file: a run in small."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.setting = 1
        self.text = "hello"
        self.broken = False

    def execute(self) -> Log:
        records, log = Records(self.out), Log()
        first, second, folder = self.out / "first.txt", self.out / "b" / "x", self.out / "b"

        def copy(progress: object) -> None:
            write_text(second, first.read_text() * 2)
            if self.broken:
                raise RuntimeError("stop")
            write_text(folder / "y", "y")

        stages = [
            Stage(
                "a/first",
                (first,),
                lambda: {"setting": self.setting},
                lambda p: write_text(first, self.text),
            ),
            Stage("b", (folder,), lambda: {"first": records.digest(first)}, copy),
        ]
        for stage in stages:
            records.execute(stage, log)
        return log


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = Chain(tmp_path)
    assert chain.execute().done == ["a/first", "b"]
    return chain


def test_valid_stages_are_skipped(chain: Chain) -> None:
    log = chain.execute()
    assert (log.done, log.skipped) == ([], ["a/first", "b"])
    record = read_json(chain.out / "stages" / "a" / "first.json")
    assert record["state"] == "done"
    assert record["outputs"]["first.txt"]["bytes"] == 5


def test_changed_setting_redoes_what_depends_on_it(chain: Chain) -> None:
    chain.setting, chain.text = 2, "other"
    log = chain.execute()
    assert log.done == ["a/first", "b"]
    assert log.reasons == dict.fromkeys(log.done, "settings or inputs changed")
    assert (chain.out / "b" / "x").read_text() == "otherother"


def test_equal_output_of_a_redone_stage_spares_the_next_one(chain: Chain) -> None:
    chain.setting = 2
    log = chain.execute()
    assert (log.done, log.skipped) == (["a/first"], ["b"])


@pytest.mark.parametrize("damage", ["flip", "cut", "extra", "missing", "empty folder"])
def test_damaged_output_is_redone(chain: Chain, damage: str) -> None:
    path = chain.out / "b" / "x"
    times = path.stat()
    if damage == "flip":  # same size, same time: only the content tells
        path.write_text("hellohellO")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif damage == "cut":
        path.write_text("hello")
    elif damage == "extra":
        (chain.out / "b" / "z").write_text("z")
    else:
        path.unlink()
        if damage == "empty folder":
            (chain.out / "b" / "y").unlink()
    log = chain.execute()
    assert (log.done, log.skipped) == (["b"], ["a/first"])
    assert "damaged" in log.reasons["b"]
    assert sorted(p.name for p in (chain.out / "b").iterdir()) == ["x", "y"]
    assert path.read_text() == "hellohello"


def test_missing_output_or_record_is_redone(chain: Chain) -> None:
    (chain.out / "first.txt").unlink()
    log = chain.execute()
    assert log.done == ["a/first"]
    assert log.reasons["a/first"] == "first.txt is missing"
    record = chain.out / "stages" / "b.json"
    for content in ("{", "[]", ""):
        record.write_text(content)
        assert chain.execute().done == ["b"]


def test_failed_stage_is_not_counted_and_goes_on_only_under_its_own_key(chain: Chain) -> None:
    chain.setting, chain.text, chain.broken = 2, "half", True
    with pytest.raises(RuntimeError, match="stop"):
        chain.execute()
    assert read_json(chain.out / "stages" / "b.json")["state"] == "begun"
    (chain.out / "b" / "kept").write_text("partial")
    with pytest.raises(RuntimeError, match="stop"):
        chain.execute()
    assert (chain.out / "b" / "kept").exists()  # the same key: partial outputs are left to go on
    chain.setting, chain.text, chain.broken = 3, "new", False
    log = chain.execute()
    assert log.done == ["a/first", "b"]
    assert not (chain.out / "b" / "kept").exists()  # another key: they are not


def test_missing_output_after_work_is_an_error(tmp_path: Path) -> None:
    stage = Stage("a", (tmp_path / "never",), dict, lambda p: None)
    with pytest.raises(FileNotFoundError):
        Records(tmp_path).execute(stage, Log())


def test_digest_and_listing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "f").write_text("x")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert digest(tmp_path / "one")["files"] == 1
    before = listing(tmp_path)
    assert before == listing(tmp_path)
    (tmp_path / "one" / "sub" / "f").write_text("longer")
    assert before != listing(tmp_path)
    with pytest.raises(FileNotFoundError, match="data folder not found"):
        listing(tmp_path / "none")


# Locking


HOLD = """
import sys, time
from pathlib import Path
from meddel_fast.common.lock import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_run_is_refused_until_the_first_is_gone(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with pytest.raises(LockedError, match=f"process {holder.pid}"), lock(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock(tmp_path):  # a lock never outlives its holder
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


# What is shown


def test_clock() -> None:
    assert [clock(s) for s in (0.25, 9.94, 31.4, 185, 7385)] == [
        "0.2 s",
        "9.9 s",
        "31 s",
        "3:05",
        "2:03:05",
    ]


def test_meter_counts_from_where_a_resumed_stage_starts() -> None:
    meter = Meter("steps", 0.0)
    assert (meter.rate, meter.left, meter.fraction, meter.speed()) == (0.0, None, 0.0, "")
    meter.update(10.0, 800, 1000)
    meter.update(12.0, 900, 1000)
    assert meter.rate == 50.0
    assert meter.left == 2.0
    assert meter.fraction == 0.9
    assert meter.speed() == "50.0 steps/s"


def stage(name: str) -> Stage:
    return Stage(name, (), dict, lambda p: None)


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    stages = [stage("data/made"), stage("pretrain/full-100")]
    lines = Lines(stages, Console(file=text, width=40))
    lines.end(stages[0], skipped=True, seconds=1.0)
    lines.begin(stages[1], "interrupted")
    lines.progress(1, 10)
    monkeypatch.setattr(display, "_PLAIN_INTERVAL", 0.0)
    lines.progress(1, 10)  # the speed is not known yet
    lines.end(stages[1], skipped=False, seconds=61.0)
    assert text.getvalue().splitlines() == [
        "[1/2] data/made: skipped, already done",
        "pretrain/full-100: interrupted",
        "pretrain/full-100: 1/10 steps",
        "[2/2] pretrain/full-100: done in 1:01",
    ]


def test_live_board() -> None:
    stages = [stage("data/made"), stage("pretrain/a"), stage("pretrain/b"), stage("score")]
    board = Board(stages)
    board.end(stages[0], skipped=True, seconds=1.0)
    board.begin(stages[1], "new")
    board.progress(0, 10)
    time.sleep(0.01)
    board.progress(5, 10)
    text = io.StringIO()
    Console(file=text, width=120, force_terminal=True, color_system=None).print(board)
    shown = text.getvalue()
    assert "✓ read data" in shown
    assert "skipped, already done" in shown
    assert "▶ pre-train" in shown
    assert "steps/s" in shown
    assert "left" in shown
    assert "· score" in shown
    row = board.rows["pretrain"]
    assert row.completed() == 0.5
    board.end(stages[1], skipped=False, seconds=2.0)
    assert (row.ended, row.stages, row.meter) == (1, 2, None)
