"""Threads that the system refuses are done without, and no more are asked for than are of use."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from operation_cases import doubled, operations
from samples import assert_same

import meddel_fast as mf

TASKS = Path("/proc/self/task")  # the threads of this process

# A thread takes 1 GiB of addresses, of which there is room for so many.
CHILD = """
import resource, sys
import numpy as np
import meddel_fast as mf

rng = np.random.default_rng(0)
x = np.repeat(rng.normal(size=(1500, 24)).astype(np.float32), 2, axis=0)

def all_of(threads):
    return [
        *mf.kcenter_greedy(x, 300, threads=threads),
        *mf.similar_pairs(x, threshold=0.6, threads=threads),
        *mf.redundancy(x, threads=threads),
        *mf.topk_similarity(x, k=3, threads=threads),
        *mf.kmeans(x, 30, max_iterations=3, threads=threads),
        *mf.deduplicate(x, 0.6, rule="greedy", threads=threads),
        *mf.deduplicate(x, 0.6, rule="components", threads=threads),
        *mf.deduplicate(x, 0.6, memory="40MB", threads=threads),
    ]

wanted = all_of(1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
room = used + 2**28 + int(sys.argv[1]) * 2**30
resource.setrlimit(resource.RLIMIT_AS, (room, room))
for threads in (2, 5, 10**6):
    for one, other in zip(all_of(threads), wanted, strict=True):
        np.testing.assert_array_equal(one, other)
print("the same")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and its limits")
@pytest.mark.parametrize("room", [0, 1, 3])
def test_threads_that_cannot_be_started_are_done_without(room: int) -> None:
    """The process was ended: std::terminate called without an active exception."""
    import resource

    def large_stacks() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (2**30, resource.RLIM_INFINITY))

    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("the limit of stacks cannot be raised")
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(room)], capture_output=True, text=True, timeout=300,
        preexec_fn=large_stacks, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout == "the same\n"


def most_threads_during(call: Callable[[], Any]) -> int:
    """Return how many threads of this process there were at most, beside the two of this test."""
    counts, done = [0], threading.Event()

    def count() -> None:
        while not done.wait(0.001):
            counts.append(len(list(TASKS.iterdir())))

    before = len(list(TASKS.iterdir()))
    watcher = threading.Thread(target=count)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return max(counts) - before - 1


@pytest.mark.skipif(not TASKS.is_dir(), reason="needs /proc")
def test_no_more_threads_than_there_is_work_for(rng: np.random.Generator) -> None:
    """threads=10**6 started as many, and took the whole machine."""
    many = rng.normal(size=(20_000, 16)).astype(np.float32)
    few = rng.normal(size=(100, 3000)).astype(np.float32)  # four bands
    started = most_threads_during(lambda: mf.kmeans(many, 300, max_iterations=3, threads=10**6))
    assert 1 < started < max(64, 2 * (os.cpu_count() or 1))
    started = 0
    while started == 0:  # a call takes a millisecond: the watcher sees the threads of one in a few
        started = most_threads_during(lambda: mf.redundancy(few, threads=10**6))
    assert started <= 3


def test_threads_of_one_process_get_what_one_alone_gets(rng: np.random.Generator) -> None:
    """Above all where Python has no global lock: nothing of a call is shared with another."""
    x, _ = doubled(rng, 150, 24)
    calls = operations(len(x))
    wanted = {name: fast(x, threads=1) for name, (fast, _) in calls.items()}
    start, faults = threading.Barrier(4), list[BaseException]()

    def work(turn: int) -> None:
        try:
            start.wait(30)
            for name in [*calls][turn:] + [*calls][:turn]:
                assert_same(calls[name][0](x, threads=1 + turn % 2), wanted[name])
        except BaseException as error:
            faults.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=work, args=(4 * turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults, faults[0]


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a global lock"
)
def test_the_extension_does_not_bring_the_global_lock_back() -> None:
    code = "import sys; from meddel_fast import _core; print(sys._is_gil_enabled())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
