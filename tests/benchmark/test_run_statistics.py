"""The tables of a whole run: every statistic, its costs, what was trained once."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from meddel_fast.benchmark.report import score_table
from meddel_fast.benchmark.scores import statistics
from meddel_fast.benchmark.stages.shared_training import share_training
from meddel_fast.common.files import read_json


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_run_writes_every_table(finished_run: Path) -> None:
    folder = finished_run / "score"
    found = read_json(folder / "statistics.json")
    for name, columns in statistics.COLUMNS.items():
        rows = rows_of(folder / f"{name}.csv")
        assert len(rows) == len(found[name]) > 0
        assert tuple(rows[0]) == columns
    scores = read_json(folder / "scores.json")
    assert len(scores) == 9 * 3
    for row in scores:
        assert row["seeds"] == 4  # two repetitions of two heads
        assert row["miou_low"] <= row["miou_mean"] <= row["miou_high"]
        assert row["normdel_low"] <= row["normdel_mean"] <= row["normdel_high"]
        assert row["steps"] == 8
    sizes = {(r["selector"], r["ratio"]): (r["kept_bytes"], r["saved_bytes"]) for r in scores}
    whole = sum(sizes["full", 1.0])
    assert sizes["full", 1.0][1] == 0
    assert all(sum(pair) == whole for pair in sizes.values())
    assert {a["alpha"] for a in found["alphas"]} == {0.0, 0.5, 1.0, 2.0}


def test_run_tells_its_costs(finished_run: Path) -> None:
    rows = {(r["selector"], r["ratio"]): r for r in rows_of(finished_run / "score" / "costs.csv")}
    assert len(rows) == 9
    for (selector, _), row in rows.items():
        trained = float(row["pretrain_seconds"])
        assert trained > 0
        assert (row["repeats"], row["steps"]) == ("2", "8")
        assert (float(row["embed_seconds"]) > 0) == (selector not in ("full", "random"))
        assert row["encoder"] == ("none" if selector in ("full", "random") else "full")
        all_data = float(rows["full", "1.0"]["pretrain_seconds"])  # of two repetitions
        assert (0 < float(row["encoder_seconds"]) < 2 * all_data) == (row["encoder"] == "full")
        parts = [float(row[f"{part}_seconds"]) for part in ("encoder", "embed", "loss", "select")]
        assert float(row["total_seconds"]) == pytest.approx(trained + sum(parts))
        if row["device"] == "cpu":
            busy = float(row["total_seconds"])
            assert float(row["energy_wh_estimated"]) == pytest.approx(65 * busy / 3600)
            assert float(row["gpu_hours"]) == 0
    shared = [rows[s, "0.5"]["pretrain_seconds"] for s in ("semdedup", "meddel")]
    assert shared[0] == shared[1]  # as if each had been trained


def test_equal_subsets_are_trained_once(finished_run: Path) -> None:
    stages = finished_run / "stages" / "pretrain"
    shared = {
        path.stem: record["shared_with"]
        for path in stages.glob("*.json")
        if "shared_with" in (record := read_json(path))
    }
    names = [f"-{ratio}{repeat}" for ratio in (50, 25) for repeat in ("", "-repeat1")]
    assert shared == {f"meddel{n}": f"pretrain/semdedup{n}" for n in names}
    for name in names:
        ours, theirs = (finished_run / "pretrain" / f"{s}{name}" for s in ("meddel", "semdedup"))
        assert (ours / "loss.csv").read_bytes() == (theirs / "loss.csv").read_bytes()
        weights = [f / "model" / "model.safetensors" for f in (ours, theirs)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("links", [True, False])
def test_sharing_links_or_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "model").mkdir(parents=True)
    (first / "model" / "weights").write_text("w")
    (first / "loss.csv").write_text("step\n")
    (second / "checkpoint").mkdir(parents=True)  # left by a start of its own
    for _ in range(2):  # stopped half-way, it is done again
        share_training(first, second)
        assert sorted(p.name for p in second.rglob("*")) == ["loss.csv", "model", "weights"]
        assert (second / "model" / "weights").read_text() == "w"
        assert (second / "loss.csv").read_text() == "step\n"
    assert ((first / "loss.csv").stat().st_nlink == 2) == links


def test_repetitions_draw_and_train_anew(finished_run: Path) -> None:
    selected = {p.stem for p in (finished_run / "select").glob("*.parquet")}
    assert {"random-50-repeat1", "meddel-25-repeat1"} < selected
    assert "kcenter-50-repeat1" not in selected  # it draws nothing
    records = finished_run / "stages" / "pretrain"
    for name in ("full-100", "random-50", "kcenter-50"):
        first, second = (read_json(records / f"{name}{r}.json")["inputs"] for r in ("", "-repeat1"))
        assert second["config"]["seed"] == first["config"]["seed"] + 1
        assert (first["kept"] == second["kept"]) == (name != "random-50")


def test_score_table_shows_the_intervals(finished_run: Path) -> None:
    rows = read_json(finished_run / "score" / "scores.json")
    statistics = read_json(finished_run / "score" / "statistics.json")
    lines = score_table(rows, statistics).splitlines()
    assert max(map(len, lines)) <= 100
    assert "means of 4 runs, 2 repetitions [95 % interval]" in " ".join(lines)
    (row,) = [r for r in rows if (r["selector"], r["dataset"]) == ("full", "mean")]
    shown = next(line for line in lines if line.startswith("full"))
    assert f"[{100 * row['miou_low']:.1f}, {100 * row['miou_high']:.1f}]" in shown
    assert shown.count("[") == 2  # of one data set alone
