"""The functions of ``_core`` on a GPU, and the samples' way there and back.

Each takes :class:`Samples` for an array and otherwise what ``_core``'s of the same name takes, so
that :mod:`meddel_fast.ops`, which has checked all arguments, calls either. Samples that are not on
the device are sent there, whole where they fit beside what the pipelines hold, else in chunks;
results come back as arrays or tensors of the samples' kind, where they came from. All work is on
the device's current stream. Imports torch and triton.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import (
    SUPPORTED,
    adjacent,
    check_equal_width,
    check_kind,
    is_torch,
    to_bits,
)
from meddel_fast.common.extras import needs
from meddel_fast.kernels import confirm
from meddel_fast.kernels import deduplicate as _deduplicate
from meddel_fast.kernels import kcenter as _kcenter
from meddel_fast.kernels import kmeans as _kmeans
from meddel_fast.kernels import pairs as _pairs
from meddel_fast.kernels import redundancy as _redundancy
from meddel_fast.kernels import seeding as _seeding
from meddel_fast.kernels import topk as _topk
from meddel_fast.kernels.rows import Rows

with needs("gpu"):
    import torch
    from torch import Tensor

# Held for a pair at the peak: its key and cosine as found, put together and sorted.
PAIR_BYTES = 96
# Held for an element: its code, and a copy of that in another order.
CODE_BYTES = 2
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
T = TypeVar("T")


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Make the device the current one, which Triton launches on."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _on_its_device(function: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(function)
    def run(x: Samples, *arguments: Any) -> T:
        with _current(x.rows.device):
            return function(x, *arguments)

    return run


class Samples:
    """A checked (n, d) set on its way to the device, and the way back.

    Raises
    ------
    TypeError, ValueError
        As :func:`meddel_fast.arrays.check_rows`.
    """

    def __init__(self, name: str, x: Any, device: torch.device) -> None:
        self._home = x.device if is_torch(x) else None
        data = _tensor(name, x)
        if data.ndim != 2:
            raise ValueError(f"{name} must be a 2-d float array, got shape {tuple(data.shape)}")
        if 0 in data.shape:
            shape = tuple(data.shape)
            raise ValueError(f"{name} must have at least one row and one column, got {shape}")
        if data.device != device and _fits(data, device):
            data = data.to(device)
        self.rows = Rows(data, device)
        with _current(device):
            self.squares = confirm.squared_norms(self.rows)
        finite = torch.isfinite(self.squares)
        if not bool(finite.all()):
            row = int(finite.to(torch.int8).argmin())
            raise ValueError(f"{name} must be finite in fp32, got NaN or infinity in row {row}")

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.rows.n

    @property
    def d(self) -> int:
        """Number of columns."""
        return self.rows.d

    @property
    def matrix(self) -> Samples:
        """What the functions of this module take."""
        return self

    def floats(self, which: Any = None) -> Tensor:
        """Return all or some of the rows in fp32, exactly, on the device."""
        if which is None:
            return self.rows.data.to(self.rows.device, torch.float32).contiguous()
        return self.rows.take(torch.tensor(which, device=self.rows.device)).to(torch.float32)

    def back(self, *results: Tensor | None) -> tuple[Any, ...]:
        """Return results in the samples' kind, where these came from; None stays None."""
        if self._home is None:
            return tuple(None if r is None else r.cpu().numpy() for r in results)
        return tuple(None if r is None else r.to(self._home) for r in results)

    def take(self, which: Ints) -> Samples:
        """Return some of the rows, on the device."""
        some = copy.copy(self)
        index = torch.from_numpy(which).to(self.rows.device)
        some.rows = Rows(self.rows.take(index), self.rows.device)
        some.squares = self.squares[index]
        return some

    def there(self, numbers: NDArray[Any] | None) -> Tensor | None:
        """Return checked numbers on the device."""
        return None if numbers is None else torch.from_numpy(numbers).to(self.rows.device)


def two_samples(x: Any, y: Any | None, device: torch.device) -> tuple[Samples, Samples | None]:
    """Check one set or two of equal width, of any types."""
    first = Samples("x", x, device)
    if y is None:
        return first, None
    second = Samples("y", y, device)
    check_equal_width(first, second)
    return first, second


