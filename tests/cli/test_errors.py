"""Every error on the command line ends with what to do next; with --json it is JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from command_line import lines
from typer.testing import CliRunner

from meddel_fast.cli import app
from meddel_fast.cli.errors import next_step
from meddel_fast.common.lock import LockedError
from meddel_fast.common.places import RemoteError
from meddel_fast.common.plugins import PluginError
from meddel_fast.common.remote.errors import RemoteDeniedError, RemoteMissingError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    np.save(tmp_path / "frames.npy", np.eye(8, dtype=np.float32))
    (tmp_path / "damaged.npy").write_bytes(b"no numpy")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SELECT = "select frames.npy --budget 2 --out s.parquet"
WRONG = {
    "selct": ("there is no command 'selct'; did you mean 'select'?", "meddel-fast --help lists"),
    "data lst": ("no command 'lst'; did you mean 'list'?", "meddel-fast data --help lists the com"),
    "index ad": ("there is no command 'ad'; did you mean 'add'?", "meddel-fast index --help"),
    f"{SELECT} --sede 1": ("option --sede; did you mean '--seed'?", "meddel-fast select --help"),
    "select --budget": ("'--budget' requires an argument", "meddel-fast select --help lists all"),
    "leakage a.npy --by hsah": ("'hsah' is not one of", "meddel-fast leakage --help"),
    "hierarchy frames.npy": ("Missing option '--out'", "meddel-fast hierarchy --help"),
    f"{SELECT} --method kcentre": ("did you mean 'kcenter'?", "select --list shows the methods"),
    f"{SELECT} --set clustres=2": ("did you mean 'clusters'?", "meddel-fast select --help"),
    "select frame.npy --budget 2 --out s": ("no file frame.npy", "did you mean 'frames.npy'?"),
    "select x/y.npy --budget 2 --out s": ("no file x/y.npy", "path: . holds damaged.npy, frames"),
    "select damaged.npy --budget 2 --out s": ("is not a .npy file", "make that file again, or"),
    "select frames.npy --budget 2": ("--out SELECTION.parquet is needed", "meddel-fast select --h"),
    "select frames.npy --budget 2 --out mine": ("is a directory", "name a place that is free"),
    "select frames.npy --budget 2 --out mine/diary.txt": ("is not a list of names", "is free"),
    "select frames.npy --budget 9 --out s": ("from 1 to 8", "meddel-fast select --help"),
    f"{SELECT} --set memory=1": ("memory must be at least", "meddel-fast select --help"),
    "select --list --seed 1": ("no effect with --list", "leave it out, or see meddel-fast select"),
    "data check . kvasri": ("did you mean 'kvasir", "meddel-fast data list shows the data sets"),
    "data build . --reader pair --out m": ("did you mean 'pairs'?", "meddel-fast data build --he"),
    "data build none --out m.parquet": ("none", "look for a mistyped path"),
    "run run.toml": ("config file not found: run.toml", "look for a mistyped path: . holds"),
    "embed m.parquet --encoder e --out o": ("no manifest at m.parquet", "look for a mistyped pat"),
    "index show mine": ("mine", "meddel-fast index show --help"),
    "score --metric dcie": ("did you mean 'dice'?", "meddel-fast score --help"),
    "verify mine": ("has no run.json", "meddel-fast verify --help"),
    "-q -v info": ("exclude each other", "meddel-fast --help"),
    "info -q -v": ("exclude each other", "meddel-fast info --help"),
    "doctor vidoe": ("did you mean 'video'?", "meddel-fast doctor --help explains"),
}


@pytest.mark.parametrize("line", WRONG)
def test_an_error_says_what_to_do(cli: CliRunner, folder: Path, line: str) -> None:
    wrong, step = WRONG[line]
    first, second, *more = lines(cli, *line.split(), status=2).splitlines()
    assert first.startswith("meddel-fast: error: ")
    assert wrong in first
    assert second.startswith("  next: ")
    assert step in second
    assert more == []
    result = cli.invoke(app, [*line.split(), "--json"] if line != "-q -v info" else
                        ["--json", *line.split()])  # fmt: skip
    if line.endswith("--budget"):
        return  # which takes --json for its argument
    assert (result.exit_code, result.stdout) == (2, "")
    told = json.loads(result.stderr)
    assert told["format"] == 1
    assert f"meddel-fast: error: {told['error']['message']}" == first
    assert f"  next: {told['error']['next']}" == second
    assert told["error"]["status"] == 2
    assert re.fullmatch(r"[A-Z]\w+", told["error"]["kind"])


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (
            ModuleNotFoundError("this needs av: pip install 'meddel-fast[video]'", name="av"),
            "pip install 'meddel-fast[video]', then the same again "
            "(meddel-fast doctor video looks first)",
        ),
        (ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
         "pip install torchvision, then the same again"),
        (FileNotFoundError("encoder: 'vit' is no folder with a model, nor in the local cache"),
         "give --encoder a folder of save_pretrained (pretrain writes OUT/model), or a name of the "
         "hub that is in the cache; a name with a / is looked for on the hub"),
        (PermissionError(13, "Permission denied", "/x/y"),
         "ls -ld /x/y shows who may; name a place of your own"),
        (OSError(28, "No space left on device", "/x"),
         "df -h shows which disk is full; what is done is kept"),
        (RuntimeError("CUDA out of memory. Tried"),
         "give less at a time (--set memory=1GB, --batch-size); meddel-fast doctor: what is free"),
        (RuntimeError("can't start new thread"), "the same again with OMP_NUM_THREADS=1 before it"),
        (LockedError("run is in use by another run (process 7)"),
         "wait until that process ends, or end it, then the same again"),
        (PluginError("the selector 'x' of p 1 cannot be loaded"),
         "mend or remove that package; meddel-fast doctor shows all plug-ins"),
        (ValueError("out is not empty and holds no run"),
         "name a place that is free, or move away what is there"),
        (ValueError("anything"), "meddel-fast data build --help explains what it takes"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_steps(error: Exception, step: str) -> None:
    assert next_step(error, "data build") == step


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (RemoteDeniedError("s3://bucket/x cannot be read: no credentials"), "doctor shows"),
        (RemoteMissingError("no file s3://bucket/x"), "mistyped bucket or name in that URL"),
        (FileNotFoundError("source: nothing at s3://bucket/x"), "mistyped bucket or name"),
        (RemoteError("s3://bucket/x could not be read (MEDDEL_REMOTE_PATIENCE=60 is)"),
         "when the store answers"),
        (FileExistsError("s3://bucket/x holds something else"), "a place that is free"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
@pytest.mark.parametrize("given", ["s3://bucket/x", Path("s3://bucket/x")])
def test_steps_of_urls_name_nothing_of_this_machine(
    error: Exception, step: str, given: object
) -> None:
    told = next_step(error, "curate", [given, None, "ftp://host/x"])
    assert step in told
    assert "ls -ld" not in told
    assert " holds " not in told


def test_a_traceback_where_it_is_asked_for(cli: CliRunner, folder: Path) -> None:
    for line in (
        "--traceback select no.npy --budget 2 --out s",
        "select no.npy --budget 2 --out s -v",
    ):
        result = cli.invoke(app, line.split())
        assert isinstance(result.exception, FileNotFoundError)
    assert lines(cli, "select", "no.npy", "--budget", 2, "--out", "s", status=2).count("\n") == 2
