"""What a task answered for each test image, on disk, so that it can be scored again.

An ``.npz`` without pickle: ``ids``, the images, and ``rows``, a row of numbers for each, whose
columns are the task's own (masks have a file of their own: `training.predictions`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import StrPath
from meddel_fast.common.npz import open_npz
from meddel_fast.common.outputs import archive, output_path

Floats = NDArray[np.float64]

KIND = archive("a file of answers", "ids", "rows")
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers for a test set.

    Attributes
    ----------
    ids
        The n images.
    rows : float64, shape (n, w)
        What was answered, and what it was held against.
    """

    ids: list[str]
    rows: Floats

    def save(self, path: StrPath) -> None:
        """Write the file, atomically; its name ends in ``.npz``."""
        with output_path(path, KIND) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, ids=np.array(self.ids, dtype=np.str_), rows=self.rows)

    @classmethod
    def load(cls, path: StrPath, width: int) -> Answers:
        """Read what :meth:`save` wrote, of a task with `width` columns.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is damaged, or holds something else.
        """
        with open_npz(path, "answers", ("ids", "rows")) as arrays:
            (ids, _, text), (rows, _, number) = (arrays.headers[n] for n in ("ids", "rows"))
            if text.kind != "U" or number != np.float64 or rows != (*ids, width):
                raise ValueError(
                    f"wanted ids (n,) of text and rows (n, {width}) of float64, has "
                    f"{ids} of {text} and {rows} of {number}"
                )
            if arrays.bytes > _MAX_BYTES:
                raise ValueError(f"it would grow to {arrays.bytes} bytes")
            return cls(arrays.read("ids").tolist(), arrays.read("rows"))
