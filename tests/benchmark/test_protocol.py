"""The protocol: configs that are kept, tasks, references and generalisation in a whole run.

Longer than 450 lines because nearly all of it looks at one finished run, made once a process.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

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
from meddel_fast.benchmark.scores.task_scores import (
    TASK_COLUMNS,
    Scored,
    TaskRun,
    draw_tasks,
    task_differences,
    task_rows,
    task_table,
)
from meddel_fast.benchmark.scores.verdicts import ALIKE, BETTER, NOT_JUDGED, WORSE
from meddel_fast.benchmark.stages import generalisation, task_stages
from meddel_fast.benchmark.stages.generalisation import COLUMNS, sources
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Records
from meddel_fast.benchmark.verify import verify
from meddel_fast.cli import app
from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import METHODS, Selection
from meddel_fast.training.pretrain import pretrain
from meddel_fast.training.tasks import TASKS
from meddel_fast.training.tasks.answers import Answers

CONFIGS = Path(__file__).parents[2] / "configs"

TINY = tiny(
    run={"selectors": ["kcenter"], "repeats": 2},
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
        # 11 sets, pool, embed, 3 repetitions of 2 selections, 11 pre-trainings, an untrained
        # encoder, 12 x 8 x 3 evaluations; 8 x 3 of the reference, 4 x (pool, embed, 3 x (2, 2,
        # 24)) across, score, report; 8 test sets embedded for the leakage audit, which has
        # two stages more
        (
            "paper",
            ["--data-root", "/data"],
            11 + 2 + 3 * (2 + 11 + 1 + 288) + 24 + 4 * (2 + 3 * 28) + 2 + 11,
        ),
        # 2 sets made and read; classification once and localisation twice a tag; 2 x 14 across
        ("cpu", [], 4 + 3 + 12 + 1 + 48 + 36 + 2 * 14 + 2 + 5),
    ):
        arguments = ["run", str(CONFIGS / f"{name}.toml"), "--plan", "--out", str(out), *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[wanted] == f"{wanted} stages"
        assert len(set(lines[:wanted])) == wanted
    assert not out.exists()


def plan(config: Path, *options: str) -> tuple[str, list[list[str]]]:
    """The plan's words, blanks made single, and the cells of its table."""
    result = CliRunner().invoke(app, ["run", str(config), "--plan", *options])
    assert result.exit_code == 0, result.output
    told = result.stdout.partition(" stages\n")[2]
    lines = [re.split(r"  +", line.strip()) for line in told.splitlines()]
    at = next(i for i, cells in enumerate(lines) if cells[0] == "ratio")
    rows = [cells for cells in lines[at + 1 :] if re.fullmatch(r"[\d.]+ %", cells[0])]
    return " ".join(told.split()), rows


def test_the_plan_holds_the_papers_pool_against_ours(tmp_path: Path) -> None:
    told, rows = plan(CONFIGS / "paper.toml", "--data-root", "/data", "--out", str(tmp_path / "x"))
    assert "pool: 165,317 images by the registry (gastrovision 8,000, hyper-kvasir 110,079," in told
    assert "frames of 490 videos, if these lie there too" in told
    assert "its Table 2 calls 88,282 of them 100 % and does not say which" in told
    assert "this pool has 77,035 more than these" in told
    assert "single sets: 24 trainings on 50 % of one, 400 epochs each" in told
    table = {cells[0]: cells[1:] for cells in rows}
    assert list(table) == ["100 %", "50 %", "33 %", "20 %", "10 %", "5 %"]
    # kept, its share, epochs, steps, warm-up, trainings; then what the paper keeps, and its steps
    assert table["100 %"] == [
        *("165,317", "100.0 %", "200", "2,066,462", "55,000", "3"),
        *("88,282", "100.0 %", "1,103,525"),
    ]
    assert table["33 %"] == [
        *("54,555", "33.0 %", "600", "2,045,812", "55,000", "6"),
        *("28,352", "32.1 %", "1,063,200"),
    ]


def test_the_plan_counts_what_is_made_and_what_was_read(finished: Path, tmp_path: Path) -> None:
    told, rows = plan(finished.parent / "run.toml", "--out", str(tmp_path / "new"))
    pool = len(Manifest.load(finished / "data" / "pretrain.parquet"))
    assert f"pool: {pool} images as they are made" in told
    assert "paper" not in told
    for ratio, tag in ((1, "full-100"), (0.25, "kcenter-25")):
        cells = next(row for row in rows if row[0] == f"{100 * ratio:g} %")
        made = read_json(finished / "pretrain" / tag / "model" / "pretrain.json")
        steps, warmup = (made["settings"][name] for name in ("steps", "warmup_steps"))
        assert cells[1] == str(made["images"])
        assert cells[4:] == [str(steps), str(warmup), "2"]
    told, _ = plan(finished.parent / "run.toml")
    assert f"pool: {pool} images as the run has read them" in told


