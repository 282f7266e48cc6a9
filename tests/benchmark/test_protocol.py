"""The protocol: configs that are kept, tasks, references and generalisation in a whole run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from frames import TINY as MODEL
from frames import blob_frames
from rich.console import Console
from tiny_run import made, tiny
from typer.testing import CliRunner

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.plan import build
from meddel_fast.benchmark.run import run
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.task_scores import TASK_COLUMNS, task_rows, task_table
from meddel_fast.benchmark.stages import generalisation, task_stages
from meddel_fast.benchmark.stages.generalisation import COLUMNS, sources
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Records
from meddel_fast.cli import app
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import Selection
from meddel_fast.training.pretrain import pretrain
from meddel_fast.training.tasks import TASKS

CONFIGS = Path(__file__).parents[2] / "configs"

TINY = tiny(
    run={"selectors": ["kcenter"]},
    data=[
        made(test_videos=2) | {"tasks": ["segmentation", "classification", "localisation"]},
        made("other", videos=5, frames=8, seed=5) | {"use": ["test"]},
    ],
    pretrain={
        "epochs": {"1.0": 1, "0.25": 4, "0.5": 3},
        "steps": None,
        "warmup_steps": 100,
        "batch_size": 4,
        "learning_rate": 1e-3,
    },
)
TINY += """
[tasks.classification]
labels = "lesion"
precision = "fp32"

