"""A tree of clusters, kept for any number of budgets and for balanced batches.

:mod:`~meddel_fast.selectors.cluster_levels` makes one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_int
from meddel_fast.common.files import StrPath
from meddel_fast.common.npz import Npz, open_npz
from meddel_fast.common.outputs import archive, output_path
from meddel_fast.selectors.provenance import data_sha256
from meddel_fast.sharded.spread import Spread
from meddel_fast.stores.store import as_store

Int = NDArray[np.int64]

SAVED = archive("a saved hierarchy", "about", "assignment_0", "distance")
"""The kind of file that :meth:`HierarchyResult.save` writes."""

_FORMAT = 1
_WANTED = "saved hierarchy"


@dataclass(frozen=True, eq=False)
class HierarchyResult:
    """Clusters of samples, clusters of their centroids, and so on, from fine to coarse.

    No cluster of any level is empty.

    Attributes
    ----------
    assignments : tuple of int64 arrays
        The first, of shape (n,), has each sample's cluster of the finest level; those that follow,
        of shape (k_t,), have the cluster above for each cluster of level t.
    centroids : tuple of float32 arrays
        Of shape (k_t, d), a level each.
    distance : float64, shape (n,)
        From each sample to its centroid of the finest level, as of :func:`meddel_fast.kmeans`.
    settings
        What it was made with, and what k-means found (JSON values only).
    data_sha256
        Hash of the rows that it was made of; empty where that is not known.
    """

    assignments: tuple[Int, ...]
    centroids: tuple[NDArray[np.float32], ...]
    distance: NDArray[np.float64]
    settings: dict[str, Any]
    data_sha256: str = ""

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.distance)

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of clusters of each level, from fine to coarse."""
        return tuple(len(centroids) for centroids in self.centroids)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, which: Int) -> HierarchyResult:
        """Return the same tree with some of the samples in it, by their indices."""
        first, *others = self.assignments
        return replace(
            self,
            assignments=(first[which], *others),
            distance=self.distance[which],
            data_sha256="",
        )

    def __repr__(self) -> str:
        return f"<HierarchyResult of {self.n} samples in {' / '.join(map(str, self.levels))}>"

    def labels(self, level: int) -> Int:
        """Return each sample's cluster, int64 (n,), of a level from 0 (finest), or from -1."""
        levels = len(self.levels)
        level = check_int("level", level, -levels, levels - 1) % levels
        found = self.assignments[0]
        for above in self.assignments[1 : level + 1]:
            found = above[found]
        return found

    def save(self, path: StrPath) -> None:
        """Write the tree as ``.npz``, atomically.

        Raises
        ------
        ValueError, FileExistsError
            The name is another format's, or something else than a saved hierarchy is there.
        """
        about = {
            "format": _FORMAT,
            "levels": len(self.levels),
            "settings": self.settings,
            "data_sha256": self.data_sha256,
        }
        text = json.dumps(about, sort_keys=True).encode()
        members: dict[str, Any] = {"about": np.frombuffer(text, np.uint8)}
        members |= {f"assignment_{t}": a for t, a in enumerate(self.assignments)}
        members |= {f"centroids_{t}": c for t, c in enumerate(self.centroids)}
        with output_path(path, SAVED) as temporary, temporary.open("wb") as file:
            np.savez(file, distance=self.distance, **members)

    @classmethod
    def load(cls, path: StrPath) -> HierarchyResult:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is damaged, no hierarchy, or of a format that this version cannot read.
        """
        with open_npz(path, _WANTED, ("about",)) as head:
            about = _read_about(head)
        levels = range(about["levels"])
        names = [f"{kind}_{t}" for t in levels for kind in ("assignment", "centroids")]
        with open_npz(path, _WANTED, ("distance", *names)) as arrays:
            _check_headers(arrays, len(levels))
            found = {name: arrays.read(name) for name in arrays.headers}
            tree = cls(
                tuple(found[f"assignment_{t}"] for t in levels),
                tuple(found[f"centroids_{t}"] for t in levels),
                found["distance"],
                about["settings"],
                about["data_sha256"],
            )
            _check_tree(tree)
            return tree


def _read_about(head: Npz) -> dict[str, Any]:
    """Read what a file says of itself; what is wrong with it raises what ``open_npz`` tells of."""
    if head.headers["about"][2] != np.uint8 or head.bytes > 1 << 20:
        raise ValueError("wanted a short text in about")
    about: dict[str, Any] = json.loads(head.read("about").tobytes())
    if about["format"] != _FORMAT:
        raise ValueError(f"wanted format {_FORMAT}, has {about['format']!r:.80}")
    wanted = {"levels": int, "settings": dict, "data_sha256": str}
    for name, kind in wanted.items():
        if type(about[name]) is not kind:
            raise ValueError(f"wanted {name} of type {kind.__name__}, has {about[name]!r:.80}")
    if not 1 <= about["levels"] <= 64:
        raise ValueError(f"wanted 1 to 64 levels, has {about['levels']}")
    return about


def _check_headers(arrays: Npz, levels: int) -> None:
    """Refuse arrays of other types and shapes than a tree's, before any is unpacked."""
    shape = {name: header[0] for name, header in arrays.headers.items()}
    width = shape["centroids_0"][-1:]
    below = shape["distance"]
    wanted = {"distance": ("<f8", below[:1])}
    for t in range(levels):
        wanted[f"assignment_{t}"] = ("<i8", below)
        below = shape[f"centroids_{t}"][:1]
        wanted[f"centroids_{t}"] = ("<f4", (*below, *width))
    for name, (kind, size) in wanted.items():
        got, dtype = shape[name], arrays.headers[name][2]
        if got != size or dtype != np.dtype(kind) or 0 in got:
            raise ValueError(f"wanted {name} of {kind} and shape {size}, has {dtype} of {got}")


def _check_tree(tree: HierarchyResult) -> None:
    """Refuse a cluster that is not there, or is empty, and numbers that no distance is."""
    for assignment, k in zip(tree.assignments, tree.levels, strict=True):
        if not 0 <= assignment.min() <= assignment.max() < k:
            raise ValueError(f"wanted clusters 0 to {k - 1}, has others")
        if len(np.unique(assignment)) < k:
            raise ValueError(f"wanted members in each of {k} clusters, has empty ones")
    if not np.isfinite(tree.distance).all() or tree.distance.min() < 0:
        raise ValueError("wanted finite distances of at least 0, has others")


def check_hierarchy(name: str, value: Any, x: Any) -> HierarchyResult:
    """Refuse what is no hierarchy, or one of other rows.

    Raises
    ------
    TypeError, ValueError
        It is none; it has another number of samples or columns, or the hash of others.
    """
    if not isinstance(value, HierarchyResult):
        raise TypeError(f"{name} must be a HierarchyResult, got {type(value).__name__}")
    shape = value.n, value.centroids[0].shape[1]
    if shape != x.shape:
        raise ValueError(f"{name} must be of rows of shape {tuple(x.shape)}, got one of {shape}")
    if value.data_sha256 and value.data_sha256 != (found := rows_sha256(x)):
        if not found:
            raise ValueError(
                f"{name} must be made of LocalRows, or x be no LocalRows: its hash is that of all "
                "rows, which no process has"
            )
        raise ValueError(f"{name} must be made of these rows, got one of others, by their hash")
    return value


def rows_sha256(x: Any) -> str:
    """Hash checked rows as the kernels see them: in memory or in files, in fp64 or rounded.

    Empty where no process has all of them.
    """
    if isinstance(x, Spread):
        return "" if x.local else data_sha256(x.rows)
    return data_sha256(as_store("x", x))
