"""The CUDA extension for torch tensors (``csrc/cuda/launch.h`` says what its functions do).

Public: :func:`require`, :func:`inner_products`, :func:`distance_matrix`, :func:`kcenter_select`,
:func:`components`. Work goes to the current stream of the tensors' device; nothing here waits for
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

try:
    from meddel_fast import _cuda
except ImportError:
    _cuda = None  # type: ignore[assignment]

Matrix = tuple[int, int, int, int, str]


def require() -> None:
    """Raise a RuntimeError that tells what is missing, if this build has no CUDA extension."""
    if _cuda is None:
        raise RuntimeError(
            "this needs the CUDA extension, which was not built: install meddel_fast again where "
            "nvcc 12.8 or later is found, or with MEDDEL_CUDA_FROM_PYPI=1"
        )


def _launch(name: str, device: torch.device, *arguments: Any) -> None:
    require()
    with torch.cuda.device(device):
        getattr(_cuda, name)(*arguments, torch.cuda.current_stream(device).cuda_stream)


def _matrix(x: Tensor) -> Matrix:
    assert x.stride(1) == 1 or x.shape[1] == 1
    n, d = x.shape
    return x.data_ptr(), n, d, max(d, x.stride(0)), str(x.dtype).removeprefix("torch.")


def _address(values: Tensor, dtype: torch.dtype) -> int:
    assert values.dtype == dtype
    assert values.is_contiguous()
    return values.data_ptr()


def inner_products(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return ``<x[i], y[j]>`` of listed pairs in the contract's order.

    Parameters
    ----------
    x, y : tensors of shape (n, d) and (m, d)
        float32, float16, bfloat16 or int8, of one type; the elements of a row are adjacent.
    i, j : int64 tensors of shape (pairs,)

    Returns
    -------
    fp64 tensor of shape (pairs,)
    """
    out = torch.empty(len(i), dtype=torch.float64, device=x.device)
    where = (_address(i, torch.int64), _matrix(y), _address(j, torch.int64))
    _launch("inner_products", x.device, _matrix(x), *where, len(i), out.data_ptr())
    return out


def distance_matrix(x: Tensor, squares: Tensor, *, cosine: bool) -> Tensor:
    """Return the distances of all pairs of rows.

    Parameters
    ----------
    x : tensor of shape (n, d)
        As in :func:`inner_products`.
    squares : fp64 tensor of shape (n,)
        The rows' squared norms.
    cosine : bool
        Cosine distances, or squared distances.

    Returns
    -------
    fp64 tensor of shape (n, n)
    """
    out = torch.empty((len(x), len(x)), dtype=torch.float64, device=x.device)
    _launch(
        "distance_matrix", x.device, _matrix(x), _address(squares, torch.float64), cosine,
        out.data_ptr(),
    )  # fmt: skip
    return out


def kcenter_select(
    distances: Tensor,
    rows: Tensor,
    nearest: Tensor,
    before: tuple[float, int],
    radius: float,
    centres: Tensor,
    radii: Tensor,
    *,
    cosine: bool,
) -> Tensor:
    """Select the farthest of some rows, again and again, as long as no other row can be farther.

    Parameters
    ----------
    distances : fp64 tensor of shape (n, n)
        Of :func:`distance_matrix`; 1 <= n <= 4096.
    rows : int64 tensor of shape (n,)
        Rising.
    nearest : fp64 tensor of shape (n,)
        To the centres so far; afterwards to the new ones as well, and -1 for these.
    before : (float, int)
        All other rows have a distance less than the first, or equal to it and an index not less
        than the second.
    radius : float
        Ends at such a distance.
    centres, radii : int64 and fp64 tensors of shape (most,)
        Take the new centres and their distances.
    cosine : bool

    Returns
    -------
    int64 tensor of shape (2,)
        How many were selected; 1 if the radius ended it.
    """
    selected = torch.empty(2, dtype=torch.int64, device=rows.device)
    _launch(
        "kcenter_select", rows.device, _address(distances, torch.float64),
        _address(rows, torch.int64), len(rows), _address(nearest, torch.float64), *before, radius,
        len(centres), cosine, _address(centres, torch.int64), _address(radii, torch.float64),
        selected.data_ptr(),
    )  # fmt: skip
    return selected


def components(i: Tensor, j: Tensor, n: int) -> Tensor:
    """Return the lowest position of each position's connected component.

    Parameters
    ----------
    i, j : int64 tensors of shape (pairs,)
        Pairs of positions 0 to n - 1, in any order.
    n : int

    Returns
    -------
    int64 tensor of shape (n,)
    """
    roots = torch.empty(n, dtype=torch.int64, device=i.device)
    where = (_address(i, torch.int64), _address(j, torch.int64))
    _launch("components", i.device, *where, len(i), n, roots.data_ptr())
    return roots
