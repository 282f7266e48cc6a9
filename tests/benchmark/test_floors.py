"""The floors of a run, the settings of its selections, and what its selections cost."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from tiny_run import tiny
from typer.testing import CliRunner

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.plan import build
from meddel_fast.benchmark.results import floors_of_run, read_run, results_of_run
from meddel_fast.benchmark.scores import floors, selections
from meddel_fast.benchmark.scores.bootstrap import image_weights, resample
from meddel_fast.benchmark.scores.cost import Embedder, cost_row
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.other_scores import averages, by_image, other_intervals
from meddel_fast.benchmark.scores.score import METRICS
from meddel_fast.benchmark.stages.stage import Records
from meddel_fast.cli import app
from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.selectors import Selection, select
from meddel_fast.training.predictions import Predictions, confusion_matrices

# What predicts nothing


def test_nothing_is_the_empty_mask_on_the_same_truths(rng: np.random.Generator) -> None:
    truth = rng.random((2, 5, 8, 8)) < 0.3
    predicted = rng.random(truth.shape) < 0.5
    counts = np.stack([confusion_matrices(t, p) for t, p in zip(truth, predicted, strict=True)])
    wanted = np.stack([confusion_matrices(t, np.zeros_like(t)) for t in truth])
    np.testing.assert_array_equal(floors.nothing_of(counts), wanted)


def made_up(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Counts of two sets, an untrained encoder's in two runs, with a frame that has no lesion."""
    segmentation = pytest.importorskip("meddel_fast.training.segmentation")
    table: dict[Any, dict[str, Any]] = {key: {} for key in floors.KEYS}
    results, empty = {}, {}
    for name in ("a", "b"):
        truth = rng.random((7, 9, 9)) < 0.2
        truth[0] = False
        counts = np.stack([confusion_matrices(truth, rng.random(truth.shape) < 0.3) for _ in "01"])
        nothing = floors.nothing_of(counts)
        drawn = resample(dict(zip(floors.KEYS, (counts, nothing), strict=True)), [(0, 0), (1, 0)],
                         name, draws=200)  # fmt: skip
        for key, sample in drawn.items():
            table[key][name] = sample
        results[name] = [segmentation.scores(run) for run in counts]
        empty[name] = segmentation.scores(nothing[0])
    return table, results, empty


def test_floor_rows(rng: np.random.Generator) -> None:
    table, results, empty = made_up(rng)
    rows = floors.floor_rows(table, results, empty, {1.0: 1.0, 0.05: 0.06}, 2.0)
    found = {(row["floor"], row["dataset"]): row for row in rows}
    assert list(found) == [(f, d) for f in ("untrained", "nothing") for d in ("a", "b", "mean")]
    one = found["untrained", "b"]
    for column, score in METRICS.items():
        assert one[f"{column}_mean"] == pytest.approx(np.mean([r[score] for r in results["b"]]))
    assert one["runs"] == 2
    assert one["miou_low"] < one["miou_mean"] < one["miou_high"]
    assert found["untrained", "mean"]["dice_mean"] == pytest.approx(
        np.mean([found["untrained", name]["dice_mean"] for name in "ab"])
    )
    none = found["nothing", "a"]
    assert none["dice_mean"] == 0.0
    assert none["image_iou_mean"] == pytest.approx(1 / 7)  # of the frame that has no lesion
    assert 0.3 < none["miou_mean"] < 0.5  # half of the background's share, not 0
    # the lower end of NormDEL: at the share that was kept, not the one asked for
    ends = none["normdel_low_end"]
    assert ends == {"1.0": normdel(none["miou_mean"], 1.0, 2.0),
                    "0.05": normdel(none["miou_mean"], 0.06, 2.0)}  # fmt: skip
    assert min(ends.values()) > 0.5
    mean = np.mean([found["nothing", name]["normdel_low_end"]["0.05"] for name in "ab"])
    assert found["nothing", "mean"]["normdel_low_end"]["0.05"] == pytest.approx(mean)


def against(verdicts: dict[tuple[str, float, str], str], dataset: str) -> list[dict[str, Any]]:
    return [
        {"selector": s, "ratio": r, "dataset": dataset, "against": floor, "verdict": verdict,
         "why": "one repetition"}
        for (s, r, floor), verdict in verdicts.items()
    ]  # fmt: skip


