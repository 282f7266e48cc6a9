"""How much memory an operation may use."""

from __future__ import annotations

import re
from typing import Any

from meddel_fast.arrays import check_int
from meddel_fast.common.resources import free_memory

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{rest}": base**power
    for power, letter in enumerate("KMGT", 1)
    for base, rests in ((1000, ("", "B")), (1024, ("I", "IB")))
    for rest in rests
}


def check_memory(memory: Any | None) -> int:
    """Return a budget in bytes: a number, a text such as "512MB", by default half of what is free.

    K, M, G and T, alone or with a B, are powers of 1,000; Ki to Ti of 1,024. Case does not matter.

    Raises
    ------
    TypeError, ValueError
        If it is neither; the message says what came.
    """
    if memory is None:
        return free_memory() // 2
    if not isinstance(memory, str):
        return check_int("memory", memory, 1)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", memory)
    if found is None or found[2].upper() not in _UNITS:
        raise ValueError(
            f"memory must be bytes, or a text such as '512MB' or '2GiB', got {memory!r}"
        )
    return check_int("memory", int(float(found[1]) * _UNITS[found[2].upper()]), 1)
