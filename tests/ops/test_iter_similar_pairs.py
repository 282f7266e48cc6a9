"""Pairs chunk by chunk: the same pairs in the same order, and no more of them at a time."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from samples import as_reference, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast import reference
from meddel_fast.ops import pairs


def together(chunks: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(np.concatenate(fields) for fields in zip(*chunks, strict=True))


@functools.cache
def case(two: bool, threshold: float) -> tuple[Any, Any, Any]:
    """One set or two of 70 columns, and what reference.py finds."""
    x = clustered(np.random.default_rng(int(two)), 150, 70)
    x[60:90] = x[7]  # rows with many pairs among such with few
    x, y = (x[:85], x[70:]) if two else (x, None)
    return x, y, reference.similar_pairs(x, y, threshold=threshold)


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize(
    ("threshold", "max_pairs"), [(-1.0, 900), (0.4, 40), (0.95, 1), (0.95, 10_000_000)]
)
def test_chunks_put_together(
    isa: str, screen: str, threshold: float, max_pairs: int, two: bool
) -> None:
    x, y, pairs = case(two, threshold)
    chunks = list(mf.iter_similar_pairs(x, y, threshold=threshold, max_pairs=max_pairs, threads=1))
    assert_same(together(chunks), pairs)
    for chunk in chunks:
        assert len(chunk.i) <= max_pairs or chunk.i[0] == chunk.i[-1]
    assert (len(chunks) == 1) == (len(pairs[0]) <= max_pairs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_types(dtype: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch") if dtype == "bfloat16" else None
    x = of_type(clustered(rng, 120, 20), dtype)
    chunks = list(mf.iter_similar_pairs(x, threshold=0.3, max_pairs=300))
    assert len(chunks) > 1
    if torch is not None:
        assert all(isinstance(field, torch.Tensor) for field in chunks[0])
    wanted = reference.similar_pairs(as_reference(x), threshold=0.3)
    assert_same(together(chunks), wanted)


def test_a_flood_is_held_a_part_at_a_time() -> None:
    """Every pair of 3,000 rows, at most 5,000 at a time: nowhere near 4.5 million."""
    n, most = 3000, 5000
    x = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
    row, seen = 0, 0
    for i, j, similarity in mf.iter_similar_pairs(x, threshold=-1.0, max_pairs=most):
        assert len(i) == len(j) == len(similarity) <= most
        if len(i) == 0:
            continue
        rows = np.arange(row, i[-1] + 1)
        np.testing.assert_array_equal(i, np.repeat(rows, n - 1 - rows))
        np.testing.assert_array_equal(j, np.concatenate([np.arange(r + 1, n) for r in rows]))
        row, seen = int(i[-1]) + 1, seen + len(i)
    assert seen == n * (n - 1) // 2


def test_rows_of_a_chunk_follow_what_the_last_one_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few attempts are lost, also where the number of pairs a row changes."""
    tried: list[tuple[range, bool]] = []

    def spy(x: Any, y: Any, rows: range, *more: Any) -> Any:
        tried.append((rows, False))
        out = whole(x, y, rows, *more)
        tried[-1] = (rows, True)
        return out

    whole = pairs.pairs_of_range
    monkeypatch.setattr(pairs, "pairs_of_range", spy)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 8)).astype(np.float32)
    x[2000:2400] = x[0]  # 80,000 pairs among 400 rows
    chunks = list(mf.iter_similar_pairs(x, threshold=0.9, max_pairs=5000))
    assert tried[0] == (range(4000), False)
    # One in four lost, and chunks half full, would be 48 attempts; it takes about as many.
    found = sum(len(chunk.i) for chunk in chunks)
    assert found > 80_000
    assert len(tried) <= 4 * found / 5000


def test_memory_does_not_grow_with_the_pairs() -> None:
    """A process's peak, over 30 chunks of a set whose 450 million pairs would take 20 GB."""
    code = (
        "import resource, numpy as np, meddel_fast as mf\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "x = np.random.default_rng(0).normal(size=(30_000, 8)).astype(np.float32)\n"
        "mf.redundancy(x[:5000], threads=2)\n"
        "before = peak()\n"
        "stream = mf.iter_similar_pairs(x, threshold=-1, max_pairs=1_000_000, threads=2)\n"
        "for _ in range(30): assert len(next(stream).i) >= 29_000\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < (44 + 24) * 1_000_000 + 2 * 2**24  # as the docstring says


def test_an_early_end_lets_go_of_the_rows() -> None:
    x = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    alive = weakref.ref(x)
    stream = mf.iter_similar_pairs(x, threshold=-1.0, max_pairs=1000)
    first = next(stream)
    del x
    assert alive() is not None  # the stream's
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == []
    assert alive() is None
    assert len(first.i) > 0


def test_one_row_and_no_pairs() -> None:
    for x in (np.ones((1, 3), np.float32), np.eye(3, dtype=np.float32)):
        (chunk,) = mf.iter_similar_pairs(x, threshold=0.5)
        assert [len(field) for field in chunk] == [0, 0, 0]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"x": np.zeros(3)}, ValueError, "x must be a 2-d float array, got shape (3,)"),
        ({"x": np.full((2, 2), np.nan)}, ValueError, "x must be finite"),
        ({"y": np.ones((2, 3))}, ValueError, "columns"),
        ({"threshold": 2}, ValueError, "threshold must be from -1 to 1, got 2"),
        ({"max_pairs": 0}, ValueError, "max_pairs must be at least 1, got 0"),
        ({"max_pairs": None}, TypeError, "max_pairs must be an int, got NoneType None"),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ],
)
def test_input_is_checked_by_the_call(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        mf.iter_similar_pairs(**{"x": np.ones((2, 2)), **wrong})


def test_too_many_pairs_at_once_names_the_stream() -> None:
    x = np.ones((300, 2), np.float32)
    with pytest.raises(MemoryError, match="iterate over iter_similar_pairs"):
        mf.similar_pairs(x, max_pairs=100)
    assert len(together(mf.iter_similar_pairs(x, max_pairs=100))[0]) == 300 * 299 // 2
    x *= np.arange(1, 301, dtype=np.float32)[:, None]  # (of equal rows it holds no pairs)
    with pytest.raises(MemoryError, match=r"pass memory=.*labels to compare inside clusters only"):
        mf.deduplicate(x, rule="greedy", max_pairs=100)