def test_it_is_said_what_does_not_clear_the_floors(rng: np.random.Generator) -> None:
    rows = floors.floor_rows(*made_up(rng), {1.0: 1.0}, 1.0)
    one_set = [row for row in rows if row["dataset"] != "b"]
    judged = against({
        ("random", 0.1, "untrained"): "better", ("random", 0.1, "nothing"): "better",
        ("kcenter", 0.1, "untrained"): "not told apart", ("kcenter", 0.1, "nothing"): "better",
        ("kcenter", 0.05, "untrained"): "worse", ("kcenter", 0.05, "nothing"): "better",
        ("meddel", 0.1, "untrained"): "worse", ("meddel", 0.1, "nothing"): "not judged",
        ("meddel", 0.1, "random"): "better", ("random", 0.1, "full"): "worse",
    }, "a")  # fmt: skip
    first, second, told = floors.told(one_set, judged)
    values = {row["floor"]: 100 * row["miou_mean"] for row in one_set if row["dataset"] == "a"}
    assert first == f"Floor, untrained encoder: a {values['untrained']:.2f}"
    assert second == f"Floor, nothing segmented: a {values['nothing']:.2f}"
    assert told == ("a: not shown to be better than a floor: kcenter at 10, 5 % (untrained); "
                    "meddel at 10 % (untrained and nothing).")  # fmt: skip
    unknown = against({("random", 0.1, "untrained"): "not judged"}, "b")
    lines = floors.told(rows, judged[:2] + unknown)
    assert [line.partition("a ")[2].split()[1] for line in lines[:2]] == ["b", "b"]
    assert lines[2] == "a: every selection clears the floors."
    assert lines[3] == "b: not judged whether a selection clears the floors (one repetition)."
    assert lines[4] == "mean: no selection was held against the floors."
    assert floors.told([], judged) == []


# In a run