def test_the_plan_does_not_guess_a_pool(tmp_path: Path) -> None:
    text = TINY.replace(json.dumps("made") + "\nmade", '"made"\npath = "x"\nunmade')
    text = re.sub(r"unmade = .*\n", "", text, count=1)
    told, rows = plan(write(tmp_path, text))
    assert "pool: its size is known when the data are read (made ?)" in told
    assert rows[0] == ["100 %", "?", "100.0 %", "1", "?", "at most a tenth", "2"]


def test_every_config_of_the_folder_is_tested() -> None:
    assert {path.name for path in CONFIGS.iterdir()} == {"paper.toml", "cpu.toml", "pranet.toml"}


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
    assert {k[0] for k in keys} == {"full", "kcenter", "given", "untrained"}
    sets = {task: {k[2] for k in keys if k[3] == task} for task in {k[3] for k in keys}}
    assert sets == {
        "segmentation": {"made", "other", "mean"},
        "classification": {"made", "mean"},
        "localisation": {"made", "mean"},
    }
    for row in rows:
        given = row["selector"] == "given"
        beside = given or row["selector"] == "untrained"  # no share of the pool
        assert (row["ratio"] == "-") == (row["retained"] == "") == (row["kept"] == "") == beside
        assert (row["normdel_mean"] == "") == (beside or row["primary"] == "False")
        heads, repeats = (1 if row["task"] == "classification" else 2), (1 if given else 2)
        assert (row["runs"], row["repeats"]) == (str(heads * repeats), str(repeats))
        low, mean, high = (float(row[name]) for name in ("low", "mean", "high"))
        assert low - 1e-9 <= mean <= high + 1e-9
        assert low < high or row["score"] not in ("miou", "box_iou")
    kept = int(next(r["kept"] for r in rows if r["selector"] == "kcenter"))
    pool = int(rows[0]["kept"])
    tags = ("kcenter-25", "kcenter-25-repeat1")
    paths = [finished / f"evaluate/{tag}/classification/made-seed0.json" for tag in tags]
    scores = [read_json(path)["balanced_accuracy"] for path in paths]
    for row in rows:  # each repetition has an encoder of its own
        if row["selector"] == "kcenter" and row["score"] == "balanced_accuracy":
            assert float(row["mean"]) == pytest.approx(np.mean(scores))
            wanted = np.mean([normdel(score, kept / pool) for score in scores])
            assert float(row["normdel_mean"]) == pytest.approx(wanted)
    main = {(r["selector"], r["dataset"]): r for r in table(finished / "score" / "scores.csv")}
    for row in rows:
        if row["score"] == "miou" and row["selector"] in ("full", "kcenter"):
            same = main[row["selector"], row["dataset"]]
            assert (row["mean"], row["std"]) == (same["miou_mean"], same["miou_std"])
            assert (row["low"], row["high"]) == (same["miou_low"], same["miou_high"])
            names = ("normdel_mean", "normdel_low", "normdel_high")
            assert [row[name] for name in names] == [same[name] for name in names]
    floors = {r["dataset"]: r for r in read_json(finished / "score" / "floors.json")[:3]}
    for row in rows:
        if row["selector"] == "untrained" and row["score"] == "miou":
            same = floors[row["dataset"]]
            ends = [same[f"miou_{end}"] for end in ("mean", "low", "high")]
            assert [float(row[end]) for end in ("mean", "low", "high")] == pytest.approx(ends)
    result = read_json(finished / "evaluate" / "reference" / "given" / "segmentation"
                       / "other-seed1.json")  # fmt: skip
    assert result["task"] == "segmentation"
    assert (finished / "report" / "report.html").is_file()


