"""``--json``: one document of every command, of the keys that are documented, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import typer
from frames import TINY, blob_frames
from pydantic import TypeAdapter
from typer.testing import CliRunner

import meddel_fast.cli.console
from meddel_fast.cli import app
from meddel_fast.cli.console import Ended
from meddel_fast.common.files import read_json

ROOT = Path(__file__).parents[2]
Told = Callable[[str], tuple[int, str, str]]

pytestmark = pytest.mark.timeout(900)  # the first test makes a run


def commands(at: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command of the command line with its name."""
    at = typer.main.get_command(app) if at is None else at
    if not hasattr(at, "commands"):
        yield " ".join(path), at
        return
    for name, command in at.commands.items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands())


def document_of(command: Any) -> Any:
    """The class of a command's document."""
    told = command.callback.document
    return typing.get_args(told)[0] if typing.get_origin(told) is Ended else told


# Each command at least once, in this order, in a folder that `made` has filled.
LINES = [
    "run small.toml --plan",
    "run small.toml --out run",
    "data make drawn --videos 3 --frames 2 --size 32 -q",
    "data build frames --out built.parquet",
    "data build --config small.toml --out run",
    "data show built.parquet",
    "data list",
    "data quality built.parquet --out measured.parquet --flawed flawed.csv",
    "embed m.parquet --encoder model --out vectors",
    "embed --config small.toml --out run",
    "select x.npy --method kcenter --budget 5,10 --out s-{budget}.parquet",
    "select --from s-5.parquet --out s.txt",
    "select --list",
    "curate x.npy --budget 5 --out curated",
    "select vectors --manifest m.parquet --budget 4 --out of-images.parquet",
    "export of-images.parquet m.parquet --out exported",
    "dedup x.npy --threshold .9 --sweep .8,.9 --out d.parquet --table d.csv",
    "dedup x.npy --sweep .8",
    "audit s-10.parquet x.npy --column site=sites.txt --neighbours 3 --out audit.json",
    "hierarchy x.npy --out tree.npz --levels 8,3",
    "probe x.npy --labels sites.txt --draws 2 --ratios 1,0.5 --selector random --probes knn",
    "pretrain m.parquet --out trained " + " ".join(
        f"--set {name}={getattr(TINY, name)}"
        for name in ("image_size", "patch_size", "hidden_size", "layers", "heads", "batch_size",
                     "decoder_hidden_size", "decoder_layers", "decoder_heads")
    ) + " --set steps=2 --set warmup_steps=1",
    "errors m.parquet --model model --out errors.npy",
    "tile m.parquet --model model --images 2 --out tiles",
    "evaluate model m.parquet --test-split test --set steps=2 --out result.json",
    "score own.csv",
    "score run",
    "report run",
    "verify run",
    "leaderboard run --out board",
    "leakage x.npy y.npy --out leaks",
    "leakage --config small.toml --out run --by hash",
    "index create i --width 6",
    "index add i x.npy --ids names.txt",
    "index remove i name-3",
    "index compact i",
    "index verify i",
    "index show i --kept kept.txt",
    "info",
    "doctor",
]  # fmt: skip
ENDS_WITH_1 = "data check frames etis"


