"""Leakage: images of a test set that the pool, or the training of a head, holds too, or nearly so.

The pairs are exact: all whose embeddings have a cosine at or above the threshold, and all whose
files are the same byte for byte, whatever their embeddings, and without any. docs/leakage.md tells
what a threshold means, and of which embeddings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_float
from meddel_fast.common.atomic import atomic_path, write_json
from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.outputs import folder_with
from meddel_fast.common.untrusted import (
    check_fields,
    json_metadata,
    read_parquet,
    read_parquet_schema,
)
from meddel_fast.ops import TopKResult

PAIRS, SUMMARY, SPLITS = "pairs.parquet", "summary.json", "splits"
LADDER = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
MAX_PAIRS = 10_000_000
CLOSEST = 24

_FORMAT = 2
_METADATA_KEY = b"meddel_fast.leakage"
FOLDER = folder_with("a leakage audit", "pairs.parquet", "pool", "test")
"""What an audit is saved to, with the embeddings that were made for it."""
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "threshold": (int, float, type(None)),
    "centred": bool,
    "pool": int,
    "tests": dict,
    "files": dict,
    "ladder": list,
    "closest": list,
}
_COLUMNS = {
    "dataset": "string",
    "pool_id": "string",
    "test_id": "string",
    "cosine": "double",
    "same_bytes": "bool",
    "pool_row": "int64",
    "test_row": "int64",
}


@dataclass(frozen=True, eq=False)
class Samples:
    """A set of images as the audit sees it.

    Attributes
    ----------
    ids
        Names of the n images.
    embeddings : shape (n, d)
        Of the encoder that the other sets are embedded by; None to compare files alone.
    sha256
        Hashes of the n files; None where they are not known.
    """

    ids: Sequence[str]
    embeddings: NDArray[Any] | None = None
    sha256: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.embeddings is None:
            if self.sha256 is None or len(self.sha256) != len(self.ids):
                got = "none" if self.sha256 is None else len(self.sha256)
                raise ValueError(
                    f"sha256 must be one for each of {len(self.ids)} ids without embeddings, "
                    f"got {got}"
                )
            return
        shape = np.shape(self.embeddings)
        if len(shape) != 2:
            raise ValueError(f"embeddings must be a 2-d array, got shape {shape}")
        for name, values in (("ids", self.ids), ("sha256", self.sha256)):
            if values is not None and len(values) != shape[0]:
                raise ValueError(f"{name} must be one for each of {shape[0]} rows of embeddings, "
                                 f"got {len(values)}")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Leakage:
    """The pairs found, a test set after the other, by falling cosine.

    Attributes
    ----------
    threshold
        Pairs have at least this cosine, or the same bytes; None without embeddings: the latter.
    centred
        Whether cosines are those of the embeddings less the pool's mean.
    pool
        Number of images in the pool.
    tests
        Number of images of each test set.
    files
        For each test set, whether equal files were looked for: the hashes of both sides are known.
    ladder
        For each test set and threshold of :data:`LADDER` a row: ``dataset``, ``threshold``,
        ``test_images`` and ``pool_images``, how many have a counterpart at or above it. None
        without embeddings, as is `closest`.
    closest
        Of the images of each test set that are in no pair, the `CLOSEST` that are most like the
        pool: ``dataset``, ``pool_id``, ``test_id``, ``similarity``, falling.
    dataset : str, shape (p,)
        The pairs' test set.
    pool_row, test_row : int64, shape (p,)
        Rows of the pool and of the test set.
    pool_id, test_id : str, shape (p,)
        Their names.
    similarity : float64, shape (p,)
        Their cosine; NaN without embeddings.
    same_bytes : bool, shape (p,)
        Whether the files are equal.
    """

    threshold: float | None
    centred: bool
    pool: int
    tests: dict[str, int]
    files: dict[str, bool]
    ladder: list[dict[str, Any]]
    closest: list[dict[str, Any]]
    dataset: NDArray[np.object_]
    pool_row: NDArray[np.int64]
    test_row: NDArray[np.int64]
    pool_id: NDArray[np.object_]
    test_id: NDArray[np.object_]
    similarity: NDArray[np.float64]
    same_bytes: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.similarity)

    @property
    def pool_rows(self) -> NDArray[np.int64]:
        """Rows of the pool that are in a pair, ascending."""
        return np.unique(self.pool_row)

    def summary(self) -> list[dict[str, Any]]:
        """Count what was found, a row for each test set.

        Returns
        -------
        list of dict
            ``dataset``, ``images``, ``touched`` (test images in a pair), ``share`` (of the test
            images), ``pool_touched`` (pool images in a pair), ``compared`` (pairs in all),
            ``pairs``, ``near`` (those at or above the threshold; None without embeddings),
            ``same_bytes`` (pairs; None where no files were compared) and ``highest`` (cosine; None
            without embeddings).
        """
        rows = []
        for name, images in self.tests.items():
            of = self.dataset == name
            nearest = [c["similarity"] for c in self.closest if c["dataset"] == name]
            highest = float(max([*nearest, self.similarity[of].max(initial=-np.inf)]))
            same = int(self.same_bytes[of].sum()) if self.files[name] else None
            touched = len(np.unique(self.test_row[of]))
            near = (self.similarity[of] >= (self.threshold or 0.0)).sum()
            rows.append({
                "dataset": name,
                "images": images,
                "touched": touched,
                "share": touched / images,
                "pool_touched": len(np.unique(self.pool_row[of])),
                "compared": images * self.pool,
                "pairs": int(of.sum()),
                "near": None if self.threshold is None else int(near),
                "same_bytes": same,
                "highest": None if self.threshold is None else highest,
            })  # fmt: skip
        return rows

    def save(self, folder: StrPath) -> None:
        """Write ``pairs.parquet``, and for people ``summary.json``, each atomically."""
        with needs("benchmark"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        about = {
            "format": _FORMAT, "threshold": self.threshold, "centred": self.centred,
            "pool": self.pool, "tests": self.tests, "files": self.files, "ladder": self.ladder,
            "closest": self.closest,
        }  # fmt: skip
        text = pa.string()
        table = pa.table(
            {
                "dataset": pa.array(self.dataset, text),
                "pool_id": pa.array(self.pool_id, text),
                "test_id": pa.array(self.test_id, text),
                "cosine": pa.array(self.similarity),
                "same_bytes": pa.array(self.same_bytes),
                "pool_row": pa.array(self.pool_row),
                "test_row": pa.array(self.test_row),
            }
        ).replace_schema_metadata({_METADATA_KEY: json.dumps(about)})
        with atomic_path(Path(folder) / PAIRS) as temporary:
            pq.write_table(table, temporary)
        write_json(Path(folder) / SUMMARY, about | {"sets": self.summary()})

    @classmethod
    def load(cls, folder: StrPath) -> Leakage:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            The folder holds no ``pairs.parquet``.
        ValueError
            The file is no Parquet file, no audit, or of a format that this version cannot read.
        """
        path = Path(folder) / PAIRS
        about = json_metadata(path, read_parquet_schema(path), _METADATA_KEY)
        version = about.pop("format", None)
        if version not in (1, _FORMAT):
            raise ValueError(f"{path} is not a saved leakage audit of format 1 or {_FORMAT}")
        table = read_parquet(path, _COLUMNS, "leakage audit")
        column = {name: table[name].to_numpy() for name in _COLUMNS}
        if version == 1 and isinstance(about.get("tests"), dict):  # it did not say: only finds do
            same = set(column["dataset"][column["same_bytes"]])
            about["files"] = {name: name in same for name in about["tests"]}
        check_fields(path, about, _FIELDS, "leakage audit")
        told = {name: about[name] for name in _FIELDS}
        return cls(**told, similarity=column.pop("cosine"), **column)


