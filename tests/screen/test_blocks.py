"""Scans by blocks: groups of all sizes, more columns than a panel, rows with and without bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from close_calls import unit
from numpy.typing import NDArray
from samples import assert_same, clustered, told

import meddel_fast as mf
from meddel_fast import _core


@pytest.fixture(params=["products", "codes"])
def blocks(request: pytest.FixtureRequest) -> Iterator[str]:
    _core.use_screen(request.param)
    yield request.param
    _core.use_screen("auto")


def check(mode: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """A call says the same with blocks as where everything is confirmed."""
    _core.use_screen("never")
    wanted = call(*args, **kwargs)
    _core.use_screen(mode)
    assert_same(call(*args, **kwargs), wanted)


def walk(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float32]:
    """Rows that are much like the ones just before them, as in a video."""
    return np.cumsum(rng.normal(size=(n, d)), axis=0).astype(np.float32)


@pytest.mark.parametrize("d", [5, 70])
def test_groups_of_all_sizes(blocks: str, d: int, rng: np.random.Generator) -> None:
    """Some smaller than a band, some that end within one, some that make a task of their own."""
    sizes = [1, 2, 31, 32, 33, 63, 64, 65, 511, 513, 1, 70]
    labels = rng.permutation(np.repeat(rng.permutation(len(sizes)) * 5 - 9, sizes))
    x = walk(rng, len(labels), d)
    x[::50] = x[7]
    order = rng.permutation(len(x))
    for options in ({"labels": labels}, {"labels": labels, "order": order}):
        for threads in (1, 3):
            check(blocks, mf.redundancy, x, threads=threads, **options)
        for rule in ("semdedup", "greedy", "components"):
            check(blocks, mf.deduplicate, x, 0.97, rule=rule, **options)


def test_labels_far_apart(rng: np.random.Generator) -> None:
    """Which are sorted, not counted."""
    x = clustered(rng, 60, 4)
    labels = rng.choice(np.array([-(2**63), -1, 0, 2**63 - 1]), size=60)
    assert_same(mf.redundancy(x, labels=labels), told("redundancy", x, labels=labels))


@pytest.mark.parametrize("d", [3, 66])
def test_more_columns_than_a_panel(blocks: str, d: int, rng: np.random.Generator) -> None:
    x = walk(rng, 2200, d)
    x[2100] = x[3]
    check(blocks, mf.redundancy, x)
    check(blocks, mf.topk_similarity, x, k=1)
    check(blocks, mf.topk_similarity, x[:40], x[30:], k=1)
    for threshold in (0.999, 1.0):
        check(blocks, mf.similar_pairs, x, threshold=threshold)


def test_rows_of_one_cosine(blocks: str, isa: str, rng: np.random.Generator) -> None:
    """All are about as near to each other, so that bounds tell none apart: the truth decides."""
    base = np.zeros((1, 80))
    base[0, 0] = 1.0
    x = unit(np.concatenate([base, base + 1e-4 * rng.normal(size=(150, 80))]))
    assert_same(mf.redundancy(x), told("redundancy", x))
    assert_same(mf.topk_similarity(x, k=1), told("topk_similarity", x, None, 1))


def test_equal_keys_of_different_rows(rng: np.random.Generator) -> None:
    """Rows of one norm, many of them: looked for by it, copies would take long, and are not."""
    x = np.eye(300, dtype=np.float32)[rng.integers(300, size=400)]
    x *= rng.choice([-1, 1], size=(400, 1)).astype(np.float32)
    labels = rng.integers(3, size=400)
    assert_same(mf.redundancy(x, labels=labels), told("redundancy", x, labels=labels))
    assert_same(mf.topk_similarity(x, k=1), told("topk_similarity", x, None, 1))


def test_rows_that_no_screen_takes(blocks: str, isa: str, rng: np.random.Generator) -> None:
    """They survive everything, and must not keep others from being left out, or from being found:
    few of them, as many as are put aside, more, and nothing else."""
    for few in (1, 31, 32, 33, 70, 150):
        x = clustered(rng, 150, 20)
        which = rng.permutation(150)[:few]
        x[which] *= np.float32(1e-35)
        x[which[: few // 2]] = np.ldexp(x[which[: few // 2]], -8)  # some of them subnormal
        assert_same(mf.redundancy(x), told("redundancy", x))
        assert_same(mf.topk_similarity(x, k=1), told("topk_similarity", x, None, 1))
        got = mf.deduplicate(x, 0.9, labels=np.arange(150) % 2)
        assert_same(got, told("deduplicate", x, 0.9, labels=np.arange(150) % 2))
