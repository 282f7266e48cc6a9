"""k-center of points of few dimensions, beside fpsample's bucketed k-d tree and a numpy loop.

python bench/points.py [--rounds 5] prints a table. One thread, one core, seconds of CPU (the
drop-in `fps` works in a thread of its own), medians of rounds in which all take turns; of
fpsample the best height of its tree.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import peers
import record
from numpy.typing import NDArray
from table import seconds

import meddel_fast as mf
from meddel_fast import reference

Floats = NDArray[np.float32]
HEIGHTS = (3, 5, 7, 9)
CASES = (
    ("uniform", 1_000_000, 3, 1_000), ("uniform", 100_000, 3, 10_000),
    ("uniform", 200_000, 2, 5_000), ("uniform", 1_000_000, 3, 100_000),
    ("surface", 1_000_000, 3, 1_000), ("surface", 100_000, 3, 10_000),
    ("clusters", 100_000, 3, 10_000), ("offset 10,000", 100_000, 3, 2_000),
    ("grid (ties)", 200_000, 3, 5_000), ("uniform", 100_000, 4, 1_000),
    ("uniform", 100_000, 6, 1_000), ("uniform", 200_000, 8, 1_000), ("normal", 200_000, 8, 10_000),
)  # fmt: skip
LOOP_PAIRS = 1e9  # of more, the loop is left out


def made(name: str, n: int, d: int) -> Floats:
    rng = np.random.default_rng(0)
    if name == "uniform":
        return rng.random((n, d), dtype=np.float32)
    normal = rng.standard_normal((n, d), dtype=np.float32)
    if name == "surface":  # of a bumpy ball, as scanners see
        unit = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return unit * (1 + 0.2 * np.sin(5 * unit[:, :1]) * np.cos(4 * unit[:, 1:2]))
    if name == "clusters":
        return rng.random((50, d), dtype=np.float32)[rng.integers(50, size=n)] + 0.01 * normal
    if name == "grid (ties)":
        return rng.integers(0, 256, size=(n, d)).astype(np.float32)
    return normal + np.float32(1e4) if name.startswith("offset") else normal


def race(x: Floats, k: int, rounds: int) -> dict[str, float]:
    """Medians, by who it is; ours must be the reference's for the first centres."""
    import fpsample
    import torch

    from meddel_fast.compat.torch_cluster import fps

    rows, ratio = torch.from_numpy(x), k / len(x)
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: mf.kcenter_greedy(x, k, distances=False, threads=1).indices,
        "with distances": lambda: mf.kcenter_greedy(x, k, threads=1).indices,
        "fps": lambda: fps(rows, ratio=ratio, random_start=False),
    }
    for h in HEIGHTS:
        calls[f"fpsample {h}"] = lambda h=h: fpsample.bucket_fps_kdline_sampling(
            x, k, h=h, start_idx=0
        )
    wanted = reference.kcenter_greedy(x, 30)[0]
    assert np.array_equal(calls["ours"]()[:30], wanted)
    assert np.array_equal(calls["fps"]().numpy()[:30], wanted)
    times: dict[str, list[float]] = {who: [] for who in calls}
    for _ in range(rounds):
        for who, call in calls.items():
            times[who].append(record.cpu_seconds(call))
    medians = {who: float(np.median(some)) for who, some in times.items()}
    if len(x) * k <= LOOP_PAIRS:
        medians["numpy"] = record.cpu_seconds(lambda: peers.numpy_centres(x, k))
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    record.on_one_core()
    print("| points | k | ours | with distances | `fps` | fpsample | over ours | numpy loop |")
    print("|---|---|---|---|---|---|---|---|")
    with peers.on_threads(1):
        for name, n, d, k in CASES:
            found = race(made(name, n, d), k, rounds)
            best = min(found[f"fpsample {h}"] for h in HEIGHTS)
            shown = [seconds(found[who]) for who in ("ours", "with distances", "fps")]
            loop = seconds(found["numpy"]) if "numpy" in found else "-"
            ratio = f"{best / found['ours']:.1f}x"
            cells = [f"{name}, {n:,} x {d}", f"{k:,}", *shown, seconds(best), ratio, loop]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
