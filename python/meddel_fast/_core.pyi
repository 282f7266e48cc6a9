from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]
_Float = NDArray[np.float64]
_Int = NDArray[np.int64]

class _Type(type): ...  # pybind11's

class Prepared(metaclass=_Type):
    def __init__(self, rows: _Array, most: int | None = None, /) -> None: ...
    @property
    def rows(self) -> _Array: ...
    @property
    def nbytes(self) -> int: ...
    def changed(self) -> bool: ...

_Matrix = _Array | Prepared

def isa() -> str: ...
def available_isas() -> list[str]: ...
def use_isa(name: str, /) -> None: ...
def use_screen(mode: str, /) -> None: ...
def use_floating_point(state: int | None, /) -> int: ...
def report_to(
    progress: Callable[[int, int], object] | None, /
) -> Callable[[int, int], object] | None: ...
def first_nonfinite_row(x: _Matrix, threads: int, /) -> int: ...
def kcenter_greedy(
    x: _Matrix,
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
    x: _Matrix,
    y: _Matrix | None,
    begin: int,
    end: int,
    threshold: float,
    max_pairs: int,
    threads: int,
    /,
) -> tuple[_Int, _Int, _Float]: ...
def redundancy(
    x: _Matrix, order: _Int | None, labels: _Int | None, threads: int, /
) -> tuple[_Float, _Int]: ...
def topk_similarity(
    x: _Matrix, y: _Matrix | None, k: int, threads: int, /
) -> tuple[_Float, _Int]: ...
def facility(
    start: _Int,
    source: _Int,
    value: _Float,
    weights: _Float | None,
    selected: list[int],
    counts: list[int],
    hops: int,
    threads: int,
    /,
) -> tuple[_Int, _Float, list[tuple[_Float, _Float, _Int]]]: ...
def stochastic_facility(
    start: _Int,
    source: _Int,
    value: _Float,
    weights: _Float | None,
    selected: list[int],
    left: list[int],
    draws: _Float,
    /,
) -> tuple[_Int, _Float, list[tuple[_Float, _Float, _Int]]]: ...
def deduplicate(
    x: _Matrix,
    threshold: float,
    rule: str,
    order: _Int | None,
    labels: _Int | None,
    max_pairs: int,
    threads: int,
    /,
) -> tuple[_Int, _Float]: ...

class SimilarEarlier(metaclass=_Type):
    def __init__(
        self,
        x: _Matrix,
        floor: float,
        rule: str,
        order: _Int | None,
        labels: _Int | None,
        max_pairs: int,
        threads: int,
        /,
    ) -> None: ...
    def at(self, x: _Matrix, threshold: float, /) -> tuple[_Int, _Float]: ...
    def pairs(self, x: _Matrix, /) -> tuple[_Int, _Int, _Float]: ...

def kmeans_plus_plus(
    x: _Matrix,
    spherical: bool,
    uniforms: list[float],
    threads: int,
    weights: _Float | None = None,
    /,
) -> _Int: ...
def kmeans(
    x: _Matrix,
    init: NDArray[np.float32],
    max_iterations: int,
    tol: float,
    spherical: bool,
    weights: _Float | None,
    threads: int,
    /,
) -> tuple[_Int, NDArray[np.float32], _Float, float, int, bool]: ...
def herding(
    x: _Array,
    weights: _Float | None,
    selected: list[int],
    counts: list[int],
    threads: int,
    /,
) -> tuple[_Int, _Float, _Float]: ...
def class_mean_cosines(x: _Array, labels: _Int, k: int, threads: int, /) -> _Float: ...

# Of parts of sets: what is known so far comes in, and goes back with a part more. A part is its
# rows and, by row, samples, places and labels.

_Part = tuple[_Array, _Int, _Int, _Int | None]

def squared_norms(x: _Array, threads: int, /) -> _Float: ...
def earlier_in_part(
    x: _Part, y: _Part, similarity: _Float, neighbor: _Int, threads: int, /
) -> tuple[_Float, _Int]: ...
def topk_in_part(
    x: _Array,
    x_first: int,
    y: _Array,
    y_first: int,
    similarity: _Float,
    indices: _Int,
    threads: int,
    /,
) -> tuple[_Float, _Int]: ...
def pairs_of_groups(
    x: _Array,
    x_labels: _Int,
    y: _Array,
    y_labels: _Int,
    threshold: float,
    max_pairs: int,
    threads: int,
    /,
) -> tuple[_Int, _Int, _Float]: ...
def greedy_in_part(
    x: _Array,
    threshold: float,
    samples: _Int,
    labels: _Int | None,
    max_pairs: int,
    representative: _Int,
    similarity: _Float,
    threads: int,
    /,
) -> tuple[_Int, _Float]: ...
def join_components(parent: _Int, i: _Int, j: _Int, /) -> _Int: ...
def spanning_weights(i: _Int, j: _Int, weight: _Float, n: int, /) -> _Float: ...
def row_cosines(x: _Array, y: _Array, threads: int, /) -> _Float: ...
def catch_up(
    x: _Array,
    centres: _Array,
    cosine: bool,
    seen: NDArray[np.int32],
    nearest: _Float,
    threads: int,
    /,
) -> _Float: ...
def choose_among(
    x: _Array,
    nearest: _Float,
    k: int,
    radius: float,
    cosine: bool,
    bound: float,
    before: int,
    threads: int,
    /,
) -> tuple[_Int, _Float, _Float, bool]: ...

class SeedParts(metaclass=_Type):
    def __init__(
        self,
        sample: _Array,
        spherical: bool,
        n: int,
        seeds: int,
        bytes: int,
        weights: _Float | None,
        threads: int,
        /,
    ) -> None: ...
    def add(self, rows: _Array, squares: _Float, begin: int, threads: int, /) -> None: ...
    def left(self, seed: _Array, threads: int, /) -> _Int: ...
    def lower(self, rows: _Array, which: _Int, seed: _Array, row: int, threads: int, /) -> None: ...
    def sums(self, threads: int, /) -> _Float: ...
    def shares(self, begin: int, end: int, /) -> _Float: ...
    def bytes(self) -> int: ...

def add_members(
    x: _Array,
    labels: _Int,
    norms: _Float | None,
    weights: _Float | None,
    wanted: list[bool],
    sums: _Float,
    threads: int,
    /,
) -> _Float: ...
