"""Options of the command line: none is given without effect, and what is known is checked first."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
import typer
from command_line import lines
from tiny_run import made, tiny
from typer.testing import CliRunner

from meddel_fast.cli import app
from meddel_fast.cli.context import EVERYWHERE

CONFIG = tiny(
    run={"name": "small", "ratios": [0.5], "selectors": ["random", "meddel"], "seeds": None},
    data=[made(frames=4, val_videos=None, test_videos=None)],
    pretrain={"steps": 2, "warmup_steps": 1, "batch_size": None, "precision": None},
    downstream=None,
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path / "run.toml"


BESIDE = {("score", "--metric"), ("leakage", "--by")}  # these have an effect on a run too


def _staged() -> list[tuple[list[str], str]]:
    """Every command with --config, and each option of it but those that go with that."""
    found = []
    root = typer.main.get_command(app)
    commands = {(name,): command for name, command in root.commands.items()}  # type: ignore[attr-defined]
    groups = [name for (name,), command in commands.items() if hasattr(command, "commands")]
    for name in groups:
        commands |= {(name, n): c for n, c in commands.pop((name,)).commands.items()}
    for path, command in commands.items():
        parameters = {p.name: p for p in command.params}
        first = next((p for p in command.params if p.param_type_name == "argument"), None)
        if "config" not in parameters or path == ("run",):
            continue
        for name, parameter in parameters.items():
            if name in ("config", "data_root", "out", "help", *EVERYWHERE):
                continue
            option = max(parameter.opts, key=len)
            if (*path, option) in BESIDE:
                continue
            if parameter.param_type_name == "argument":
                if parameter is not first:
                    continue
                arguments = ["x.npy"]
            elif getattr(parameter, "is_flag", False):
                arguments = [option]
            else:
                arguments = [option, "1"]
            if option not in ("--list", "--from"):  # which stand for themselves
                found.append(([*path, *arguments], option))
    return found


STAGED = _staged()


def test_the_options_beside_a_config_are_many() -> None:
    assert len(STAGED) > 40
    assert {first for (first, *_), _ in STAGED} >= {"data", "embed", "select", "score", "report"}


@pytest.mark.parametrize(("arguments", "option"), STAGED, ids=lambda v: "-".join(v))
def test_an_option_beside_a_config_is_refused(
    cli: CliRunner, config: Path, arguments: list[str], option: str
) -> None:
    said = lines(cli, *arguments, "--config", config, status=2)
    shown = option if option.startswith("-") else option.upper()
    assert f"{shown} would have no effect with --config: leave it out" in said
    assert not (config.parent / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["select", "--list", "--budget", "5"], "--budget would have no effect with --list"),
        (["select", "x.npy", "--list"], "EMBEDDINGS would have no effect with --list"),
        (["select", "--from", "s", "--seed", "0"], "--seed would have no effect with --from"),
        (["select", "--from", "s", "--list"], "--from would have no effect with --list"),
        (["select", "--from", "s", "--config", "c"], "--config would have no effect with --from"),
        (["select", "x.npy", "--data-root", "."], "--data-root would have no effect without"),
        (["embed", "m", "--data-root", "."], "--data-root would have no effect without --config"),
        (["score", "m", "--data-root", "."], "--data-root would have no effect without --config"),
        (["index", "remove", "i", "a", "--ids", "b"], "name the samples in one way"),
        (["data", "make", "d", "--videos", "3", "--set", "videos=4"], "'videos' is given twice"),
        (["data", "make", "d", "--set", "colour=4"], "colour: no such option; there are videos"),
        (["--quiet", "--verbose", "info"], "--quiet and --verbose exclude each other"),
    ],
)
def test_options_without_effect_are_refused(
    cli: CliRunner, arguments: list[str], said: str
) -> None:
    out = lines(cli, *arguments, status=2)
    assert said in " ".join(out.replace("│", " ").split())


def test_a_setting_is_given_in_one_way(cli: CliRunner, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(8, dtype=np.float32))
    np.save(tmp_path / "w.npy", np.ones(8))
    start = ["select", tmp_path / "x.npy", "--budget", "2", "--out", tmp_path / "s.parquet"]
    for more in (
        ["--seed", "1", "--set", "seed=2"],
        ["--threads", "1", "--set", "threads=1"],
    ):
        said = lines(cli, *start, *more, status=2)
        assert f"{more[0][2:]} is given by --set and by an option of its own" in said
    weights = f"weights={tmp_path / 'w.npy'}"
    twice = ["--array", weights, "--array", weights]
    assert "--array weights is given twice" in lines(cli, *start, *twice, status=2)


def test_select_reads_parquet_and_safetensors(cli: CliRunner, tmp_path: Path) -> None:
    pa, st = pytest.importorskip("pyarrow"), pytest.importorskip("safetensors.numpy")
    import pyarrow.parquet as pq

    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    st.save_file({"x": x}, tmp_path / "x.safetensors")
    pq.write_table(pa.table({"x": x.tolist()}), tmp_path / "x.parquet")
    lists = set()
    for suffix in (".npy", ".safetensors", ".parquet"):
        start = ["select", tmp_path / f"x{suffix}", "--method", "meddel", "--budget", "25%"]
        lines(cli, *start, "--out", tmp_path / "s.parquet", "--set", "memory=1GB")
        lines(cli, "select", "--from", tmp_path / "s.parquet", "--out", tmp_path / "s.txt")
        lists.add((tmp_path / "s.txt").read_text())
    assert len(lists) == 1
    assert len(lists.pop().split()) == 10


def test_the_table_of_a_run_is_written(cli: CliRunner, finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    assert f"{out}: written" in lines(cli, "score", finished_run, "--out", out)
    assert out.read_text() == (finished_run / "score" / "scores.csv").read_text()
    said = lines(cli, "score", finished_run, "--alpha", "2", status=2)
    assert "--alpha would have no effect on a run" in said
    said = lines(cli, "score", finished_run, "--out", tmp_path / "scores.html", status=2)
    assert "--out must end in .csv" in said


def test_info_as_json(cli: CliRunner) -> None:
    told = json.loads(lines(cli, "info", "--json"))
    assert told["versions"]["numpy"] == np.__version__
    assert told["hardware"]["isa"] in told["hardware"]["available_isas"]


def test_version_and_info_need_numpy_alone() -> None:
    hidden = "import sys; sys.modules.update(dict.fromkeys(('typer', 'rich', 'pyarrow', 'torch')))"
    for arguments, status in (
        (["--version"], 0),
        (["info"], 0),
        (["info", "--json"], 0),
        (["-q", "doctor"], 0),
        (["doctor", "--json"], 0),
        (["doctor", "vidoe"], 2),
        (["select"], 1),
        ([], 1),
    ):
        code = f"{hidden}; sys.argv[1:] = {arguments}; from meddel_fast.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        if arguments == ["doctor", "vidoe"]:
            assert "did you mean 'video'?\n  next: name one of these, or none" in done.stderr
        elif status:
            assert done.stderr.startswith("meddel-fast: error: this needs typer: pip install")
        else:
            assert "meddel-fast" in done.stdout


BAD = {
    "[selectors.meddel]\nepsilon = 5": "[selectors.meddel] epsilon must be from 0 to 2, got 5",
    '[selectors.meddel]\nrule = "foo"': "[selectors.meddel] rule must be one of 'semdedup'",
    '[selectors.meddel]\nkeep = "all"': "[selectors.meddel] keep must be one of 'far'",
    "[selectors.meddel]\nclusters = 0": "[selectors.meddel] clusters must be at least 1",
    "[selectors.meddel]\nclusters = 100000": "[selectors.meddel] clusters must be from 1 to",
    "[selectors.meddel]\nclusters = 2.5": "[selectors.meddel] clusters must be an int",
    "[selectors.meddel]\nmax_iterations = 0": "[selectors.meddel] max_iterations must be",
    "[selectors.meddel]\nthreads = 2": "[selectors.meddel] threads is given by [run] threads",
    '[selectors.meddel]\nmemory = "lots"': "[selectors.meddel] memory must be bytes",
    '[selectors.meddel]\nweights = "w.npy"': "[selectors.meddel] weights must be a list",
    '[selectors.meddel]\nclasses = "c.npy"': "[selectors.meddel] classes must be a list",
    '[selectors.random]\ntarget = "given"': "[selectors.random] target has no effect without",
    "[selectors.meddel]\nepsilon = 0.5\ndeviations = 1": "deviations must be None where epsilon is",
    "[selectors.random]\nseed = -1": "[selectors.random] seed must be at least 0",
    '[encoder]\npath = "/no/such/encoder"': "[encoder] path: there is no folder /no/such/encoder",
    '[encoder]\npath = "./none"': "[encoder] path: there is no folder ./none",
    '[encoder]\npath = "none"': "[encoder] path: there is no folder none",
    '[[references]]\nname = "r"\npath = "../none"': "[[references]] 'r' path: there is no folder",
    '[[data]]\nname = "b"\nmade = {videos = 0}': "[[data]] 'b' made: videos: wanted an integer in",
    '[[data]]\nname = "b"\nmade = {colour = 0}': "[[data]] 'b' made: colour: no such option",
    '[[data]]\nname = "b"\nmade = {}\nsplits = "s.csv"': "[[data]] 'b' splits: there is no file",
}


@pytest.mark.parametrize("plan", [True, False])
@pytest.mark.parametrize("more", BAD, ids=lambda text: text.replace("\n", " "))
def test_what_is_known_is_checked_before_any_work(
    cli: CliRunner, config: Path, more: str, plan: bool
) -> None:
    config.write_text(f"{CONFIG}\n{more}\n")
    said = lines(cli, "run", config, *["--plan"] * plan, status=2)
    assert BAD[more] in said
    assert said.count("\n") == 2
    assert not (config.parent / "run").exists()


def test_what_is_to_be_fetched_is_told_by_the_plan_and_refused_by_the_run(
    cli: CliRunner, config: Path
) -> None:
    missing = '[[data]]\nname = "b"\npath = "nowhere"\n'
    missing += '[[references]]\nname = "r"\npath = "no-one/no-such"\n'
    config.write_text(f"{CONFIG}\n{missing}")
    folder = f"data folder not found: {config.parent / 'nowhere'}"
    said = lines(cli, "run", config, "--plan")
    assert f"not there yet: {folder}" in said
    assert "not there yet: [[references]] 'r' path: encoder: 'no-one/no-such' is no folder" in said
    assert f"error: {folder}" in lines(cli, "run", config, status=2)
    assert not (config.parent / "run").exists()


def test_places_that_cannot_be_written_are_refused_by_the_plan(
    cli: CliRunner, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = lines(cli, "run", config, "--plan", "--out", tmp_path / "file" / "run", status=2)
    assert f"cannot be made: {tmp_path / 'file'} is a file" in said
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("")
    said = lines(cli, "run", config, "--plan", "--out", tmp_path / "other", status=2)
    assert "is not empty and holds no run" in said
    assert "stages" in lines(cli, "run", config, "--plan")


def test_more_clusters_than_images_are_refused_before_anything_is_trained(
    cli: CliRunner, config: Path
) -> None:
    config.write_text(f"{CONFIG}\n[selectors.meddel]\nclusters = 100000\n")
    said = lines(cli, "run", config, status=2)
    assert "[selectors.meddel] clusters must be from 1 to " in said
    stages = {path.parent.name for path in (config.parent / "run" / "stages").rglob("*.json")}
    assert stages <= {"make", "data"}


def test_quiet_shows_no_progress(cli: CliRunner, tmp_path: Path) -> None:
    shown = {}
    for volume, number in itertools.product(("--quiet", "--verbose"), (3,)):
        out = tmp_path / volume
        command = ["data", "make", str(out), "--videos", str(number), "--frames", "2"]
        result = cli.invoke(app, [volume, *command])
        assert result.exit_code == 0, result.output
        assert f"{out / 'manifest.parquet'}: 6 images" in result.output
        shown[volume] = "done in" in result.output
    assert shown == {"--quiet": False, "--verbose": True}


@pytest.mark.parametrize("videos", [1, 2, 3, 6, 12, 13])
def test_any_number_of_videos_may_be_made(tmp_path: Path, videos: int) -> None:
    from meddel_fast.images.made.frames import check_made, make_frames

    check_made({"videos": videos})
    if videos < 4:
        made = make_frames(tmp_path / "made", videos=videos, frames=4, size=32)
        rows = (made / "splits.csv").read_text().splitlines()[1:]
        assert {row.split(",")[1] for row in rows} == {"train", "test", "val"} - {
            *["test"] * (videos < 2), *["val"] * (videos < 3)
        }  # fmt: skip
