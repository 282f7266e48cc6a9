"""Nothing read is ever run, and nothing leaves the machine unless it is asked for."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import meddel_fast

PACKAGE = Path(meddel_fast.__file__).parent
# What runs code that it reads, or hands text to a shell.
RUNS = {"eval", "exec", "compile", "__import__", "system", "popen", "to_pickle", "read_pickle"}
LOADERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
EXCEPTIONS = {
    ("compat/semdedup.py", "to_pickle"),  # what the original's users read; never read here
    ("benchmark/machine.py", "system"),  # platform.system: which one this is
}
NETWORK = {"socket", "urllib", "http", "requests", "httpx", "aiohttp", "ftplib", "smtplib"}
NETWORK |= {"fsspec", "s3fs", "gcsfs", "adlfs"}  # in one folder, where a URL leads alone


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def calls() -> Iterator[tuple[str, str, str, ast.Call]]:
    """Give each call as (module, what it is called on, name, call)."""
    for place, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield place, ast.unparse(node.func.value), node.func.attr, node
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield place, "", node.func.id, node


def test_the_search_finds_what_is_there() -> None:
    found = [(place, owner, name) for place, owner, name, _ in calls()]
    assert len(found) > 5000
    assert ("common/npy.py", "np", "load") in found
    assert ("training/encoders/vit.py", "AutoModel", "from_pretrained") in found


def test_nothing_that_is_read_is_run() -> None:
    # torch.compile, re.compile and model.eval() only share their names
    wrong = [
        (place, name)
        for place, owner, name, _ in calls()
        if name in RUNS
        and not (owner and name in ("compile", "eval"))
        and (place, name) not in EXCEPTIONS
    ]
    assert wrong == []
    imported = [
        (place, name.name)
        for place, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
        if {name.name.split(".")[0], (getattr(node, "module", "") or "").split(".")[0]} & LOADERS
    ]
    assert imported == []


def test_arrays_and_weights_are_loaded_without_pickle() -> None:
    loads = [
        (place, owner, node)
        for place, owner, name, node in calls()
        if name == "load" and owner in ("np", "numpy", "torch")
    ]
    assert {place for place, _, _ in loads} == {"common/npy.py"}
    for place, owner, node in loads:
        told = {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert (owner, told.get("allow_pickle")) == ("np", "False"), place


def test_the_hub_is_asked_only_where_offline_is_false() -> None:
    for place, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = {alias.name.split(".")[0] for alias in node.names}
                named.add((getattr(node, "module", "") or "").split(".")[0])
                assert not named & NETWORK or place.startswith("common/remote/"), place
            if isinstance(node, ast.FunctionDef):
                both = [*node.args.args, *node.args.kwonlyargs]
                given = [None] * (len(node.args.args) - len(node.args.defaults))
                defaults = dict(
                    zip([a.arg for a in both],
                        [*given, *node.args.defaults, *node.args.kw_defaults], strict=True)
                )  # fmt: skip
                default = defaults.get("offline")
                assert default is None or ast.unparse(default) == "True", (place, node.name)
    asked = 0
    for place, owner, name, node in calls():
        told = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in ("from_pretrained", "cached_file"):
            assert told.get("local_files_only") in ("True", "offline"), place
            asked += 1
        if name == "from_pretrained" and owner.startswith("Auto"):
            assert told.get("trust_remote_code") == "False", place
    assert asked >= 5


ALONE = """
import os, sys

def stop(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        print(event, given, flush=True)
        os._exit(7)

for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(name, None)
sys.addaudithook(stop)
sys.path.insert(0, TESTS)
from pathlib import Path
from frames import blob_frames
from transformers import ViTConfig, ViTModel
import meddel_fast as mf
from meddel_fast.training.embed import embed

folder = Path(FOLDER)
sizes = dict(image_size=32, patch_size=8, hidden_size=16, intermediate_size=16)
layers = dict(num_hidden_layers=1, num_attention_heads=1)
ViTModel(ViTConfig(**sizes, **layers)).save_pretrained(folder / "vit")
frames = blob_frames(folder)
found = embed(frames, folder / "vit", folder / "out", batch_size=8, workers=1)
print(len(mf.selectors.meddel(found.array, 4)), "selected")
try:
    embed(frames, "no/such-model", folder / "out")
except FileNotFoundError as error:
    print("refused", "offline" in str(error))
import socket
socket.getaddrinfo("localhost", 80)
"""


def test_nothing_asks_the_network(tmp_path: Path) -> None:
    for needed in ("torch", "transformers", "pyarrow", "PIL"):
        pytest.importorskip(needed)
    tests = str(Path(__file__).parents[1] / "helpers")
    code = ALONE.replace("TESTS", repr(tests)).replace("FOLDER", repr(str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[:2] == ["4 selected", "refused True"], done.stderr
    # and the guard was on: the last line, which does ask, ended it
    assert (done.returncode, done.stdout.splitlines()[2][:18]) == (7, "socket.getaddrinfo")


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    content = pickle.dumps(Trap(trap))
    pickle.loads(content)
    assert trap.exists()  # so would it be
    trap.unlink()
    from meddel_fast.common.npy import load_npy
    from meddel_fast.training.predictions import Predictions

    for read in (load_npy, Predictions.load):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match="x"):
            read(tmp_path / "x")
    for needed in ("torch", "transformers"):
        pytest.importorskip(needed)
    from transformers import ViTConfig

    from meddel_fast.training.device import choose
    from meddel_fast.training.encoders.vit import load_encoder

    ViTConfig(num_hidden_layers=1).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "pytorch_model.bin").write_bytes(content)
    with pytest.raises((ValueError, OSError), match="vit"):
        load_encoder(tmp_path / "vit", choose("cpu", "fp32"))
    assert not trap.exists()
