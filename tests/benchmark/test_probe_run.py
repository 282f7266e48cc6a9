"""The probe as stages of a run, and as a command: files in, tables out, errors before the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import lines
from tiny_run import tiny
from typer.testing import CliRunner

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.common.errors import ConfigError

PROBE = {"tasks": ["classification", "segmentation"], "draws": 3, "head_draws": 2}


def run_cli(*arguments: object, status: int = 0) -> str:
    return lines(CliRunner(), *arguments, status=status)


def config(folder: Path, **tables: Any) -> Path:
    tables = {"run": {"measures": ["probe"], "repeats": 1}, "probe": PROBE} | tables
    path = folder / "tiny.toml"
    path.write_text(tiny(encoder={"steps": 4}, **tables))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    run_cli("run", str(config(folder)))
    return folder / "run"


def test_a_table_probe_asks_for_both_measures_unless_the_run_says_otherwise(tmp_path: Path) -> None:
    def measures(more: str = "", **tables: Any) -> tuple[str, ...]:
        (tmp_path / "a.toml").write_text(tiny(**tables) + more)
        return load_config(tmp_path / "a.toml").measures

    assert measures() == ("pretrain",)
    assert measures(probe={"draws": 3}) == ("pretrain", "probe")
    assert measures(probe={"draws": 3}, run={"measures": ["probe"]}) == ("probe",)
    with pytest.raises(ConfigError, match=r"\[run\] measures must be some of \['pretrain', 'probe"):
        measures(run={"measures": ["prob"]})
    with pytest.raises(ConfigError, match=r"\[probe\] by must be .*'sequence'.*got 'video'"):
        measures(probe={"by": "video"})
    with pytest.raises(ConfigError, match=r'measures must have "pretrain" where \[\[references'):
        measures('[[references]]\nname = "x"\npath = "y"\n', run={"measures": ["probe"]})


def test_a_run_that_probes_alone_trains_no_selection(finished: Path) -> None:
    assert not (finished / "pretrain").exists()
    assert not (finished / "evaluate").exists()
    assert json.loads((finished / "score" / "scores.json").read_text()) == []
    assert (finished / "report" / "report.html").is_file()


def test_both_tasks_are_in_one_file(finished: Path) -> None:
    found = json.loads((finished / "score" / "probe.json").read_text())
    kinds = {(r["probe"], r["task"], r["dataset"], r["metric"]) for r in found["rows"]}
    assert kinds == {
        *(
            (probe, "classification", "pool", metric)
            for probe in ("knn", "linear")
            for metric in ("accuracy", "macro_recall")
        ),
        *(("mlp", "segmentation", "made", m) for m in ("miou", "image_iou", "image_dice")),
    }
    pool = 40  # 4 of 6 videos of 10 frames
    for row in found["rows"]:
        assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
        held_out = 8 if row["task"] == "classification" else 0
        if row["ratio"]:
            assert row["kept"] == round(row["ratio"] * (pool - held_out))
        assert row["draws"] == (3 if held_out else 2)
    assert [about["test"] for about in found["data"]] == ["held out", "split"]
    lines = (finished / "score" / "probe.csv").read_text().splitlines()
    assert len(lines) == 1 + len(found["rows"])


def test_the_floor_of_masks_follows_from_the_truth(finished: Path) -> None:
    """Where nothing is predicted the mIoU is half the share of background."""
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.training.loader import frames

    found = json.loads((finished / "score" / "probe.json").read_text())
    floor = {r["metric"]: r["mean"] for r in found["rows"] if r["selector"] == "nothing segmented"}
    test = Manifest.load(finished / "data" / "made.parquet").splits(("test",)).with_masks()
    truth = frames(test, 32, masks=True)[np.arange(len(test))] == 1
    assert floor["miou"] == pytest.approx((1 - truth.mean()) / 2)
    assert floor["image_iou"] == pytest.approx((~truth.any(axis=(1, 2))).mean())


def test_a_head_is_that_of_the_whole_manifest_where_all_rows_are_used(finished: Path) -> None:
    """The probe trains on rows of one manifest; `evaluate` on a manifest: they agree."""
    from meddel_fast.benchmark.probe.choose import Chooser
    from meddel_fast.benchmark.probe.segmentation import Images, segment
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.training.downstream import evaluate
    from meddel_fast.training.settings import DownstreamConfig

    rows = Manifest.load(finished / "data" / "made.parquet")
    pool, test = rows.splits(("train",)), rows.splits(("test",))
    head = DownstreamConfig(
        image_size=32, steps=6, batch_size=8, head_hidden=8, precision="fp32", encoder="frozen"
    )
    model = finished / "encoder" / "model"
    x = np.arange(len(pool), dtype=np.float32)[:, None]
    chooser = Chooser(["random"], [1.0, 0.5])
    found = segment(x, Images(model, pool, {"made": test}), chooser, head, draws=1)
    whole = evaluate(model, pool, test, head, seed=0)
    counts = found.counts["made"]["full", 1.0].sum(axis=(0, 1))
    assert counts.tolist() == whole["confusion"]
    kept = chooser.choose(x, np.arange(len(pool)), len(pool), 0)["random", 0.5]
    half = evaluate(model, pool.take(kept), test, head, seed=0)
    assert found.counts["made"]["random", 0.5].sum(axis=(0, 1)).tolist() == half["confusion"]


def test_a_second_start_does_nothing_and_other_draws_do_the_probe_again(
    finished: Path,
) -> None:
    record = finished / "stages" / "probe" / "classification.json"
    before = record.stat().st_mtime_ns
    run_cli("run", str(config(finished.parent)))
    assert record.stat().st_mtime_ns == before
    heads = record.with_name("segmentation.json")
    trained = heads.stat().st_mtime_ns
    changed = config(finished.parent, probe=PROBE | {"draws": 2, "neighbours": 3})
    shown = run_cli("probe", "--config", str(changed))
    again = record.stat().st_mtime_ns
    assert again != before
    assert heads.stat().st_mtime_ns == trained  # of settings that are not theirs
    assert "Nearest neighbours, pool" in shown
    assert "against random" in shown
    assert "MLP" in shown
    changed = config(finished.parent, probe=PROBE | {"draws": 2, "neighbours": 3, "head_draws": 1})
    run_cli("probe", "--config", str(changed))
    assert record.stat().st_mtime_ns == again
    assert heads.stat().st_mtime_ns != trained
    by_mask = PROBE | {"tasks": ["classification"], "by": "lesion", "draws": 2}
    shown = run_cli("probe", "--config", str(config(finished.parent, probe=by_mask)))
    assert "MLP" not in shown
    (about,) = json.loads((finished / "probe" / "classification.json").read_text())["data"]
    assert (about["dataset"], about["test"], about["classes"]) == ("made", "split", 2)
    assert (about["pool"], about["tested"]) == (40, 10)
    run_cli("run", str(config(finished.parent)))  # as the other tests want it


def test_labels_that_are_not_there_are_told_before_the_work(tmp_path: Path) -> None:
    path = config(tmp_path, probe=PROBE | {"by": "label", "tasks": ["classification"]})
    told = run_cli("run", str(path), status=2)
    assert '[probe] by = "label", made' in told
    assert "0 of 50 samples have a label" in told
    assert not (tmp_path / "run" / "encoder").exists()


# The command on files


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(6), [40, 20, 10, 6, 6, 6])
    x = rng.normal(size=(6, 8))[of] + 0.1 * rng.normal(size=(88, 8))
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    lines = [f"{i}.jpg,s{c},{'test' if i % 4 == 0 else 'train'}" for i, c in enumerate(of)]
    (tmp_path / "m.csv").write_text("\n".join(["file,sequence,split", *lines]) + "\n")
    return tmp_path


def test_the_command_writes_what_it_shows(files: Path) -> None:
    shown = run_cli(
        "probe", str(files / "x.npy"), "--labels", f"{files}/m.csv:sequence",
        "--selector", "kcenter", "--ratios", "1,0.1", "--probes", "knn", "--draws", "3",
        "--set", "kcenter.start=0", "--set", "neighbours=1", "--out", str(files / "out"),
    )  # fmt: skip
    found = json.loads((files / "out" / "probe.json").read_text())
    assert "6 classes, pool of 71, 17 asked about (held out), 3 draws" in shown
    assert {(r["selector"], r["ratio"]) for r in found["rows"]} == {
        ("full", 1.0), ("random", 0.1), ("kcenter", 0.1), ("majority class", 0.0),
    }  # fmt: skip
    for row in found["rows"]:
        if row["metric"] == "accuracy":
            assert f"{100 * row['mean']:.1f} [" in shown


def test_the_command_asks_about_a_split(files: Path) -> None:
    labels = ["--labels", f"{files}/m.csv:sequence", "--splits", f"{files}/m.csv:split"]
    shown = run_cli("probe", str(files / "x.npy"), *labels, "--draws", "2", "--ratios", "0.1")
    assert "pool of 66, 22 asked about (split), 2 draws" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--labels FILE is needed, or --manifest"),
        (["--labels", "{files}/m.csv:patient"], "has no column 'patient'"),
        (["--labels", "{files}/m.csv:sequence", "--ratios", "5"], "--ratios must be shares in"),
        (["--labels", "{files}/m.csv:sequence", "--selector", "best"], "must be one of"),
        (["--labels", "{files}/m.csv:sequence", "--probes", "tree"], "probes must be some of"),
        (["--labels", "{files}/m.csv:sequence", "--set", "kcenter.stat=1"], "no option stat"),
        (["--labels", "{files}/m.csv:sequence", "--splits", "{files}/m.csv:file"],
         "--splits must have samples of train and of test, got 0 and 0 of 88"),
    ],
)  # fmt: skip
def test_the_command_says_what_is_wrong(files: Path, arguments: list[str], told: str) -> None:
    given = [part.format(files=files) for part in arguments]
    assert told in run_cli("probe", str(files / "x.npy"), *given, status=2)


def test_a_run_that_probes_alone_has_nothing_to_verify_and_a_plan_that_says_so(
    finished: Path,
) -> None:
    from meddel_fast.benchmark.verify import verify

    assert verify(finished) == []
    shown = run_cli("run", "--plan", str(config(finished.parent)))
    assert "probe, classification: 3 draws of 4 selections" in shown
    assert "probe, segmentation: 2 draws of 4 selections" in shown
    assert "heads" not in shown
