"""Plug-ins of two packages, one sound and one not, installed for real beside the package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for library in ("typer", "pyarrow", "torch", "setuptools", "pip"):
    pytest.importorskip(library)

PACKAGES = Path(__file__).parents[1] / "data" / "plugins"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages, as pip puts them there; nothing is fetched."""
    work = tmp_path_factory.mktemp("plugins")
    sources = [shutil.copytree(PACKAGES / name, work / name) for name in ("sound", "unsound")]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--no-compile"]
    command += ["--target", str(work / "target"), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    entry_points = work / "target" / "meddel_example-1.2.3.dist-info" / "entry_points.txt"
    assert "outliers = meddel_example.selecting:outliers" in entry_points.read_text()
    return work / "target"


def run(installed: Path, code: str, folder: Path) -> dict[str, Any]:
    """Run code in a process that sees the packages; return what it leaves in `told`."""
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json; print(json.dumps(told))"],
        env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


API = """
import importlib.metadata, sys
import numpy as np
calls, real = [], importlib.metadata.entry_points
def counted(**asked):
    calls.append(asked["group"])
    return real(**asked)
importlib.metadata.entry_points = counted
import meddel_fast as mf
from meddel_fast import selectors
from meddel_fast.common.plugins import plugins
x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
mf.selectors.select("kcenter", x, 5)
told = {"before": list(calls), "loaded": [m for m in sys.modules if m.startswith("meddel_ex")]}
one = selectors.select("outliers", x, 7, k=2)
told["order"], told["settings"] = one.order.tolist(), one.settings
one.save("s.parquet")
told["saved"] = selectors.Selection.load("s.parquet").settings["plugin"]
told["budgets"] = [len(s) for s in selectors.select("outliers", x, [3, 0.1])]
mask, groups = np.arange(60) % 2 == 0, np.arange(60) // 6
told["exclude"] = selectors.select("outliers", x, 7, exclude=mask).indices.tolist()
covering = selectors.select("outliers", x, 12, groups=groups)
told["groups"] = sorted({int(g) for g in groups[covering.indices]})
told["classes"] = selectors.select("outliers", x, 4, classes=np.arange(60) % 2).settings["classes"]
in_parts = selectors.select("outliers", x, 7, k=2, memory="16MB")
told["memory"] = in_parts.order.tolist() == told["order"]
told["errors"] = {}
for name, options in (
    ("outliers", {"k": 0}), ("outliers", {"kk": 1}), ("outliers", {"weights": np.ones(60)}),
    ("outlier", {}), ("absent", {}), ("no_selector", {}), ("over_budget", {}), ("twice", {}),
    ("raises", {}),
):
    try:
        selectors.select(name, x, 5, **options)
    except Exception as error:
        told["errors"][" ".join([name, *options])] = f"{type(error).__name__}: {error}"
try:
    selectors.select("too_few", x, [5, 6])
except RuntimeError as error:
    told["errors"]["too_few"] = str(error)
told["kcenter"] = len(selectors.select("kcenter", x, 5))
told["after"] = calls
listed = plugins("selector", selectors.SELECTORS)
told["refused"] = [f"{one} {one.refused}" for one in listed if one.refused]
"""


@pytest.fixture(scope="module")
def told(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(installed, API, tmp_path_factory.mktemp("api"))


def test_nothing_is_looked_for_before_a_name_is_not_ours(told: dict[str, Any]) -> None:
    assert told["before"] == told["loaded"] == []
    assert told["after"] == ["meddel_fast.selectors"]  # once, whatever is asked for


def test_a_selector_does_what_ours_do(told: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    unit = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    second = np.sort(cosine, axis=1)[:, -2]
    assert told["order"] == np.argsort(second, kind="stable")[:7].tolist()
    assert told["budgets"] == [3, 6]
    assert len(told["exclude"]) == 7
    assert all(i % 2 for i in told["exclude"])
    assert told["groups"] == list(range(10))
    assert told["classes"] == 2
    assert told["memory"]


def test_a_selection_tells_the_package(told: dict[str, Any]) -> None:
    origin = {"package": "meddel-example", "version": "1.2.3"}
    assert told["settings"] == {"budget": 7, "count": 7, "k": 2, "plugin": origin}
    assert told["saved"] == origin


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("outliers k", "ValueError: k must be at least 1, got 0"),
        ("outliers kk", "TypeError: outliers: no option kk; it has k,"),
        ("outliers weights", "ValueError: weights must be None for outliers"),
        ("outlier", "got 'outlier'; did you mean 'outliers'?"),
        (
            "absent",
            "PluginError: the selector 'absent' of meddel-unsound 0.9 cannot be loaded: Mod",
        ),
        ("no_selector", "of meddel-unsound 0.9 must be what @meddel_fast.selectors.selector"),
        ("over_budget", "of meddel-unsound 0.9: its plan must keep 5 samples, an int array, got"),
        ("twice", "of meddel-unsound 0.9: its plan must keep 5 samples each once, got one twice"),
        ("raises", "of meddel-unsound 0.9 failed: KeyError: 'nothing'"),
        ("too_few", "of meddel-unsound 0.9: its plan must yield a Choice for each count, got Non"),
    ],
)
def test_what_is_wrong_is_told_with_the_package(
    told: dict[str, Any], asked: str, said: str
) -> None:
    assert said in told["errors"][asked]


def test_the_others_go_on_beside_a_broken_one(told: dict[str, Any]) -> None:
    assert told["kcenter"] == 5
    assert told["refused"] == [
        "the selector 'kcenter' of meddel-unsound 0.9 is refused: meddel-fast has one of this name "
        "itself"
    ]


CLI = """
import sys
import numpy as np
from PIL import Image
import meddel_fast.cli.console
from meddel_fast.cli import app
from typer.testing import CliRunner
meddel_fast.cli.console._end_soon_after_interrupt = lambda: None
rng = np.random.default_rng(0)
np.save("x.npy", rng.normal(size=(40, 6)).astype(np.float32))
import os
os.mkdir("pictures")
for i in range(12):
    pixels = rng.integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(f"pictures/{'cyst' if i % 3 else 'polyp'}__p{i // 2}__{i}.png")
Image.fromarray(pixels).save("pictures/other.png")
told = {}
for line in (
    "select x.npy --method outliers --budget 5 --out s.parquet --json",
    "select --list",
    "select --list --json",
    "select --help",
    "select x.npy --method outlier --budget 5 --out t.parquet",
    "select x.npy --method absent --budget 5 --out t.parquet",
    "data build pictures --reader underscored --out m.parquet --json",
    "data build pictures --reader underscore --out n.parquet",
    "data build pictures --reader elsewhere --out n.parquet",
    "data build pictures --reader plain --out p.parquet --json",
    "data build pictures --reader plain --only etis --out p.parquet",
    "embed m.parquet --encoder colours --out e --json",
    "embed m.parquet --encoder colours --pooling cls --out f",
    "embed m.parquet --encoder narrow --out f",
    "doctor --json",
    "info --json",
    "info",
):
    result = CliRunner().invoke(app, line.split())
    told[line] = [result.exit_code, result.stdout, result.stderr]
from meddel_fast.images.manifest import Manifest
rows = Manifest.load("m.parquet")
told["labels"] = sorted(zip(rows.column("label"), rows.column("group")))
vectors = np.load("e/shard-00000.npy")
told["shape"] = vectors.shape
first = np.asarray(Image.open(rows.image_paths()[0]).resize((32, 32), Image.BILINEAR), float)
told["near"] = float(np.abs(vectors[0] - (first.reshape(2, 16, 2, 16, 3).mean((1, 3)) / 255)
    .transpose(2, 0, 1).reshape(-1)).max())
"""


@pytest.fixture(scope="module")
def commands(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(installed, CLI, tmp_path_factory.mktemp("cli"))


def document(commands: dict[str, Any], line: str, status: int = 0) -> dict[str, Any]:
    assert commands[line][0] == status, commands[line]
    found: dict[str, Any] = json.loads(commands[line][1])
    return found


def test_select_knows_the_plugin(commands: dict[str, Any]) -> None:
    line = "select x.npy --method outliers --budget 5 --out s.parquet --json"
    (kept,) = document(commands, line)["selections"]
    assert (kept["method"], kept["kept"]) == ("outliers", 5)
    assert kept["settings"]["plugin"] == {"package": "meddel-example", "version": "1.2.3"}
    listed = commands["select --list"][1]
    assert "the odd ones out (meddel-example 1.2.3)" in listed
    assert "the selector 'absent' of meddel-unsound 0.9 cannot be loaded" in listed
    assert "the selector 'kcenter' of meddel-unsound 0.9 is refused" in listed
    told = document(commands, "select --list --json")
    assert told["methods"][-1]["name"] == "twice"
    assert {m["name"] for m in told["methods"] if m["plugin"]} >= {"outliers", "over_budget"}
    assert len(told["unusable"]) == 3
    assert "outliers (meddel-example 1.2.3)" in " ".join(commands["select --help"][1].split())


def test_a_mistyped_or_broken_method_is_told(commands: dict[str, Any]) -> None:
    status, _, said = commands["select x.npy --method outlier --budget 5 --out t.parquet"]
    assert status == 2
    assert "did you mean 'outliers'?\n  next: meddel-fast select --list" in said
    status, _, said = commands["select x.npy --method absent --budget 5 --out t.parquet"]
    assert status == 2
    assert "of meddel-unsound 0.9 cannot be loaded: ModuleNotFoundError" in said
    assert "next: mend or remove that package; meddel-fast doctor shows all plug-ins" in said


def test_a_reader_finds_what_it_knows(commands: dict[str, Any]) -> None:
    told = document(commands, "data build pictures --reader underscored --out m.parquet --json")
    assert told["images"] == 12
    assert "found by the reader underscored of meddel-example 1.2.3" in told["notes"]
    assert told["left_out"] is not None
    wanted = sorted(["cyst" if i % 3 else "polyp", f"p{i // 2}"] for i in range(12))
    assert commands["labels"] == wanted
    plain = document(commands, "data build pictures --reader plain --out p.parquet --json")
    assert plain["images"] == 13
    for line, said in (
        ("--reader underscore --out n.parquet", "got 'underscore'; did you mean 'underscored'?"),
        ("--reader elsewhere --out n.parquet", "meddel-unsound 0.9 must find what lies in the fol"),
        ("--reader plain --only etis --out p.parquet", "give --only or --reader, not both"),
    ):
        status, _, error = commands[f"data build pictures {line}"]
        assert status == 2
        assert said in error


def test_an_encoder_embeds(commands: dict[str, Any]) -> None:
    told = document(commands, "embed m.parquet --encoder colours --out e --json")
    assert (told["embeddings"], told["features"]) == (12, 12)
    assert commands["shape"] == [12, 12]
    assert commands["near"] < 0.05  # squeezed here by another filter
    status, _, said = commands["embed m.parquet --encoder colours --pooling cls --out f"]
    assert status == 2
    assert "'colours' (the encoder 'colours' of meddel-example 1.2.3) does not have one" in said
    status, _, said = commands["embed m.parquet --encoder narrow --out f"]
    assert status == 2
    assert "must answer with a tensor of shape (64, 12), got (64, 3)" in said


def test_doctor_and_info_tell_of_plugins(commands: dict[str, Any]) -> None:
    told = document(commands, "doctor --json", status=1)
    trouble = {(one["kind"], one["name"]): one["trouble"] for one in told["plugins"]}
    assert trouble["selector", "outliers"] == trouble["reader", "underscored"] == ""
    assert trouble["encoder", "colours"] == ""
    assert trouble["selector", "absent"].startswith("cannot be loaded: ModuleNotFoundError")
    assert trouble["selector", "kcenter"].startswith("is refused")
    assert sum("meddel-unsound 0.9" in text for text in told["wrong"]) == 3
    assert not any("meddel-example" in text for text in told["wrong"])
    listed = document(commands, "info --json")["plugins"]
    assert {"outliers", "underscored", "colours"} <= {one["name"] for one in listed}
    assert "selector outliers" in commands["info"][1]


def test_a_process_of_its_own_selects(installed: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32))
    command = [sys.executable, "-m", "meddel_fast", "select", "x.npy", "-q", "--json"]
    command += ["--method", "outliers", "--budget", "10%", "--out", "kept.txt", "--set", "k=3"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["selections"][0]["kept"] == 3
    assert len((tmp_path / "kept.txt").read_text().split()) == 3
