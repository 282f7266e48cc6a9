"""URLs on the command line: taken where they can be, refused in their own spelling elsewhere, and
never made into a folder of this machine."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Any

import numpy as np
import object_stores as stores
import pytest

pytest.importorskip("s3fs")
typer = pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from typer.testing import CliRunner  # noqa: E402

from meddel_fast.cli import app  # noqa: E402
from meddel_fast.common import places  # noqa: E402
from meddel_fast.selectors import Selection  # noqa: E402


def test_results_and_inputs_in_a_store(
    s3_store: stores.Store, s3_proxy: stores.Proxy, cli: CliRunner, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    folder = f"s3://bucket/{tmp_path.name}"
    places.put_file(tmp_path / "x.npy", f"{folder}/x.npy")
    names = [f"{folder}/x.npy", tmp_path / "x.npy"]
    outs = [f"{folder}/out", str(tmp_path)]
    told = []
    for x_name, out in zip(names, outs, strict=True):
        for command in (
            f"select {x_name} --method kcenter --budget 10%,20% --out {out}/sel-{{budget}}.parquet",
            f"dedup {x_name} --threshold 0.5 --out {out}/keep.csv --sweep .5 --table {out}/t.csv",
            f"select --from {out}/sel-10%.parquet --out {out}/list.txt",
        ):
            done = cli.invoke(app, ["-q", *command.split()])
            assert done.exit_code == 0, done.output
            told.append(done.output.replace(out, "OUT"))
    assert told[:3] == told[3:]
    for name in ("keep.csv", "t.csv", "list.txt"):
        assert places.read_bytes(f"{folder}/out/{name}") == (tmp_path / name).read_bytes()
    for budget in ("10%", "20%"):
        remote, local = (Selection.load(f"{out}/sel-{budget}.parquet") for out in outs)
        np.testing.assert_array_equal(remote.order, local.order)
    done = cli.invoke(
        app, ["dedup", "s3://bucket/x.npy", "--threshold", "0.5", "--out", "s3://bucket/x.npy"]
    )
    assert done.exit_code == 2
    assert "s3://bucket/x.npy is an input" in done.output
    assert s3_store.uploads() == 0


COMMANDS: dict[str, Any] = {}


def _add(command: Any, names: list[str]) -> None:
    below = getattr(command, "commands", None)
    if below is None:
        COMMANDS[" ".join(names)] = command
    for name, one in (below or {}).items():
        _add(one, [*names, name])


_add(typer.main.get_command(app), [])
BESIDE = {
    # What a command asks for before it looks at a path.
    "select": ["--budget", "5", "--out", "OUT"],
    "dedup": ["--threshold", "0.9"],
    "export": ["--out", "OUT"],
    "hierarchy": ["--levels", "10", "--out", "OUT"],
    "errors": ["--model", "model", "--out", "OUT"],
    "tile": ["--model", "model", "--images", "2", "--out", "OUT"],
    "index create": ["--width", "8", "--threshold", "0.9"],
}


def paths_of(command: Any) -> list[Any]:
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    return [p for p in command.params if "Path" in str(hints.get(p.name))]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_makes_a_folder_of_a_url(
    name: str, cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each path of each command as a URL of a store that is not there."""
    stores.use(monkeypatch, "http://127.0.0.1:9", patience=0)
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[name]
    url = "s3://bucket/x"
    arguments = [p for p in paths_of(command) if p.param_type_name == "argument"]
    options = [p for p in paths_of(command) if p.param_type_name == "option"]
    beside = [url if text == "OUT" else text for text in BESIDE.get(name, [])]
    tried = [[*name.split(), *[url] * len(arguments[:2]), *beside]] if arguments else []
    for option in options:
        flag = max(option.opts, key=len)
        tried.append([*name.split(), *[url] * len(arguments[:1]), *beside, flag, url])
        tried.append([*name.split(), flag, url])
    said = []
    for words in tried:
        done = cli.invoke(app, words)
        assert done.exit_code != 0, words
        assert isinstance(done.exception, SystemExit), (words, done.exception)
        assert "s3:/bucket" not in done.output, words
        said.append(done.output)
    assert list(tmp_path.iterdir()) == []
    if arguments:
        assert any(url in text for text in said), said