def _tensor(name: str, x: Any) -> Tensor:
    check_kind(name, x)
    if is_torch(x):
        if x.dtype not in DTYPES:
            came = str(x.dtype).removeprefix("torch.")
            raise TypeError(f"{name} must be {SUPPORTED}, got {came}")
        return x.detach().resolve_neg()  # type: ignore[no-any-return]
    array, bfloat16 = to_bits(name, x)
    kinds = {("f", 8), ("f", 4), ("f", 2), ("i", 1)}
    if not bfloat16 and (array.dtype.kind, array.dtype.itemsize) not in kinds:
        raise TypeError(f"{name} must be {SUPPORTED}, got {array.dtype}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of read-only arrays, which this only reads
        usable = array.ndim == 2 and array.size > 0
        tensor = torch.from_numpy(adjacent(array) if usable else array)
    return tensor.view(torch.bfloat16) if bfloat16 else tensor


def _fits(data: Tensor, device: torch.device) -> bool:
    """Whether the device has room for the rows beside their codes."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data.numel() * (data.element_size() + CODE_BYTES) < 0.8 * free


def room_for_pairs(device: torch.device) -> int:
    """Return how many pairs fit into half of the device's free memory."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2**33
    return int(free) // 2 // PAIR_BYTES


def _sets(x: Samples, y: Samples | None) -> tuple[list[Rows], list[Tensor]]:
    both = [x] if y is None else [x, y]
    return [samples.rows for samples in both], [samples.squares for samples in both]


@_on_its_device
def kcenter_greedy(
    x: Samples,
    k: int,
    radius: float,
    cosine: bool,
    start: int,
    selected: list[int],
    distances: bool,
    _threads: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See :func:`meddel_fast.kcenter_greedy`; a negative radius ends nothing."""
    return _kcenter.kcenter_greedy(
        x.rows,
        x.squares,
        k,
        radius=radius,
        cosine=cosine,
        start=start,
        selected=torch.tensor(selected, device=x.rows.device) if selected else None,
        distances=distances,
    )


@_on_its_device
def similar_pairs(
    x: Samples,
    y: Samples | None,
    begin: int,
    end: int,
    threshold: float,
    max_pairs: int,
    _threads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`meddel_fast.ops.pairs.pairs_of_range`, for rows [begin, end)."""
    return _pairs.similar_pairs(*_sets(x, y), threshold, max_pairs, rows=range(begin, end))


@_on_its_device
def redundancy(
    x: Samples, order: Ints | None, labels: Ints | None, _threads: int
) -> tuple[Tensor, Tensor]:
    """See :func:`meddel_fast.redundancy`."""
    return _redundancy.redundancy(x.rows, x.squares, order=x.there(order), labels=x.there(labels))


@_on_its_device
def topk_similarity(x: Samples, y: Samples | None, k: int, _threads: int) -> tuple[Tensor, Tensor]:
    """See :func:`meddel_fast.topk_similarity`."""
    return _topk.topk_similarity(*_sets(x, y), k)


@_on_its_device
def kmeans_plus_plus(
    x: Samples, spherical: bool, uniforms: list[float], _threads: int, weights: Floats | None
) -> list[int]:
    """Return the rows that k-means++ draws, one for each of the uniforms."""
    return _seeding.kmeans_plus_plus(
        x.rows, x.squares, np.array(uniforms), spherical=spherical, weights=x.there(weights)
    )


@_on_its_device
def kmeans(
    x: Samples,
    init: Tensor | NDArray[np.float32],
    max_iterations: int,
    tol: float,
    spherical: bool,
    weights: Floats | None,
    _threads: int,
) -> tuple[Tensor, Tensor, Tensor, float, int, bool]:
    """See :func:`meddel_fast.kmeans`."""
    return _kmeans.kmeans(
        x.rows,
        x.squares,
        torch.as_tensor(init, device=x.rows.device),
        max_iterations,
        spherical=spherical,
        tol=tol,
        weights=x.there(weights),
    )


@_on_its_device
def deduplicate(
    x: Samples,
    threshold: float,
    rule: str,
    order: Ints | None,
    labels: Ints | None,
    max_pairs: int,
    _threads: int,
) -> tuple[Tensor, Tensor]:
    """Return representatives and cosines to them, as :func:`meddel_fast.deduplicate` says."""
    return _deduplicate.deduplicate(
        x.rows,
        x.squares,
        threshold,
        rule,
        max_pairs,
        order=x.there(order),
        labels=x.there(labels),
    )
