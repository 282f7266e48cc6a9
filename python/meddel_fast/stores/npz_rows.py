"""Embeddings in an ``.npz`` file: read where they lie, or unpacked as far as they are asked for."""

from __future__ import annotations

import contextlib
import threading
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.npy import data_bytes
from meddel_fast.common.npz import Npz
from meddel_fast.common.places import State, open_reader, shown

_LOCAL_HEADER = 30  # bytes, which end in the lengths of two more fields
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, KeyError, OSError)


class Member:
    """An array of an archive, of which `file` is opened, at the place where it was.

    Attributes
    ----------
    shape, by_columns, dtype
        As its header says.
    packed : bool
        Whether it is deflated: rows are then unpacked from the first on, again for rows that lie
        before those read last.
    offset : int
        Where its elements begin, in the file, or unpacked.

    Raises
    ------
    ValueError
        No archive, or damaged; no such array in it, or several and none named.
    """

    def __init__(self, place: str, file: BinaryIO, name: str | None, opened: State) -> None:
        self._place, self._state = place, opened
        try:
            found = [n.removesuffix(".npy") for n in zipfile.ZipFile(file).namelist()]
            if name not in found and (name is not None or len(found) != 1):
                got = ", ".join(sorted(found)) or "none"
                raise ValueError(f"tensor must name one of the arrays in {shown(place)}: {got}")
            self._name = f"{found[0] if name is None else name}"
            header = Npz(file, [self._name]).headers[self._name]
            about = zipfile.ZipFile(file).getinfo(f"{self._name}.npy")
            file.seek(about.header_offset)
            local = file.read(_LOCAL_HEADER)
        except _DAMAGES as error:
            raise ValueError(f"{shown(place)} is not a whole .npz file: {error}") from error
        self.shape, self.by_columns, self.dtype = header
        self.packed = about.compress_type != zipfile.ZIP_STORED
        self.offset = about.file_size - data_bytes(header)
        if not self.packed:
            more = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
            self.offset += about.header_offset + _LOCAL_HEADER + sum(more)
        self._lock, self._open = threading.Lock(), contextlib.ExitStack()
        self._file: Any = None

    def unpack(self, out: NDArray[Any], start: int) -> None:
        """Fill `out` with rows of a packed array, from the row `start` on."""
        left: memoryview = out.reshape(-1).view(np.uint8).data
        with self._lock:  # the next part is read by another thread
            try:
                if self._file is None:
                    file = self._open.enter_context(open_reader(self._place, self._state))
                    archive = self._open.enter_context(zipfile.ZipFile(file))
                    self._file = self._open.enter_context(archive.open(f"{self._name}.npy"))
                self._file.seek(self.offset + start * (out.nbytes // max(1, len(out))))
                while left:
                    count = self._file.readinto(left[: 1 << 20])
                    if not count:
                        raise EOFError("it ends too soon")
                    left = left[count:]
            except _DAMAGES as error:
                raise ValueError(f"{shown(self._place)} is damaged: {error}") from error

    def forget(self) -> None:
        """Close the archive."""
        with self._lock:
            self._open.close()
            self._file = None

    def __del__(self) -> None:
        """Close it where the last reader did not say that it was the last."""
        if hasattr(self, "_open"):
            self._open.close()
