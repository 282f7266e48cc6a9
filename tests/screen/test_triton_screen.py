"""The device's screens drop no pair that counts: attacks on their bounds, on torch's CPU device.

The integer sums are taken here by torch, the kernels that take them on a GPU are tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from close_calls import SHAPES, powers_of_two, straddle
from samples import ADVERSARIAL, adversarial, as_reference, clustered, of_type

from meddel_fast import reference

pytest.importorskip("torch")

import torch

from meddel_fast.kernels.rows import Rows
from meddel_fast.kernels.screen import ALWAYS, Codes, Screen, learn

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: a second thread is slower, on a busy machine five times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(x: Any) -> tuple[Any, Any]:
    tensor = x if isinstance(x, torch.Tensor) else torch.from_numpy(x)
    norms = np.sqrt(reference.squared_norm(reference.widen(as_reference(x))))
    return Rows(tensor, CPU), torch.from_numpy(norms)


def scores(x: Any, y: Any, cosine: bool) -> Any:
    wide = reference.widen(as_reference(x)), reference.widen(as_reference(y))
    truth = reference.cosine(*wide) if cosine else -reference.squared_distance(*wide)
    return torch.from_numpy(truth)


def sums(screen: Screen, left: Codes, right: Codes, bar: Any) -> Any:
    """What the kernels compare with 0, for a bar of each pair; int64 shows what int32 must hold."""
    product = left.code.double() @ right.code.double().T  # exact below 2^53
    share = left.share[:, None].expand(bar.shape).reshape(-1)
    start = screen.start(share, bar.reshape(-1)).reshape(bar.shape)
    total = product.long() + start + right.share.long()
    assert int(total.abs().max()) < 2**31
    assert int(product.abs().max()) <= 2**28
    return total


def check(x: Any, y: Any | None = None, sample: Any | None = None) -> None:
    """Every pair survives the bar that is its own score, on every screen and by each metric."""
    y = x if y is None else y
    for cosine in (True, False):
        truth = scores(x, y, cosine)
        screens = learn([rows_of(x if sample is None else sample)], cosine=cosine)
        for screen in screens:
            left, right = screen.encode(*rows_of(x)), screen.encode(*rows_of(y))
            assert bool((sums(screen, left, right, truth) >= 0).all())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", [1, 3, 63, 64, 65, 130, 400])
def test_shapes(shape: str, d: int) -> None:
    check(SHAPES[shape](np.random.default_rng([d, len(shape)]), 90, d))


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("d", [20, 90])
def test_adversarial(name: str, d: int, rng: np.random.Generator) -> None:
    check(adversarial(name, rng, 60, d))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "float64"])
def test_types(dtype: str, rng: np.random.Generator) -> None:
    check(of_type(clustered(rng, 70, 100), dtype))


def test_very_wide(rng: np.random.Generator) -> None:
    check(SHAPES["isotropic"](rng, 6, 4096))


def test_sums_of_very_wide_rows_stay_within_32_bits() -> None:
    """Beyond 16384 columns the codes have fewer levels; here all elements take the last of them."""
    x = np.full((40, 20000), 0.1, np.float32)
    x[::10] *= -1
    (_, screen) = learn([rows_of(x)], cosine=True)
    codes = screen.encode(*rows_of(x))
    assert int(codes.code.abs().max()) == screen.top
    check(x)


@pytest.mark.parametrize("d", [4, 64, 128, 384])
@pytest.mark.parametrize("threshold", [0.95, 0.0, -0.7])
def test_pairs_on_both_sides_of_a_threshold(
    d: int, threshold: float, rng: np.random.Generator
) -> None:
    parts = straddle(rng, rng.normal(size=(24, d)).astype(np.float32), threshold)
    check(powers_of_two(rng, np.concatenate(parts)))


@pytest.mark.parametrize("kind", ["zeros", "outside", "inside", "spikes", "short", "long"])
def test_rows_unlike_the_sample(kind: str, rng: np.random.Generator) -> None:
    """Step, longest code and largest remainder come from rows that do not prepare for them.

    From zeros; from rows half of which is within 24 dimensions, while the others lie outside (too
    far for the remainder's integers); from rows that are long outside, while the others lie within;
    from a crowd, while the others have a spike; from rows of other norms.
    """
    d, inside = 400, 24
    x = rng.normal(size=(60, d)).astype(np.float32)
    sample = rng.normal(size=(300, d)).astype(np.float32)
    if kind == "zeros":
        sample[:] = 0
    elif kind == "outside":
        sample[:, :inside] *= np.float32(np.sqrt(d / inside))
        x[:, :inside] = 0
    elif kind == "inside":
        sample[:, :inside] *= 2
        x[:, inside:] = 0
    elif kind == "spikes":
        sample = SHAPES["crowd"](rng, 300, d)
        x[:, 5] = 20
    else:
        x *= np.float32(1e-6 if kind == "short" else 1e3)
    x[30:] = x[:30] + 0.1 * x[30:]
    check(x, sample=sample)
    check(x, sample, sample=sample)


def test_infinite_bars_decide_alone(rng: np.random.Generator) -> None:
    x = np.concatenate([clustered(rng, 50, 100), SHAPES["norms"](rng, 50, 100)])
    for cosine in (True, False):
        for screen in learn([rows_of(x[:50])], cosine=cosine):
            codes = screen.encode(*rows_of(x))
            all_ = torch.full((100, 100), float("inf"), dtype=torch.float64)
            assert bool((sums(screen, codes, codes, -all_) >= 0).all())
            assert bool((sums(screen, codes, codes, all_) < 0).all())


@pytest.mark.parametrize(
    ("rank", "d", "coarse", "fine"),
    [(384, 384, 0.0, 0.99), (8, 384, 0.9, 0.9), (40, 40, None, 0.9)],
)
def test_screens_rule_out_most(
    rank: int, d: int, coarse: float | None, fine: float, rng: np.random.Generator
) -> None:
    """A screen that lets everything through would pass all of the above."""
    x = rng.normal(size=(300, rank)) @ (rng.normal(size=(rank, d)) if rank < d else np.eye(d))
    x = x.astype(np.float32)
    for cosine, bar in ((True, 0.95), (False, -0.5 * float(np.mean(np.sum(x * x, 1))))):
        below = (scores(x, x, cosine) < bar).double().mean()
        screens = learn([rows_of(x)], cosine=cosine)
        wanted = [fine] if coarse is None else [coarse, fine]
        for screen, least in zip(screens, wanted, strict=True):
            codes = screen.encode(*rows_of(x))
            assert int((codes.share == ALWAYS).sum()) < 15
            bars = torch.full((300, 300), bar, dtype=torch.float64)
            ruled_out = (sums(screen, codes, codes, bars) < 0).double().mean()
            assert float(ruled_out) >= least * float(below)