def audit(
    pool: Samples,
    tests: Mapping[str, Samples],
    *,
    threshold: float = 0.98,
    centre: bool = True,
    mean: NDArray[Any] | None = None,
    max_pairs: int = MAX_PAIRS,
    threads: int | None = None,
) -> Leakage:
    """Find every test image that has a near duplicate, or an equal file, in the pool.

    Parameters
    ----------
    pool
        What a model is pre-trained on, or its head is trained on.
    tests
        Test sets by name, embedded by the same encoder; or, like the pool, without embeddings:
        then files alone are compared.
    threshold
        Cosine from which on two images count as near duplicates, -1 to 1.
    centre
        Subtract the mean of the pool's embeddings from all of them first.
    mean : shape (d,)
        What to subtract with `centre`, instead of the pool's mean.
    max_pairs
        Give up beyond so many pairs in a test set.
    threads
        Number of threads; None for all cores.

    Returns
    -------
    Leakage
        All pairs, and for a ladder of thresholds how many images would have been touched.

    Raises
    ------
    ValueError
        An argument out of range, no test sets or an empty one, embeddings of different widths or
        not finite, or too many pairs.
    """
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    if not tests:
        raise ValueError("tests must hold at least one test set, got none")
    sizes = {name: len(test.ids) for name, test in tests.items()}
    known = {n: pool.sha256 is not None and test.sha256 is not None for n, test in tests.items()}
    if pool.embeddings is None and all(test.embeddings is None for test in tests.values()):
        for name, test in tests.items():
            if len(test.ids) == 0:
                raise ValueError(f"tests: {name!r} must have 1 or more images, got none")
        pairs = [_same_files(name, pool, test) for name, test in tests.items()]
        columns = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        return Leakage(None, False, len(pool.ids), sizes, known, [], [], *columns)
    x = _embeddings("the pool", pool)
    for name, test in tests.items():
        shape = np.shape(_embeddings(repr(name), test))
        if len(test.ids) == 0 or shape[1] != np.shape(x)[1]:
            raise ValueError(
                f"tests: the embeddings of {name!r} must have 1 or more rows and the pool's "
                f"{np.shape(x)[1]} columns, got shape {shape}"
            )
    if not centre:
        mean = None
    elif mean is None:
        mean = np.asarray(np.mean(x, axis=0, dtype=np.float64))
    x = _less(x, mean)
    found, ladder, closest = [], [], []
    for name, test in tests.items():
        y = _less(_embeddings(repr(name), test), mean)
        found.append(_pairs_of(name, pool, x, test, y, threshold, max_pairs, threads))
        from_test = ops.topk_similarity(y, x, 1, threads=threads)
        from_pool = ops.topk_similarity(x, y, 1, threads=threads).similarity
        ladder += _ladder(name, from_test.similarity, from_pool)
        closest += _closest(name, pool.ids, test.ids, from_test, found[-1][2])
    columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Leakage(threshold, centre, len(pool.ids), sizes, known, ladder, closest, *columns)


