"""What a checkpoint is in files: a record, and pieces with arrays that the record names.

A piece is the bytes of its arrays, one after the other; the record says what they are, and the
piece's SHA-256. The record, which holds a SHA-256 of itself, is written last and whole, so that
what it names is there. What is read may be damaged or forged: sizes are checked before anything is
made of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.hashes import sha256_json

FORMAT = 1
Arrays = dict[str, NDArray[Any]]

_NAME = re.compile(r"(common|own|grown)(-[0-9a-f]+){3}")
_TYPES = ("<i8", "<i4", "<f8", "<f4", "<u8")


class Piece(NamedTuple):
    """A file with arrays.

    Attributes
    ----------
    file
        Its name.
    kind
        "common" to all rows, of the rows that "own" does, or pairs by which what is there has
        "grown" since the save before.
    start, stop
        Those rows; 0 where it is of another kind.
    size, sha256
        Of the file.
    fields
        Name, type and shape of each array.
    """

    file: str
    kind: str
    start: int
    stop: int
    size: int
    sha256: str
    fields: list[tuple[str, str, list[int]]]


class Record(NamedTuple):
    """What there is of a call.

    Attributes
    ----------
    told
        How far it has come, in plain values.
    pieces
        The files that hold the rest.
    saved
        When it was written, in seconds since 1970.
    """

    told: dict[str, Any]
    pieces: list[Piece]
    saved: float


class State(NamedTuple):
    """What a call has done before it was started again.

    Attributes
    ----------
    told
        How far it had come.
    common
        Arrays that are the same for all processes.
    own
        Arrays with an entry for each own row.
    grown
        What was saved as grown, dealt out to the processes: the part of this one.
    """

    told: dict[str, Any]
    common: Arrays
    own: Arrays
    grown: list[Arrays]


def pack(file: str, kind: str, rows: range, arrays: Mapping[str, Any]) -> tuple[Piece, bytes]:
    """Return a piece, and what is to be written into its file."""
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = b"".join(array.tobytes() for array in plain.values())
    fields = [(name, array.dtype.str, list(array.shape)) for name, array in plain.items()]
    digest = hashlib.sha256(data).hexdigest()
    return Piece(file, kind, rows.start, rows.stop, len(data), digest, fields), data


def unpack(piece: Piece, data: bytes) -> Arrays:
    """Return the arrays of a piece; they are read-only.

    Raises
    ------
    ValueError
        The file is not what the record says.
    """
    if len(data) != piece.size:
        raise ValueError(f"{piece.file} must have {piece.size} bytes, it has {len(data)}")
    if hashlib.sha256(data).hexdigest() != piece.sha256:
        raise ValueError(f"{piece.file} is damaged")
    found: Arrays = {}
    at = 0
    for name, code, shape in piece.fields:
        dtype, count = np.dtype(code), int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(data, dtype, count, at).reshape(shape)
        at += count * dtype.itemsize
    return found


def record_bytes(record: Record) -> bytes:
    """Return what is to be written as the record."""
    body = {
        "format": FORMAT,
        "saved": record.saved,
        "told": record.told,
        "pieces": [piece._asdict() for piece in record.pieces],
    }
    return json.dumps(body | {"sha256": sha256_json(body)}, indent=1).encode()


def parse_record(data: bytes) -> Record:
    """Return the record that the bytes hold.

    Raises
    ------
    ValueError
        They hold none, or a damaged one.
    """
    try:
        body = json.loads(data)
        digest = body.pop("sha256")
        if digest != sha256_json(body) or body["format"] != FORMAT:
            raise ValueError("it is damaged, or of another version")
        pieces = [parse_piece(piece) for piece in body["pieces"]]
        return Record(dict(body["told"]), pieces, float(body["saved"]))
    except (TypeError, KeyError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"it holds no record: {error}") from None


def is_piece(name: str) -> bool:
    """Whether a name is that of a piece's file."""
    return _NAME.fullmatch(name) is not None


def parse_piece(said: dict[str, Any]) -> Piece:
    """Return the piece that a record names; raises what :func:`parse_record` does."""
    piece = Piece(**said)
    if not is_piece(piece.file) or not piece.file.startswith(f"{piece.kind}-"):
        raise ValueError(f"it names a piece {piece.file!r:.60}")
    fields = [(str(name), str(code), list(map(int, shape))) for name, code, shape in piece.fields]
    wanted, first = 0, piece.stop - piece.start
    for _, code, shape in fields:
        if code not in _TYPES or not shape or min(shape) < 0:
            raise ValueError(f"{piece.file} must have arrays of numbers")
        wanted += np.dtype(code).itemsize * math.prod(shape)
        if piece.kind == "own" and (piece.start < 0 or shape[0] != first):
            raise ValueError(f"{piece.file} must have an entry for each of its rows")
    if wanted != piece.size:
        raise ValueError(f"{piece.file} must have the {wanted} bytes of its arrays")
    return piece._replace(fields=fields)