@pytest.fixture(scope="module")
def made(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    rng = np.random.default_rng(0)
    for name in ("x", "y"):
        np.save(folder / f"{name}.npy", rng.normal(size=(40, 6)).astype(np.float32))
    (folder / "names.txt").write_text("".join(f"name-{i}\n" for i in range(40)))
    (folder / "sites.txt").write_text("".join(f"{'ab'[i % 2]}\n" for i in range(40)))
    (folder / "own.csv").write_text("miou,retained\n0.7,0.1\n")
    rows = blob_frames(folder / "frames")
    at = rows.table.schema.get_field_index("split")
    table = rows.table.set_column(at, "split", [["train"] * 8 + ["test"] * 4])
    type(rows)("blobs", rows.root, table).save(folder / "m.parquet")
    shutil.copytree(finished_run, folder / "run")
    shutil.copy(finished_run.parent / "small.toml", folder)
    shutil.copytree(finished_run / "pretrain" / "full-100" / "model", folder / "model")
    return folder


@pytest.fixture(scope="module")
def told(made: Path) -> Told:
    """What a line prints: status, stdout and stderr; those before it are run first, each once."""
    found: dict[str, tuple[int, str, str]] = {}

    def tell(line: str) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(meddel_fast.cli.console, "_end_soon_after_interrupt", lambda: None)
            patch.chdir(made)
            for one in [*LINES, ENDS_WITH_1]:
                if line in found:
                    break
                if one not in found:
                    result = CliRunner().invoke(app, [*one.split(), "--json"])
                    found[one] = (result.exit_code, result.stdout, result.stderr)
        return found[line]

    return tell


def test_every_command_is_tried() -> None:
    tried = {max((n for n in COMMANDS if f"{line} ".startswith(f"{n} ")), key=len)
             for line in [*LINES, ENDS_WITH_1]}  # fmt: skip
    assert tried == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_options(name: str) -> None:
    options = {option for p in COMMANDS[name].params for option in p.opts}
    assert options >= {"--json", "-q", "--quiet", "-v", "--verbose"}
    assert "format" not in document_of(COMMANDS[name]).__annotations__


@pytest.mark.parametrize("line", [*LINES, ENDS_WITH_1])
def test_stdout_is_one_document_of_known_keys(told: Told, line: str) -> None:
    status, stdout, stderr = told(line)
    assert status == (1 if line == ENDS_WITH_1 else 0), stderr
    document = json.loads(stdout)
    name = max((n for n in COMMANDS if f"{line} ".startswith(f"{n} ")), key=len)
    assert (document.pop("format"), document.pop("command")) == (1, name)
    adapter = TypeAdapter(document_of(COMMANDS[name]))
    checked = adapter.validate_json(json.dumps(document), strict=True)
    assert adapter.dump_python(checked, mode="json") == document  # there is no key besides


def test_the_documents_say_what_happened(told: Told, made: Path) -> None:
    lines = [*LINES, ENDS_WITH_1]
    found = {line.partition(" --")[0]: json.loads(told(line)[1]) for line in lines}
    assert [one["kept"] for one in found["select x.npy"]["selections"]] == [5, 10]
    assert found["index add i x.npy"]["added"] == 40
    assert found["index remove i name-3"]["removed"] == 1
    assert found["index show i"]["samples"] == 39
    assert found["data build frames"]["images"] == 12
    assert found["hierarchy x.npy"]["levels"] == [8, 3]
    assert found["verify run"]["wrong"] == []
    assert found["score run"]["scores"] == read_json(made / "run" / "score" / "scores.json")
    assert found["run small.toml"]["scores"] == found["score run"]["scores"]
    assert found["score own.csv"]["results"][0]["miou"] == 0.7
    assert found["errors m.parquet"]["errors"] == 12
    assert found["leakage x.npy y.npy"]["leaks"][0]["images"] == 40
    assert found["audit s-10.parquet x.npy"]["kept"] == 10
    assert found["data check frames etis"]["sets"][0]["status"] == "missing"


def test_the_keys_are_in_the_docs() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z ]+)` \| (.*) \|$", text, re.MULTILINE)
    shown = {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in rows}
    wanted = {name: set(document_of(c).__annotations__) for name, c in COMMANDS.items()}
    assert shown == wanted


def test_numbers_that_are_none_are_null_and_libraries_print_elsewhere(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meddel_fast.benchmark import machine

    def described() -> dict[str, Any]:
        print("a library talks")
        return {
            "versions": {}, "plugins": [], "cuda_device": None,
            "hardware": {"nan": float("nan"), "path": Path("a"), "n": np.int64(3)},
        }  # fmt: skip

    monkeypatch.setattr(machine, "described", described)
    monkeypatch.setattr(machine, "lines", lambda about: [])
    result = cli.invoke(app, ["info", "--json"])
    assert json.loads(result.stdout)["hardware"] == {"nan": None, "path": "a", "n": 3}
    assert "a library talks" in result.stderr


def test_a_document_and_a_result_do_not_share_stdout(cli: CliRunner, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(4, dtype=np.float32))
    line = ["select", str(tmp_path / "x.npy"), "--budget", "2", "--out", "/dev/stdout", "--json"]
    result = cli.invoke(app, line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json prints to the standard output" in json.loads(result.stderr)["error"]["message"]


@pytest.mark.parametrize("line", ["-q {}", "{} -q", "{} --quiet", "-v {}", "{} -v", "{} --verbose"])
def test_the_volume_is_set_before_or_after_the_command(
    cli: CliRunner, tmp_path: Path, line: str
) -> None:
    make = f"data make {tmp_path / 'made'} --videos 3 --frames 2 --size 32"
    result = cli.invoke(app, line.format(make).split())
    assert result.exit_code == 0
    assert ("done in" in result.stderr) == ("q" not in line.replace("{}", ""))


def test_a_stopped_command_says_so_in_json() -> None:
    code = (
        "import sys; sys.argv[1:] = ['info', '--json']\n"
        "import meddel_fast.benchmark.machine as machine\n"
        "def described(): raise KeyboardInterrupt\n"
        "machine.described = described\n"
        "from meddel_fast.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "")
    assert json.loads(done.stderr)["error"]["next"] == "meddel-fast info --json"
