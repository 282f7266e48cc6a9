"""Small indices on disk, of named samples."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meddel_fast.index import SelectionIndex, candidates, greedy, selection

Rows = NDArray[Any]


def names(first: int, n: int) -> list[str]:
    return [f"sample {i}" for i in range(first, first + n)]


def built(
    path: Path, x: Rows, parts: int = 3, *, threshold: float = 0.9, dtype: str = "float32"
) -> SelectionIndex:
    index = SelectionIndex.create(path, x.shape[1], dtype=dtype, threshold=threshold)
    for a, b in itertools.pairwise(np.linspace(0, len(x), parts + 1).astype(int)):
        index.add(x[a:b], names(a, b - a))
    return index


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "FEWEST", 8)
    monkeypatch.setattr(greedy, "CHUNK", 7)
    monkeypatch.setattr(greedy, "_AHEAD", 2)
    monkeypatch.setattr(candidates, "BLOCK_BYTES", 200)
    monkeypatch.setattr(candidates, "ANGLE_ROWS", 5)
