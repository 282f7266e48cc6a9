"""Small sets, whose scores are all worked out at once: ties, many of the best, ends of bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import assert_same, told

import meddel_fast as mf
from meddel_fast import _core

Rows = NDArray[np.float32]
BLOCKS = ["auto", "products", "codes"]


@pytest.fixture(params=BLOCKS)
def blocks(request: pytest.FixtureRequest) -> Iterator[str]:
    """Blocks of the kind that suits, or of one kind whatever the size."""
    _core.use_screen(request.param)
    yield request.param
    _core.use_screen("auto")


def check_topk(x: Rows, y: Rows | None, k: int, **kwargs: int) -> None:
    assert_same(mf.topk_similarity(x, y, k, **kwargs), told("topk_similarity", x, y, k))


def rows_of(kind: str, rng: np.random.Generator, n: int, d: int) -> Rows:
    x = rng.normal(size=(n, d)).astype(np.float32)
    if kind == "lattice":  # many equal cosines, and rows that are multiples of others
        x = rng.integers(-2, 3, size=(n, d)).astype(np.float32)
    elif kind == "copies":
        x[rng.integers(n, size=n // 2)] = x[0]
        x[5] = 0
    elif kind == "close":  # closer to each other than products in fp32 tell
        x = x[:1] + np.float32(1e-4) * x
    elif kind == "unscreened":  # norms that no product tells anything of, beside some that do
        x[::3] *= np.float32(1e-33)
        x[1::7] *= np.float32(1e32)
    return x


@pytest.mark.parametrize("d", [1, 2, 8, 130])
@pytest.mark.parametrize("kind", ["normal", "lattice", "copies", "close", "unscreened"])
def test_the_k_best(isa: str, blocks: str, kind: str, d: int, rng: np.random.Generator) -> None:
    """As few as one, as many as all, and about where the ways to do it change."""
    x = rows_of(kind, rng, 150, d)
    for k in (1, 2, 10, 31, 33, 75, 149):
        check_topk(x, None, k)
    y = rows_of(kind, rng, 70, d)
    for k in (1, 5, 70):
        check_topk(x[:40], y, k)


@pytest.mark.parametrize("kind", ["normal", "lattice", "copies"])
def test_more_columns_than_are_scored_at_once(
    blocks: str, kind: str, rng: np.random.Generator
) -> None:
    x, y = rows_of(kind, rng, 40, 3), rows_of(kind, rng, 4200, 3)
    for k in (1, 4, 40, 2100):
        check_topk(x, y, k)
        check_topk(x, y, k, threads=2)


def test_scores_that_are_equal_while_cosines_are_not(blocks: str) -> None:
    """Angles of 1e-5 and less apart: 5e-11 of cosine, of which fp32 shows nothing."""
    angles = np.random.default_rng(3).permutation(200) * 1e-5
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    for k in (1, 7, 40):
        check_topk(x, None, k)
    assert_same(mf.redundancy(x), told("redundancy", x))
    for threshold in (1.0, 1.0 - 1e-9, 0.5):
        assert_same(
            mf.similar_pairs(x, threshold=threshold), told("similar_pairs", x, threshold=threshold)
        )


@pytest.mark.parametrize("lengths", [8, 1000])
@pytest.mark.parametrize("d", [1, 3])
def test_the_lowest_of_those_with_cosine_1(
    blocks: str, d: int, lengths: int, rng: np.random.Generator
) -> None:
    """Rows of few directions, of lengths that leave the cosine at 1 or an ulp below."""
    directions = rng.choice(np.array([-1, 1], np.float32), size=(2, d))
    length = rng.integers(1, lengths, size=(300, 1)).astype(np.float32)
    x = directions[rng.integers(2, size=300)] * length
    for k in (1, 3, 20, 150):
        check_topk(x, None, k)
    assert_same(mf.redundancy(x), told("redundancy", x))
    order = rng.permutation(300)
    assert_same(mf.redundancy(x, order=order), told("redundancy", x, order=order))
    labels = rng.integers(3, size=300)
    assert_same(mf.redundancy(x, labels=labels), told("redundancy", x, labels=labels))


def test_copies_that_come_after_others_with_cosine_1(blocks: str) -> None:
    """Copies stand for as many of the best as are asked for, but a lower index goes before them."""
    angles = 1e-4 * np.arange(1, 2301)
    y = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    row = np.array([1, 0], np.float32)
    y[0], y[41], y[2100], y[2200:2210] = row, 2 * row, 8 * row, row
    check_topk(4 * row[None], y, 5)
    assert list(mf.topk_similarity(4 * row[None], y, 5).indices[0]) == [0, 41, 2100, 2200, 2201]


def test_wide_rows_of_one_set(isa: str, blocks: str, rng: np.random.Generator) -> None:
    """Each score is worked out for one row of a pair alone, whichever rows share a part."""
    for n, d in ((129, 64), (200, 300)):
        x = rows_of("copies", rng, n, d)
        for k in (1, 12):
            check_topk(x, None, k)
            check_topk(x, None, k, threads=3)


def test_nearly_all_pairs(blocks: str, rng: np.random.Generator) -> None:
    """More pairs a row than are counted at a time, and some just below the threshold."""
    x = rng.normal(size=(1300, 2)).astype(np.float32)
    for threshold in (-1.0, 0.95):
        assert_same(
            mf.similar_pairs(x, threshold=threshold), told("similar_pairs", x, threshold=threshold)
        )
    chunks = [*mf.iter_similar_pairs(x[:300], threshold=0.0, max_pairs=4000)]
    assert len(chunks) > 3
    assert_same(
        [np.concatenate(parts) for parts in zip(*chunks, strict=True)],
        told("similar_pairs", x[:300], threshold=0.0),
    )
    some = np.repeat(x, 4, axis=0)[:5000]
    assert len(mf.similar_pairs(x[:1], some, threshold=-1.0, max_pairs=5000).i) == 5000
    with pytest.raises(MemoryError, match="max_pairs = 4999"):
        mf.similar_pairs(x[:1], some, threshold=-1.0, max_pairs=4999)
