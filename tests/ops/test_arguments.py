"""Bad input is refused before any work, with the argument, what was wanted and what came."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.arrays import PAIR_BYTES
from meddel_fast.ops import _call

X = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)

CALLS: dict[str, Callable[..., Any]] = {
    "kcenter_greedy": lambda x, **more: mf.kcenter_greedy(x, 1, **more),
    "similar_pairs": lambda x, **more: mf.similar_pairs(x, **more),
    "redundancy": lambda x, **more: mf.redundancy(x, **more),
    "topk_similarity": lambda x, **more: mf.topk_similarity(x, X, 1, **more),
    "kmeans": lambda x, **more: mf.kmeans(x, 1, **more),
    "deduplicate": lambda x, **more: mf.deduplicate(x, **more),
}


def with_value(value: float, row: int = 7, dtype: Any = np.float32) -> Any:
    x = X.astype(dtype)
    x[row, 2] = value
    return x


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(3, np.float32), ValueError, "x must be a 2-d float array, got shape (3,)"),
        (np.zeros((2, 2, 2)), ValueError, "x must be a 2-d float array, got shape (2, 2, 2)"),
        (np.zeros((0, 4)), ValueError, "x must have at least one row and one column, got (0, 4)"),
        (np.zeros((4, 0)), ValueError, "x must have at least one row and one column, got (4, 0)"),
        (np.zeros((2, 2), int), TypeError, "x must be float32, float16, bfloat16 (torch, JAX), fl"),
        (np.zeros((2, 2), complex), TypeError, "got complex128"),
        (np.array([["a"]]), TypeError, "got <U1"),
        (np.array([[None]]), TypeError, "got object"),
        (with_value(np.nan), ValueError, "x must be finite in fp32, got NaN or infinity in row 7"),
        (with_value(np.inf, 0), ValueError, "in row 0"),
        (with_value(-np.inf, 9), ValueError, "in row 9"),
        (with_value(np.nan, 3, np.float16), ValueError, "in row 3"),
        (with_value(1e39, 4, np.float64), ValueError, "in row 4"),
    ],
)
def test_samples(call: Any, x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(x)


def test_first_bad_row_is_named_for_any_number_of_threads() -> None:
    x = np.zeros((5000, 3), np.float32)
    x[[1234, 1235, 4999], 1] = np.nan
    for threads in (1, 2, 5):
        with pytest.raises(ValueError, match=r"row 1234$"):
            mf.redundancy(x, threads=threads)


def test_bfloat16_nan() -> None:
    torch = pytest.importorskip("torch")
    x = torch.zeros(3, 2, dtype=torch.bfloat16)
    x[1, 1] = float("inf")
    with pytest.raises(ValueError, match="row 1"):
        mf.redundancy(x)
    with pytest.raises(TypeError, match="int64"):
        mf.redundancy(torch.zeros(2, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: mf.kcenter_greedy(X, 0),
            ValueError,
            "k must be from 1 to 10 (the rows of x), got 0",
        ),
        (lambda: mf.kcenter_greedy(X), ValueError, "give k, radius or both"),
        (lambda: mf.kcenter_greedy(X, radius=-1.0), ValueError, "radius must be"),
        (lambda: mf.kcenter_greedy(X, radius=float("nan")), ValueError, "radius must be"),
        (lambda: mf.kcenter_greedy(X, 11), ValueError, "k must be from 1 to 10"),
        (lambda: mf.kcenter_greedy(X, 2.0), TypeError, "k must be an int, got float 2.0"),
        (lambda: mf.kcenter_greedy(X, True), TypeError, "k must be an int, got bool"),
        (lambda: mf.kcenter_greedy(X, 2, metric="l1"), ValueError, "metric must be one of"),
        (
            lambda: mf.kcenter_greedy(X, 2, start=10),
            ValueError,
            "start must be from 0 to 9, got 10",
        ),
        (
            lambda: mf.kcenter_greedy(X, 2, start=-1),
            ValueError,
            "start must be from 0 to 9, got -1",
        ),
        (lambda: mf.kcenter_greedy(X, 8, selected=[1, 2, 3]), ValueError, "k must be from 1 to 7"),
        (
            lambda: mf.kcenter_greedy(X, 1, selected=[1, 1]),
            ValueError,
            "must not hold a sample twice",
        ),
        (
            lambda: mf.kcenter_greedy(X, 1, selected=[10]),
            ValueError,
            "selected must be rows of x, 0 to 9",
        ),
        (
            lambda: mf.kcenter_greedy(X, 1, selected=[12]),
            ValueError,
            "selected must be rows of x, 0 to 9",
        ),
        (
            lambda: mf.kcenter_greedy(X, radius=1.0, selected=range(10)),
            ValueError,
            "k has no value to take: there are 0 (the rows of x less the selected ones)",
        ),
        (
            lambda: mf.kcenter_greedy(np.ones((300, 2)), radius=1.0, selected=range(300)),
            ValueError,
            "k has no value to take: there are 0 (the rows of x less the selected ones)",
        ),
        (
            lambda: mf.kcenter_greedy(X, 1, selected=[-1]),
            ValueError,
            "selected must be rows of x, 0 to 9",
        ),
        (lambda: mf.kcenter_greedy(X, 1, selected=[0.5]), TypeError, "selected must be a 1-d int"),
        (
            lambda: mf.similar_pairs(X, threshold=1.1),
            ValueError,
            "threshold must be from -1 to 1, got",
        ),
        (lambda: mf.similar_pairs(X, threshold=-2), ValueError, "threshold must be from -1 to 1"),
        (lambda: mf.similar_pairs(X, threshold=np.nan), ValueError, "threshold must be from -1"),
        (
            lambda: mf.similar_pairs(X, threshold="a"),
            TypeError,
            "threshold must be a number, got str",
        ),
        (lambda: mf.similar_pairs(X, X[:, :3]), ValueError, "y must have 4 columns like x, got 3"),
        (
            lambda: mf.similar_pairs(X, X[0]),
            ValueError,
            "y must be a 2-d float array, got shape (4,)",
        ),
        (lambda: mf.similar_pairs(X, with_value(np.nan)), ValueError, "y must be finite"),
        (lambda: mf.similar_pairs(X, max_pairs=-1), ValueError, "max_pairs must be at least 0"),
        (
            lambda: mf.redundancy(X, order=[0, 1]),
            ValueError,
            "order must have one entry a row of x (10)",
        ),
        (
            lambda: mf.redundancy(X, order=[0] * 10),
            ValueError,
            "order must be a permutation of 0 to 9",
        ),
        (lambda: mf.redundancy(X, order=np.zeros(10)), TypeError, "order must be a 1-d int array"),
        (lambda: mf.redundancy(X, labels=[1]), ValueError, "labels must have one entry a row of x"),
        (lambda: mf.redundancy(X, labels=X), TypeError, "labels must be a 1-d int array"),
        (lambda: mf.topk_similarity(X, k=10), ValueError, "k must be from 1 to 9 (the other rows"),
        (lambda: mf.topk_similarity(X[:1]), ValueError, "x must have at least 2 rows"),
        (
            lambda: mf.topk_similarity(X, X[:3], 4),
            ValueError,
            "k must be from 1 to 3 (the rows of y)",
        ),
        (lambda: mf.topk_similarity(X, X[:3], 0), ValueError, "k must be from 1 to 3"),
        (lambda: mf.kmeans(X, 11), ValueError, "k must be from 1 to 10"),
        (lambda: mf.kmeans(X, 0), ValueError, "k must be from 1 to 10"),
        (
            lambda: mf.kmeans(X, 2, max_iterations=-1),
            ValueError,
            "max_iterations must be at least 0",
        ),
        (lambda: mf.kmeans(X, 2, seed=-1), ValueError, "seed must be at least 0"),
        (lambda: mf.kmeans(X, 2, init=X), ValueError, "init must have shape (2, 4), got (10, 4)"),
        (
            lambda: mf.kmeans(X, 2, init=X[:1]),
            ValueError,
            "init must have shape (2, 4), got (1, 4)",
        ),
        (lambda: mf.kmeans(X, 2, init=with_value(np.nan)[-4:]), ValueError, "init must be finite"),
        (lambda: mf.deduplicate(X, 2.0), ValueError, "threshold must be from -1 to 1"),
        (lambda: mf.deduplicate(X, rule="other"), ValueError, "rule must be one of 'semdedup'"),
        (lambda: mf.redundancy(X, threads=0), ValueError, "threads must be at least 1, got 0"),
        (lambda: mf.redundancy(X, threads="2"), TypeError, "threads must be an int, got str '2'"),
    ],
)
def test_options(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = mf.redundancy(X, threads=1)
    monkeypatch.setenv("MEDDEL_THREADS", "3")
    np.testing.assert_array_equal(mf.redundancy(X).similarity, wanted.similarity)
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("MEDDEL_THREADS", bad)
        with pytest.raises(ValueError, match="MEDDEL_THREADS must be a whole number"):
            mf.redundancy(X)


def test_too_many_pairs() -> None:
    x = np.ones((300, 2), np.float32)
    with pytest.raises(MemoryError, match=r"more than max_pairs = 100 pairs .* gave up after \d+"):
        mf.similar_pairs(x, max_pairs=100)
    multiples = x * np.arange(1, 301, dtype=np.float32)[:, None]
    with pytest.raises(MemoryError, match="more than max_pairs"):
        mf.deduplicate(multiples, rule="components", max_pairs=100)
    assert len(mf.similar_pairs(x, max_pairs=300 * 299 // 2).i) == 300 * 299 // 2
    assert mf.deduplicate(multiples, max_pairs=0).keep.sum() == 1  # semdedup holds no pairs
    assert mf.deduplicate(x, rule="greedy", max_pairs=0).keep.sum() == 1  # nor of equal rows


def test_pairs_may_fill_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "free_memory", lambda: 20 * PAIR_BYTES)
    with pytest.raises(MemoryError, match="more than max_pairs = 10 pairs"):
        mf.similar_pairs(np.ones((2000, 2)))
    assert len(mf.similar_pairs(np.ones((300, 2))).i) == 300 * 299 // 2  # so few take nothing


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_unusable_devices(call: Any) -> None:
    torch = pytest.importorskip("torch")
    for device in ("meta", "cuda x", "gpu", 0, ""):
        with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N', got"):
            call(X, device=device)
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N', got 'meta'"):
        call(torch.zeros((3, 4), device="meta"))
    with pytest.raises(ValueError, match="x must be on the CPU, which is to work on it, got meta"):
        call(torch.zeros((3, 4), device="meta"), device="cpu")
    call(torch.from_numpy(X), device="cpu")
    if torch.cuda.is_available():
        pytest.skip("the rest is for machines without a GPU")
    for device in ("cuda", "cuda:1", torch.device("cuda")):
        with pytest.raises(RuntimeError, match="torch finds no CUDA device here"):
            call(X, device=device)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "triton"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ImportError, match=rf"needs {name}: pip install 'meddel-fast\[gpu"):
                mf.redundancy(X, device="cuda")