def test_verdicts_on_tasks_and_across_sets_are_by_the_one_rule(finished: Path) -> None:
    judged = read_json(finished / "score" / "task_differences.json")
    where = {(r["task"], r["score"]) for r in judged}
    assert where == {("classification", "balanced_accuracy"), ("localisation", "box_iou")}
    assert {r["against"] for r in judged} == {"untrained", "full"}  # no random was asked for
    values = {
        (r["selector"], r["dataset"], r["score"]): r for r in table(finished / "score/tasks.csv")
    }
    for row in judged:
        mine, other = (
            float(values[name, row["dataset"], row["score"]]["mean"])
            for name in (row["selector"], row["against"])
        )
        assert row["score_difference"] == pytest.approx(mine - other, abs=1e-6)
        assert (
            row["score_all_low"] <= row["score_low"] <= row["score_high"] <= row["score_all_high"]
        )
        assert row["verdict"] in (BETTER, WORSE, ALIKE, NOT_JUDGED)
        assert (row["verdict"] == NOT_JUDGED) == (row["why"] != "")
    across = read_json(finished / "score" / "generalisation_differences.json")
    assert {r["pretrained_on"] for r in across} == {"made", "other"}
    assert {r["against"] for r in across} == {"untrained", "nothing", "random"}
    cells = {
        (r["selector"], r["pretrained_on"], r["tested_on"]): float(r["miou_mean"])
        for r in table(finished / "score" / "generalisation.csv")
    }
    floors = {r["dataset"]: r["miou_mean"] for r in read_json(finished / "score" / "floors.json")
              if r["floor"] == "untrained"}  # fmt: skip
    for row in across:
        name, source = row["dataset"], row["pretrained_on"]
        if name == "mean" or row["against"] == "nothing":
            continue
        other = cells["random", source, name] if row["against"] == "random" else floors[name]
        wanted = cells[row["selector"], source, name] - other
        assert row["miou_difference"] == pytest.approx(wanted, abs=1e-12)


def test_every_result_is_verified(finished: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    found = {verdict.name: verdict for verdict in verify(run_dir)}
    files = [p for p in run_dir.rglob("*-seed*.json") if "evaluate" in p.parent.parts]
    files = [p for p in files if p.relative_to(run_dir).parts[0] != "stages"]
    assert len(found) == len(files) > 60
    assert [v.reason for v in found.values() if not v.agrees] == []
    # what a score is not, what was answered to another image, what was held against another truth
    score = run_dir / "evaluate" / "reference" / "given" / "segmentation" / "made-seed0.json"
    score.write_text(json.dumps(read_json(score) | {"dice": 1.0}))
    classes = run_dir / "evaluate" / "kcenter-25-repeat1" / "classification" / "made-seed0.npz"
    answers = Answers.load(classes, 3)
    answers.rows[0, 1] = 1 - answers.rows[0, 1]
    answers.save(classes)
    boxes = run_dir / "evaluate" / "full-100" / "localisation" / "made-seed1.npz"
    answers = Answers.load(boxes, 5)
    answers.rows[0, 0] = 0.123
    answers.save(boxes)
    masks = run_dir / "generalisation" / "other" / "evaluate" / "random-50" / "made-seed0.npz"
    shutil.copy(masks.parent / "other-seed0.npz", masks)
    wrong = {v.name: v.reason for v in verify(run_dir) if not v.agrees}
    assert list(wrong) == [
        "full-100/localisation/made-seed1",
        "kcenter-25-repeat1/classification/made-seed0",
        "reference/given/segmentation/made-seed0",
        "generalisation/other/random-50/made-seed0",
    ]
    told = list(wrong.values())
    assert "the saved fits are not those of the saved boxes" in told[0]
    assert "accuracy is" in told[1]
    assert told[2].startswith("dice is")
    assert told[3] == "the predictions are of other images than the manifest's test rows"


def test_epochs_settle_the_steps(finished: Path) -> None:
    pool = len(Manifest.load(finished / "data" / "pretrain.parquet"))
    for name, epochs in (("full-100", 1), ("kcenter-25", 4)):
        made = read_json(finished / "pretrain" / name / "model" / "pretrain.json")
        kept = pool if name == "full-100" else len(Selection.load(
            finished / "select" / f"{name}.parquet"))  # fmt: skip
        assert made["images"] == kept
        assert made["settings"]["steps"] == round(epochs * kept / 4)
        assert made["settings"]["warmup_steps"] == made["settings"]["steps"] // 10


def seeds_of(folder: Path, tag: str) -> list[int]:
    """Seeds that the repetitions of a selection were pre-trained with."""
    places = [folder / "pretrain" / name / "model" for name in (tag, f"{tag}-repeat1")]
    return [read_json(place / "pretrain.json")["settings"]["seed"] for place in places]


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
            read_json(folder / "evaluate" / name / f"{row['tested_on']}-seed{seed}.json")["miou"]
            for name in (tag, f"{tag}-repeat1")
            for seed in (0, 1)
        ]
        assert (row["runs"], row["repeats"]) == ("4", "2")
        assert float(row["miou_low"]) < float(row["miou_mean"]) < float(row["miou_high"])
        assert float(row["miou_mean"]) == np.mean(results)
        assert float(row["miou_std"]) == pytest.approx(np.std(results, ddof=1))
        whole = Manifest.load(finished / "data" / f"{row['pretrained_on']}.parquet")
        assert seeds_of(folder, tag) == [0, 1]
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
    assert len(lines) > 100
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
        saved = tmp_path / f"{task}.npz"
        done = CliRunner().invoke(app, [*command, task, "--predictions", str(saved), *settings])
        assert done.exit_code == 0, done.output
        there = finished / "evaluate" / "full-100" / task / "made-seed0.npz"
        assert saved.read_bytes() == there.read_bytes()
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


