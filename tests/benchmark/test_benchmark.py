"""The benchmark: scores, its plan, and runs that survive kills."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("rich")

import pyarrow as pa
import pyarrow.parquet as pq
from tiny_run import tiny

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.plan import build
from meddel_fast.benchmark.results import FULL, tag
from meddel_fast.benchmark.run import run
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import (
    PLANTED_COLUMNS,
    SCORE_COLUMNS,
    planted_rows,
    score_csv,
    score_rows,
)
from meddel_fast.benchmark.stages.run_folder import tags
from meddel_fast.benchmark.stages.stage import Records
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json

DRIVER = Path(__file__).parents[1] / "helpers" / "kill_driver.py"

TINY = tiny(
    run={"selectors": ["kcenter", "meddel"]},
    pretrain={"learning_rate": 1e-3, "checkpoint_every": 2},
)


# Scores


def result(miou: float, dice: float, image: float = 0.0) -> dict[str, float]:
    return {"miou": miou, "dice": dice, "image_iou_polyp": image, "image_dice": image + 0.1}


def test_score_rows() -> None:
    results = {
        "a": [result(0.5, 0.6, 0.3), result(0.7, 0.6, 0.1)],
        "b": [result(0.1, 0.2, 0.5), result(0.3, 0.4, 0.9)],
    }
    rows = score_rows("kcenter", 0.05, (6, 100), results, 1.0)
    assert [r["dataset"] for r in rows] == ["a", "b", "mean"]
    assert all(tuple(r) == SCORE_COLUMNS[:16] for r in rows)  # the rest: intervals and costs
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
    assert a["image_iou_mean"] == pytest.approx(0.2)
    assert a["image_dice_mean"] == pytest.approx(0.3)
    assert a["image_iou_std"] == pytest.approx(np.std([0.3, 0.1], ddof=1))
    assert mean["image_iou_mean"] == pytest.approx((0.2 + 0.7) / 2)


def test_one_seed_has_no_deviation() -> None:
    row, mean = score_rows("full", 1.0, (7, 7), {"a": [result(0.5, 0.6)]}, 2.0)
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
    assert names[:11] == [
        "make/made",
        "data/made",
        "data/pretrain",
        "pretrain/full-100",
        "embed",
        "leakage/embed-made",
        "leakage/audit",
        "leakage/sight",
        "leakage/inside",
        "select/kcenter",
        "select/meddel",
    ]
    assert names[11:13] == ["pretrain/kcenter-25", "pretrain/meddel-25"]
    assert names[13] == "untrained/untrained"
    assert names[-4:-2] == [f"evaluate/untrained/made-seed{seed}" for seed in (0, 1)]
    assert names[-2:] == ["score", "report"]
    assert len(names) == 14 + 4 * 2 + 2


def test_plan_of_repetitions(tiny: Path) -> None:
    tiny.write_text(TINY.replace("repeats = 1", "repeats = 3"))
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
    assert len([n for n in names if n.startswith("evaluate/")]) == 4 * 3 * 2
    assert [n for n in names if n.startswith("untrained/")] == [
        f"untrained/untrained{repeat}" for repeat in ("", "-repeat1", "-repeat2")
    ]
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
    "leakage/sight:end",
    "select/kcenter:begin",
    "select/meddel:end",
    "pretrain/meddel-25:middle",
    "untrained/untrained:begin",
    "untrained/untrained:end",
    "evaluate/full-100/made-seed1:middle",
    "evaluate/meddel-25/made-seed0:end",
    "evaluate/untrained/made-seed1:middle",
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