def split_audits(folder: StrPath, of: str) -> dict[str, Leakage]:
    """Read the audits of a run that compare test images with a set's other splits.

    Parameters
    ----------
    folder
        The run's folder ``leakage``.
    of
        ``"train"`` for what the heads of a test set are trained on, ``"val"`` for its validation.

    Returns
    -------
    dict
        By test set; its "pool" is that other part. Empty where there is none.
    """
    places = sorted(Path(folder).glob(f"{SPLITS}/{of}/*/{PAIRS}"))
    return {path.parent.name: Leakage.load(path.parent) for path in places}


def _embeddings(name: str, samples: Samples) -> NDArray[Any]:
    if samples.embeddings is None:
        raise ValueError(f"embeddings: {name} must have them, since other sets have")
    return samples.embeddings


def _same_files(name: str, pool: Samples, test: Samples) -> tuple[NDArray[Any], ...]:
    """Find the equal files of one test set: the columns of :class:`Leakage` from `dataset` on."""
    i, j = divmod(_equal_files(pool.sha256, test.sha256), len(test.ids))
    pool_ids, test_ids = (np.array(s.ids, dtype=object) for s in (pool, test))
    unknown, same = np.full(len(i), np.nan), np.ones(len(i), bool)
    return np.full(len(i), name, object), i, j, pool_ids[i], test_ids[j], unknown, same


