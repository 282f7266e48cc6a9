"""Progress of the C++ loops: calls that rise to the end, from the caller's thread, and cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import assert_same, clustered

import meddel_fast as mf
from meddel_fast import _core
from meddel_fast.common.progress import counted, reporting
from meddel_fast.sharded.parts import Parts

OPERATIONS: dict[str, Callable[..., Any]] = {
    "kcenter": lambda x, **options: mf.kcenter_greedy(x, 40, **options),
    "kcenter, centres alone": lambda x, **o: mf.kcenter_greedy(x, 40, distances=False, **o),
    "similar_pairs": lambda x, **options: mf.similar_pairs(x, threshold=0.9, **options),
    "redundancy": mf.redundancy,
    "topk": lambda x, **options: mf.topk_similarity(x, k=3, **options),
    "kmeans": lambda x, **options: mf.kmeans(x, 9, max_iterations=5, **options),
    "kmeans split": lambda x, **options: mf.kmeans(x, 9, init="split", max_iterations=5, **options),
    "greedy": lambda x, **options: mf.deduplicate(x, 0.9, rule="greedy", **options),
    "components": lambda x, **options: mf.deduplicate(x, 0.9, rule="components", **options),
    "semdedup": lambda x, **options: mf.deduplicate(x, 0.9, rule="semdedup", **options),
}
LAST = {"kcenter": 80, "kcenter, centres alone": 40, "kmeans": 6 * 500, "kmeans split": 6 * 500}


@pytest.fixture
def slow() -> Iterator[NDArray[np.float32]]:
    """Samples whose pairs take about a second without screens."""
    _core.use_screen("never")
    yield clustered(np.random.default_rng(3), 8000, 64)
    _core.use_screen("auto")


class Calls:
    """A callback that notes its calls, and checks that a pass only goes on.

    It takes its time for the first `slow` calls, so that the next one is due as soon as the
    operation looks: how often it looks does not depend on how fast the machine is.
    """

    def __init__(self, slow: int = 0) -> None:
        self.seen: list[tuple[int, int]] = []
        self.thread = threading.get_ident()
        self.slow = slow

    def __call__(self, done: int, total: int) -> None:
        assert threading.get_ident() == self.thread
        assert 0 <= done <= total
        if self.seen and self.seen[-1][0] < self.seen[-1][1]:  # not the end of a pass
            assert total == self.seen[-1][1]
            assert done >= self.seen[-1][0]
        self.seen.append((done, total))
        if len(self.seen) <= self.slow:
            time.sleep(0.11)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_operation_reports_its_end_and_changes_nothing(
    rng: np.random.Generator, name: str, threads: int
) -> None:
    x, calls = clustered(rng, 500, 16), Calls()
    got = OPERATIONS[name](x, threads=threads, progress=calls)
    last = LAST.get(name, 500)
    assert calls.seen[-1] == (last, last)
    assert_same(got, OPERATIONS[name](x, threads=threads))


@pytest.mark.parametrize("name", ["similar_pairs", "redundancy", "topk", "greedy"])
def test_pairs_report_on_their_way(slow: NDArray[np.float32], name: str) -> None:
    calls, began = Calls(slow=5), time.monotonic()
    OPERATIONS[name](slow, threads=1, progress=calls)
    most = (time.monotonic() - began) / 0.1 + 1
    parts = {done for done, _ in calls.seen}
    assert len(parts - {0, 8000}) >= 2
    assert len(calls.seen) <= most


def test_kcenter_and_kmeans_report_on_their_way(slow: NDArray[np.float32]) -> None:
    calls = Calls(slow=5)
    wide = np.tile(slow, (2, 4)) + clustered(np.random.default_rng(4), 16000, 256)
    mf.kcenter_greedy(wide, 8000, threads=1, progress=calls)
    assert len({done for done, _ in calls.seen} - {0, 8000, 16000}) >= 2
    calls = Calls(slow=5)
    init = slow[:4000]
    mf.kmeans(slow, 4000, init=init, max_iterations=2, threads=1, progress=calls)
    parts = {done for done, total in calls.seen if total == 3 * 8000}
    assert len({done % 8000 for done in parts} - {0}) >= 2  # inside an iteration


@pytest.mark.parametrize("threads", [1, 2])
def test_exception_cancels(slow: NDArray[np.float32], threads: int) -> None:
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        mf.similar_pairs(slow, threads=threads, progress=stop)
    assert len(calls) == 1
    assert calls[0] < 8000
    mf.similar_pairs(slow[:100])  # nobody is told of what comes after
    assert len(calls) == 1


def test_callback_may_compute(slow: NDArray[np.float32]) -> None:
    found = []

    def compute(done: int, total: int) -> None:
        found.append(len(mf.similar_pairs(slow[:50], threshold=-1.0).i))
        if len(found) <= 2:
            time.sleep(0.11)  # the next call is due at once, see Calls

    mf.similar_pairs(slow, threads=2, progress=compute)
    assert set(found) == {50 * 49 // 2}
    assert len(found) >= 2


def test_holds_for_the_block_and_the_thread(rng: np.random.Generator) -> None:
    x, outer, inner = clustered(rng, 100, 8), Calls(), Calls()
    with reporting(outer):
        mf.redundancy(x)
        mf.redundancy(x, progress=inner)
        with reporting(None):
            mf.redundancy(x[:50])
        other = threading.Thread(target=mf.redundancy, args=(x[:25],))
        other.start()
        other.join()
    mf.redundancy(x[:10])
    assert outer.seen == [(100, 100), (50, 50)]
    assert inner.seen == [(100, 100)]
    with pytest.raises(ValueError, match="2-d"):
        mf.redundancy(x[0], progress=inner)
    assert _core.report_to(None) is None


@pytest.mark.parametrize("name", ["kcenter", "semdedup", "meddel", "prototypes", "hierarchical"])
def test_selectors_report(rng: np.random.Generator, name: str) -> None:
    x, one, many = clustered(rng, 200, 8), Calls(), Calls()
    mf.selectors.select(name, x, 20, progress=one)
    assert one.seen
    mf.selectors.select_ladder(name, x, [20, 10], progress=many)
    assert many.seen


def test_wrong_callback(rng: np.random.Generator) -> None:
    with pytest.raises(TypeError, match=r"progress must be a function of \(done, total\), got int"):
        mf.redundancy(clustered(rng, 20, 4), progress=5)  # type: ignore[arg-type]


def test_meter_times_each_pass() -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.display import Meter

    meter = Meter("rows", 0.0)
    for now, done in [(1.0, 10), (2.0, 60), (3.0, 100)]:
        meter.update(now, done, 100)
    assert meter.rate == 45
    for now, done in [(4.0, 5), (5.0, 15)]:
        meter.update(now, done, 40)
    assert meter.rate == 10
    assert meter.left == 2.5


PARTS = {
    **OPERATIONS,
    "pairs of two": lambda x, **o: mf.similar_pairs(x, x[:1200], threshold=0.95, **o),
    "topk of two": lambda x, **o: mf.topk_similarity(x, x[:1200], k=2, **o),
    "kmeans from init": lambda x, **o: mf.kmeans(x, 5, init=x[:5], max_iterations=3, **o),
    "kcenter by radius": lambda x, **o: mf.kcenter_greedy(x, radius=3.0, distances=False, **o),
}


@pytest.mark.parametrize("name", PARTS)
def test_work_on_parts_reports_whole_passes(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Parts count towards passes over all rows: each call rises, and every pass ends whole."""
    monkeypatch.setattr(Parts, "_rows_a_part", lambda self, left: (1024, False))
    monkeypatch.setattr("meddel_fast.common.progress._INTERVAL", 0.0)
    x, calls = clustered(rng, 2500, 16, centres=500), Calls()
    found = PARTS[name](x, threads=1, memory="40MB", progress=calls)
    assert_same(found, PARTS[name](x, threads=1))
    assert calls.seen[-1][0] == calls.seen[-1][1]
    assert (2500, 2500) in calls.seen  # the first look at all rows
    assert len({done for done, total in calls.seen if 0 < done < total}) >= 2
    assert _core.report_to(None) is None


def test_passes_inside_a_step_count_towards_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meddel_fast.common.progress._INTERVAL", 0.0)
    calls = Calls()
    with reporting(calls), counted(4) as outer:
        for _ in range(2):
            outer.step(2)
            with counted(10) as inner:
                inner.advance(5)
                inner.advance(5)
    assert calls.seen == [(1, 4), (2, 4), (2, 4), (3, 4), (4, 4), (4, 4)]


def test_an_error_in_a_pass_leaves_nobody_to_be_told() -> None:
    calls = Calls()

    def work() -> None:
        with reporting(calls), counted(3) as progress:
            progress.advance(1)
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert (3, 3) not in calls.seen
    assert _core.report_to(None) is None


def test_an_exception_of_the_callback_stops_work_on_parts(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parts, "_rows_a_part", lambda self, left: (1024, False))
    monkeypatch.setattr("meddel_fast.common.progress._INTERVAL", 0.0)
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        raise LookupError("enough")

    x = clustered(rng, 3000, 8)
    with pytest.raises(LookupError, match="enough"):
        mf.deduplicate(x, 0.9, rule="components", memory="40MB", progress=stop)
    assert len(seen) == 1
    mf.redundancy(x, memory="40MB")
    assert len(seen) == 1
