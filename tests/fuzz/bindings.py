"""Random calls of every operation, right ones and wrong ones: ``python bindings.py SECONDS SEED``.

A right call must equal reference.py bit for bit, a wrong one must be refused with a ValueError or a
TypeError. Under a sanitizer (``make fuzz``) nothing may touch memory that is not its own.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import meddel_fast as mf
from meddel_fast import _core, reference

DTYPES = (np.float32, np.float16, np.int8, np.float64)
SCREENS = (
    "auto",
    "never",
    "always",
    "wide",
    "grouped",
    "dense",
    "products",
    "codes",
    "passes",
    "near",
    "boxes",
)
REFUSED = (ValueError, TypeError)


def samples(
    rng: np.random.Generator, d: int | None = None, dtype: Any = None
) -> tuple[NDArray[Any], int]:
    """Rows of any width: clusters, ties, zero rows, hard scales; often no plain C array.

    Mostly few; a thirtieth has enough for several tiles and blocks of 1,024.
    """
    n = int(rng.integers(1, 70) if rng.random() < 0.97 else rng.integers(1000, 1400))
    d = d or int(rng.choice([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 64, 65, 130]))
    x = rng.normal(size=(max(1, n // 8), d))[rng.integers(max(1, n // 8), size=n)]
    x = x + rng.choice([0.0, 1e-7, 0.01, 1.0]) * rng.normal(size=(n, d))
    x[rng.random(n) < 0.05] = 0
    dtype = dtype or DTYPES[rng.integers(len(DTYPES))]
    if dtype == np.int8:
        return np.clip(np.round(40 * x), -128, 127).astype(np.int8), d
    if dtype != np.float16:
        x = x * 10.0 ** rng.choice([0, 0, 0, -20, 17])
    x = np.clip(x, -6e4, 6e4) if dtype == np.float16 else x
    x = x.astype(dtype)
    layout = rng.integers(4)
    if layout == 1:
        x = np.asfortranarray(x)
    elif layout == 2:
        wide = np.zeros((n, 2 * d), dtype)
        wide[:, ::2] = x
        x = wide[:, ::2]
    elif layout == 3:
        x = np.ascontiguousarray(x[::-1])[::-1]
    return x, d


def call(rng: np.random.Generator, x: NDArray[Any]) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A right call on `x`."""
    n = len(x)
    threshold = float(rng.choice([-1.0, 0.0, 0.5, 0.9, 0.99, 1.0]))
    order = rng.permutation(n) if rng.random() < 0.5 else None
    labels = rng.integers(3, size=n) if rng.random() < 0.5 else None
    metric = str(rng.choice(["euclidean", "cosine"]))
    y, _ = samples(rng, x.shape[1], x.dtype)
    chosen = rng.choice(n, size=int(rng.integers(1, n + 1)), replace=False)
    k = int(rng.integers(1, min(n, 70) + 1))
    options: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("kcenter_greedy", (k,), {"metric": metric}),
        ("kcenter_greedy", (n,), {"start": int(rng.integers(n)), "radius": float(rng.random())}),
        ("kcenter_greedy", (max(1, min(k, n - len(chosen))),),
         {"selected": chosen, "metric": metric}),
        ("similar_pairs", (), {"threshold": threshold}),
        ("similar_pairs", (y,), {"threshold": threshold}),
        ("redundancy", (), {"order": order, "labels": labels}),
        ("topk_similarity", (None, int(rng.integers(1, max(2, n)))), {}),
        ("topk_similarity", (y, int(rng.integers(1, len(y) + 1))), {}),
        ("deduplicate", (abs(threshold),), {
            "rule": str(rng.choice(["semdedup", "greedy", "components"])),
            "order": order, "labels": labels,
        }),
        ("kmeans", (k,), {
            "max_iterations": int(rng.integers(1, 4)), "spherical": bool(rng.integers(2)),
            "seed": int(rng.integers(9)), "tol": float(rng.choice([0.0, 1e-3, 0.1])),
            "init": str(rng.choice(["k-means++", "split"])),
            "sample_weight": rng.choice([0.01, 1.0, 3.0], size=n) if rng.random() < 0.5 else None,
        }),
    ]  # fmt: skip
    name, args, kwargs = options[rng.integers(len(options))]
    impossible = n == 1 and name == "topk_similarity" and args[0] is None
    impossible |= "selected" in kwargs and len(chosen) == n
    return ("redundancy", (), {}) if impossible else (name, args, kwargs)