def _less(x: NDArray[Any], mean: NDArray[np.float64] | None) -> NDArray[Any]:
    """Subtract the pool's mean, rounded as the selectors' input is (see `embed.Embeddings`)."""
    return x if mean is None else (x - mean).astype(np.float32)


def _pairs_of(
    name: str,
    pool: Samples,
    x: NDArray[Any],
    test: Samples,
    y: NDArray[Any],
    threshold: float,
    max_pairs: int,
    threads: int | None,
) -> tuple[NDArray[Any], ...]:
    """Find the pairs of one test set: the columns of :class:`Leakage` from `dataset` on."""
    try:
        near = ops.similar_pairs(x, y, threshold=threshold, max_pairs=max_pairs, threads=threads)
    except MemoryError as error:
        raise ValueError(
            f"threshold must be higher than {threshold} for these embeddings of {name!r}: {error}"
        ) from None
    m = len(test.ids)
    equal = _equal_files(pool.sha256, test.sha256)
    missing = np.setdiff1d(equal, near.i * m + near.j)
    i, j = (np.concatenate([a, b]) for a, b in zip(near[:2], divmod(missing, m), strict=True))
    similarity = np.concatenate([near.similarity, _cosines(x, y, *divmod(missing, m))])
    order = np.lexsort((j, i, -similarity))
    i, j, similarity = i[order], j[order], similarity[order]
    same = np.isin(i * m + j, equal)
    pool_ids, test_ids = (np.array(s.ids, dtype=object) for s in (pool, test))
    return np.full(len(i), name, object), i, j, pool_ids[i], test_ids[j], similarity, same


def _equal_files(pool: Sequence[str] | None, test: Sequence[str] | None) -> NDArray[np.int64]:
    """List the pairs of equal files, as row of the pool * number of test images + test row."""
    if pool is None or test is None:
        return np.zeros(0, np.int64)
    rows: dict[str, list[int]] = {}
    for j, digest in enumerate(test):
        rows.setdefault(digest, []).append(j)
    pairs = [i * len(test) + j for i, digest in enumerate(pool) for j in rows.get(digest, [])]
    return np.array(pairs, dtype=np.int64)


def _cosines(
    x: NDArray[Any], y: NDArray[Any], i: NDArray[np.int64], j: NDArray[np.int64]
) -> list[float]:
    """Give the cosines of single pairs, whatever they are."""
    return [
        float(ops.topk_similarity(x[a : a + 1], y[b : b + 1], 1, threads=1).similarity[0, 0])
        for a, b in zip(i.tolist(), j.tolist(), strict=True)
    ]


def _closest(
    name: str,
    pool_ids: Sequence[str],
    test_ids: Sequence[str],
    nearest: TopKResult,
    touched: NDArray[np.int64],
) -> list[dict[str, Any]]:
    """List the test images that are most like the pool, but for those `touched`."""
    order = np.argsort(-nearest.similarity[:, 0], kind="stable")
    return [
        {
            "dataset": name,
            "pool_id": pool_ids[int(nearest.indices[j, 0])],
            "test_id": test_ids[j],
            "similarity": float(nearest.similarity[j, 0]),
        }
        for j in order[~np.isin(order, touched)][:CLOSEST].tolist()
    ]


def _ladder(
    name: str, from_test: NDArray[np.float64], from_pool: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Count the images with a counterpart at each threshold, by the nearest one of each."""
    return [
        {
            "dataset": name,
            "threshold": step,
            "test_images": int((from_test >= step).sum()),
            "pool_images": int((from_pool >= step).sum()),
        }
        for step in LADDER
    ]
