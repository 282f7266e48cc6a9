"""Sets of samples as operations take them: checked by each call, or prepared for several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds import in_memory
from meddel_fast.arrays.rows import Rows, check_equal_width, check_finite, is_torch, open_rows


class Prepared:
    """Samples of which several operations share what each works out for itself otherwise.

    An operation on an array looks for NaN and infinities, works out norms, finds equal rows, learns
    what tells pairs apart fast and encodes rows for that, and then forgets it all. Of a prepared
    set it keeps these for the next operation. Results are the same, bit for bit.

    It stands for ``x`` (and ``y``) in all operations and selectors. Nothing is worked out before it
    is wanted, and several threads may use one at a time.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples: a numpy array, a torch tensor on the CPU, or what else is taken for one
        (:mod:`meddel_fast.ops`). They are not copied unless they have to be converted (float64,
        elements that are not adjacent, chunks), which is then done once. **They must not be
        changed** as long as this is used. Each call looks at 64 of them and refuses
        those that have changed; changes elsewhere it does not see, and results are then wrong.

    Attributes
    ----------
    rows
        x as it came; of another library's object the array of its rows.
    given
        x as it came, which tells of what kind results are.
    shape, n, d, ndim, dtype
        Its shape, with the number of rows and columns; 2; the type of its elements.
    nbytes : int
        Bytes that are held beside x: norms, 8 for each row; with rows that are equal, up to 64 for
        each; and samples and codes, a tenth of the rows' size as a rule and a quarter at most (64
        MiB for few rows). What was wanted least recently goes when that is full. An operation
        takes what it takes of an array beside that.

    Raises
    ------
    TypeError, ValueError
        Not a non-empty 2-d array of a supported type on the CPU. NaN and infinities are refused by
        the operations.

    Notes
    -----
    With ``device=``, ``memory=`` or ``group=`` the rows are handed on as they are, and nothing is
    kept. A store is refused: its rows are not in memory. Indexing gives rows as x does, of which
    nothing is known.

    Examples
    --------
    >>> import meddel_fast as mf
    >>> import numpy as np
    >>> x = mf.Prepared(np.random.default_rng(0).standard_normal((1000, 32), dtype=np.float32))
    >>> mf.kmeans(x, 10).labels.shape
    (1000,)
    >>> mf.topk_similarity(x, k=3).indices.shape
    (1000, 3)
    """

    def __init__(self, x: Any) -> None:
        self.given: Any = x.given if isinstance(x, Prepared) else x
        x = in_memory("x", rows_of(x))
        self._rows = open_rows("x", x).prepared()
        self.rows = x if is_torch(x) or isinstance(x, np.ndarray) else np.asarray(x)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self._rows.n

    @property
    def d(self) -> int:
        """Number of columns."""
        return self._rows.d

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.n, self.d

    @property
    def ndim(self) -> int:
        """Number of axes: 2."""
        return 2

    @property
    def dtype(self) -> Any:
        """Type of the elements, numpy's or torch's."""
        return self.rows.dtype

    @property
    def nbytes(self) -> int:
        """Bytes held beside x."""
        known = self._rows.known
        return 0 if known is None else known.nbytes

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, which: Any) -> Any:
        return self.rows[which]

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        return np.asarray(self.rows, *args, **kwargs)

    def __repr__(self) -> str:
        return f"Prepared({self.n} x {self.d} of {self.dtype}, {self.nbytes} bytes held)"

    def __reduce__(self) -> tuple[type[Prepared], tuple[Any]]:
        return Prepared, (self.given,)

    def checked(self, name: str, threads: int) -> Rows:
        """Return the rows as :func:`check_rows` does, which raises the same errors.

        Raises
        ------
        ValueError
            Also if they are seen to have changed.
        """
        known = self._rows.known
        assert known is not None
        if known.changed():
            raise ValueError(f"{name} has changed since it was prepared: prepare it again")
        check_finite(name, known, threads)
        return self._rows


def rows_of(x: Any) -> Any:
    """Return the samples that x is, or that were prepared."""
    return x.rows if isinstance(x, Prepared) else x


def check_rows(name: str, x: Any, threads: int, *, finite: bool = True) -> Rows:
    """Check an (n, d) array of samples, and return it as the kernels take it.

    Without `finite` not for NaN and infinities, which is then for the kernel to do.

    Raises
    ------
    TypeError
        If the elements are of no supported type.
    ValueError
        If x is not 2-d, is empty, or holds a NaN or an infinity (in fp32): the message names the
        first such row.
    """
    if isinstance(x, Prepared):
        return x.checked(name, threads)
    rows = open_rows(name, x)
    if finite:
        check_finite(name, rows.array, threads)
    return rows


def check_two(x: Any, y: Any | None, threads: int) -> tuple[Rows, Rows | None]:
    """Check one set or two of equal width; two of different types are both widened to fp32."""
    first = check_rows("x", x, threads)
    if y is None:
        return first, None
    second = check_rows("y", y, threads)
    check_equal_width(first, second)
    if second.array.dtype != first.array.dtype:
        return first.widened(), second.widened()
    return first, second
