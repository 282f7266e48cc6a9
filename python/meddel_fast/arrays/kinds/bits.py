"""bfloat16: numpy has no such type, ml_dtypes (of JAX) brings one, and its bits are uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_bfloat16(dtype: Any) -> bool:
    """Whether it is the type of ml_dtypes."""
    return getattr(dtype, "kind", "") == "V" and getattr(dtype, "name", "") == "bfloat16"


def as_bits(array: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Return an array, of bfloat16 its bits, and whether it was one of bfloat16."""
    if is_bfloat16(array.dtype):
        return array.view(np.uint16), True
    return array, False
