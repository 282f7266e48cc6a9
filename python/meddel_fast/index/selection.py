""":class:`SelectionIndex`: a deduplication index on disk, as users work with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import (
    check_choice,
    check_float,
    check_int,
    check_rows,
    in_memory,
    resolve_threads,
    to_matrix,
)
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.lock import lock
from meddel_fast.index.candidates import Clusters, Search
from meddel_fast.index.file_checks import DTYPES
from meddel_fast.index.greedy import Removal, admit
from meddel_fast.index.maintenance import check, rewrite
from meddel_fast.index.segments import HEAD, Folder, State, arrivals, changes
from meddel_fast.ops import DeduplicateResult

# Centroids are learned anew, and the files written anew, when the index has grown so many times:
# all rewriting together then costs a third more than the last one.
GROWTH = 4
FEWEST = 1024  # samples before which all are compared with all
MOST_SEGMENTS = 512  # calls whose files stand side by side, a kilobyte each of the head


class Added(NamedTuple):
    """What :meth:`SelectionIndex.add` did: counts of samples, and of pairs compared with old ones.

    `keep` (bool, shape (n,)) tells which of the new samples are kept.
    """

    keep: NDArray[np.bool_]
    kept: int
    covered: int
    compared: int


class Removed(NamedTuple):
    """What :meth:`SelectionIndex.remove` did, in ids: what is kept from now on, and what is not."""

    removed: int
    readmitted: list[str]
    covered: list[str]


class SelectionIndex:
    """A deduplication index on disk that takes new samples and lets old ones go.

    At any time its kept set is that of :func:`meddel_fast.deduplicate` with ``rule="greedy"`` for
    the samples that are there, in order of arrival, bit for bit: a new sample is kept when no
    earlier kept one has a cosine to it at or above the threshold; when samples are removed, the
    rest is as if they had never come. New samples are compared only with those that they can be
    similar to (:mod:`meddel_fast.index.candidates`).

    A kill at any point leaves the state before or after the call. One process at a time may change
    an index; a second one is refused. Made by :meth:`create` or :meth:`open`.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._state = folder.load()

    @classmethod
    def create(
        cls, path: StrPath, d: int, *, dtype: str = "float32", threshold: float = 0.95
    ) -> SelectionIndex:
        """Make an empty index.

        Parameters
        ----------
        path
            Its folder, which must not hold an index yet.
        d
            Width of the samples.
        dtype : {"float32", "float16", "int8"}
            Of the samples.
        threshold : float
            Cosine from which on two samples are duplicates, above 0 and at most 1.

        Raises
        ------
        FileExistsError
            There is one already.
        TypeError, ValueError
            An argument out of range.
        """
        folder = Folder(path)
        d = check_int("d", d, 1)
        check_choice("dtype", dtype, DTYPES)
        smallest = float(np.nextafter(0.0, 1.0))
        threshold = check_float("threshold", threshold, smallest, 1.0)
        with lock(folder.path):
            if (folder.path / HEAD).exists():
                raise FileExistsError(f"{path} holds an index already")
            folder.create({"d": d, "dtype": dtype, "threshold": threshold, "rule": "greedy"})
        return cls(folder)

    @classmethod
    def open(cls, path: StrPath) -> SelectionIndex:
        """Open an index.

        Raises
        ------
        FileNotFoundError, ValueError
            There is none, or a file of it is missing or damaged; the message names it.
        """
        return cls(Folder(path))

    def __len__(self) -> int:
        """Return the number of samples that are there, kept or not."""
        return len(self._state.live)

    @property
    def settings(self) -> dict[str, Any]:
        """Width, dtype, threshold and rule, as given to :meth:`create`."""
        return {name: self._state.head[name] for name in ("d", "dtype", "threshold", "rule")}

    @property
    def ids(self) -> list[str]:
        """Ids of the samples that are there, in order of arrival."""
        return [self._state.ids[p] for p in self._state.live]

    @property
    def kept(self) -> list[str]:
        """Ids of the samples that are kept, in order of arrival."""
        return [self._state.ids[p] for p in self._state.kept]

    def result(self) -> DeduplicateResult:
        """Give keep mask, representatives and similarities of the samples that are there.

        Returns
        -------
        DeduplicateResult
            As of ``deduplicate(rule="greedy")`` on these samples in order of arrival; indices
            count along :attr:`ids`.
        """
        live = self._state.live
        place = np.empty(len(self._state.ids), np.int64)
        place[live] = np.arange(len(live))
        similarity = self._state.similarity[live]
        return DeduplicateResult(np.isnan(similarity), place[self._state.cover[live]], similarity)

    def add(
        self,
        x: Any,
        ids: Sequence[str | int],
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Added:
        """Take in new samples.

        Parameters
        ----------
        x : array of shape (n, d)
            The samples, of the index's dtype (float64 is rounded to float32); there may be none.
        ids
            Their n names, none of which is there yet; a number stands for its decimal digits.
        threads : int, optional
            Default: MEDDEL_THREADS, else all cores.
        progress
            Called as ``progress(samples_decided_on, samples)``.

        Returns
        -------
        Added

        Raises
        ------
        TypeError, ValueError
            Samples of another type or width, not finite, or names that repeat; nothing was changed.
        meddel_fast.common.lock.LockedError
            Another process is changing the index.
        """
        threads = resolve_threads(threads)
        rows, names = self._check_new(x, ids, threads)
        if not names:
            return Added(np.zeros(0, dtype=np.bool_), 0, 0, 0)
        with self._writing() as state:
            known = set(self.ids)
            for name in names:
                if name in known:
                    raise ValueError(f"ids: {name!r} is in the index already")
            placed = Clusters(state.centroids).place(rows)
            old = self._search(state, state.kept, threads)(rows)

            def tell(done: int) -> None:
                if progress is not None:
                    progress(done, len(rows))

            positions = len(state.ids) + np.arange(len(rows))
            threshold = state.head["threshold"]
            cover, similarity = admit(rows, positions, old, threshold, threads, tell)
            arrived = arrivals(rows, placed, cover, similarity)
            segment = {
                "n": len(rows),
                "rows": self._folder.write(state.head, "rows", rows),
                "ids": self._folder.write(state.head, "ids", names),
                "arrivals": self._folder.write(state.head, "arrivals", arrived),
            }
            self._commit(state, segments=[*state.head["segments"], segment])
            state.extend(names, arrived)
            self._tidy(state, threads)
        keep = np.isnan(similarity)
        kept = int(keep.sum())
        return Added(keep, kept, len(keep) - kept, old.compared)

    def remove(self, ids: Sequence[str | int], *, threads: int | None = None) -> Removed:
        """Take samples out; what only they had covered is kept again.

        Their numbers stay in the files, unused, until :meth:`compact`.

        Parameters
        ----------
        ids
            Names of samples that are there.
        threads : int, optional
            Default: MEDDEL_THREADS, else all cores.

        Returns
        -------
        Removed

        Raises
        ------
        ValueError
            A name is not there, or comes twice; nothing was changed.
        meddel_fast.common.lock.LockedError
            Another process is changing the index.
        """
        threads = resolve_threads(threads)
        names = _names(ids)
        with self._writing() as state:
            places = {state.ids[p]: int(p) for p in state.live}
            for name in names:
                if name not in places:
                    raise ValueError(f"ids: {name!r} is not in the index")
            gone = np.array([places[name] for name in names], np.int64)
            cover, similarity = state.cover.copy(), state.similarity.copy()
            live = np.setdiff1d(state.live, gone)

            def covers(asked: NDArray[np.int64]) -> Any:
                kept = np.flatnonzero(cover == np.arange(len(cover)))
                return self._search(state, kept, threads)(self._folder.rows(state, asked))

            def neighbours(asked: NDArray[np.int64]) -> Any:
                return self._search(state, live, threads)(self._folder.rows(state, asked))

            Removal(cover, similarity, covers, neighbours).run(gone)
            changed = changes(state, cover, similarity)
            segment = {"changes": self._folder.write(state.head, "changes", changed)}
            before = state.kept
            self._commit(state, segments=[*state.head["segments"], segment])
            state.change(changed)
            self._tidy(state, threads)
        readmitted = np.setdiff1d(state.kept, before)
        covered = np.setdiff1d(np.setdiff1d(before, state.kept), gone)
        return Removed(
            len(gone), [state.ids[p] for p in readmitted], [state.ids[p] for p in covered]
        )

    def compact(self, *, threads: int | None = None) -> None:
        """Write the files anew, without the samples that were removed, and learn new centroids.

        Happens by itself as the index grows.
        """
        threads = resolve_threads(threads)
        with self._writing() as state:
            self._state = rewrite(self._folder, state, threads)

    def verify(self, *, threads: int | None = None, progress: Progress | None = None) -> list[str]:
        """Check all files and recompute the kept set from the samples; name what is wrong.

        Every kept pair is compared anew, without the bounds of the clusters.

        Parameters
        ----------
        threads : int, optional
            Default: MEDDEL_THREADS, else all cores.
        progress
            Called as ``progress(samples_checked, samples)``.

        Returns
        -------
        list of str
            Empty when all is well.
        """
        return check(self._folder, self._state, resolve_threads(threads), progress)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[State]:
        """Hold the folder, and give the state as the last writer left it."""
        with lock(self._folder.path):
            if self._folder.head()["generation"] != self._state.head["generation"]:
                self._state = self._folder.load()
            self._folder.sweep(self._state.head)
            yield self._state

    def _check_new(
        self, x: Any, ids: Sequence[str | int], threads: int
    ) -> tuple[NDArray[Any], list[str]]:
        x = in_memory("x", x)
        head, array = self._state.head, to_matrix("x", x)
        if len(array) == 0:  # a delivery of nothing
            x = np.zeros((1, array.shape[1]), array.dtype)
        rows = check_rows("x", x, threads)
        dtype = "bfloat16" if rows.bfloat16 else str(rows.array.dtype)
        if rows.d != head["d"]:
            raise ValueError(f"x must have {head['d']} columns like the index, got {rows.d}")
        if dtype != head["dtype"]:
            raise TypeError(f"x must be {head['dtype']} like the index, got {dtype}")
        names = _names(ids)
        if len(names) != len(array):
            raise ValueError(
                f"ids must be one for each of {len(array)} rows of x, got {len(names)}"
            )
        return rows.array[: len(array)], names

    def _search(self, state: State, positions: NDArray[np.int64], threads: int) -> Search:
        return Search(
            Clusters(state.centroids),
            positions,
            state.cluster[positions],
            state.low[positions],
            state.high[positions],
            partial(self._folder.rows, state),
            state.head["threshold"],
            threads,
        )

    def _tidy(self, state: State, threads: int) -> None:
        """Write the files anew where the index has outgrown its centroids, or its head."""
        grown = len(state.live) >= max(FEWEST, GROWTH * state.head["learned"])
        if grown or len(state.head["segments"]) >= MOST_SEGMENTS:
            self._state = rewrite(self._folder, state, threads)

    def _commit(self, state: State, **news: Any) -> None:
        head = {**state.head, **news, "generation": state.head["generation"] + 1}
        self._folder.commit(head)
        state.head = head


def _names(ids: Sequence[str | int]) -> list[str]:
    """Check ids, and give them as strings."""
    if isinstance(ids, str):
        raise TypeError("ids must be a sequence of names, got a str")
    names = []
    for name in ids:
        if isinstance(name, (bool, np.bool_)) or not isinstance(name, (str, int, np.integer)):
            raise TypeError(f"ids must be str or int, got {type(name).__name__} {name!r}")
        names.append(str(name))
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"ids: {name!r} comes twice")
        seen.add(name)
    return names
