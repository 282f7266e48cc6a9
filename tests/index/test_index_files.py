"""The index on disk after kills, damage and wrong use, its holders, and its commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from indices import built, names, shrink
from samples import clustered

from meddel_fast.common.lock import LockedError, lock
from meddel_fast.index import SelectionIndex

if TYPE_CHECKING:
    from typer.testing import CliRunner

DRIVER = Path(__file__).parents[1] / "helpers" / "kill_index.py"


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, and waiting for the disk takes most of the time."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


# Kills


def state_of(path: Path) -> tuple[list[str], list[str]]:
    index = SelectionIndex.open(path)
    assert index.verify() == []
    return index.ids, index.kept


@pytest.mark.parametrize("change", ["create", "add", "remove", "compact"])
def test_killed_before_any_write_leaves_the_old_or_the_new(tmp_path: Path, change: str) -> None:
    run = subprocess.run(
        [sys.executable, str(DRIVER), change, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    old, new = (
        (state_of(tmp_path / name) for name in ("old", "new"))
        if change != "create"
        else (None, ([], []))
    )
    outcomes = []
    for k in range(report["kills"]):
        path = tmp_path / f"killed-{k}"
        if change == "create" and not (path / "index.json").exists():
            outcomes.append("old")
            SelectionIndex.create(path, 4).add(np.eye(4, dtype=np.float32), names(0, 4))
            continue
        found = state_of(path)
        assert found in (old, new)
        outcomes.append("new" if found == new and found != old else "old")
        index = SelectionIndex.open(path)  # and it goes on from there
        index.add(np.full((1, 4), 0.5, np.float32), ["one more"])
        assert index.verify() == []
        left = {p.name for p in path.iterdir() if p.name.startswith(".tmp")}
        assert left == set()
    assert report["kills"] >= 8
    if change != "compact":  # which changes no state
        assert outcomes == sorted(outcomes, key="old new".index)
        assert set(outcomes) == {"old", "new"}


# Damage, and wrong use


@pytest.mark.parametrize("kind", ["rows", "ids", "arrivals", "changes", "centroids", "index"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_and_missing_files_are_named(
    tmp_path: Path, rng: np.random.Generator, kind: str, damage: str
) -> None:
    path = tmp_path / "index"
    x = rng.normal(size=(30, 4)).astype(np.float32)
    index = built(path, x, 1)
    index.compact()
    index.remove(["sample 3"])
    (file,) = path.glob(f"*-{kind}.*" if kind != "index" else "index.json")
    content = bytearray(file.read_bytes())
    content[{"index": -9, "rows": 130}.get(kind, -5)] ^= 1  # 130: of the first row, which is kept
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else content[:-20])
    with pytest.raises((ValueError, FileNotFoundError), match=file.name):
        SelectionIndex.open(path).add(x, names(90, 30))  # a row is looked at when it is used


def test_verify_names_what_is_wrong(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "index"
    index = built(path, clustered(rng, 200, 4), 2)
    (rows,) = path.glob("*2-rows.npy")
    content = rows.read_bytes()
    rows.write_bytes(content[:-1] + bytes([content[-1] ^ 128]))
    (problem,) = index.verify()
    assert rows.name in problem
    assert "damaged" in problem
    rows.write_bytes(content)
    assert index.verify() == []
    index._state.low += 0.1
    index._state.high += 0.1
    assert "bounds" in index.verify()[0]
    index = SelectionIndex.open(path)
    kept, other = index._state.kept[:2]
    index._state.cover[kept] = other
    assert "recomputed" in index.verify()[0]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from meddel_fast.common.lock import lock\n"
        "with lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    index = SelectionIndex.create(tmp_path, 2)
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            index.add(np.ones((1, 2), np.float32), ["a"])
        assert len(SelectionIndex.open(tmp_path)) == 0  # reading is free
        holder.kill()
    index.add(np.ones((1, 2), np.float32), ["a"])


def test_one_writer_in_a_process(tmp_path: Path) -> None:
    refused: list[str] = []

    def write() -> None:
        try:
            index.add(np.ones((1, 2), np.float32), ["a"])
        except LockedError as error:
            refused.append(str(error))

    index = SelectionIndex.create(tmp_path, 2)
    with lock(tmp_path):
        for _ in range(2):  # one refused leaves the holder's name
            other = threading.Thread(target=write)
            other.start()
            other.join()
    assert len(index) == 0
    assert len(refused) == 2
    assert all(f"(process {os.getpid()})" in text for text in refused)
    write()
    assert len(index) == 1


def test_a_worker_that_outlives_its_run_holds_nothing(tmp_path: Path) -> None:
    fork = (
        "import os, sys, time; from pathlib import Path; from meddel_fast.common.lock import lock\n"
        "with lock(Path(sys.argv[1])):\n    worker = os.fork()\n"
        "    worker or print(os.getpid(), flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", fork, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        worker = int(holder.stdout.readline())
        holder.kill()
        holder.wait()
        try:
            with lock(tmp_path):
                os.kill(worker, 0)  # still there
        finally:
            os.kill(worker, signal.SIGKILL)


def test_two_holders_take_turns(tmp_path: Path) -> None:
    one = SelectionIndex.create(tmp_path, 2)
    two = SelectionIndex.open(tmp_path)
    one.add(np.eye(2, dtype=np.float32), ["a", "b"])
    two.add(np.array([[1, 0.01]]), ["c"])
    assert (two.ids, two.kept) == (["a", "b", "c"], ["a", "b"])
    one.remove(["a"])
    assert one.kept == ["b", "c"]


def test_wrong_arguments(tmp_path: Path) -> None:
    for options, error, message in [
        ({"d": 0}, ValueError, "d must be at least 1, got 0"),
        ({"d": 2.0}, TypeError, "d must be an int"),
        ({"d": 2, "dtype": "float64"}, ValueError, "dtype must be one of"),
        ({"d": 2, "threshold": 0.0}, ValueError, "threshold must be from"),
        ({"d": 2, "threshold": 1.5}, ValueError, "threshold must be from"),
    ]:
        with pytest.raises(error, match=message):
            SelectionIndex.create(tmp_path / "no", **options)  # type: ignore[arg-type]
        assert not (tmp_path / "no").exists()
    with pytest.raises(FileNotFoundError, match="holds no index"):
        SelectionIndex.open(tmp_path / "no")
    index = SelectionIndex.create(tmp_path / "yes", 2)
    with pytest.raises(FileExistsError, match="holds an index already"):
        SelectionIndex.create(tmp_path / "yes", 2)
    x = np.eye(2, dtype=np.float32)
    index.add(x, ["a", 7])
    for rows, ids, error, message in [
        (np.ones((1, 3), np.float32), ["c"], ValueError, "x must have 2 columns like the index"),
        (x.astype(np.float16), ["c", "d"], TypeError, "x must be float32 like the index, got f"),
        (x[0], ["c"], ValueError, "x must be a 2-d float array"),
        (x * np.nan, ["c", "d"], ValueError, "row 0"),
        (x, ["c"], ValueError, "ids must be one for each of 2 rows of x, got 1"),
        (x, ["c", "c"], ValueError, "'c' comes twice"),
        (x, ["7", "d"], ValueError, "'7' is in the index already"),
        (x, ["c", 1.5], TypeError, "ids must be str or int, got float"),
        (x, "cd", TypeError, "sequence of names"),
    ]:
        with pytest.raises(error, match=message):
            index.add(rows, ids)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'c' is not in the index"):
        index.remove(["a", "c"])
    assert index.ids == ["a", "7"] == SelectionIndex.open(tmp_path / "yes").ids


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    index = SelectionIndex.create(tmp_path, 2)
    seen: list[tuple[int, int]] = []
    index.add(np.ones((20, 2)), names(0, 20), progress=lambda *call: seen.append(call))
    assert seen == [(7, 20), (14, 20), (20, 20)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add(np.ones((20, 2)), names(20, 20), progress=stop)
    assert len(index) == len(SelectionIndex.open(tmp_path)) == 20
    seen.clear()
    index.verify(progress=lambda *call: seen.append(call))
    assert seen[-1] == (20, 20)


def test_commands(tmp_path: Path, cli: CliRunner, rng: np.random.Generator) -> None:
    pytest.importorskip("pyarrow")
    from command_line import lines

    index = partial(lines, cli, "index")

    x = np.repeat(rng.normal(size=(5, 4)).astype(np.float32), 2, axis=0)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "ids").write_text("".join(f"{name}\n" for name in names(0, 10)))
    path = tmp_path / "index"
    assert "empty" in index("create", path, "--width", 4, "--threshold", 0.99)
    assert "5 of 10 new samples kept" in index(
        "add", path, tmp_path / "x.npy", "--ids", tmp_path / "ids"
    )
    assert "give --manifest or --ids" in index("add", path, tmp_path / "x.npy", status=2)
    assert "1 removed, 1 kept again, 0 no longer" in index("remove", path, "sample 2")
    assert "'sample 2' is not in the index" in index("remove", path, "sample 2", status=2)
    index("compact", path)
    assert "whole, 5 of 9 kept" in index("verify", path)
    assert "threshold 0.99" in index("show", path, "--kept", tmp_path / "kept")
    assert (tmp_path / "kept").read_text().splitlines() == [f"sample {i}" for i in (0, 3, 4, 6, 8)]
    (rows,) = path.glob("*-rows.npy")
    rows.write_bytes(rows.read_bytes()[:-1] + b"\0")
    assert "rows.npy is damaged" in index("verify", path, status=2)