def spoil(
    rng: np.random.Generator, x: NDArray[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A wrong call made of a right one."""
    kind = rng.integers(8)
    junk: Any = [None, "x", 2**70, -(2**70), np.nan, -5, 1e300, b"", [], np.zeros((2, 2)), object()]
    if kind == 0:
        return x.ravel(), args, kwargs
    if kind == 1:
        return np.empty((0, 3), np.float32), args, kwargs
    if kind == 2:
        return x.astype(complex), args, kwargs
    if kind == 3:
        bad = x.astype(np.float32)
        bad[rng.integers(len(x)), 0] = rng.choice([np.nan, np.inf, -np.inf])
        return bad, args, kwargs
    if kind == 4:
        return x, args, {**kwargs, "threads": [0, -1, "two", 1.5, 2**40][rng.integers(5)]}
    if kind == 5:
        return (
            x,
            args,
            {**kwargs, "order": [np.arange(len(x)) + 1, np.zeros(3), "no"][rng.integers(3)]},
        )
    if kind == 6 and args:
        return x, (junk[rng.integers(len(junk))], *args[1:]), kwargs
    name = str(rng.choice(["threshold", "k", "labels", "start", "selected", "metric", "nothing"]))
    return x, args, {**kwargs, name: junk[rng.integers(len(junk))]}


def same(got: Any, wanted: Any) -> bool:
    return len(got) == len(wanted) and all(
        np.array_equal(a, b, equal_nan=np.asarray(b).dtype.kind == "f")
        for a, b in zip(got, wanted, strict=True)
    )


def one(rng: np.random.Generator) -> str:
    """One random call; what became of it."""
    isas = _core.available_isas()
    _core.use_isa(isas[rng.integers(len(isas))])
    _core.use_screen(SCREENS[rng.integers(len(SCREENS))])
    x, _ = samples(rng)
    name, args, kwargs = call(rng, x)
    if rng.random() < 0.3:
        bad, args, kwargs = spoil(rng, x, args, kwargs)
        try:
            getattr(mf, name)(bad, *args, **kwargs)
        except REFUSED:
            return "refused"
        return "taken"  # what was spoilt has its default there, or is right for this operation
    memory = int(10 ** rng.uniform(4.5, 7)) if rng.random() < 0.2 else None
    threads = int(rng.integers(1, 4))
    try:
        got = getattr(mf, name)(x, *args, threads=threads, memory=memory, **kwargs)
    except ValueError as error:
        if memory is None or not str(error).startswith("memory must be"):
            raise
        return "too little memory"
    except MemoryError as error:
        if memory is None or not str(error).startswith("more than max_pairs"):
            raise
        return "too many pairs"
    assert same(got, getattr(reference, name)(x, *args, **kwargs)), (name, args, kwargs, x)
    if name == "deduplicate":
        floor = min(args[0], float(rng.choice([-1.0, 0.0, 0.5, 0.9])))
        sweep = mf.dedup_sweep(x, floor=floor, threads=threads, **kwargs)
        assert same(sweep.at(*args), got), (floor, args, kwargs, x)
    return "equal" if memory is None else "equal in parts"


def main(seconds: float, seed: int) -> Counter[str]:
    """Call until the time is over."""
    ends: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            ends[one(np.random.default_rng(seed))] += 1
        except BaseException:
            print(f"seed {seed}", flush=True)
            raise
        seed += 1
    print("bindings:", dict(ends), "next seed", seed)
    return ends


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