def test_untrained_weights_are_those_that_pre_training_starts_from(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from dataclasses import replace

    from frames import TINY, blob_frames
    from safetensors.numpy import load_file

    from meddel_fast.training.pretrain import pretrain
    from meddel_fast.training.untrained import write_untrained

    still = replace(TINY, steps=1, warmup_steps=0, learning_rate=1e-30, seed=5)
    data = blob_frames(tmp_path / "blobs")
    for method in ("mae", "simmim"):
        config = replace(still, method=method)
        trained = pretrain(data, None, tmp_path / method, config, device="cpu")
        first = write_untrained(tmp_path / f"{method}-first", config, device="cpu")
        other = write_untrained(tmp_path / f"{method}-other", replace(config, seed=6), device="cpu")
        weights = [load_file(f / "model.safetensors") for f in (trained, first, other)]
        assert weights[0].keys() == weights[1].keys()
        # All but the biases, 0 at first, are too large for such a step to change them.
        assert all(np.allclose(weights[0][k], weights[1][k], 0, 1e-29) for k in weights[0])
        assert any(not np.array_equal(weights[0][k], weights[2][k]) for k in weights[0])
        assert (first / "config.json").read_text() == (trained / "config.json").read_text()


def test_a_run_measures_its_floors(finished_run: Path) -> None:
    stages = finished_run / "stages"
    for repeat in ("", "-repeat1"):
        seeds = [
            read_json(stages / f"{name}{repeat}.json")["inputs"]["config"]["seed"]
            for name in ("untrained/untrained", "pretrain/full-100")
        ]
        assert seeds[0] == seeds[1]
    first, second = (
        (finished_run / "untrained" / f"untrained{repeat}" / "model" / "model.safetensors")
        for repeat in ("", "-repeat1")
    )
    assert first.read_bytes() != second.read_bytes()
    rows = {(r["floor"], r["dataset"]): r for r in read_json(finished_run / "score/floors.json")}
    results = floors_of_run(finished_run, read_run(finished_run))
    assert len(results) == 2 * 2 * 2  # sets, seeds, repetitions
    for name in ("made", "other"):
        mine = [r for r in results if r.data == name]
        mious = [read_json(r.path)["miou"] for r in mine]
        assert rows["untrained", name]["miou_mean"] == pytest.approx(np.mean(mious), rel=1e-12)
        assert rows["untrained", name]["runs"] == len(mine) == 4
        found = Predictions.load(mine[0].predictions)
        truths = found.confusions.sum(axis=2)
        background, lesion = truths.sum(axis=0)
        wanted = background / (background + lesion) / 2
        assert rows["nothing", name]["miou_mean"] == pytest.approx(wanted, rel=1e-12)
        ends = rows["nothing", name]["normdel_low_end"]
        assert ends["0.25"] == pytest.approx(normdel(wanted, 0.25), rel=1e-12)
    with (finished_run / "score" / "floors.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) == 6
    assert (
        float(table[-1]["normdel_low_end_0.25"])
        == rows["nothing", "mean"]["normdel_low_end"]["0.25"]
    )


def test_floors_are_no_selections(finished_run: Path) -> None:
    about = read_run(finished_run)
    assert about["floors"] == ["untrained"]
    assert {r.selector for r in results_of_run(finished_run, about)}.isdisjoint({"untrained"})
    assert floors_of_run(finished_run, {**about, "floors": []}) == []
    del about["floors"]
    assert floors_of_run(finished_run, about) == []  # of before there were any
    scores = read_json(finished_run / "score" / "scores.json")
    assert {r["selector"] for r in scores} == {"full", "random", "kcenter", "semdedup", "meddel"}
    found = read_json(finished_run / "score" / "statistics.json")
    for table in ("alphas", "areas", "ranks"):
        assert {"untrained", "nothing"}.isdisjoint(row["selector"] for row in found[table])


@pytest.mark.parametrize("name", ["untrained", "nothing"])
def test_nothing_else_may_be_called_as_the_floors_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(tiny(run={"selectors": ["random", name]}))
    with pytest.raises(ConfigError, match=rf"run.selectors must be other than .*got '{name}'"):
        load_config(path)
    path.write_text(tiny() + f'[[references]]\nname = "{name}"\npath = "x"\n')
    with pytest.raises(ConfigError, match=rf"references\]\] names must be .*got '{name}'"):
        load_config(path)


def test_scores_by_image_stand_beside_those_of_the_pixels(finished_run: Path) -> None:
    rows = read_json(finished_run / "score" / "scores.json")
    results = results_of_run(finished_run, read_run(finished_run))
    for row in [r for r in rows if r["dataset"] != "mean"]:
        runs = [
            read_json(r.path)
            for r in results
            if (r.selector, r.ratio, r.data) == (row["selector"], row["ratio"], row["dataset"])
        ]
        for column, score in (("image_iou", "image_iou_polyp"), ("image_dice", "image_dice")):
            values = [run[score] for run in runs]
            assert row[f"{column}_mean"] == pytest.approx(np.mean(values), rel=1e-12)
            assert row[f"{column}_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
    for row in rows:
        for column in ("dice", "image_iou", "image_dice"):
            low, mean, high = (row[f"{column}_{end}"] for end in ("low", "mean", "high"))
            assert 0 <= low <= mean <= high <= 1
            assert low < high


def test_intervals_of_scores_by_image_are_of_the_same_draws(rng: np.random.Generator) -> None:
    segmentation = pytest.importorskip("meddel_fast.training.segmentation")
    truth = rng.random((9, 8, 8)) < 0.3
    ignored = np.zeros_like(truth)
    ignored[4] = True  # the mask leaves out all of an image
    truth[2] = False
    counts = np.stack(
        [confusion_matrices(truth, rng.random(truth.shape) < share, ignored) for share in (0.3, 0)]
    )
    found = by_image(counts)
    for run, one in enumerate(counts):
        wanted = segmentation.scores(one)
        assert np.nanmean(found["image_iou"][run]) == pytest.approx(wanted["image_iou_polyp"])
        assert np.nanmean(found["image_dice"][run]) == pytest.approx(wanted["image_dice"])
    assert np.isnan(found["image_iou"][:, 4]).all()
    runs = [(0, 0), (0, 1)]
    sample = averages({"x": found["image_dice"]}, runs, "set", [""] * 9)["x"]
    pooled = resample({"x": counts}, runs, "set")["x"]
    np.testing.assert_array_equal(sample.weights, pooled.weights)
    some = np.nan_to_num(found["image_dice"])
    for block, weights in image_weights(9, "set"):
        direct = weights @ some.T / weights[:, np.arange(9) != 4].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(sample.drawn[block], direct, rtol=1e-9, atol=1e-11)
    spans = other_intervals([("set", {"x": counts}, runs)], {"set": [""] * 9})["x"]
    assert spans["set"] == spans["mean"]  # of one set
    low, high = sample.interval()
    assert 0 < high < 1
    assert (spans["set"]["image_dice_low"], spans["set"]["image_dice_high"]) == (max(0, low), high)
    assert 0 <= spans["set"]["dice_low"] < spans["set"]["dice_high"] <= 1


def test_score_command_shows_floors_and_another_score(finished_run: Path, cli: CliRunner) -> None:
    rows = {
        (r["selector"], r["ratio"], r["dataset"]): r
        for r in read_json(finished_run / "score" / "scores.json")
    }
    floor = {r["dataset"]: r for r in read_json(finished_run / "score" / "floors.json")[:3]}
    for metric in METRICS:
        done = cli.invoke(app, ["score", str(finished_run), "--metric", metric])
        assert done.exit_code == 0, done.output
        lines = done.output.splitlines()
        full = next(line for line in lines if line.startswith("full"))
        assert f"{100 * rows['full', 1.0, 'made'][f'{metric}_mean']:.2f}" in full
        told = next(line for line in lines if line.startswith("Floor, untrained encoder"))
        assert f"made {100 * floor['made'][f'{metric}_mean']:.2f}, other" in told
        assert any(line.startswith("Floor, nothing segmented") for line in lines)
        assert "meddel: epsilon = 2 removed nothing." in lines
        assert "meddel-25 keeps the very samples of semdedup-25, and shares its training." in lines
    done = cli.invoke(app, ["score", str(finished_run), "--metric", "iou"])
    assert done.exit_code == 2
    assert "--metric must be one of miou, dice, image_iou, image_dice" in done.output
    done = cli.invoke(app, ["score", str(finished_run), "--metric", "dice", "--out", "x.csv"])
    assert done.exit_code == 2
    assert "--metric would have no effect" in done.output


# The settings of the selections


def test_every_selection_tells_its_settings(finished_run: Path) -> None:
    rows = read_json(finished_run / "score" / "selections.json")
    assert len(rows) == 4 * 2 * 2  # selectors, ratios, repetitions
    for row in rows:
        assert tuple(row) == selections.SELECTION_COLUMNS
        drawn = row["selector"] != "kcenter" and row["repeat"]
        path = finished_run / "select" / f"{row['tag']}{'-repeat1' if drawn else ''}.parquet"
        chosen = Selection.load(path)
        assert row["settings"] == chosen.settings
        assert (row["kept"], row["retained"]) == (len(chosen), len(chosen) / chosen.n)
        takes_over = row["selector"] == "meddel"
        same = f"semdedup-{100 * row['ratio']:g}" if takes_over else ""
        assert row["same_as"] == same
        assert row["shared_with"] == (same + "-repeat1" * row["repeat"] if takes_over else "")
        assert row["left_out_as_disruptive"] == (0 if takes_over else None)
    with (finished_run / "score" / "selections.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [json.loads(row["settings"]) for row in table] == [row["settings"] for row in rows]


def test_what_epsilon_removed_is_counted(tmp_path: Path, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.normal(size=(30, 4)) + 9, -rng.normal(size=(3, 4)) - 9])
    options = {"clusters": 1, "epsilon": 0.5}
    rows = []
    for budget in (20, 31):  # of 30 that are not disruptive
        select("meddel", x, budget, **options).save(tmp_path / f"{budget}.parquet")
        rows.append(("meddel", budget / 33, 0, f"meddel-{budget}", tmp_path / f"{budget}.parquet"))
    found = selections.selection_rows(rows, tmp_path / "stages")
    assert [row["left_out_as_disruptive"] for row in found] == [3, 2]  # one came back
    assert [row["settings"]["returned"] for row in found] == [0, 1]
    assert [(row["same_as"], row["shared_with"]) for row in found] == [("", "")] * 2
    assert selections.told(found) == []
    idle = {**found[0], "settings": {"epsilon": 0.5, "disruptive": 0}}
    assert selections.idle_epsilons([idle, found[0]]) == {}  # in another selection it did remove
    assert selections.idle_epsilons([{**found[1], "left_out_as_disruptive": 0}]) == {}  # all back
    assert selections.idle_epsilons([idle]) == {"meddel": 0.5}
    twins = [("a", 0.5, 0, "a-50", rows[0][-1]), ("b", 0.5, 1, "b-50", rows[0][-1])]
    twins.append(("c", 0.5, 0, "c-50", rows[0][-1]))
    found = selections.selection_rows(twins, tmp_path / "stages")
    assert [row["same_as"] for row in found] == ["", "", "a-50"]  # within a repetition


# Costs


@pytest.fixture
def records(tmp_path: Path) -> Callable[..., Path]:
    """Writes the records and logs of a run of known times."""

    def training(name: str, rates: list[float], device: str = "cuda") -> Path:
        folder = tmp_path / name
        about = {"settings": {"batch_size": 12, "steps": len(rates)}, "device": device}
        write_json(folder / "model" / "pretrain.json", about)
        lines = ["step,loss,learning_rate,images_per_s", *(f"1,1,1,{rate}" for rate in rates)]
        (folder / "loss.csv").write_text("\n".join(lines) + "\n")
        return folder

    write_json(tmp_path / "stages" / "embed.json", {"seconds": 100.0})
    for name, record in (
        ("random", {"seconds": 1.0}),
        ("kcenter", {"seconds": 7.0}),
        ("loss", {"seconds": 50.0, "loss_seconds": 45.0}),
    ):
        write_json(tmp_path / "stages" / "select" / f"{name}.json", record)
    return training


def test_costs_are_those_of_all_that_a_selection_needs(
    records: Callable[..., Path], tmp_path: Path
) -> None:
    watts = load_config_of_costs(tmp_path)
    trained = [records("first", [4.0, 4.0]), records("second", [2.0, 2.0])]  # 6 and 12 s
    encoder = records("encoder", [1.0, 1.0, 1.0])  # 36 s

    def cost(selector: str, embedder: Embedder) -> dict[str, Any]:
        row = {"selector": selector, "ratio": 0.1, "kept": 3}
        return cost_row(row, trained, embedder, tmp_path / "stages", watts)

    own = Embedder("own", encoder)
    for selector, parts in {
        "full": ("none", 0, 0, 0, 0),
        "random": ("none", 0, 0, 0, 1),
        "kcenter": ("own", 36, 100, 0, 7),
        "loss": ("own", 36, 100, 45, 5),
    }.items():
        found = cost(selector, own)
        names = ("encoder_seconds", "embed_seconds", "loss_seconds", "select_seconds")
        assert (found["encoder"], *(found[name] for name in names)) == parts
        assert found["pretrain_seconds"] == 9.0
        assert found["total_seconds"] == 9.0 + sum(parts[1:])
        on_gpu = 9.0 + sum(parts[1:4])
        assert found["gpu_hours"] == pytest.approx(on_gpu / 3600)
        joules = 10 * found["total_seconds"] + 100 * on_gpu
        assert found["energy_wh_estimated"] == pytest.approx(joules / 3600)
    given = cost("kcenter", Embedder("given", None))
    assert (given["encoder"], given["encoder_seconds"], given["total_seconds"]) == ("given", 0, 116)
    (encoder / "loss.csv").write_text("step,loss,learning_rate,images_per_s\n")  # tells nothing
    unknown = cost("kcenter", own)
    assert unknown["encoder_seconds"] is unknown["total_seconds"] is None
    assert unknown["gpu_hours"] is unknown["energy_wh_estimated"] is None
    assert cost("random", own)["total_seconds"] == 10.0


def load_config_of_costs(folder: Path) -> Any:
    path = folder / "tiny.toml"
    path.write_text(tiny(cost={"cpu_watts": 10, "gpu_watts": 100}))
    return load_config(path).cost


def test_losses_are_timed_apart_from_the_selection(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from io import StringIO

    from rich.console import Console

    from meddel_fast.benchmark.run import run

    path = tmp_path / "tiny.toml"
    text = tiny(run={"selectors": ["kcenter", "loss"]}, encoder={"steps": 3})
    path.write_text(text + '[selectors.loss]\nscore = "mae"\n')
    config = load_config(path)
    names = [stage.name for stage in build(config, Records(config.out))]
    assert "encoder" in names
    run(config, console=Console(file=StringIO()))
    record = read_json(config.out / "stages" / "select" / "loss.json")
    assert 0 < record["loss_seconds"] <= record["seconds"] + 0.001
    assert "loss_seconds" not in read_json(config.out / "stages" / "select" / "kcenter.json")
    with (config.out / "score" / "costs.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["selector"]: row for row in csv.DictReader(file)}
    assert {s: r["encoder"] for s, r in rows.items()} == {
        "full": "none", "kcenter": "own", "loss": "own"}  # fmt: skip
    assert float(rows["loss"]["loss_seconds"]) == record["loss_seconds"]
    assert float(rows["loss"]["encoder_seconds"]) > 0
    parts = [float(v) for k, v in rows["loss"].items() if k.endswith("_seconds")]
    assert sum(parts[:-1]) == pytest.approx(parts[-1])
