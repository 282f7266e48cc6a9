""".npz files that may be damaged or forged: sizes are known before anything is unpacked."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from meddel_fast.common.files import StrPath, why_no_file
from meddel_fast.common.npy import Header, data_bytes, parse_header, parse_npy

_LONGEST_HEADER = 1 << 14  # bytes; numpy itself refuses headers of more than 10,000
_DAMAGES = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError),
)


@contextmanager
def open_npz(
    path: StrPath, wanted: str, names: Iterable[str], optional: Iterable[str] = ()
) -> Iterator[Npz]:
    """Open a file for the block; what is wrong with it, or found to be, is said in its name.

    Parameters
    ----------
    path
        The file.
    wanted
        What it should hold, to be read after "holds no".
    names, optional
        The arrays that must be there, and those that may.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or the block raised what damaged values raise.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no {wanted} at {path}{why_no_file(path)}")
    try:
        with Path(path).open("rb") as file:
            yield Npz(file, names, optional)
    except _DAMAGES as error:
        raise ValueError(f"{path} holds no {wanted}: {error}") from error


class Npz:
    """Arrays of an ``.npz`` file, whose headers are known before any is unpacked.

    Parameters
    ----------
    file
        The file, open.
    names, optional
        The arrays that are wanted, and those that are if they are there.

    Attributes
    ----------
    headers : dict
        Name -> shape, whether in Fortran order, dtype.
    bytes : int
        What these arrays come to when they are unpacked.
    packed : int
        Bytes of the file.

    Raises
    ------
    KeyError
        An array is not there.
    ValueError
        A header is none of a ``.npy`` file of numbers, or does not go with the size that the
        archive states; or an array is packed in a way whose growth cannot be bounded.
    zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error
        The archive is damaged, or encrypted.
    """

    def __init__(self, file: BinaryIO, names: Iterable[str], optional: Iterable[str] = ()) -> None:
        self.packed = file.seek(0, io.SEEK_END)
        self._archive = zipfile.ZipFile(file)
        there = set(self._archive.namelist())
        names = [*names, *(name for name in optional if f"{name}.npy" in there)]
        self._members = {name: self._archive.getinfo(f"{name}.npy") for name in names}
        self.headers = {name: self._header(member) for name, member in self._members.items()}
        self.bytes = sum(member.file_size for member in self._members.values())

    def _header(self, member: zipfile.ZipInfo) -> Header:
        check_packing(member)
        head = io.BytesIO(self._unpack(member, _LONGEST_HEADER))
        header = parse_header(member.filename, head)
        wanted = head.tell() + data_bytes(header)
        if member.file_size != wanted:
            raise ValueError(
                f"{member.filename} must have the {wanted} bytes that its header wants, the "
                f"archive says {member.file_size}"
            )
        return header

    def read(self, name: str) -> NDArray[Any]:
        """Unpack an array; raises what the constructor does."""
        member = self._members[name]
        return parse_npy(member.filename, self._unpack(member, member.file_size + 1))

    def _unpack(self, member: zipfile.ZipInfo, most: int) -> bytes:
        with self._archive.open(member) as file:
            return file.read(most)


def check_packing(member: zipfile.ZipInfo) -> None:
    """Refuse what `zipfile` would unpack further than it was asked to.

    Raises
    ------
    ValueError
        The member is neither stored nor deflated.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{member.filename} must be stored or deflated, it is packed by method "
            f"{member.compress_type}"
        )