[tasks.localisation]
steps = 7
"""

ACROSS = """
[generalisation]
sets = ["made", "other"]
ratio = 0.5
selectors = ["random", "meddel"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("encoder")
    return pretrain(blob_frames(folder / "blobs"), None, folder / "mae", MODEL)


@pytest.fixture(scope="module")
def finished(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    reference = f"[[references]]\nname = 'given'\npath = '{encoder}'\n"
    config = load_config(write(tmp_path_factory.mktemp("run"), TINY + reference + ACROSS))
    return run(config, console=Console(file=io.StringIO()))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# The configs


def test_the_papers_config_is_the_paper() -> None:
    config = load_config(CONFIGS / "paper.toml", data_root="/data")
    assert config.ratios == (1.0, 0.5, 0.33, 0.2, 0.1, 0.05)
    epochs = [config.pretrain.epochs_at(ratio) for ratio in config.ratios]
    assert epochs == [200, 400, 600, 1000, 2000, 4000]
    one = config.pretrain
    assert (one.method, one.batch_size, one.learning_rate, one.mask_ratio) == (
        "mae", 16, 1.5e-4, 0.75,
    )  # fmt: skip
    assert (one.hidden_size, one.layers, one.heads, one.patch_size) == (768, 12, 12, 16)
    # Table 2's images: the steps, and so the compute, come to within 8 % of one another.
    kept = [88_282, 43_484, 28_352, 16_789, 9_055, 4_461]
    settled = [one.at_ratio(r, n) for r, n in zip(config.ratios, kept, strict=True)]
    steps = [each.steps for each in settled]
    assert steps[0] == 1_103_525
    assert max(steps) / min(steps) < 1.08
    assert {each.warmup_steps for each in settled} == {55_000}
    assert config.selector_options["meddel"]["epsilon"] == 0.9
    assert config.downstream.head == "mlp"
    assert len([d for d in config.data if "test" in d.use]) == 8
    assert config.generalisation is not None
    assert len(config.generalisation.sets) == 4
    assert config.references[0].offline


def test_plans_list_the_stages_and_do_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for name, options, wanted in (
        # 11 sets, pool, full, embed, 2 selections, 10 pre-trainings, 11 x 8 x 3 evaluations, 8 x 3
        # of the reference, 4 x (pool, embed, 2, 2, 2 x 4 x 3) across, score, report; 8 test sets
        # embedded for the leakage audit
        ("paper", ["--data-root", "/data"], 11 + 3 + 12 + 264 + 24 + 4 * 30 + 2 + 9),
        # 2 sets made and read; classification once and localisation twice a tag; 2 x 14 across
        ("cpu", [], 4 + 3 + 12 + 44 + 33 + 2 * 14 + 2 + 3),
    ):
        arguments = ["run", str(CONFIGS / f"{name}.toml"), "--plan", "--out", str(out), *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[-1] == f"{wanted} stages"
        assert len(set(lines)) == wanted + 1
    assert not out.exists()


def test_every_config_of_the_folder_is_tested() -> None:
    assert {path.name for path in CONFIGS.iterdir()} == {"paper.toml", "cpu.toml"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[tasks.segmentation]\n", "\\[tasks\\]: unknown key 'segmentation'; known keys: classif"),
        ("[tasks.classification]\nk = 1\n", "\\[tasks.classification\\]: unknown key 'k'"),
        ("[tasks.classification]\nlabels = 'x'\n", "labels must be 'label' or 'lesion', got 'x'"),
        (
            "[tasks.localisation]\nmin_area = 1.0\n",
            "min_area must be 0 or greater, and less than 1",
        ),
        ("[tasks]\nlocalisation = 3\n", "\\[tasks.localisation\\] must be a table, got 3"),
        ("[generalisation]\nsets = ['a']\n", "sets must be two sets or more"),
        ("[generalisation]\n", "\\[generalisation\\]: missing key 'sets'"),
        ("[generalisation]\nsets = ['a', 'b']\n", "segmentation, got 'b'; such sets: a$"),
        ("[generalisation]\nsets = ['a', 'a']\n", "sets must be two sets or more, given each once"),
        (
            "[generalisation]\nsets = ['a', 'c']\nhead = 'x'\n",
            "head must be 'target' or 'source', got 'x'",
        ),
        ("[[references]]\nname = 'x'\n", "\\[\\[references\\]\\] 1: missing key 'path'"),
        ("[[references]]\nname = 'x/y'\npath = 'p'\n", "name must be letters, digits"),
        ("[[references]]\nname = 'random'\npath = 'p'\n", "names must differ"),
        ("[references]\nname = 'x'\n", "\\[\\[references\\]\\] must be a list of tables"),
        ("[pretrain]\nmethod = 'dino'\n", "method must be 'mae' or 'simmim', got 'dino'"),
        ("[pretrain]\nepochs = {'2' = 4}\n", "epochs must be a table of numbers"),
        ("[pretrain]\nepochs = {'half' = 4}\n", "epochs must be a table of numbers"),
        ("[pretrain]\nepochs = {'1' = 0}\n", "epochs must be a table of numbers"),
        ("[pretrain]\nepochs = {'1' = inf}\n", "epochs must be a table of numbers"),
        ("[pretrain]\nepochs = {'0.5' = 1, '0.50' = 2}\n", "epochs must be a table of numbers"),
        ("[pretrain]\nepochs = {'1' = 4}\n", "epochs must have every ratio .* got none for 0.05"),
        (
            "[[data]]\nname = 'd'\npath = 'd'\ntasks = ['detection']\n",
            "tasks must be some of",
        ),
        ("[[data]]\nname = 'd'\npath = 'd'\ntasks = []\n", "tasks must be some of"),
        (
            "[[data]]\nname = 'd'\npath = 'd'\ntasks = ['localisation', 'localisation']\n",
            "each once",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: str, message: str) -> None:
    text = "[run]\nname = 'x'\nout = 'x'\n[[data]]\nname = 'a'\npath = 'a'\n"
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text + change))


def test_epochs_are_wanted_for_the_encoder_and_across_too(tmp_path: Path) -> None:
    text = TINY.replace("[1.0, 0.25]", "[0.25]").replace('"1.0" = 1, ', "")
    with pytest.raises(ConfigError, match=r"got none for 1$"):
        load_config(write(tmp_path, text))
    load_config(write(tmp_path, text + "[encoder]\nsteps = 3\n"))
    across = TINY.replace(', "0.5" = 3', "") + ACROSS
    with pytest.raises(ConfigError, match=r"got none for 0\.5"):
        load_config(write(tmp_path, across))


def test_tasks_take_after_downstream(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TINY))
    assert config.localisation.steps == 7
    assert (config.localisation.head_hidden, config.localisation.image_size) == (8, 32)
    assert config.classification.image_size == 32


# A whole run


def test_segmentation_alone_has_nothing_more(tmp_path: Path) -> None:
    text = TINY.replace(', "classification", "localisation"', "")
    config = load_config(write(tmp_path, text))
    plan = RunStages(config, Records(config.out))
    for part in (task_stages, generalisation):
        assert part.stages(plan) == []
        assert part.digests(plan) == []
    names = [stage.name for stage in build(config, Records(config.out))]
    assert not [name for name in names if name.count("/") > 2 or "generalisation" in name]


def test_tasks_and_references_are_scored(finished: Path) -> None:
    rows = table(finished / "score" / "tasks.csv")
    assert tuple(rows[0]) == TASK_COLUMNS
    keys = [(r["selector"], r["ratio"], r["dataset"], r["task"], r["score"]) for r in rows]
    assert len(set(keys)) == len(keys)
    assert {k[0] for k in keys} == {"full", "kcenter", "given"}
    sets = {task: {k[2] for k in keys if k[3] == task} for task in {k[3] for k in keys}}
    assert sets == {
        "segmentation": {"made", "other", "mean"},
        "classification": {"made", "mean"},
        "localisation": {"made", "mean"},
    }
    for row in rows:
        given = row["selector"] == "given"
        assert (row["ratio"] == "-") == (row["retained"] == "") == (row["kept"] == "") == given
        assert (row["normdel_mean"] == "") == (given or row["primary"] == "False")
        assert row["seeds"] == ("1" if row["task"] == "classification" else "2")
    kept = int(next(r["kept"] for r in rows if r["selector"] == "kcenter"))
    pool = int(rows[0]["kept"])
    for row in rows:  # with one seed, NormDEL is that of the score
        if row["selector"] == "kcenter" and row["score"] == "balanced_accuracy":
            wanted = normdel(float(row["mean"]), kept / pool)
            assert float(row["normdel_mean"]) == pytest.approx(wanted)
    main = {(r["selector"], r["dataset"]): r for r in table(finished / "score" / "scores.csv")}
    for row in rows:
        if row["score"] == "miou" and row["selector"] != "given":
            same = main[row["selector"], row["dataset"]]
            assert (row["mean"], row["std"]) == (same["miou_mean"], same["miou_std"])
            assert row["normdel_mean"] == same["normdel_mean"]
    result = read_json(finished / "evaluate" / "reference" / "given" / "segmentation"
                       / "other-seed1.json")  # fmt: skip
    assert result["task"] == "segmentation"
    assert (finished / "report" / "report.html").is_file()


def test_epochs_settle_the_steps(finished: Path) -> None:
    pool = len(Manifest.load(finished / "data" / "pretrain.parquet"))
    for name, epochs in (("full-100", 1), ("kcenter-25", 4)):
        made = read_json(finished / "pretrain" / name / "model" / "pretrain.json")
        kept = pool if name == "full-100" else len(Selection.load(
            finished / "select" / f"{name}.parquet"))  # fmt: skip
        assert made["images"] == kept
        assert made["settings"]["steps"] == round(epochs * kept / 4)
        assert made["settings"]["warmup_steps"] == made["settings"]["steps"] // 10


def test_each_source_sees_its_own_images_alone(finished: Path) -> None:
    rows = table(finished / "score" / "generalisation.csv")
    assert tuple(rows[0]) == COLUMNS
    cells = [(r["selector"], r["pretrained_on"], r["tested_on"]) for r in rows]
    names = ("made", "other")
    assert cells == [(s, i, j) for s in ("random", "meddel") for i in names for j in names]
    for row in rows:
        folder = finished / "generalisation" / row["pretrained_on"]
        tag = f"{row['selector']}-50"
        results = [
            read_json(folder / "evaluate" / tag / f"{row['tested_on']}-seed{seed}.json")["miou"]
            for seed in (0, 1)
        ]
        assert float(row["miou_mean"]) == np.mean(results)
        assert float(row["miou_std"]) == pytest.approx(np.std(results, ddof=1))
        whole = Manifest.load(finished / "data" / f"{row['pretrained_on']}.parquet")
        chosen = Selection.load(folder / "select" / f"{tag}.parquet").indices
        wanted = Manifest.concat([whole.split("train")], "x").take(np.sort(chosen)).fingerprint
        assert read_json(folder / "pretrain" / tag / "model" / "pretrain.json")["data"] == wanted
        assert int(row["kept"]) == len(chosen)
    assert read_json(finished / "score" / "generalisation.json")[0]["head"] == "target"


def test_second_start_skips_all(finished: Path) -> None:
    config = load_config(finished.parent / "run.toml")
    said = io.StringIO()
    run(config, console=Console(file=said))
    lines = [line for line in said.getvalue().splitlines() if line.startswith("[")]
    assert len(lines) > 50
    assert all(line.endswith("skipped, already done") for line in lines)


class Found(Records):
    """Records of a run whose outputs are taken as they are."""

    def digest(self, path: Path) -> str:
        return ""


def test_heads_of_the_source_are_trained_there(finished: Path, tmp_path: Path) -> None:
    text = (finished.parent / "run.toml").read_text() + 'head = "source"\n'
    plan = RunStages(load_config(write(tmp_path, text)), Found(finished))
    plan.out = finished
    sets = {data.name: data for data in plan.config.data}
    wanted = {name: plan.with_masks(d, d.train_splits).fingerprint for name, d in sets.items()}
    assert len(set(wanted.values())) == 2
    for source in sources(plan):
        for data in source.config.data:
            assert source.head_rows(data).fingerprint == wanted[source.source.name]


def test_a_run_without_segmentation_has_a_table(encoder: Path, tmp_path: Path) -> None:
    text = TINY.replace('["segmentation", "classification", "localisation"]', '["classification"]')
    text = text.partition('[[data]]\nname = "other"')[0] + "[pretrain]" + text.partition(
        "[pretrain]")[2]  # fmt: skip
    text = text.replace("[1.0, 0.25]", "[0.25]") + f"[encoder]\npath = '{encoder}'\n"
    out = run(load_config(write(tmp_path, text)), console=Console(file=io.StringIO()))
    assert read_json(out / "score" / "scores.json") == []
    rows = read_json(out / "score" / "tasks.json")
    assert {row["task"] for row in rows} == {"classification"}
    result = CliRunner().invoke(app, ["score", str(out)])
    assert result.exit_code == 0, result.output
    assert "No scores" not in result.output
    assert "classification: balanced_accuracy, per cent" in result.output


def test_tasks_one_at_a_time(finished: Path, tmp_path: Path) -> None:
    model, manifest = (
        finished / "pretrain" / "full-100" / "model",
        finished / "data" / "made.parquet",
    )
    out = tmp_path / "result.json"
    command = ["evaluate", str(model), str(manifest), "--out", str(out), "--task"]
    for task, options in (
        ("classification", ["labels=lesion", "precision=fp32"]),
        ("localisation", ["steps=7", "batch_size=8", "head_hidden=8", "encoder=frozen",
                          "precision=fp32"]),
    ):  # fmt: skip
        settings = [word for option in options for word in ("--set", option)]
        done = CliRunner().invoke(app, [*command, task, *settings])
        assert done.exit_code == 0, done.output
        wanted = read_json(finished / "evaluate" / "full-100" / task / "made-seed0.json")
        assert read_json(out) == wanted
        assert f"{TASKS[task].primary} {wanted[TASKS[task].primary]:.4f}" in done.output
    done = CliRunner().invoke(app, [*command, "detection"])
    assert done.exit_code == 2
    assert "--task must be one of segmentation, classification, localisation" in done.output


def test_what_is_not_there_is_said_before_work(tmp_path: Path) -> None:
    absent = "[[references]]\nname = 'x'\npath = './nowhere'\n"
    config = load_config(write(tmp_path, TINY + absent))
    with pytest.raises(ConfigError, match=r"'x' path: there is no folder \./nowhere"):
        run(config, console=Console(file=io.StringIO()))
    absent = absent.replace("./nowhere", "no-one/no-such-model")
    config = load_config(write(tmp_path, TINY + absent))
    with pytest.raises(ConfigError, match="nor in the local Hugging Face cache"):
        run(config, console=Console(file=io.StringIO()))
    config = load_config(write(tmp_path, TINY.replace('labels = "lesion"', "")))
    with pytest.raises(ConfigError, match="data set 'made', classification: no image with a label"):
        run(config, console=Console(file=io.StringIO()))
    assert not (config.out / "pretrain").exists()


def test_task_rows_and_their_table() -> None:
    def result(value: float) -> dict[str, Any]:
        return {"box_iou": value, "box_hit_50": 1.0}

    results = {"localisation": {"a": [result(0.2), result(0.4)], "b": [result(0.6), result(0.8)]}}
    rows = task_rows("kcenter", 0.05, (6, 100), results, 1.0)
    rows += task_rows("imagenet", 1.0, None, results, 1.0)
    assert all(set(row) == set(TASK_COLUMNS) for row in rows)
    assert len(rows) == 2 * 2 * 3
    a, b, mean = rows[:3]
    assert (a["dataset"], b["dataset"], mean["dataset"]) == ("a", "b", "mean")
    assert (a["retained"], a["kept"], a["ratio"], a["primary"]) == (0.06, 6, 0.05, True)
    assert mean["mean"] == pytest.approx(0.5)
    assert mean["std"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    scores = [(normdel(x, 0.06) + normdel(x + 0.4, 0.06)) / 2 for x in (0.2, 0.4)]
    assert mean["normdel_mean"] == pytest.approx(np.mean(scores))
    assert mean["normdel_std"] == pytest.approx(np.std(scores, ddof=1))
    text = task_table(rows).splitlines()
    assert text[0] == "localisation: box_iou, per cent"
    assert text[1].split() == ["selector", "kept", "a", "b", "mean", "NormDEL"]
    score = f"{100 * mean['normdel_mean']:.2f}"
    assert text[2].split() == ["kcenter", "5", "%", "(6)", "30.00", "70.00", "50.00", score]
    assert text[3].split() == ["imagenet", "-", "30.00", "70.00", "50.00", "-"]
