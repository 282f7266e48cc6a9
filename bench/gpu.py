"""One part of run_on_gpu.sh: python bench/gpu.py PART RESULTS.json

With MEDDEL_DRY_RUN=1 everything is tiny and on the CPU (gpu_dry.py).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import gpu_checks
import gpu_made
import gpu_peers
import roofline
import torch
from gpu_clock import Clock
from gpu_results import OURS, Results
from torch import Tensor

import meddel_fast as mf

DRY = os.environ.get("MEDDEL_DRY_RUN") == "1"
THRESHOLD = 0.95
PATIENCE = 1.0  # seconds up to which a peer is run whole


class Size(NamedTuple):
    n: int
    d: int
    dtype: torch.dtype
    centres: int
    clusters: int
    queries: int
    k: int
    iterations: int


MILLION = Size(1_000_000, 768, torch.float32, 50_000, 1000, 100_000, 10, 5)
TEN_MILLION = Size(10_000_000, 768, torch.float16, 10_000, 10_000, 100_000, 10, 2)
TINY = Size(120, 24, torch.float32, 8, 4, 40, 3, 1)


class Peer(NamedTuple):
    make: Callable[[], gpu_peers.Peer]
    work: roofline.Work


class Task(NamedTuple):
    """Our call, the least it has to do, a check of its answer, and the peers."""

    name: str
    ours: Callable[[], Any]
    work: roofline.Work
    check: Callable[[Any], None]
    peers: dict[str, Peer]


class Bench:
    """Races on one set of samples."""

    def __init__(self, results: Results, part: str, data: str, size: Size, clock: Clock) -> None:
        self.results, self.part, self.data, self.size, self.clock = results, part, data, size, clock
        self.device = clock.device
        self.x = gpu_made.make(data, size.n, size.d, size.dtype, self.device)
        self.failed = False

    def unit(self, dtype: torch.dtype) -> Tensor:
        return gpu_peers.unit(self.x, dtype)

    @cached_property
    def init(self) -> Tensor:
        rows = self.x[gpu_peers.spread(self.size.n, self.size.clusters)]
        return gpu_peers.unit(rows, torch.float32)

    @cached_property
    def labels(self) -> Tensor:
        made = mf.kmeans(
            self.x, len(self.init), init=self.init, max_iterations=2, device=self.device
        )
        return made.labels

    def race(self, make: Callable[[Bench], Task]) -> None:
        """Check and time ours, then the peers; what fails is noted, and the next one begins."""
        self._release()
        try:
            task = make(self)
            self._race(task)
        except Exception as error:
            self._fail(make.__name__, OURS, error)
            return
        for who, peer in task.peers.items():
            self._release()
            try:
                seconds, extrapolated = gpu_peers.timed(self.clock, peer.make(), PATIENCE)
                self._add(task.name, who, seconds, peer.work, extrapolated=extrapolated)
            except Exception as error:
                self._fail(task.name, who, error)

    def _race(self, task: Task) -> None:
        before = self._allocated()
        first, answer = self.clock.once(task.ours)  # compiles and tunes
        peak = self._allocated("max_") - before
        task.check(answer)
        del answer
        times = self.clock.runs(task.ours)
        self._add(task.name, OURS, median(times), task.work, runs=times, first=first, memory=peak)

    def _add(
        self, name: str, who: str, seconds: float, work: roofline.Work, **more: object
    ) -> None:
        n, d = self.x.shape
        dtype = str(self.x.dtype).removeprefix("torch.")
        self.results.add(
            self.part, workload=name, data=self.data, n=n, d=d, dtype=dtype, who=who,
            seconds=seconds, **work._asdict(), **more,
        )  # fmt: skip

    def _fail(self, name: str, who: str, error: Exception) -> None:
        traceback.print_exc()
        self.failed = True
        said = f"{type(error).__name__}: {error}"[:500]
        self.results.add(self.part, workload=name, data=self.data, failed=who, error=said)

    def _allocated(self, kind: str = "") -> int:
        if self.device.type != "cuda":
            return 0
        if not kind:
            torch.cuda.reset_peak_memory_stats()
        return int(getattr(torch.cuda, f"{kind}memory_allocated")())

    def _release(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def join(b: Bench) -> Task:
    x, pairs = b.x, b.size.n * (b.size.n - 1) / 2
    passes = len(range(0, b.size.n, gpu_peers.TILE)) / 2  # a tile's row of products reads half of x

    def peer(dtype: torch.dtype, unit: str) -> Peer:
        work = roofline.plain(x, pairs, passes, unit)
        return Peer(lambda: gpu_peers.pairs(b.unit(dtype), THRESHOLD), work)

    return Task(
        f"pairs >= {THRESHOLD}",
        lambda: mf.similar_pairs(x, threshold=THRESHOLD, device=b.device),
        roofline.screened(x, pairs),
        lambda found: gpu_checks.pairs(x, THRESHOLD, found),
        {
            "torch bf16 ~": peer(torch.bfloat16, "bf16"),
            "torch fp32": peer(torch.float32, "fp32"),
        },
    )


def kcenter(b: Bench) -> Task:
    x, k = b.x, b.size.centres
    unit, mark = ("fp16", " ~") if x.dtype == torch.float16 else ("fp32", "")
    work = roofline.plain(x, b.size.n * k, k, unit)
    return Task(
        f"k-center, k = {k}",
        lambda: mf.kcenter_greedy(x, k, device=b.device),
        roofline.screened(x, None),
        lambda found: gpu_checks.kcenter(x, found),
        {
            f"torch loop{mark}": Peer(lambda: gpu_peers.centres_by_product(x, k), work),
            f"torch_cluster style{mark}": Peer(lambda: gpu_peers.centres_by_difference(x, k), work),
        },
    )


def kmeans(b: Bench) -> Task:
    x, init, iterations = b.x, b.init, b.size.iterations
    pairs = b.size.n * len(init)

    def peer(dtype: torch.dtype, unit: str) -> Peer:
        work = roofline.plain(x, pairs * iterations, iterations, unit)
        return Peer(lambda: gpu_peers.kmeans(b.unit(dtype), init.to(dtype), iterations), work)

    return Task(
        f"k-means, {len(init)} x {iterations}",
        lambda: mf.kmeans(x, len(init), init=init, max_iterations=iterations, device=b.device),
        roofline.screened(x, pairs * (iterations + 1), iterations + 1),
        lambda found: gpu_checks.kmeans(x, iterations, found),
        {
            "torch bf16 ~": peer(torch.bfloat16, "bf16"),
            "torch fp32": peer(torch.float32, "fp32"),
        },
    )


def redundancy(b: Bench) -> Task:
    x, labels = b.x, b.labels
    sizes = labels.bincount().double()
    pairs = float((sizes * (sizes - 1) / 2).sum())

    def peer(dtype: torch.dtype, unit: str) -> Peer:
        work = roofline.plain(x, 2 * pairs, 1, unit)  # it works out both halves
        return Peer(lambda: gpu_peers.redundancy(b.unit(dtype), labels), work)

    return Task(
        f"redundancy, {b.size.clusters} clusters",
        lambda: mf.redundancy(x, labels=labels, device=b.device),
        roofline.screened(x, pairs),
        lambda found: gpu_checks.redundancy(x, labels, found),
        {
            "SemDeDup loop bf16 ~": peer(torch.bfloat16, "bf16"),
            "SemDeDup loop fp32": peer(torch.float32, "fp32"),
        },
    )


def topk(b: Bench) -> Task:
    x, k = b.x, b.size.k
    queries = x[: b.size.queries]
    pairs = len(queries) * b.size.n
    passes = len(range(0, len(queries), gpu_peers.TILE))

    def make(dtype: torch.dtype) -> gpu_peers.Peer:
        rows = b.unit(dtype)
        return gpu_peers.topk(rows[: len(queries)], rows, k)

    return Task(
        f"top {k} of {len(queries)}",
        lambda: mf.topk_similarity(queries, x, k, device=b.device),
        roofline.screened(x, pairs),
        lambda found: gpu_checks.topk(queries, x, k, found),
        {
            "torch bf16 ~": Peer(
                lambda: make(torch.bfloat16), roofline.plain(x, pairs, passes, "bf16")
            ),
            "torch fp32": Peer(
                lambda: make(torch.float32), roofline.plain(x, pairs, passes, "fp32")
            ),
        },
    )


TASKS = (join, kcenter, kmeans, redundancy, topk)


def race(results: Results, part: str, data: str, size: Size, clock: Clock) -> bool:
    bench = Bench(results, part, data, TINY if DRY else size, clock)
    for task in TASKS:
        bench.race(task)
    return not bench.failed


def limits(results: Results, part: str, clock: Clock) -> bool:
    for name, rate in roofline.ceilings(clock, DRY).items():
        results.add(part, ceiling=name, rate=rate)
    return True


def cases(results: Results, part: str, clock: Clock) -> bool:
    """Every operation once, on few rows, equal to the CPU's: what compute-sanitizer looks at."""
    n, d = (70, 24) if DRY else (300, 70)
    for dtype in (torch.float32, torch.float16):
        x = gpu_made.make("clustered", n, d, dtype, torch.device("cpu"))
        labels = torch.arange(n) % 3
        calls: dict[str, Callable[..., Any]] = {
            "pairs": lambda x, **on: mf.similar_pairs(x, threshold=0.6, **on),
            "kcenter": lambda x, **on: mf.kcenter_greedy(x, n // 4, **on),
            "kmeans": lambda x, **on: mf.kmeans(x, 4, max_iterations=2, **on),
            "redundancy": lambda x, **on: mf.redundancy(x, labels=labels, **on),  # noqa: B023
            "topk": lambda x, **on: mf.topk_similarity(x, k=3, **on),
            "components": lambda x, **on: mf.deduplicate(x, 0.9, rule="components", **on),
        }
        for name, call in calls.items():
            got, wanted = call(x.to(clock.device), device=clock.device), call(x)
            for ours, cpus in zip(got, wanted, strict=True):
                if not isinstance(cpus, Tensor):
                    assert ours == cpus, f"{name}: {ours} on the device, {cpus} on the CPU"
                    continue
                torch.testing.assert_close(ours.cpu(), cpus, rtol=0, atol=0, equal_nan=True)
            results.add(part, case=name, dtype=str(dtype).removeprefix("torch."))
    return True


def train(results: Results, part: str, clock: Clock) -> bool:
    import gpu_train  # here: it needs more packages than the kernels do

    work = gpu_train.meddel_run if part == "run" else gpu_train.images_per_second
    work(results, part, clock.device, DRY)
    return True


PARTS: dict[str, Callable[[Results, str, Clock], bool]] = {
    "memcheck": cases,
    "racecheck": cases,
    "ceilings": limits,
    "clustered": lambda r, p, c: race(r, p, "clustered", MILLION, c),
    "video": lambda r, p, c: race(r, p, "video", MILLION, c),
    "isotropic": lambda r, p, c: race(r, p, "isotropic", MILLION, c),
    "large": lambda r, p, c: race(r, p, "clustered", TEN_MILLION, c),
    "train": train,
    "run": train,
}


def main() -> None:
    part, path = sys.argv[1:]
    if DRY:
        import gpu_dry

        if not gpu_dry.install():
            sys.exit("the dry run needs MEDDEL_BUILD_DIR, a build with MEDDEL_CUDA_ON_HOST=ON")
    elif not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here (--dry-run needs none)")
    site = os.environ.get("MEDDEL_SITE")
    if site and Path(site).resolve() not in Path(mf.__file__).resolve().parents:
        sys.exit(f"meddel_fast comes from {mf.__file__}, not from {site}, where it was built")
    torch.backends.cuda.matmul.allow_tf32 = False
    clock = Clock(torch.device("cpu" if DRY else "cuda"))
    sys.exit(0 if PARTS[part](Results(Path(path)), part, clock) else 1)


if __name__ == "__main__":
    main()
