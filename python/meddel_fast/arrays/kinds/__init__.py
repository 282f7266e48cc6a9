"""Rows in other libraries' objects: one registry, by the library that an object is of.

A kind is a module here with two functions, or whatever :func:`register_kind` was given:

``open_rows(name, x, column)``
    Returns the rows that x holds: a numpy array or a torch tensor that shares x's memory, or a
    :class:`RowReader` where they have to be read or put together. Of an object that holds one
    value a sample, an array of those. Refuses by name what it would alter: nulls, rows of several
    lengths, codes in place of rows.
``result(x, field, array, each)``
    Returns an array of a result as x's library has it; `each` says whether it has an entry for
    each row of x.

No library is imported to find out what an object is, and none that is not the object's own but
pyarrow, for what speaks Arrow.

===================  ===========================================================================
``readers``          ``RowReader``, and ``Chunks`` in memory
``bits``             bfloat16, which numpy has no type for
``dlpack``           JAX, CuPy, the Array API, whatever has ``__dlpack__``
``arrow``            pyarrow, Polars, nanoarrow, whatever has ``__arrow_c_stream__``
``arrow_lists``      Arrow's lists of numbers as arrays of two axes, without a copy
``pandas_frames``    pandas' frames and columns
``hugging_face``     columns of ``datasets``
``chunked_files``    arrays of Zarr and h5py
``lance_sets``       columns of Lance data sets
``faiss_indexes``    FAISS indexes that hold their rows as they came
===================  ===========================================================================
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds.readers import RowReader
from meddel_fast.arrays.results import EACH_ROW

Open = Callable[[str, Any, str | None], Any]
Result = Callable[[Any, str, NDArray[Any], bool], Any]


class Kind(NamedTuple):
    """How rows are taken from a library's objects, and results given back."""

    open_rows: Open
    result: Result | None = None


_MODULES = {
    "jax": "dlpack",
    "jaxlib": "dlpack",
    "pandas": "pandas_frames",
    "polars": "arrow",
    "pyarrow": "arrow",
    "narwhals": "arrow",
    "datasets": "hugging_face",
    "zarr": "chunked_files",
    "h5py": "chunked_files",
    "lance": "lance_sets",
    "faiss": "faiss_indexes",
}
_REGISTERED: dict[str, Kind] = {}


def register_kind(library: str, open_rows: Open, result: Result | None = None) -> None:
    """Have objects of a library taken as rows, by all operations, selectors and ``open_store``.

    Parameters
    ----------
    library : str
        The first part of the name of the module that the objects' class, or one that it derives
        from, is defined in. What was registered last for a library counts.
    open_rows : callable
        ``open_rows(name, x, column)``: the rows of x as a numpy array, a torch tensor or a
        :class:`~meddel_fast.arrays.kinds.readers.RowReader`. `name` is what errors call x,
        `column` what ``open_store`` was given.
    result : callable, optional
        ``result(x, field, array, each)``: an array of a result as the library has it. By default
        results are numpy arrays.

    Raises
    ------
    TypeError
        No name of a module, or nothing to call.

    Examples
    --------
    >>> from fractions import Fraction
    >>> import numpy as np
    >>> import meddel_fast as mf
    >>> class Line(Fraction): ...
    >>> mf.register_kind("fractions", lambda name, x, column: np.full((2, 3), float(x)))
    >>> mf.redundancy(Line(1, 2)).neighbor.tolist()
    [-1, 0]
    """
    if not isinstance(library, str) or not library.isidentifier():
        raise TypeError(f"library must be the name of a module without a dot, got {library!r}")
    for name, function in (("open_rows", open_rows), ("result", result)):
        if not callable(function) and not (name == "result" and function is None):
            raise TypeError(f"{name} must be callable, got {type(function).__name__} {function!r}")
    _REGISTERED[library] = Kind(open_rows, result)


def kind_of(x: Any) -> Kind | None:
    """Return the kind of x; None for what the rest of the package takes as it is."""
    torch = sys.modules.get("torch")
    if isinstance(x, (np.ndarray, np.generic)) or (torch and isinstance(x, torch.Tensor)):
        return None
    for cls in type(x).__mro__:
        library = cls.__module__.partition(".")[0]
        if library in _REGISTERED:
            return _REGISTERED[library]
        if library in _MODULES:
            return _kind(_MODULES[library])
    if hasattr(x, "__arrow_c_stream__") or hasattr(x, "__arrow_c_array__"):
        return _kind("arrow")
    return _kind("dlpack") if hasattr(x, "__dlpack__") else None


def _kind(module: str) -> Kind:
    found = importlib.import_module(f"meddel_fast.arrays.kinds.{module}")
    return Kind(found.open_rows, getattr(found, "result", None))


def opened(name: str, x: Any, column: str | None = None) -> Any:
    """Return the rows of an object of another library; other objects as they are.

    Returns
    -------
    numpy array, torch tensor or RowReader

    Raises
    ------
    TypeError, ValueError
        It holds none that could be taken as they are.
    """
    kind = kind_of(x)
    return x if kind is None else kind.open_rows(name, x, column)


def in_memory(name: str, x: Any) -> Any:
    """Return :func:`opened` of x, with what has to be read or put together in one array."""
    rows = opened(name, x)
    return rows.whole() if isinstance(rows, RowReader) else rows


def result_in_kind(x: Any, found: Any) -> Any:
    """Return a result of numpy arrays or tensors, or an iterator over some, as x's library has it.

    A named tuple stays one; what are no arrays in it stay as they are.
    """
    kind = kind_of(x)
    if kind is None or kind.result is None:
        return found
    if isinstance(found, Iterator):
        return (result_in_kind(x, chunk) for chunk in found)
    each = EACH_ROW[type(found)]
    fields = (
        kind.result(x, name, field, name in each) if hasattr(field, "shape") else field
        for name, field in found._asdict().items()
    )
    return type(found)(*fields)
