"""Exponential and logarithm that are the same on every machine.

numpy's own ``exp`` and ``log`` differ in the last bit between instruction sets. Here they are made
of additions, multiplications and scaling by powers of two, which do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# ln 2 in two parts; 20 low bits of the first are 0, so that its product with an exponent is exact
_LN2_HIGH, _LN2_LOW = (float.fromhex(text) for text in ("0x1.62e42feep-1", "0x1.a39ef35793c76p-33"))
_EXP_TERMS = 14  # r^14 / 14! < 1e-17 for |r| <= ln 2 / 2
_LOG_TERMS = 11  # s^23 / 23 < 1e-17 for |s| <= 3 - 2 sqrt 2


def exp(x: Float) -> Float:
    """Return e^x to within 2 units in the last place, for -700 <= x <= 700 (clipped to that)."""
    x = np.clip(x, -700.0, 700.0)
    k = np.rint(x / (_LN2_HIGH + _LN2_LOW))
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = np.ones_like(r)
    for term in range(_EXP_TERMS, 0, -1):
        total = 1.0 + r / term * total
    scaled: Float = np.ldexp(total, k.astype(np.int32))
    return scaled


def log(x: Float) -> Float:
    """Return the natural logarithm of x > 0 to within 2 units in the last place, or 1e-16."""
    m, k = np.frexp(x)
    low = m < np.sqrt(0.5)
    m, k = np.where(low, 2.0 * m, m), k - low
    s = (m - 1.0) / (m + 1.0)
    square, total = s * s, np.zeros_like(s)
    for term in range(2 * _LOG_TERMS - 1, 0, -2):
        total = total * square + 1.0 / term
    result: Float = k * _LN2_HIGH + (2.0 * s * total + k * _LN2_LOW)
    return result
