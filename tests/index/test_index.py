"""The index on disk: always what greedy deduplication says, whatever came or left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from indices import Rows, built, names, shrink
from samples import ADVERSARIAL, adversarial, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast.index import SelectionIndex, selection


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
