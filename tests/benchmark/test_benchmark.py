"""The benchmark: stages that know when they are done, scores, and runs that survive kills."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("rich")

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from tiny_run import tiny

from meddel_fast.benchmark import display
from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.display import Board, Lines, Meter, clock
from meddel_fast.benchmark.plan import build
from meddel_fast.benchmark.run import run
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import (
    PLANTED_COLUMNS,
    SCORE_COLUMNS,
    planted_rows,
    score_csv,
    score_rows,
)
from meddel_fast.benchmark.stages.run_folder import FULL, tag, tags
from meddel_fast.benchmark.stages.stage import Records, Stage, digest, listing
from meddel_fast.common.atomic import write_text
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.common.lock import LockedError, lock

DRIVER = Path(__file__).parents[1] / "helpers" / "kill_driver.py"

TINY = tiny(
    run={"selectors": ["kcenter", "meddel"]},
    pretrain={"learning_rate": 1e-3, "checkpoint_every": 2},
)


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


# Scores


def test_score_rows() -> None:
    results = {
        "a": [{"miou": 0.5, "dice": 0.6}, {"miou": 0.7, "dice": 0.6}],
        "b": [{"miou": 0.1, "dice": 0.2}, {"miou": 0.3, "dice": 0.4}],
    }
    rows = score_rows("kcenter", 0.05, (6, 100), results, 1.0)
    assert [r["dataset"] for r in rows] == ["a", "b", "mean"]
    assert all(tuple(r) == SCORE_COLUMNS[:12] for r in rows)  # the rest: intervals and costs
    a, _, mean = rows
    assert (a["retained"], a["kept"], a["seeds"]) == (0.06, 6, 2)
    assert a["miou_mean"] == pytest.approx(0.6)
    assert a["miou_std"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    # the share that was truly kept, 6 of 100, not the 0.05 that was asked for
    scores = [normdel(0.5, 0.06), normdel(0.7, 0.06)]
    assert a["normdel_mean"] == pytest.approx(np.mean(scores))
    assert a["normdel_std"] == pytest.approx(np.std(scores, ddof=1))
    assert mean["miou_mean"] == pytest.approx(0.4)
    assert mean["miou_std"] == pytest.approx(np.std([0.3, 0.5], ddof=1))
    assert mean["dice_mean"] == pytest.approx(0.45)


def test_one_seed_has_no_deviation() -> None:
    row, mean = score_rows("full", 1.0, (7, 7), {"a": [{"miou": 0.5, "dice": 0.6}]}, 2.0)
    assert row["miou_std"] == row["dice_std"] == row["normdel_std"] == 0.0
    assert row["normdel_mean"] == normdel(0.5, 1.0, 2.0)
    assert mean == row | {"dataset": "mean"}


def test_planted_rows(tmp_path: Path) -> None:
    truth = tmp_path / "truth.parquet"
    kind = {"1": "normal", "2": "disruptive", "3": "disruptive", "4": "exact_duplicate"}
    kind |= {"5": "near_duplicate", "6": "near_duplicate", "9": "normal"}
    of = {"4": "1", "5": "9", "6": "9"}
    columns = {"id": list(kind), "kind": list(kind.values()), "of": [of.get(i, "") for i in kind]}
    pq.write_table(pa.table(columns), truth)
    ids = ["made/1", "made/2", "made/3", "made/4", "made/5", "made/6", "made/9", "real/1"]
    selections = [("full", 1.0, range(8)), ("x", 0.5, [0, 2, 4, 5]), ("y", 0.5, [3, 4, 6, 7])]
    rows = planted_rows(ids, selections, {"made": truth})
    assert all(set(r) == set(PLANTED_COLUMNS) for r in rows)
    table = {(r["selector"], r["kind"]): (r["planted"], r["removed"]) for r in rows}
    assert len(table) == len(rows) == 12
    assert table["full", "disruptive"] == (2, 0)
    assert table["x", "disruptive"] == (2, 1)
    assert table["full", "exact_duplicate"] == (1, 0)
    assert table["y", "exact_duplicate"] == (1, 1)  # the copy is kept, what it repeats is not
    assert table["full", "near_duplicate"] == (2, 0)
    assert table["x", "near_duplicate"] == (2, 1)  # two copies of a frame that is gone
    assert table["y", "near_duplicate"] == (2, 1)
    share = {(r["selector"], r["kind"]): r["share_of_kept"] for r in rows}
    assert share["x", "disruptive"] == 0.25
    assert share["y", "normal"] == 0.25
    assert planted_rows(ids, [("full", 1.0, range(4))], {}) == []


def test_score_csv(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("name,miou,retained\na,0.7095,0.05\n")
    (row,) = csv.DictReader(io.StringIO(score_csv(path, 1.0)))
    assert row["name"] == "a"
    assert float(row["normdel"]) == normdel(0.7095, 0.05)
    path.write_text("miou,retained\n0.5,0.5\n70.95,0.05\n")
    with pytest.raises(ValueError, match="row 2: miou must be a fraction"):
        score_csv(path, 1.0)
    path.write_text("miou,kept\n0.5,0.5\n")
    with pytest.raises(ValueError, match="no column 'retained'"):
        score_csv(path, 1.0)
    with pytest.raises(FileNotFoundError, match="no results"):
        score_csv(tmp_path / "none.csv", 1.0)


# The plan


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_tags() -> None:
    assert tag("kcenter", 0.05) == "kcenter-5"
    assert tag("kcenter", 0.07) == "kcenter-7"
    assert tag("meddel", 0.125) == "meddel-12.5"
    assert tag("meddel", 1.0) == FULL


def test_plan(tiny: Path) -> None:
    config = load_config(tiny)
    names = [stage.name for stage in build(config, Records(config.out))]
    assert tags(config) == [
        ("full-100", "full", 1.0),
        ("kcenter-25", "kcenter", 0.25),
        ("meddel-25", "meddel", 0.25),
    ]
    assert names[:9] == [
        "make/made",
        "data/made",
        "data/pretrain",
        "pretrain/full-100",
        "embed",
        "leakage/embed-made",
        "leakage/audit",
        "select/kcenter",
        "select/meddel",
    ]
    assert names[9:11] == ["pretrain/kcenter-25", "pretrain/meddel-25"]
    assert names[-2:] == ["score", "report"]
    assert len(names) == 11 + 3 * 2 + 2


def test_plan_of_repetitions(tiny: Path) -> None:
    tiny.write_text(TINY.replace("seeds =", "repeats = 3\nseeds ="))
    config = load_config(tiny)
    names = [stage.name for stage in build(config, Records(config.out))]
    assert [n for n in names if n.startswith("select/")] == [
        "select/kcenter",
        "select/meddel",
        "select/meddel-repeat1",
        "select/meddel-repeat2",
    ]
    trained = [n for n in names if n.startswith("pretrain/")]
    assert trained == [
        f"pretrain/{t}{repeat}"
        for repeat in ("", "-repeat1", "-repeat2")
        for t in ("full-100", "kcenter-25", "meddel-25")
    ]
    assert len([n for n in names if n.startswith("evaluate/")]) == 3 * 3 * 2
    tiny.write_text(tiny.read_text() + "[selectors.meddel]\nseed = 'x'\n")
    with pytest.raises(ConfigError, match=r"\[selectors.meddel\] seed must be"):
        build(load_config(tiny), Records(config.out))


def test_a_score_is_the_loss_of_the_runs_own_encoder(tiny: Path) -> None:
    chosen = TINY.replace('["kcenter", "meddel"]', '["kcenter", "loss"]')
    tiny.write_text(chosen + '[selectors.loss]\nscore = "mae"\n')
    config = load_config(tiny)
    assert "select/loss" in {stage.name for stage in build(config, Records(config.out))}
    tiny.write_text(chosen + '[selectors.loss]\nscore = "entropy"\n')
    config = load_config(tiny)
    with pytest.raises(ConfigError, match=r"score must be \"mae\", .*got 'entropy'"):
        build(config, Records(config.out))
    given = '[encoder]\npath = "some/model"\n[selectors.loss]\nscore = "mae"\n'
    tiny.write_text(chosen + given)
    config = load_config(tiny)
    with pytest.raises(ConfigError, match="with an encoder given by"):
        build(config, Records(config.out))


def test_plan_with_an_encoder_of_its_own_or_a_given_one(tiny: Path) -> None:
    tiny.write_text(TINY.replace("[1.0, 0.25]", "[0.25]"))
    config = load_config(tiny)
    names = [stage.name for stage in build(config, Records(config.out))]
    assert "pretrain/full-100" in names  # it embeds
    assert "evaluate/full-100/made-seed0" not in names
    tiny.write_text(TINY + "[encoder]\nsteps = 5\n")
    config = load_config(tiny)
    names = [stage.name for stage in build(config, Records(config.out))]
    assert names.index("encoder") < names.index("embed")
    tiny.write_text(TINY.replace("[1.0, 0.25]", "[0.25]") + "[encoder]\npath = 'some/model'\n")
    config = load_config(tiny)
    names = [stage.name for stage in build(config, Records(config.out))]
    assert not {"encoder", "pretrain/full-100"} & set(names)


def test_unknown_selector_and_option_are_refused_before_work(tiny: Path, tmp_path: Path) -> None:
    tiny.write_text(TINY.replace('"kcenter"', '"kcentre"'))
    with pytest.raises(ConfigError, match="kcentre"):
        run(load_config(tiny))
    tiny.write_text(TINY + "[selectors.meddel]\nepsilom = 0.5\n")
    with pytest.raises(ConfigError, match="epsilom"):
        run(load_config(tiny))
    assert not (tmp_path / "run").exists()


def test_unknown_group_is_refused(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="no stage 'encoder': make, data, pretrain"):
        run(load_config(tiny), until="encoder")


def test_foreign_directories_are_refused(tiny: Path, tmp_path: Path) -> None:
    config = load_config(tiny)
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no run"):
        run(config)
    (config.out / "run.json").write_text(json.dumps({"name": "other"}))
    with pytest.raises(
        ConfigError, match="holds the run 'other', this config is of the run 'tiny'"
    ):
        run(config)
    with pytest.raises(ConfigError, match="is a file"):
        run(load_config(tiny, out=tmp_path / "tiny.toml"))
    assert (config.out / "thesis.txt").read_text() == "mine"


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


# Whole runs, on made data with a model of a few thousand parameters


def table(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_json(out / "score" / "scores.json")
    return rows


def drive(tiny: Path, out: Path, *targets: str) -> str:
    command = [sys.executable, str(DRIVER), str(tiny), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, *targets], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


KILLS = (
    "make/made:begin",
    "make/made:middle",
    "data/made:begin",
    "data/made:end",
    "data/pretrain:end",
    "pretrain/full-100:middle",
    "pretrain/full-100:end",
    "embed:begin",
    "embed:middle",
    "embed:end",
    "leakage/embed-made:end",
    "leakage/audit:end",
    "select/kcenter:begin",
    "select/meddel:end",
    "pretrain/meddel-25:middle",
    "evaluate/full-100/made-seed1:middle",
    "evaluate/meddel-25/made-seed0:end",
    "score:begin",
    "score:end",
    "report:begin",
    "report:end",
)


@pytest.mark.timeout(600)
def test_killed_in_every_stage_a_run_ends_in_the_same_table(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    drive(tiny, tmp_path / "unbroken")
    said = drive(tiny, tmp_path / "broken", *KILLS)
    assert said.count("killed") == len(KILLS)
    assert table(tmp_path / "broken") == table(tmp_path / "unbroken")
    for name in (
        "score/scores.csv",
        "score/planted.csv",
        "pretrain/meddel-25/model/model.safetensors",
    ):
        whole, broken = tmp_path / "unbroken" / name, tmp_path / "broken" / name
        assert whole.read_bytes() == broken.read_bytes()
    assert (tmp_path / "broken" / "report" / "report.html").stat().st_size > 1000
    assert not list((tmp_path / "broken").rglob(".tmp-*"))
    rows = table(tmp_path / "broken")
    assert {(r["selector"], r["ratio"], r["dataset"]) for r in rows} == {
        (s, r, d)
        for s, r in (("full", 1.0), ("kcenter", 0.25), ("meddel", 0.25))
        for d in ("made", "mean")
    }
    assert [r["retained"] for r in rows] == [r["kept"] / rows[0]["kept"] for r in rows]
    again = drive(tiny, tmp_path / "broken")
    assert "done" not in again.replace("--- : finished", "")
