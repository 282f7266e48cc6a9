from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]
_Float = NDArray[np.float64]
_Int = NDArray[np.int64]

def isa() -> str: ...
def available_isas() -> list[str]: ...
def use_isa(name: str, /) -> None: ...
def use_screen(mode: str, /) -> None: ...
def report_to(
    progress: Callable[[int, int], object] | None, /
) -> Callable[[int, int], object] | None: ...
def first_nonfinite_row(x: _Array, threads: int, /) -> int: ...
def kcenter_greedy(
    x: _Array,
    k: int,
    radius: float,
    cosine: bool,
    start: int,
    selected: list[int],
    distances: bool,
    threads: int,
    /,
) -> tuple[_Int, _Float, _Float]: ...
def similar_pairs(
    x: _Array,
    y: _Array | None,
    begin: int,
    end: int,
    threshold: float,
    max_pairs: int,
    threads: int,
    /,
) -> tuple[_Int, _Int, _Float]: ...
def redundancy(
    x: _Array, order: _Int | None, labels: _Int | None, threads: int, /
) -> tuple[_Float, _Int]: ...
def topk_similarity(
    x: _Array, y: _Array | None, k: int, threads: int, /
) -> tuple[_Float, _Int]: ...
def deduplicate(
    x: _Array,
    threshold: float,
    rule: str,
    order: _Int | None,
    labels: _Int | None,
    max_pairs: int,
    threads: int,
    /,
) -> tuple[_Int, _Float]: ...
def kmeans_plus_plus(
    x: _Array, spherical: bool, uniforms: list[float], threads: int, /
) -> _Int: ...
def kmeans(
    x: _Array,
    init: NDArray[np.float32],
    max_iterations: int,
    spherical: bool,
    threads: int,
    /,
) -> tuple[_Int, NDArray[np.float32], _Float, float, int, bool]: ...
