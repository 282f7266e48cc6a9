"""The bounds' integers are rounded to the safe side: rows that have little else in their favour."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from close_calls import straddle
from numpy.typing import NDArray
from samples import assert_same

import meddel_fast as mf
from meddel_fast import _core, reference

PARTS = [0.27, 0.77, 0.97]


@pytest.fixture(params=["dense", "grouped", "codes"])
def dense(request: pytest.FixtureRequest) -> Iterator[None]:
    """Screen by all dimensions as they are, whatever their number."""
    _core.use_screen(request.param)
    yield
    _core.use_screen("auto")


def lattice(part: float) -> NDArray[np.float32]:
    """All signed permutations of four integers of at most 127, and a last column m, of all alike.

    Their codes are exact, which leaves nothing but the rounding of the bounds' integers: the points
    of cosines are these integers, without m, times a step s with 1 / s^2 = |x|^2, and t is m^2 / 2
    times s^2, `part` more than a whole number of them.
    """
    integers = (127, 61, 18, 5)
    signs = np.array(list(itertools.product([1, -1], repeat=4)))
    rows = np.array(list(itertools.permutations(integers)))[:, None] * signs
    m = np.full((rows.shape[0] * rows.shape[1], 1), np.sqrt(2 * (40 + part)))
    return np.concatenate([rows.reshape(-1, 4), m], axis=1).astype(np.float32)


@functools.cache
def truth(part: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    x = lattice(part)
    return x, reference.cosine(reference.widen(x), reference.widen(x))


@pytest.mark.parametrize("part", PARTS)
def test_pairs_of_exact_codes(isa: str, dense: None, part: float) -> None:
    x, cosine = truth(part)
    values = np.unique(cosine[np.triu_indices(len(x), 1)])
    for threshold in values[np.linspace(0, len(values) - 1, 15).astype(int)].tolist():
        i, j = np.nonzero(np.triu(cosine >= threshold, 1))
        got = mf.similar_pairs(x, threshold=min(threshold, 1.0), threads=1)
        assert_same(got, (i, j, cosine[i, j]))


@functools.cache
def answers(part: float) -> list[tuple[str, tuple[Any, ...], dict[str, Any], Any]]:
    """Calls in which many are equally near but for rounding."""
    x = lattice(part)
    init = {"init": x[::3], "max_iterations": 0}
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("redundancy", (), {}),
        ("topk_similarity", (None, 6), {}),
        ("kmeans", (len(x[::3]),), init),
        ("kmeans", (len(x[::3]),), {**init, "spherical": False}),
        ("kcenter_greedy", (90,), {}),
        ("kcenter_greedy", (90,), {"metric": "cosine"}),
    ]
    return [(*c, getattr(reference, c[0])(x, *c[1], **c[2])) for c in calls]


@pytest.mark.parametrize("part", PARTS)
def test_nearest_of_exact_codes(isa: str, dense: None, part: float) -> None:
    for name, args, kwargs, wanted in answers(part):
        assert_same(getattr(mf, name)(lattice(part), *args, **kwargs, threads=1), wanted)


@functools.cache
def signs(d: int) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Vertices of a cube, and those opposite: codes of 127 alone, with a mean of exactly 0.

    The fp32 sum of their equal squares is off to the same side at each step.
    """
    x = np.random.default_rng(d).choice(np.array([-1, 1], np.int8), size=(24, d))
    x = np.concatenate([x, -x])
    return x, reference.cosine(reference.widen(x), reference.widen(x))


@pytest.mark.parametrize("d", [300, 2700, 3900])
def test_sums_of_equal_squares(isa: str, dense: None, d: int) -> None:
    x, cosine = signs(d)
    for threshold in np.unique(cosine[np.triu_indices(len(x), 1)])[1::20].tolist():
        i, j = np.nonzero(np.triu(cosine >= threshold, 1))
        got = mf.similar_pairs(x, threshold=threshold, threads=1)
        assert_same(got, (i, j, cosine[i, j]))


@functools.cache
def outside() -> tuple[NDArray[np.float32], Any]:
    """Rows of which the kept 60 dimensions hold little, and pairs of those at a high threshold.

    The remainders of such a pair are parallel but for a little, and about 120 units long: the
    product of their lengths is what the bound stands by. The sample of 2,048 does not see them, as
    it would keep the dimensions in which there are two of a kind.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2500, 1000)).astype(np.float32)
    odd = np.setdiff1d(np.arange(len(x)), np.arange(2048) * len(x) // 2048)[:96]
    x[odd] = np.concatenate(straddle(rng, x[odd[:32]], 0.999))
    i, j, similarity = reference.similar_pairs(x[odd], threshold=0.999)
    return x, (odd[i], odd[j], similarity)


def test_pairs_outside_of_the_kept_dimensions(isa: str) -> None:
    x, wanted = outside()
    assert len(wanted[0]) >= 24
    _core.use_screen("always")
    try:
        assert_same(mf.similar_pairs(x, threshold=0.999, threads=1), wanted)
    finally:
        _core.use_screen("auto")
