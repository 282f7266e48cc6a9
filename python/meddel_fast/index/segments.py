"""The files of an index: written once, and named by a head that is replaced whole.

An addition writes three files (rows, ids, what is known of each), a removal one (what changed);
then a new ``index.json`` that names them takes the place of the old one by a rename. A kill at any
point leaves the old head or the new one, and files that no head names are swept away by the next
writer. Everything is checked against what the head says: the head, ids and state by SHA-256 when
they are read, rows by a checksum each whenever they are used (and by SHA-256 in ``verify``).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meddel_fast.common.atomic import atomic_path, remove_leftovers, write_bytes, write_json
from meddel_fast.common.files import read_json
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.npy import load_npy, parse_npy
from meddel_fast.common.untrusted import described
from meddel_fast.common.urls import StrPath, local_path
from meddel_fast.index.file_checks import check_array, check_head, check_within
from meddel_fast.index.greedy import REMOVED

HEAD = "index.json"
_FORMAT = 1
# What is known of a sample when it arrives, and what a removal changed of one.
_ARRIVAL = np.dtype(
    [
        ("cluster", "<i8"),
        ("low", "<f8"),
        ("high", "<f8"),
        ("checksum", "<u8"),
        ("cover", "<i8"),
        ("similarity", "<f8"),
    ]
)
_CHANGE = np.dtype([("position", "<i8"), ("cover", "<i8"), ("similarity", "<f8")])


def checksums(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Checksum (n,) of each row: its elements' bits times odd numbers, added up modulo 2^64.

    An odd number times a difference of less than 2^64 is not 0 modulo 2^64, so that a change to
    one element always shows, and other changes do unless they conspire.
    """
    z = np.arange(1, rows.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = np.ascontiguousarray(rows).view(f"u{rows.itemsize}")
    found: NDArray[np.uint64] = bits.astype(np.uint64) @ (z | np.uint64(1))
    return found


@dataclass
class State:
    """All that is known of the samples, by position (order of arrival; removed ones stay in it)."""

    head: dict[str, Any]
    centroids: NDArray[np.float32]
    ids: list[str] = field(default_factory=list)
    cluster: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    low: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    high: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    checksum: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    cover: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    similarity: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def live(self) -> NDArray[np.int64]:
        """Positions of the samples that are there."""
        return np.flatnonzero(self.cover != REMOVED)

    @property
    def kept(self) -> NDArray[np.int64]:
        """Positions of the samples that are kept."""
        return np.flatnonzero(self.cover == np.arange(len(self.cover)))

    def extend(self, ids: list[str], arrivals: NDArray[Any]) -> None:
        """Take in samples that arrived."""
        self.ids.extend(ids)
        for name in _ARRIVAL.names or ():
            setattr(self, name, np.concatenate([getattr(self, name), arrivals[name]]))

    def change(self, changes: NDArray[Any]) -> None:
        """Take in what a removal changed."""
        self.cover[changes["position"]] = changes["cover"]
        self.similarity[changes["position"]] = changes["similarity"]


def arrivals(
    rows: NDArray[Any],
    placed: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    cover: NDArray[np.int64],
    similarity: NDArray[np.float64],
) -> NDArray[Any]:
    """Put together what is known of samples that arrive."""
    out = np.empty(len(rows), _ARRIVAL)
    out["cluster"], out["low"], out["high"] = placed
    out["checksum"], out["cover"], out["similarity"] = checksums(rows), cover, similarity
    return out


def changes(before: State, cover: NDArray[np.int64], similarity: NDArray[np.float64]) -> Any:
    """Put together what a removal changed."""
    same = (similarity == before.similarity) | (np.isnan(similarity) & np.isnan(before.similarity))
    position = np.flatnonzero((cover != before.cover) | ~same)
    out = np.empty(len(position), _CHANGE)
    out["position"], out["cover"] = position, cover[position]
    out["similarity"] = similarity[position]
    return out


class Folder:
    """The files of one index."""

    def __init__(self, path: StrPath) -> None:
        self.path = local_path(path, "an index, which is locked and changed in place,")
        self._maps: dict[str, NDArray[Any]] = {}

    def create(self, settings: dict[str, Any]) -> None:
        """Write the head of an empty index."""
        head = {"format": _FORMAT, **settings, "generation": 0, "learned": 0}
        self.commit({**head, "centroids": None, "segments": []})

    def head(self) -> dict[str, Any]:
        """Read and check the head."""
        if not (self.path / HEAD).is_file():
            raise FileNotFoundError(f"{self.path} holds no index: it has no {HEAD}")
        head: dict[str, Any] = read_json(self.path / HEAD)
        check_head(self.path / HEAD, head)
        digest = head.pop("sha256", None)
        if digest != sha256_json(head):
            raise ValueError(f"{self.path / HEAD} is damaged: its content does not match its hash")
        if head["format"] != _FORMAT:
            raise ValueError(f"{self.path}: wanted format {_FORMAT}, got {head['format']}")
        return head

    def commit(self, head: dict[str, Any]) -> None:
        """Put a new head in place of the old one; from here on its files count."""
        write_json(self.path / HEAD, {**head, "sha256": sha256_json(head)})

    def sweep(self, head: dict[str, Any]) -> None:
        """Delete what no head names: an earlier state's files, and those of a killed writer."""
        remove_leftovers(self.path)
        named = {entry["name"] for entry in _entries(head)}
        for path in self.path.glob("[0-9]*-*"):
            if path.name not in named:
                path.unlink()
                self._maps.pop(path.name, None)

    def write(self, head: dict[str, Any], kind: str, content: Any) -> dict[str, Any]:
        """Write a file of the generation that is to come; give its entry in the head."""
        if isinstance(content, np.ndarray):
            buffer = io.BytesIO()
            np.save(buffer, content)
            data, suffix = buffer.getvalue(), "npy"
        else:
            data, suffix = json.dumps(content, ensure_ascii=False).encode(), "json"
        name = f"{head['generation'] + 1:06d}-{kind}.{suffix}"
        write_bytes(self.path / name, data)
        return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def write_rows(
        self, head: dict[str, Any], shape: tuple[int, int], parts: Iterator[NDArray[Any]]
    ) -> dict[str, Any]:
        """Write many rows, given part by part, as :meth:`write` does few.

        Not through a mapping: there a full disk ends the process, with no word.
        """
        path = self.path / f"{head['generation'] + 1:06d}-rows.npy"
        descr = npy.dtype_to_descr(np.dtype(head["dtype"]))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            header = {"descr": descr, "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(file, header)
            for part in parts:
                file.write(part.data)
        return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}

    def load(self) -> State:
        """Read all but the rows.

        Raises
        ------
        FileNotFoundError, ValueError
            A file is missing or damaged; the message names it.
        """
        head = self.head()
        if head["centroids"] is None:
            state = State(head, np.zeros((1, head["d"]), np.float32))
        else:
            state = State(
                head, self._array(head["centroids"], (None, head["d"]), np.dtype(np.float32))
            )
        for segment in head["segments"]:
            if "changes" in segment:
                state.change(self._changes(segment["changes"], len(state.ids)))
                continue
            rows = segment["rows"]
            path = self.path / rows["name"]
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing")
            if path.stat().st_size != rows["bytes"]:
                raise ValueError(
                    f"{path} is damaged: it has {path.stat().st_size} bytes, not {rows['bytes']}"
                )
            state.extend(self._ids(segment), self._arrivals(segment, state))
        return state

    def _ids(self, segment: dict[str, Any]) -> list[str]:
        path = self.path / segment["ids"]["name"]
        with described(path, "list of names"):
            ids = json.loads(self._bytes(segment["ids"]))
        if type(ids) is not list or [*map(type, ids)] != [str] * segment["n"]:
            raise ValueError(f"{path} must list {segment['n']} names")
        return ids

    def _arrivals(self, segment: dict[str, Any], state: State) -> NDArray[Any]:
        entry, begin = segment["arrivals"], len(state.ids)
        found = self._array(entry, (segment["n"],), _ARRIVAL)
        path = self.path / entry["name"]
        check_within(path, found["cluster"], 0, len(state.centroids))
        check_within(path, found["cover"], REMOVED, begin + segment["n"])
        return found

    def _changes(self, entry: dict[str, Any], samples: int) -> NDArray[Any]:
        found = self._array(entry, (None,), _CHANGE)
        check_within(self.path / entry["name"], found["position"], 0, samples)
        check_within(self.path / entry["name"], found["cover"], REMOVED, samples)
        return found

    def rows(self, state: State, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Read the rows at some positions.

        Raises
        ------
        ValueError
            A row is not what was written; the message names the file and the sample.
        """
        out = np.empty((len(positions), state.head["d"]), state.head["dtype"])
        begin, names = 0, []
        for segment in state.head["segments"]:
            if "rows" not in segment:
                continue
            here = np.flatnonzero((positions >= begin) & (positions < begin + segment["n"]))
            if len(here):
                names.append((segment["rows"]["name"], here))
                out[here] = self._map(segment, state.head)[positions[here] - begin]
            begin += segment["n"]
        good = checksums(out) == state.checksum[positions]
        for name, here in names:
            if not good[here].all():
                which = state.ids[positions[here[good[here].argmin()]]]
                raise ValueError(f"{self.path / name} is damaged: the row of {which!r}")
        return out

    def damaged(self, head: dict[str, Any]) -> list[str]:
        """Name the files that are missing or not what was written."""
        found = []
        for entry in _entries(head):
            path = self.path / entry["name"]
            if not path.is_file():
                found.append(f"{path} is missing")
            elif sha256_file(path) != entry["sha256"]:
                found.append(f"{path} is damaged: its content does not match its hash")
        return found

    def _map(self, segment: dict[str, Any], head: dict[str, Any]) -> NDArray[Any]:
        name = segment["rows"]["name"]
        if name not in self._maps:
            rows = load_npy(self.path / name, mapped=True)
            shape, dtype = (segment["n"], head["d"]), np.dtype(head["dtype"])
            self._maps[name] = check_array(self.path / name, rows, shape, dtype)
        return self._maps[name]

    def _bytes(self, entry: dict[str, Any]) -> bytes:
        path: Path = self.path / entry["name"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ValueError(f"{path} is damaged: its content does not match its hash")
        return data

    def _array(
        self, entry: dict[str, Any], shape: tuple[int | None, ...], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        path = self.path / entry["name"]
        return check_array(path, parse_npy(path, self._bytes(entry)), shape, dtype)


def _entries(head: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if head["centroids"] is not None:
        yield head["centroids"]
    for segment in head["segments"]:
        yield from (entry for entry in segment.values() if isinstance(entry, dict))
