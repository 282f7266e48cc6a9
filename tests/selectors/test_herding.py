"""Herding rules rows out by codes and guesses ahead; none of that may show in what it chooses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from samples import ADVERSARIAL, adversarial, as_reference, clustered, of_type

import meddel_fast as mf
from meddel_fast import _core, arrays, reference

MODES = ["auto", "never", "always", "dense"]
Told = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def plain_herding(
    x: NDArray[Any], weights: NDArray[np.float64] | None, held: Sequence[int], counts: Sequence[int]
) -> Told:
    """What :func:`meddel_fast.selectors.herding` promises, in a few lines."""
    wide = reference.widen(x)
    norm = np.sqrt(reference.squared_norm(wide))[:, None]
    unit = np.divide(wide, norm, out=np.zeros_like(wide), where=norm > 0)
    weighted = unit if weights is None else unit * weights[:, None]
    blocks = range(0, len(x), 1024)
    sums = [np.cumsum(weighted[at : at + 1024], axis=0)[-1] for at in blocks]
    total = len(x) if weights is None else np.cumsum(weights)[-1]
    mean = np.cumsum(sums, axis=0)[-1] / total
    w, order = mean.copy(), list[int]()
    products, distances = [], []
    for step in range(len(held) + max(counts)):
        value = reference.inner(unit, w[None])[:, 0]
        value[order] = -np.inf
        order.append(held[step] if step < len(held) else int(np.argmax(value)))
        w = (w + mean) - unit[order[-1]]
        if step + 1 - len(held) in counts:
            products.append(reference.inner(unit, w[None])[:, 0])
            distances.append(np.sqrt(reference.squared_norm((w - mean)[None])[0]))
    return np.array(order[len(held) :]), np.array(products), np.array(distances)


def assert_told(found: Told, told: Told) -> None:
    for got, wanted in zip(found, told, strict=True):
        np.testing.assert_array_equal(got, wanted)


def herd(x: NDArray[Any], *rest: Any, mode: str = "auto", threads: int = 1) -> Told:
    _core.use_screen(mode)
    try:
        return _core.herding(x, *rest, threads)
    finally:
        _core.use_screen("auto")


@cache
def hard_case(name: str, d: int) -> tuple[NDArray[Any], NDArray[np.float64], Told]:
    rng = np.random.default_rng(d)
    x = adversarial(name, rng, 150, d)
    weights = rng.uniform(0.1, 5.0, len(x))
    return x, weights, plain_herding(x, weights, [7, 2], [3, 148])


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("d", [1, 2, 17, 70])
def test_rows_made_to_break_a_bound(isa: str, name: str, d: int) -> None:
    x, weights, told = hard_case(name, d)
    for mode in MODES:
        assert_told(herd(x, weights, [7, 2], [3, 148], mode=mode), told)


@cache
def close_calls() -> tuple[NDArray[np.float32], Told]:
    """Many rows a hair's breadth apart, in directions that leave the others far behind."""
    rng = np.random.default_rng(8)
    x = clustered(rng, 700, 48, centres=9)
    near = rng.integers(0, 700, 300)
    x[400:] = x[near] * (1 + 3e-7 * rng.normal(size=(300, 48))).astype(np.float32)
    x[650:] = x[near[:50]] * np.float32(3.0)
    return x, plain_herding(x, None, [], [690])


@pytest.mark.parametrize("mode", MODES)
def test_close_calls(isa: str, mode: str) -> None:
    x, told = close_calls()
    assert_told(herd(x, None, [], [690], mode=mode), told)


@cache
def many_rows(name: str) -> tuple[NDArray[np.float32], Told]:
    """More than a piece of a pass, and than a block of the mean, has."""
    rng = np.random.default_rng(4)
    n, d = 5000, 40
    if name == "few dimensions":
        x = rng.normal(size=(n, 6)) @ rng.normal(size=(6, d)) + 0.01 * rng.normal(size=(n, d))
    elif name == "common":  # what all have in common dwarfs the rest
        x = rng.normal(size=(n, d)) + 30.0
    elif name == "heavy":  # a few elements dwarf the others, so that codes are clipped
        x = rng.standard_t(1.2, size=(n, d))
    else:
        x = rng.normal(size=(n, d))
    x = x.astype(np.float32)
    return x, plain_herding(x, None, [9], [20, 120])


