"""Options and the way of measuring: what a row of the table is, and on how many threads."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import data
import numpy as np
import peers
import pytest
from numpy.typing import NDArray

from meddel_fast import _core

OURS = "ours"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sizes of the benchmarks")
    group.addoption("--bench-n", type=int, default=20_000, help="samples of made data")
    group.addoption("--bench-d", type=int, default=384, help="width of made data")
    group.addoption("--bench-threads", choices=("1", "all", "both"), default="both")
    group.addoption("--bench-slow", action="store_true", help="slow peers on all data")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    machine_info["isa"] = _core.isa()
    machine_info["load"] = os.getloadavg()[0]


def thread_counts(config: pytest.Config) -> list[int]:
    cores = len(os.sched_getaffinity(0))
    return {"1": [1], "all": [cores], "both": sorted({1, cores})}[config.option.bench_threads]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "threads" in metafunc.fixturenames:
        counts = thread_counts(metafunc.config)
        metafunc.parametrize("threads", counts, indirect=True, scope="session")


@pytest.fixture(scope="session")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The same number for everybody; pytest goes through all of one before the next."""
    with peers.on_threads(request.param):
        yield request.param


@functools.lru_cache(maxsize=1)
def _samples(name: str, n: int, d: int) -> NDArray[np.float32]:
    return data.make(name, n, d)


@dataclass
class Race:
    """Runs one runner of a workload, and lets no time stand whose answer is wrong."""

    request: pytest.FixtureRequest
    benchmark: Any
    threads: int

    def samples(self, name: str) -> NDArray[np.float32]:
        option = self.request.config.getoption
        x = _samples(name, option("--bench-n"), option("--bench-d"))
        self.benchmark.extra_info |= {"data": name, "n": x.shape[0], "d": x.shape[1]}
        return x

    def skip_slow(self, slow: bool, quick: bool) -> None:
        """Leave out what takes ten times as long as the rest, but for quick cases, once."""
        once = quick and self.threads == thread_counts(self.request.config)[0]
        if slow and not once and not self.request.config.getoption("--bench-slow"):
            pytest.skip("slow peer: --bench-slow runs it on all data and numbers of threads")

    def run(
        self, workload: str, who: str, call: Callable[[], Any], check: Callable[[Any], None],
        heavy: bool = False,
    ) -> None:  # fmt: skip
        """Check the answer, then measure; a peer with much to do runs once, checked after it."""
        info = self.benchmark.extra_info
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        info |= {"workload": workload, "who": who, "threads": self.threads}
        info["inexact"] = who in peers.INEXACT
        self.benchmark.group = f"{workload}, {info['data']}, {threads}"
        if heavy and who != OURS and info["n"] >= 10_000:
            check(self.benchmark.pedantic(self._within_threads, (who, call), rounds=1))
            return
        began = time.perf_counter()
        check(self._within_threads(who, call))
        took = time.perf_counter() - began
        self.benchmark.pedantic(call, rounds=7 if took < 0.3 else 3 if took < 2 else 1)

    def _within_threads(self, who: str, call: Callable[[], Any]) -> Any:
        """Call, and see that one thread is one: the limits do not reach every library."""
        before = time.thread_time(), time.process_time()
        out = call()
        own, used = time.thread_time() - before[0], time.process_time() - before[1]
        # Either this thread works or one other; .05 s for threads that end an earlier call.
        beside = min(own, used - own)
        alone = self.threads > 1 or beside < 0.1 * used + 0.05
        assert alone, f"{who} worked in two threads at once, {beside:.2f} s in the lesser"
        return out


@pytest.fixture
def race(request: pytest.FixtureRequest, benchmark: Any, threads: int) -> Race:
    return Race(request, benchmark, threads)
