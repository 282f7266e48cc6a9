""".npy files that may be damaged or forged: no room is made for what a header alone claims."""

from __future__ import annotations

import io
import math
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meddel_fast.common.files import why_no_file
from meddel_fast.common.places import is_file, open_reader, read_bytes
from meddel_fast.common.urls import StrPath, as_place, is_remote, shown

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""Shape, whether in Fortran order, and type of a ``.npy`` file."""


def npy_header(path: StrPath, file: BinaryIO) -> Header:
    """Read the header of an open ``.npy`` file; its position is then that of the first element.

    Returns
    -------
    shape, fortran, dtype

    Raises
    ------
    ValueError
        It is no such file, it holds Python objects, or fewer bytes than its header promises.
    """
    header = parse_header(path, file)
    begin = file.tell()
    wanted, size = begin + data_bytes(header), file.seek(0, os.SEEK_END)
    file.seek(begin)
    if size < wanted:
        raise ValueError(f"{path} is truncated: its header wants {wanted} bytes, it has {size}")
    return header


def parse_header(path: StrPath, file: BinaryIO) -> Header:
    """Read a header alone; see :func:`npy_header`."""
    try:
        version = npy.read_magic(file)
        shape, fortran, dtype = _HEADERS[version](file)
    except Exception as error:  # parsed as a Python literal, and tokenized where that fails
        raise ValueError(f"{path} is not a .npy file: {error}") from error
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"{path} is not a .npy file of numbers: its elements are {dtype}")
    if min(shape, default=0) < 0:
        raise ValueError(f"{path} is not a .npy file: its shape would be {shape}")
    return shape, fortran, dtype


def data_bytes(header: Header) -> int:
    """Return how many bytes the elements take."""
    shape, _, dtype = header
    return math.prod(shape) * dtype.itemsize


def parse_npy(path: StrPath, data: bytes) -> NDArray[Any]:
    """Return the array of a ``.npy`` file whose content, read from `path`, is `data`.

    Raises
    ------
    ValueError
        As :func:`npy_header`.
    """
    file = io.BytesIO(data)
    npy_header(path, file)
    file.seek(0)
    array: NDArray[Any] = np.load(file, allow_pickle=False)
    return array


def load_npy(path: StrPath, *, mapped: bool = False) -> NDArray[Any]:
    """Load a ``.npy`` file, or map it into memory, read-only; by URL it is loaded in either case.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        As :func:`npy_header`.
    """
    if is_remote(path):
        return parse_npy(shown(path), read_bytes(path))
    path = as_place(path)
    if not is_file(path):
        raise FileNotFoundError(f"no file {path}{why_no_file(path)}")
    with open_reader(path) as file:
        npy_header(path, file)
    array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return array