@pytest.mark.parametrize("name", ["few dimensions", "common", "heavy", "normal"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 3])
def test_more_rows_than_are_looked_at_at_a_time(name: str, mode: str, threads: int) -> None:
    x, told = many_rows(name)
    assert_told(herd(x, None, [9], [20, 120], mode=mode, threads=threads), told)


@cache
def whole_numbers(d: int) -> tuple[NDArray[np.float32], Told]:
    """Rows of 1 and -1 and their opposites: dense codes are exact, and products tie."""
    half = np.random.default_rng(d).choice(np.array([-1, 1], np.float32), size=(1000, d))
    x = np.concatenate([half, -half])[np.random.default_rng(1).permutation(2000)]
    return x, plain_herding(x, None, [], [250])


@pytest.mark.parametrize("d", [2, 12, 25, 64])
@pytest.mark.parametrize("mode", MODES)
def test_ties_that_codes_do_not_see(isa: str, d: int, mode: str) -> None:
    x, told = whole_numbers(d)
    assert_told(herd(x, None, [], [250], mode=mode), told)


@cache
def beyond_the_sample() -> tuple[NDArray[np.float32], Told]:
    """An arc of a circle; those near its ends are none of the rows that codes are learnt from."""
    n, rng = 6000, np.random.default_rng(3)
    angle = rng.uniform(0.515, 0.54, n) * rng.choice([-1, 1], n)
    sampled = np.arange(512) * n // 512
    angle[sampled] = rng.uniform(-0.5, 0.5, 512)
    x = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    return x, plain_herding(x, None, [], [400])


@pytest.mark.parametrize("mode", MODES)
def test_rows_beyond_those_that_codes_are_learnt_from(mode: str) -> None:
    x, told = beyond_the_sample()
    assert_told(herd(x, None, [], [400], mode=mode), told)


@pytest.mark.parametrize("mode", MODES)
def test_a_mean_of_nothing(mode: str) -> None:
    """Rows that cancel leave w = 0, where no code tells anything and all rows tie."""
    half = np.random.default_rng(0).integers(-9, 9, size=(40, 16)).astype(np.float32)
    x = np.concatenate([half, -half])
    assert_told(herd(x, None, [], [80], mode=mode), plain_herding(x, None, [], [80]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("mode", ["always", "dense"])
def test_element_types(dtype: str, mode: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    x = of_type(clustered(np.random.default_rng(1), 300, 33), dtype)
    told = plain_herding(as_reference(x), None, [], [200])
    assert_told(herd(arrays.check_rows("x", x, 1).array, None, [], [200], mode=mode), told)


def test_a_store_without_room_for_codes_chooses_the_same(tmp_path: Any) -> None:
    x = clustered(np.random.default_rng(2), 6000, 64)
    np.save(tmp_path / "x.npy", x)
    whole = mf.selectors.herding(x, [5, 30], selected=[3])
    for memory in (60_000_000, 3_600_000):  # codes, and neither these nor the rows
        store = mf.open_store(tmp_path / "x.npy").within(memory)
        for found, wanted in zip(
            mf.selectors.herding(store, [5, 30], selected=[3]), whole, strict=True
        ):
            np.testing.assert_array_equal(found.order, wanted.order)
            np.testing.assert_array_equal(found.scores, wanted.scores)
            assert found.settings == wanted.settings


def test_what_would_read_outside_an_array_is_refused() -> None:
    x = np.ones((4, 3), np.float32)
    for rest in (
        (None, [4], [1]), (None, [1, 1], [1]), (None, [], []), (None, [], [0]), (None, [], [5]),
        (None, [1], [4]), (None, [], [2, 2]), (np.ones(3), [], [1]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"selected|counts|weights"):
            _core.herding(x, *rest, 1)


def test_progress_can_stop_it() -> None:
    x = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)

    def stop(done: int, total: int) -> None:
        raise RuntimeError(f"{done} of {total}")

    with pytest.raises(RuntimeError, match="of 2999"):
        mf.selectors.select("herding", x, 2999, threads=1, progress=stop)
