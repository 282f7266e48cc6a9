""".npz files that may be damaged or forged: sizes are known before anything is unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO

from numpy.typing import NDArray

from meddel_fast.common.npy import Header, data_bytes, parse_header, parse_npy

_LONGEST_HEADER = 1 << 14  # bytes; numpy itself refuses headers of more than 10,000


class Npz:
    """Arrays of an ``.npz`` file, whose headers are known before any is unpacked.

    Parameters
    ----------
    file
        The file, open.
    names
        The arrays that are wanted.

    Attributes
    ----------
    headers : dict
        Name -> shape, whether in Fortran order, dtype.
    bytes : int
        What these arrays come to when they are unpacked.

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

    def __init__(self, file: BinaryIO, names: Iterable[str]) -> None:
        self._archive = zipfile.ZipFile(file)
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
