"""k-means++ on parts: the seeds of the whole set, whatever room the budget has, in any group."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import clustered

import meddel_fast as mf
from meddel_fast import _core
from meddel_fast.sharded import parts
from meddel_fast.stores.store import Store, open_store

N, D, K = 3500, 100, 60
ROOMY = 40_000_000
ROW = 128 + 8  # bytes of a row's dense code, and of its sums' start


class Threads:
    """A group of threads that stand for processes."""

    sent = 0

    def __init__(self, rank: int, size: int, shared: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._shared, self._barrier = rank, size, shared, barrier

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        self._barrier.wait()
        self._shared[self.rank] = array
        self._barrier.wait()
        return list(self._shared)

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        found = self.allgather(np.empty(0) if array is None else array)[root]
        assert isinstance(found, np.ndarray)
        return found


def on_all(size: int, work: Callable[[Threads], Any]) -> list[Any]:
    """What each of so many ranks returns."""
    shared: list[Any] = [None] * size
    barrier = threading.Barrier(size, timeout=60)
    found: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = work(Threads(rank, size, shared, barrier))
        except BaseException as error:
            found[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def rows(kind: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(7)
    x = clustered(rng, N, D, centres=30).astype(np.float32)
    if kind == "norms":
        x *= np.exp(2 * rng.normal(size=(N, 1))).astype(np.float32)
    x[100:180] = 0
    x[rng.integers(N, size=200)] = x[rng.integers(N, size=200)]
    return x


def seeds(x: NDArray[Any], k: int, *, spherical: bool) -> NDArray[Any]:
    uniforms = np.random.default_rng(0).random(k).tolist()
    return x[_core.kmeans_plus_plus(x, spherical, uniforms, 1)].astype(np.float32)


@pytest.fixture
def with_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
    """Cut all sets into parts of 1,024 rows, and leave so many bytes for codes."""

    def set_up(room: int, stays: bool) -> None:
        monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (1024, stays))
        monkeypatch.setattr(parts.Parts, "_spare", lambda self, left: room)

    return set_up


@pytest.fixture
def store(tmp_path: Path) -> Callable[[NDArray[Any]], Store]:
    def save(x: NDArray[Any]) -> Store:
        np.save(tmp_path / "x.npy", x)
        return open_store(tmp_path / "x.npy")

    return save


@pytest.mark.parametrize("kind", ["alike", "norms"])
@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("room", [0, 1500 * ROW, (N + 1500) * ROW, 10**8])
def test_any_room(
    screen: str,
    store: Callable[[NDArray[Any]], Store],
    with_room: Callable[[int, bool], None],
    room: int,
    spherical: bool,
    kind: str,
) -> None:
    """No codes, those of some rows, and rows that stay beside them."""
    x = rows(kind)
    with_room(room, False)
    found = mf.kmeans(store(x), K, spherical=spherical, max_iterations=0, memory=ROOMY, threads=1)
    np.testing.assert_array_equal(found.centroids, seeds(x, K, spherical=spherical))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("stays", [True, False])
def test_groups(
    screen: str,
    store: Callable[[NDArray[Any]], Store],
    with_room: Callable[[int, bool], None],
    size: int,
    stays: bool,
) -> None:
    """Of five ranks one has no rows."""
    x = rows("alike")
    with_room(2000 * ROW, stays)
    opened = store(x)
    for found in on_all(
        size,
        lambda group: mf.sharded.kmeans(
            opened, K, max_iterations=0, memory=ROOMY, group=group, threads=1
        ),
    ):
        np.testing.assert_array_equal(found.centroids, seeds(x, K, spherical=True))


def test_more_seeds_than_different_rows(
    screen: str, store: Callable[[NDArray[Any]], Store], with_room: Callable[[int, bool], None]
) -> None:
    x = np.random.default_rng(3).normal(size=(20, D)).astype(np.float32)
    x[4] = 0
    x = x[np.random.default_rng(4).integers(20, size=N)]
    with_room(10**8, False)
    for spherical in (True, False):
        found = mf.kmeans(store(x), K, spherical=spherical, max_iterations=0, memory=ROOMY)
        np.testing.assert_array_equal(found.centroids, seeds(x, K, spherical=spherical))


def test_few_rows_are_read(
    store: Callable[[NDArray[Any]], Store], with_room: Callable[[int, bool], None]
) -> None:
    """Rows that no seed comes nearer to are not asked for, those that stay are read once."""
    rng = np.random.default_rng(0)
    steps = 0.1 * rng.normal(size=(5000, 96))
    steps[::100] = 2 * rng.normal(size=(50, 96))
    walks = np.concatenate([np.cumsum(steps[i : i + 100], axis=0) for i in range(0, 5000, 100)])
    x, k = walks.astype(np.float32), 100
    read = []
    for room in (0, 5000 * ROW, 5000 * (ROW + 96 * 4 // 2)):
        with_room(room, False)
        opened = store(x)
        found = mf.kmeans(opened, k, max_iterations=0, memory=ROOMY)
        np.testing.assert_array_equal(found.centroids, seeds(x, k, spherical=True))
        read.append(opened.rows_read / len(x))
    # The last assignment reads all rows once, whatever there was.
    assert read[0] > k > 12 > read[1] > read[2]


@pytest.mark.parametrize("bad", [0, 1234, N - 1])
def test_a_row_that_is_not_finite(
    store: Callable[[NDArray[Any]], Store], with_room: Callable[[int, bool], None], bad: int
) -> None:
    """Rows that screens would learn from are looked at before these do."""
    x = rows("alike")
    x[bad, 7] = np.nan
    with_room(10**8, False)
    with pytest.raises(ValueError, match=rf"row {bad}\b"):
        mf.kmeans(store(x), K, memory=ROOMY)
