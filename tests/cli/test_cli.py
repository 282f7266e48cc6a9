"""The command line: every stage alone, one-line errors, a quick Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from command_line import lines
from made_release import pairs
from tiny_run import made, tiny
from typer.testing import CliRunner

from meddel_fast import __version__
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.cli.console import explain, parse_budget
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import Selection
from meddel_fast.training.predictions import Predictions

TINY_MODEL = [
    *("--set", "image_size=32", "--set", "patch_size=8", "--set", "hidden_size=16"),
    *("--set", "layers=1", "--set", "heads=2", "--set", "decoder_hidden_size=16"),
    *("--set", "decoder_layers=1", "--set", "decoder_heads=2", "--set", "steps=3"),
    *("--set", "warmup_steps=1", "--set", "batch_size=4", "--set", "precision=fp32"),
]


def process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meddel_fast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def test_version_and_help_come_without_torch() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from meddel_fast.cli import app\n"
        "for option in ('--version', '--help'):\n"
        "    result = CliRunner().invoke(app, [option])\n"
        "    assert result.exit_code == 0\n"
        "    print(result.output)\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'PIL', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"meddel-fast {__version__}" in done.stdout
    for command in (
        "run", "data", "embed", "leakage", "select", "hierarchy", "pretrain", "evaluate", "score",
        "report", "verify", "leaderboard", "index", "errors", "tile",
    ):  # fmt: skip
        assert f" {command} " in done.stdout


def test_info() -> None:
    done = process("info")
    assert done.returncode == 0, done.stderr
    for word in ("meddel-fast", "torch", "triton", "threads", "instruction set", "CUDA"):
        assert word in done.stdout
    assert "scalar" in done.stdout


def test_select_and_list(cli: CliRunner, embeddings: Path, tmp_path: Path) -> None:
    out = tmp_path / "sel.parquet"
    said = lines(cli, "select", embeddings, "--method", "kcenter", "--budget", "0.05", "--out", out)
    assert "3 of 60 kept by kcenter" in said
    found = Selection.load(out)
    assert len(found) == 3
    lines(cli, "select", embeddings, "--method", "meddel", "--budget", "7", "--out", out,
          "--set", "clusters=2", "--seed", "3", "--threads", "1")  # fmt: skip
    assert len(Selection.load(out)) == 7
    assert Selection.load(out).method == "meddel"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "61"], r"budget .* 1 to 60 .*got 61$"),
        (["--budget", "0"], r"budget .* 1 to 60 .*got 0$"),
        (["--budget", "1.5"], r"budget .* 1\.0 .*got 1\.5$"),
        (["--budget", "many"], r"--budget must be a count \(500\), a share \(0\.05\) or per cent"),
        ([], r"--budget is needed \(or --config FILE\)$"),
        (["--budget", "5", "--method", "best"], r"name .*random.*kcenter.*got 'best'$"),
        (["--budget", "5", "--set", "colour=1"], r"meddel.* colour"),
        (["--budget", "5", "--set", "colour"], r"a setting must be KEY=VALUE, got 'colour'$"),
        (["--budget", "5", "--kept", "kept.txt"], r"--kept needs --manifest$"),
    ],
)
def test_wrong_selections_are_one_line(
    cli: CliRunner, embeddings: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "sel.parquet"
    said = lines(cli, "select", embeddings, "--out", out, *arguments, status=2)
    assert re.match(f"meddel-fast: error: {message}", said, re.MULTILINE)
    assert re.fullmatch(r"[^\n]+\n  next: [^\n]+\n", said)
    assert not out.exists()


def test_damaged_inputs_are_one_line(cli: CliRunner, tmp_path: Path) -> None:
    damaged = tmp_path / "x.npy"
    damaged.write_bytes(b"no numpy")
    rest = ["--budget", "5", "--out", tmp_path / "sel.parquet"]
    assert "is not a .npy file" in lines(cli, "select", damaged, *rest, status=2)
    np.save(damaged, np.array([["a", None]], dtype=object))
    assert "is not a .npy file" in lines(cli, "select", damaged, *rest, status=2)
    x = np.ones((4, 3), np.float32)
    x[2, 1] = np.nan
    np.save(damaged, x)
    assert "row 2" in lines(cli, "select", damaged, *rest, status=2)
    assert "no file" in lines(cli, "select", tmp_path / "no.npy", *rest, status=2)
    assert "config file not found" in lines(cli, "run", tmp_path / "no.toml", status=2)
    assert "has no run.json" in lines(cli, "report", tmp_path, status=2)
    assert "a manifest is needed" in lines(cli, "embed", status=2)
    assert "no manifest at" in lines(cli, "embed", tmp_path / "no.parquet", status=2)


def test_folders_that_are_no_data_are_one_line(cli: CliRunner, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "m.parquet"]
    for folder in (tmp_path / "none", tmp_path):
        said = lines(cli, "data", "build", folder, *out, status=2)
        assert said.splitlines()[-2].startswith("meddel-fast: error: ")
        assert said.splitlines()[-1].startswith("  next: ")
        assert str(folder) in said.replace("\n", "")
    both = ["--dataset", "etis", "--only", "etis"]
    assert "not both" in lines(cli, "data", "build", tmp_path, *both, *out, status=2)
    said = lines(cli, "data", "make", tmp_path / "x", "--set", "vidoes=3", *out, status=2)
    assert "vidoes" in said


def test_errors_of_a_run_are_one_line(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    text = '[run]\nname = "a"\nout = "out"\n[[data]]\nname = "x"\npath = "nowhere"\n'
    config.write_text(text)
    done = process("run", config)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"meddel-fast: error: data folder not found: {tmp_path}/nowhere\n"
        f"  next: look for a mistyped path: {tmp_path} holds run.toml\n"
    )
    config.write_text(text + "[pretrain]\nstesp = 1\n")
    done = process("run", config)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"meddel-fast: error: {config}: [pretrain]: unknown key 'stesp'; known keys: image_size"
    )
    assert "; did you mean 'steps'?\n  next: " in done.stderr
    assert done.stderr.count("\n") == 2
    done = process("--traceback", "run", config)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not (tmp_path / "out").exists()  # nothing was begun
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"name": "a"}')
    config.write_text(text.replace('"a"', '"b"'))
    done = process("run", config)
    assert done.returncode == 2
    assert "holds the run 'a', this config is of the run 'b'" in done.stderr


def test_score_of_own_results(cli: CliRunner, tmp_path: Path) -> None:
    results = tmp_path / "own.csv"
    results.write_text("miou,retained\n0.7095,0.05\n")
    said = lines(cli, "score", results)
    assert said.splitlines()[0] == "miou,retained,del,normdel"
    assert float(said.splitlines()[1].split(",")[3]) == normdel(0.7095, 0.05)
    lines(cli, "score", results, "--alpha", "2", "--out", tmp_path / "out.csv")
    assert str(normdel(0.7095, 0.05, 2.0)) in (tmp_path / "out.csv").read_text()
    said = lines(cli, "score", results, "--alpha", "-1", status=2)
    assert "alpha must be a finite number >= 0" in said


def test_budgets() -> None:
    assert parse_budget("500") == 500
    assert isinstance(parse_budget("1"), int)
    assert parse_budget("0.05") == parse_budget("5%") == parse_budget("5e-2") == 0.05
    for text in ("", "%", "five", "1_0.0.0"):
        with pytest.raises(ConfigError, match="--budget must be"):
            parse_budget(text)


def test_full_disk_is_said_as_such() -> None:
    full = OSError(28, "No space left on device", "/x/model.safetensors")
    assert explain(full).startswith("cannot write, the disk is full: ")
    assert "/x/model.safetensors" in explain(full)
    assert "run the same again" in explain(full)
    wrapped = RuntimeError("I/O error: No space left on device (os error 28)")
    assert explain(wrapped).startswith("cannot write, the disk is full")
    assert explain(PermissionError(13, "Permission denied", "/x")) == "/x: Permission denied"
    assert explain(ValueError("two\nlines")) == "two lines"
    assert explain(ValueError()) == "ValueError"


def test_disk_that_fills_up_while_writing(embeddings: Path, tmp_path: Path) -> None:
    out = tmp_path / "sel.parquet"
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from meddel_fast.cli import main\n"
        f"sys.argv = ['meddel-fast', 'select', {str(embeddings)!r}, '--budget', '5', "
        f"'--out', {str(out)!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("meddel-fast: error: cannot write, the disk is full")
    assert done.stderr.endswith("\n  next: df -h shows which disk is full; what is done is kept\n")
    assert done.stderr.count("\n") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy"]


@pytest.mark.timeout(300)
def test_every_stage_alone(cli: CliRunner, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    made, manifest = tmp_path / "made", tmp_path / "m.parquet"
    model, vectors = tmp_path / "full", tmp_path / "vectors"
    chosen, kept = tmp_path / "sel.parquet", tmp_path / "kept.txt"
    said = lines(
        cli, "data", "make", made, "--videos", "3", "--frames", "8", "--size", "48",
        "--set", "val_videos=1", "--set", "test_videos=1", "--out", manifest,
    )  # fmt: skip
    assert "24 images (test 8, train 8, val 8)" in said
    again = lines(
        cli, "data", "build", made, "--name", "other", "--out", tmp_path / "again.parquet"
    )
    assert "24 images" in again
    lines(cli, "pretrain", manifest, "--out", model, *TINY_MODEL)
    said = lines(cli, "embed", manifest, "--encoder", model / "model", "--out", vectors)
    assert "24 embeddings of 16 numbers" in said
    lines(
        cli, "select", vectors, "--method", "random", "--budget", "50%", "--out", chosen,
        "--manifest", manifest, "--kept", kept,
    )  # fmt: skip
    images = [Path(line) for line in kept.read_text().splitlines()]
    assert len(images) == 12
    assert all(path.is_file() for path in images)
    lines(cli, "pretrain", manifest, "--selection", chosen, "--out", tmp_path / "half", *TINY_MODEL)
    said = lines(
        cli, "evaluate", tmp_path / "half" / "model", manifest, "--out", tmp_path / "r.json",
        "--set", "steps=2", "--set", "encoder=frozen", "--seed", "5",
        "--predictions", tmp_path / "r.npz",
    )  # fmt: skip
    result = read_json(tmp_path / "r.json")
    saved = Predictions.load(tmp_path / "r.npz")
    assert saved.confusions.sum(axis=0).tolist() == result["confusion"]
    assert f"mIoU {result['miou']:.4f}" in said
    assert (result["images"], result["seed"]) == (8, 5)
    said = lines(cli, "evaluate", model / "model", manifest, "--test-split", "tset", status=2)
    assert "tset" in said
    lines(cli, "select", vectors, "--budget", "3", "--out", chosen)
    other = lines(
        cli, "pretrain", tmp_path / "again.parquet", "--selection", chosen, "--out",
        tmp_path / "x", "--set", "stesp=1", status=2,
    )  # fmt: skip
    assert "unknown key 'stesp'" in other


RUN = tiny(
    run={"name": "slow", "out": "out", "ratios": [1.0], "selectors": ["random"], "seeds": [0]},
    data=[made(videos=3, frames=8)],
    pretrain={
        "steps": 1_000_000,
        "warmup_steps": None,
        "batch_size": 4,
        "precision": None,
        "checkpoint_every": 10,
    },
    downstream=None,
)


@pytest.mark.timeout(300)
def test_ctrl_c_ends_a_run_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    config = tmp_path / "slow.toml"
    config.write_text(RUN)
    command = [sys.executable, "-m", "meddel_fast", "run", str(config)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        checkpoint = tmp_path / "out" / "pretrain" / "full-100" / "checkpoint"
        while not (checkpoint.is_dir() and any(checkpoint.iterdir())):
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        second = process("run", config)  # meanwhile another run of the same is refused
        assert second.returncode == 2
        assert f"process {running.pid}" in second.stderr
        start = time.monotonic()
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)[1]
        took = time.monotonic() - start
    assert running.returncode == 130
    assert took < 1.5, f"{took:.2f} s"  # one second, and what a busy machine adds
    assert said.splitlines()[-1] == (
        f"Stopped; what is done is kept. To go on: meddel-fast run {config}"
    )
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_data_list(cli: CliRunner) -> None:
    said = lines(cli, "data", "list")
    assert re.search(r"^kvasir-seg +2020 +downstream +1,000 +1,000 ", said, re.MULTILINE)
    assert re.search(r"^imageclefmed .* 66,662 +\? ", said, re.MULTILINE)
    told = json.loads(lines(cli, "data", "list", "--json"))["sets"]
    assert len(told) == 14
    assert told[1]["parts"][0] == {
        "name": "labelled images", "images": 10_662, "also": [], "videos": None, "optional": False,
    }  # fmt: skip
    assert told[1]["citation"]["doi"] == "10.1038/s41597-020-00622-y"


def test_data_check_and_build(cli: CliRunner, tmp_path: Path) -> None:
    pairs("Kvasir-SEG").write(tmp_path)
    out = tmp_path / "m.parquet"
    said = lines(cli, "data", "check", tmp_path, "kvasir-seg", "etis", status=1)
    assert "kvasir-seg: off Kvasir-SEG" in said
    assert "images: 4 of 1,000 images, off" in said
    assert "etis: missing" in said
    assert said.count("get it from") == 2
    done = process("data", "check", tmp_path, "kvasir-seg", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["sets"][0]["parts"][0]["found"] == 4
    assert "kvasir-seg: off ." in lines(cli, "data", "check", tmp_path / "Kvasir-SEG", status=1)
    (tmp_path / "empty").mkdir()
    lines(cli, "data", "check", tmp_path / "empty", status=1)  # nothing there is a mistake
    said = lines(cli, "data", "check", tmp_path, "kvasir", status=2)
    assert "no data set 'kvasir' in the registry" in said
    assert "4 images" in lines(cli, "data", "build", tmp_path, "--out", out)
    assert Manifest.load(out).ids[0] == "kvasir-seg/images/0.png"
    folder = tmp_path / "Kvasir-SEG"
    said = lines(cli, "data", "build", folder, "--dataset", "kvasir-seg", "--out", out)
    assert Manifest.load(out).name == "kvasir-seg"
    lines(cli, "data", "build", folder, "--out", out)
    assert Manifest.load(out).name == "Kvasir-SEG"
    said = lines(
        cli, "data", "build", tmp_path, "--require-masks", "--out", out, "--only", "kvasir-seg",
        status=2,
    )  # fmt: skip
    assert "add --dataset KEY" in said
    assert "--out MANIFEST.parquet is needed" in lines(cli, "data", "build", folder, status=2)
    assert "stride: wanted" in lines(
        cli, "data", "build", folder, "--out", out, "--stride", "0", status=2
    )


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("data build", "data"), ("embed", "embeddings"), ("select", "select"),
        ("pretrain", "pretrain"), ("evaluate", "evaluate"), ("report", "report/report.html"),
    ],
)  # fmt: skip
def test_stages_of_a_run_by_its_config(
    cli: CliRunner, finished_run: Path, tmp_path: Path, command: str, told: str
) -> None:
    """What is done and still valid is not done again; the last line tells where it lies."""
    run = shutil.copytree(finished_run, tmp_path / "run")

    def written() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in run.glob("pretrain/*/model/*.safetensors")}

    before = written()
    said = lines(
        cli, *command.split(), "--config", finished_run.parent / "small.toml", "--out", run
    )
    assert said.splitlines()[-1] == str(run / told)
    assert written() == before != {}


def test_score_of_a_run_from_before_there_was_a_rule(
    cli: CliRunner, finished_run: Path, tmp_path: Path
) -> None:
    table = shutil.copytree(finished_run / "score", tmp_path / "run" / "score")
    shutil.copy(finished_run / "run.json", tmp_path / "run")
    (table / "floors.json").unlink()
    found = json.loads((table / "statistics.json").read_text())
    del found["rule"]
    for row in found["differences"]:
        del row["verdict"]
    (table / "statistics.json").write_text(json.dumps(found))
    said = lines(cli, "score", tmp_path / "run")
    assert said.startswith("No verdicts: scored by a version that had no rule for them.")
    assert "meddel" in said


def test_score_by_a_config(cli: CliRunner, finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    said = lines(cli, "score", "--config", finished_run.parent / "small.toml", "--out", run)
    assert said.endswith(lines(cli, "score", finished_run))
    assert "meddel" in said
