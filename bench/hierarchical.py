"""Balance of ``hierarchical`` on a long-tailed pool, and what its tree costs: wall, CPU, memory.

python bench/hierarchical.py                                    balance, 50,000 x 64
python bench/hierarchical.py 1000000 384 100000,5000,200 2      one large tree, threads
"""

from __future__ import annotations

import os
import resource
import sys
import time

import numpy as np
from data import long_tailed

from meddel_fast.selectors import build_hierarchy, hierarchical, select
from meddel_fast.training import BalancedSampler

OTHERS = ("random", "stratified", "prototypes", "semdedup", "density", "kcenter")


def balance(kept: np.ndarray, concept: np.ndarray) -> str:
    """Entropy of the kept concepts (1: uniform), and how often the rarest and the commonest are."""
    counts = np.bincount(concept[kept], minlength=int(concept.max()) + 1)
    share = counts[counts > 0] / counts.sum()
    entropy = -(share * np.log(share)).sum() / np.log(len(counts))
    return f"entropy {entropy:.3f}  rarest {counts.min():5}  commonest {counts.max():5}"


def small() -> None:
    """Compare methods at one budget, for three widths of the concepts."""
    for spread in (0.5, 0.8, 1.1):
        x, concept = long_tailed(50_000, 64, 50, spread=spread)
        budget = len(x) // 20
        print(f"50,000 x 64, 50 concepts of width {spread}, {budget} kept")
        for name in OTHERS:
            print(f"  {name:25}", balance(select(name, x, budget, threads=1).indices, concept))
        for again in (0, 10):
            tree = build_hierarchy(x, resamplings=again, threads=1)
            kept = hierarchical(x, budget, hierarchy=tree, threads=1).indices
            print(f"  {f'hierarchical, {again} times':25}", balance(kept, concept))
        for repeats in (1, 4, None):
            drawn = BalancedSampler(tree, length=budget, repeats=repeats).draws()
            print(f"  {f'BalancedSampler, {repeats}':25}", balance(drawn, concept))


def large(n: int, d: int, levels: list[int], threads: int | None) -> None:
    """Build one tree, and select from it."""
    x, concept = long_tailed(n, d, max(2, levels[-1] // 2), spread=0.8)
    wall, cpu = time.perf_counter(), time.process_time()
    tree = build_hierarchy(x, levels, threads=threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{n:,} x {d}: {tree}, {tree.settings['resamplings']} resamplings, load", os.getloadavg())
    print(f"  {wall:.1f} s, {cpu:.1f} s of CPU, peak {peak:.2f} GiB with the rows")
    wall = time.perf_counter()
    found = hierarchical(x, [0.01, 0.05, 0.2], hierarchy=tree, threads=threads)
    print(f"  three budgets from it: {time.perf_counter() - wall:.1f} s")
    for one in found:
        uniform = select("random", x, len(one)).indices
        print(f"  {len(one):8} kept: ", balance(one.indices, concept))
        print("          random: ", balance(uniform, concept))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        small()
    else:
        counts = [int(k) for k in sys.argv[3].split(",")]
        threads = int(sys.argv[4]) if sys.argv[4:] else None
        large(int(sys.argv[1]), int(sys.argv[2]), counts, threads)
