"""The index on disk: always what greedy deduplication says, whatever came, left or was killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast.common.lock import LockedError, lock
from meddel_fast.index import SelectionIndex, candidates, greedy, selection

DRIVER = Path(__file__).parents[1] / "helpers" / "kill_index.py"

Rows = NDArray[Any]


def names(first: int, n: int) -> list[str]:
    return [f"sample {i}" for i in range(first, first + n)]


def built(
    path: Path, x: Rows, parts: int = 3, *, threshold: float = 0.9, dtype: str = "float32"
) -> SelectionIndex:
    index = SelectionIndex.create(path, x.shape[1], dtype=dtype, threshold=threshold)
    for a, b in itertools.pairwise(np.linspace(0, len(x), parts + 1).astype(int)):
        index.add(x[a:b], names(a, b - a))
    return index


def assert_is_greedy(index: SelectionIndex, x: Rows, ids: list[str]) -> None:
    assert index.ids == ids
    wanted = mf.deduplicate(x, index.settings["threshold"], rule="greedy")
    assert_same(index.result(), wanted)
    assert index.kept == [name for name, keep in zip(ids, wanted.keep, strict=True) if keep]


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, and waiting for the disk takes most of the time."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters, chunks and blocks already for a few samples."""
    shrink(monkeypatch)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "FEWEST", 8)
    monkeypatch.setattr(greedy, "CHUNK", 7)
    monkeypatch.setattr(greedy, "_AHEAD", 2)
    monkeypatch.setattr(candidates, "BLOCK_BYTES", 200)
    monkeypatch.setattr(candidates, "ANGLE_ROWS", 5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("threshold", [0.3, 0.9, 1.0])
def test_batches_equal_the_whole(
    tmp_path: Path, rng: np.random.Generator, dtype: str, threshold: float
) -> None:
    x = of_type(clustered(rng, 3000, 9, centres=40), dtype)
    index = built(tmp_path / "index", x, 5, threshold=threshold, dtype=dtype)
    assert len(index._state.centroids) > 1
    assert_is_greedy(index, x, names(0, len(x)))
    assert_is_greedy(SelectionIndex.open(tmp_path / "index"), x, names(0, len(x)))
    assert index.verify() == []


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.usefixtures("early")
def test_rows_that_stretch_the_bounds(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    x = adversarial(name, rng, 60, 4)
    dtype = str(x.dtype)
    index = built(tmp_path / "index", x, 6, threshold=0.7, dtype=dtype)
    assert_is_greedy(index, x, names(0, 60))
    gone = rng.permutation(60)[:25]
    index.remove([f"sample {i}" for i in gone])
    left = np.setdiff1d(np.arange(60), gone)
    assert_is_greedy(index, x[left], [f"sample {i}" for i in left])
    assert index.verify() == []


def test_pairs_at_the_bound_are_not_left_out(tmp_path: Path) -> None:
    # On a circle the triangle inequality is an equality: every pair stands exactly at the bound.
    step = np.arccos(0.9)
    for turn in np.linspace(0, 6, 40):
        index = SelectionIndex.create(tmp_path / f"{turn}", 2, threshold=0.9)
        angles = turn + step * np.arange(14) / 2
        x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        index.add(x[::2], names(0, 7))
        index.compact()
        index.add(x[1::2], names(7, 7))
        assert_is_greedy(index, np.concatenate([x[::2], x[1::2]]), names(0, 14))


def test_new_samples_are_compared_with_few(tmp_path: Path, rng: np.random.Generator) -> None:
    centres = rng.normal(size=(64, 32))
    x = centres[rng.integers(64, size=4000)] + 0.25 * rng.normal(size=(4000, 32))
    x = x.astype(np.float32)
    index = SelectionIndex.create(tmp_path / "index", 32, threshold=0.97)
    index.add(x[:3600], names(0, 3600))
    kept = len(index.kept)
    added = index.add(x[3600:], names(3600, 400))
    assert kept > 1000
    assert 0 < added.compared < 0.25 * 400 * kept
    assert added.kept + added.covered == 400 == len(added.keep)
    assert_is_greedy(index, x, names(0, 4000))


def test_removal_readmits_and_what_follows(tmp_path: Path) -> None:
    # On a circle at steps of 20 degrees with pairs up to 30: each is similar to its neighbours.
    angles = np.deg2rad([0, 20, 40, 60, 80, 10])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index = built(tmp_path / "index", x, 2, threshold=float(np.cos(np.deg2rad(30))))
    assert index.kept == ["sample 0", "sample 2", "sample 4"]
    found = index.remove(["sample 0"])
    assert found == (1, ["sample 1", "sample 3"], ["sample 2", "sample 4"])
    assert_is_greedy(index, x[1:], names(1, 5))
    assert index.remove(["sample 5"]) == (1, [], [])
    index.add(x[:1], ["sample 0"])  # who has left may come back, as the last
    assert_is_greedy(index, x[[1, 2, 3, 4, 0]], [*names(1, 4), "sample 0"])
    index.remove(index.ids)
    assert len(index) == 0
    assert index.kept == [] == index.verify()
    index.compact()
    index.add(x, names(0, 6))
    assert_is_greedy(index, x, names(0, 6))


def test_removal_heeds_ties_and_covers_that_fell(tmp_path: Path) -> None:
    threshold = float(np.cos(np.deg2rad(30)))
    # The third and the second are as near to the last; the first covers the second.
    angles = np.deg2rad([45, 20, -20, 0])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index = built(tmp_path / "tie", x, 1, threshold=threshold)
    assert index.result().representative.tolist() == [0, 0, 2, 2]
    index.remove(["sample 0"])
    assert index.result().representative.tolist() == [0, 1, 0]
    assert_is_greedy(index, x[1:], names(1, 3))
    # A square on the sphere, its sides pairs: the second is kept, so that the third falls, which
    # covered the last as well as the first did.
    side = np.sin(np.deg2rad(18))
    x = np.array([[side, 0, 1], [0, side, 1], [-side, 0, 1], [0, -side, 1]], np.float32)
    index = built(tmp_path / "square", x, 1, threshold=threshold)
    assert index.kept == ["sample 0", "sample 2"]
    assert index.remove(["sample 0"]) == (1, ["sample 1", "sample 3"], ["sample 2"])
    assert_is_greedy(index, x[1:], names(1, 3))


def test_files_of_many_calls_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(selection, "MOST_SEGMENTS", 4)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    index = built(tmp_path / "index", x, 10)
    index.remove(["sample 1"])
    assert len(list(index._folder.path.iterdir())) < 4 * 3 + 4
    assert_is_greedy(index, np.delete(x, 1, axis=0), ["sample 0", *names(2, 38)])


def test_many_copies_of_one_sample(tmp_path: Path, rng: np.random.Generator) -> None:
    n = 3_000
    x = np.tile(rng.normal(size=(1, 8)).astype(np.float32), (n, 1))
    index = built(tmp_path / "index", x, 2)
    assert index.kept == ["sample 0"]
    assert index.remove(["sample 0"]) == (1, ["sample 1"], [])
    assert index.kept == ["sample 1"]
    assert (index.result().representative == 0).all()
    assert index.verify() == []


class Comings(RuleBasedStateMachine):
    """Samples come, leave and come again in any order; the model is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[tuple[str, Rows]] = []
        self.count = 0

    @initialize(
        seed=st.integers(0, 2**20),
        d=st.integers(1, 4),
        threshold=st.sampled_from([0.2, 0.8, 0.95, 1.0]),
    )
    def begin(self, seed: int, d: int, threshold: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.path = Path(self.folder) / f"{seed}-{d}-{threshold}-{self.rng.integers(2**62)}"
        while self.path.exists():
            self.path = self.path.with_name(self.path.name + "x")
        self.index = SelectionIndex.create(self.path, d, threshold=threshold)

    @rule(n=st.integers(1, 20))
    def come(self, n: int) -> None:
        x = self.rng.integers(-2, 3, size=(n, self.index.settings["d"])).astype(np.float32)
        x += self.rng.choice([0.0, 0.3], size=(n, 1)) * self.rng.normal(size=x.shape)
        ids = names(self.count, n)
        self.count += n
        self.index.add(x, ids)
        self.samples += zip(ids, x, strict=True)

    @precondition(lambda self: self.samples)
    @rule(share=st.sampled_from([0.05, 0.3, 1.0]))
    def leave(self, share: float) -> None:
        gone = self.rng.random(len(self.samples)) < share
        before = set(self.index.kept)
        leaving = {self.samples[i][0] for i in np.flatnonzero(gone)}
        found = self.index.remove(sorted(leaving))
        self.samples = [s for s, out in zip(self.samples, gone, strict=True) if not out]
        after = set(self.index.kept)
        assert set(found.readmitted) == after - before
        assert set(found.covered) == before - after - leaving

    @rule()
    def reopen(self) -> None:
        self.index = SelectionIndex.open(self.path)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @invariant()
    def is_greedy(self) -> None:
        if not self.samples:
            return
        ids, x = zip(*self.samples, strict=True)
        assert_is_greedy(self.index, np.array(x), list(ids))

    def teardown(self) -> None:
        assert self.index.verify() == []


def test_any_order_of_comings_and_goings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    Comings.folder = str(tmp_path)  # type: ignore[attr-defined]
    case = settings(
        max_examples=25,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Comings, settings=case)


# Kills


def state_of(path: Path) -> tuple[list[str], list[str]]:
    index = SelectionIndex.open(path)
    assert index.verify() == []
    return index.ids, index.kept


@pytest.mark.parametrize("change", ["create", "add", "remove", "compact"])
def test_killed_before_any_write_leaves_the_old_or_the_new(tmp_path: Path, change: str) -> None:
    driver = DRIVER
    run = subprocess.run(
        [sys.executable, str(driver), change, str(tmp_path)],
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
        "    print(worker, flush=True) if worker else None\n    time.sleep(60)"
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


def test_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    testing = pytest.importorskip("typer.testing")
    pytest.importorskip("pyarrow")
    import meddel_fast.cli.console
    from meddel_fast.cli import app

    monkeypatch.setattr(meddel_fast.cli.console, "_end_soon_after_interrupt", lambda: None)

    def index(*arguments: object, status: int = 0) -> str:
        result = testing.CliRunner().invoke(app, ["index", *map(str, arguments)])
        assert result.exit_code == status, result.output
        return str(result.output)

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
