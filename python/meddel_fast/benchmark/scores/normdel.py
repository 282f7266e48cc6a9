"""DEL and NormDEL: segmentation quality weighed against the share of the data that was used.

Formulas (4) and (5) of arXiv 2401.17542; ``tests/benchmark/test_normdel.py`` recomputes its Table
3.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _fraction(name: str, value: ArrayLike, hint: str) -> NDArray[np.float64]:
    """``value`` as float64 when every element is a finite number in [0, 1], else a ValueError."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"{name} must be a real number or an array of them, got dtype {array.dtype}"
        )
    array = array.astype(np.float64)
    wrong = ~((array >= 0.0) & (array <= 1.0))  # catches NaN too
    if wrong.any():
        raise ValueError(f"{name} must be a fraction in [0, 1]{hint}, got {array[wrong].flat[0]}")
    return array


def _alpha(alpha: float) -> float:
    value = float(alpha)
    if not (np.isfinite(value) and value >= 0.0):
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha}")
    return value


def _plain(array: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return float(array) if array.ndim == 0 else array


@overload
def del_score(miou: float, retained: float, alpha: float = 1.0) -> float: ...
@overload
def del_score(
    miou: ArrayLike, retained: ArrayLike, alpha: float = 1.0
) -> float | NDArray[np.float64]: ...
def del_score(
    miou: ArrayLike, retained: ArrayLike, alpha: float = 1.0
) -> float | NDArray[np.float64]:
    """Data-effective score ``DEL = miou * exp(-alpha * retained)``.

    Parameters
    ----------
    miou : float or array
        Mean intersection over union as a fraction in [0, 1] (not per cent).
    retained : float or array
        Share of the data that was kept, in [0, 1]; broadcast against `miou`.
    alpha : float
        Weight of the retained share against quality, >= 0. The paper prints no value; 1 reproduces
        its Table 3.

    Returns
    -------
    float or float64 array
        In [0, 1]; a float when both inputs are scalars.

    Raises
    ------
    ValueError
        A value outside its range, or NaN.
    TypeError
        Values that are not real numbers.
    """
    quality = _fraction("miou", miou, " (per cent must be divided by 100)")
    share = _fraction("retained", retained, " (per cent must be divided by 100)")
    return _plain(np.asarray(quality * np.exp(-_alpha(alpha) * share)))


@overload
def normdel(miou: float, retained: float, alpha: float = 1.0) -> float: ...
@overload
def normdel(
    miou: ArrayLike, retained: ArrayLike, alpha: float = 1.0
) -> float | NDArray[np.float64]: ...
def normdel(
    miou: ArrayLike, retained: ArrayLike, alpha: float = 1.0
) -> float | NDArray[np.float64]:
    """Normalised data-effective score ``NormDEL = 1 / (1 + exp(-DEL))``.

    Parameters and errors are those of `del_score`.

    Returns
    -------
    float or float64 array
        In [0.5, 0.7311]: 0.5 when `miou` is 0; 1 / (1 + 1/e) when `miou` is 1 and `retained` 0.
        An empty mask is no 0: half of the background's share, which counts for mIoU, is left.

    Examples
    --------
    >>> round(100 * normdel(0.7095, 0.05), 2)  # ImageCLEFmed at 5 % in Table 3 of the paper
    66.26
    """
    return _plain(np.asarray(1.0 / (1.0 + np.exp(-np.asarray(del_score(miou, retained, alpha))))))