def test_run_json_has_every_option_of_each_selector(finished: Path) -> None:
    every = read_json(finished / "run.json")["selectors"]
    assert list(every) == ["kcenter", "random", "meddel"]  # those across sets too
    assert every["kcenter"]["metric"] == "euclidean"
    assert every["kcenter"]["seeds"] == []  # it draws nothing
    assert every["random"]["seeds"] == every["meddel"]["seeds"] == [0, 1]
    names = set(METHODS["meddel"].own) | {"seeds", "exclude", "groups", "group_rule", "weights"}
    assert set(every["meddel"]) == names | {"selected", "classes", "target"}
    settled = METHODS["meddel"].settled({"epsilon": 0.9, "keep": "far"})
    assert (settled["epsilon"], settled["keep"], settled["rule"]) == (0.9, "far", "semdedup")
    assert settled["disruptive_fraction"] is settled["deviations"] is None  # it takes their place
    chosen, again = read_json(finished / "score" / "selections.json")
    assert again == {**chosen, "repeat": 1}  # selected once, trained twice
    selection = Selection.load(finished / "select" / "kcenter-25.parquet")
    assert chosen["settings"] == json.loads(json.dumps(selection.settings))
    about = (chosen["selector"], chosen["ratio"], chosen["repeat"], chosen["kept"])
    assert about == ("kcenter", 0.25, 0, len(selection))
    assert chosen["retained"] == len(selection) / selection.n


def box_result(folder: Path, seed: int, fits: list[float]) -> TaskRun:
    """A result of localisation, with the boxes' fits saved beside it."""
    path = folder / f"seed{seed}.json"
    hits = float(np.mean(np.array(fits) >= 0.5))
    write_json(path, {"box_iou": float(np.mean(fits)), "box_hit_50": hits})
    rows = np.column_stack([fits, np.full((len(fits), 4), np.nan)])
    Answers([f"i{i}" for i in range(len(fits))], rows).save(path.with_suffix(".npz"))
    return TaskRun(0, seed, path)


def test_task_rows_and_their_table(tmp_path: Path) -> None:
    values = {"a": [[0.1, 0.3], [0.3, 0.5]], "b": [[0.6], [0.8]]}
    results = {
        "localisation": {
            name: [box_result(tmp_path / name, seed, fits) for seed, fits in enumerate(runs)]
            for name, runs in values.items()
        }
    }
    scored = [
        Scored("kcenter", 0.05, (6, 100), results),
        Scored("imagenet", 1.0, None, results),
    ]
    samples = draw_tasks(scored, {"localisation": {"a": ["", ""], "b": [""]}})
    assert task_differences(scored, samples, 1.0) == []  # nothing that it could be held against
    rows = task_rows(scored, samples, 1.0)
    assert all(set(row) == set(TASK_COLUMNS) for row in rows)
    assert len(rows) == 2 * 2 * 3
    a, b, mean = rows[:3]
    assert (a["dataset"], b["dataset"], mean["dataset"]) == ("a", "b", "mean")
    assert (a["retained"], a["kept"], a["ratio"], a["primary"]) == (0.06, 6, 0.05, True)
    assert mean["mean"] == pytest.approx(0.5)
    assert mean["std"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    # of one image nothing is drawn but the run, whose part is widened; of two also the image
    wide = 2**0.5
    assert [b["low"], b["high"]] == pytest.approx([0.7 - 0.1 * wide, 0.7 + 0.1 * wide], abs=1e-9)
    assert [a["low"], a["high"]] == pytest.approx([0.2 - 0.1 * wide, 0.4 + 0.1 * wide], abs=1e-9)
    scores = [(normdel(x, 0.06) + normdel(x + 0.4, 0.06)) / 2 for x in (0.2, 0.4)]
    assert mean["normdel_mean"] == pytest.approx(np.mean(scores))
    assert mean["normdel_std"] == pytest.approx(np.std(scores, ddof=1))
    less, more = normdel(0.6, 0.06), normdel(0.8, 0.06)
    assert b["normdel_low"] == pytest.approx((less + more) / 2 - (more - less) / 2 * wide)
    assert rows[-1]["normdel_low"] is None
    text = task_table(rows).splitlines()
    assert text[0] == "localisation: box_iou, per cent"
    assert text[1].split() == ["selector", "kept", "a", "b", "mean", "NormDEL"]
    score = f"{100 * mean['normdel_mean']:.2f}"
    assert text[2].split() == ["kcenter", "5", "%", "(6)", "30.00", "70.00", "50.00", score]
    assert text[3].split() == ["imagenet", "-", "30.00", "70.00", "50.00", "-"]
