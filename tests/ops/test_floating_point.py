"""What a caller sets for its thread's floating-point unit reaches no result, and stays set."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import assert_same

import meddel_fast as mf
from meddel_fast import reference, selectors

UPWARD = {"x86_64": 0x800, "aarch64": 0x400000}.get(platform.machine())  # FE_UPWARD of fenv.h


@contextmanager
def flushed() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU cannot flush subnormals")
    try:
        assert flushes()
        yield
        assert flushes()  # put back by what was called
    finally:
        torch.set_flush_denormal(False)


def flushes() -> bool:
    return bool((np.full(4, 1e-40, np.float32) * np.float32(1)).sum() == 0)


@contextmanager
def rounding_up() -> Iterator[None]:
    if UPWARD is None:
        pytest.skip("the number of FE_UPWARD is not known here")
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    before = libm.fegetround()
    assert libm.fesetround(UPWARD) == 0
    try:
        yield
        assert libm.fegetround() == UPWARD
    finally:
        libm.fesetround(before)


def rows(kind: str) -> NDArray[Any]:
    """Rows whose squares, or fp32 values, are subnormal; with copies, and more than one thread."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 12)) * 1e-42
    x[250:] = x[:50]
    return {"float32": x.astype(np.float32), "float64": x, "float16": (x * 1e36).astype("f2")}[kind]


OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "kcenter": lambda m, x: m.kcenter_greedy(x, 40),
    "kcenter_cosine": lambda m, x: m.kcenter_greedy(x, 40, metric="cosine"),
    "pairs": lambda m, x: m.similar_pairs(x, threshold=0.5),
    "redundancy": lambda m, x: m.redundancy(x),
    "topk": lambda m, x: m.topk_similarity(x, None, 3),
    "semdedup": lambda m, x: m.deduplicate(x, 0.5),
    "greedy": lambda m, x: m.deduplicate(x, 0.5, rule="greedy"),
    "components": lambda m, x: m.deduplicate(x, 0.8, rule="components"),
    "kmeans": lambda m, x: m.kmeans(x, 9, max_iterations=4),
    "kmeans_euclidean": lambda m, x: m.kmeans(x, 9, spherical=False, max_iterations=4),
}


class InParts:
    """The operations on parts, by the same names."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: getattr(mf, name)(*args, memory="32MB", **kwargs)


@pytest.mark.parametrize("state", [flushed, rounding_up])
@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_results_do_not_depend_on_it(name: str, kind: str, state: Any) -> None:
    x = rows(kind)
    wanted = OPERATIONS[name](reference, x)
    with state():
        whole, parts = OPERATIONS[name](mf, x), OPERATIONS[name](InParts(), x)
    assert_same(whole, wanted)
    assert_same(parts, wanted)


@pytest.mark.parametrize("state", [flushed, rounding_up])
@pytest.mark.parametrize("name", ["kcenter", "semdedup", "meddel", "facility", "herding", "d4"])
def test_selections_do_not_depend_on_it(name: str, state: Any) -> None:
    x = rows("float64")
    wanted = selectors.SELECTORS[name](x, 0.2)
    with state():
        got = selectors.SELECTORS[name](x, 0.2)
    np.testing.assert_array_equal(got.indices, wanted.indices)
    np.testing.assert_array_equal(got.scores, wanted.scores)


def test_pairs_in_chunks_do_not_depend_on_it() -> None:
    x = rows("float64")
    wanted = mf.similar_pairs(x, threshold=0.5)
    with flushed():
        chunks = list(mf.iter_similar_pairs(x, threshold=0.5, max_pairs=300))
    assert len(chunks) > 1
    assert_same([np.concatenate(parts) for parts in zip(*chunks, strict=True)], wanted)
