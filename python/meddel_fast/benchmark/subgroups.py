"""What a selection did to subgroups: sites, scanners, patients, classes.

A share of the whole may hide that one scanner is gone. For every value of every column this tells
how many of its samples are kept and how far the others lie from what is; and for every column
whether its values can be read off the embeddings at all. Where they can, a selector that looks at
embeddings sees them too, and may prefer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_int, to_numpy
from meddel_fast.benchmark.probe.classifiers import nearest
from meddel_fast.benchmark.probe.measures import recall_samples
from meddel_fast.benchmark.scores.bootstrap import units_of
from meddel_fast.common.files import Progress
from meddel_fast.common.outputs import json_object
from meddel_fast.common.progress import reporting
from meddel_fast.selectors import Selection
from meddel_fast.selectors.base import random_keys

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

FILE = json_object("an audit of a selection", "method", "kept", "columns")

FOLDS = 5
"""Samples are dealt, whole groups at a time, into so many parts; each is asked of the others."""

ASKED = 20_000
"""Of more samples than this, so many are drawn to ask which value they have."""

_KEY = ("", 0.0)  # of the one set of answers that is asked about


@dataclass(frozen=True)
class Subgroup:
    """The samples of one value of a column.

    Attributes
    ----------
    value
        The value.
    samples, kept
        How many there are, and how many of them are kept.
    share
        The latter of the former.
    radius
        Largest distance, 1 - cosine, of one of its samples to the nearest kept sample of any value.
    typical
        The median of these distances.
    """

    value: str
    samples: int
    kept: int
    share: float
    radius: float
    typical: float


@dataclass(frozen=True)
class Reading:
    """How well a column's values can be read off the embeddings.

    Attributes
    ----------
    score, low, high
        Mean over the values of the share of its samples that their nearest neighbours name rightly,
        and its 95 % interval (groups drawn anew, or samples where there are fewer than
        :data:`~meddel_fast.benchmark.scores.bootstrap.MIN_GROUPS` groups: too narrow then).
    chance
        What guessing reaches: one over the number of values.
    asked
        How many samples were.
    values
        How many values; those whose samples are all of one group (or one sample) cannot be asked.
    left_out
        How many samples those values have.
    """

    score: float
    low: float
    high: float
    chance: float
    asked: int
    values: int
    left_out: int


@dataclass(frozen=True)
class Column:
    """One column of an audit.

    Attributes
    ----------
    name
        The column.
    subgroups
        Its values, from the least to the best kept; of equal shares the larger radius first.
    unknown, unknown_kept
        Samples without a value, and how many of them are kept.
    reading
        None where fewer than two values can be asked about.
    """

    name: str
    subgroups: tuple[Subgroup, ...]
    unknown: int
    unknown_kept: int
    reading: Reading | None

    @property
    def least_kept(self) -> Subgroup:
        """The value of which the smallest share is kept."""
        return self.subgroups[0]

    @property
    def farthest(self) -> Subgroup:
        """The value with the largest radius."""
        return max(self.subgroups, key=lambda one: one.radius)


def audit_subgroups(
    selection: Selection,
    x: Any,
    columns: Mapping[str, Sequence[Any]],
    *,
    groups: Sequence[str] | None = None,
    neighbours: int = 10,
    seed: int = 0,
    centre: bool = True,
    read: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Column]:
    """Tell what a selection kept of every value of some columns.

    Parameters
    ----------
    selection
        Of n samples.
    x : shape (n, d)
        Their embeddings.
    columns
        Name -> a value a sample (site, scanner, patient, class); None and "" stand for none.
    groups
        Video or patient of each sample, empty for none: a sample is never named by its own group,
        whose samples resemble it whatever the column says.
    neighbours
        How many vote for a sample's value, by cosine.
    seed
        Of the deal into parts, and of the draw where there are more than :data:`ASKED` samples.
    centre
        Subtract the mean of the embeddings first, as a run does.
    read
        Whether to ask if values can be read off the embeddings; it takes longest.
    threads
        Number of threads; None for all cores.
    progress
        Called as ``progress(done, total)`` by each pass in turn.

    Returns
    -------
    list of Column
        In the order given.

    Raises
    ------
    TypeError, ValueError
        Not as many values as samples, a column without any value, a selection of none, or
        embeddings that are not finite.

    Notes
    -----
    O(n b d) at worst for b kept samples, and O(m n d) for m samples that are asked.
    """
    check_int("neighbours", neighbours, 1)
    rows = np.asarray(to_numpy("x", x))
    n = selection.n
    if rows.ndim != 2 or len(rows) != n:
        raise ValueError(f"x must have a row for each of {n} samples, got shape {rows.shape}")
    if not columns:
        raise ValueError("columns must hold one or more, got none")
    told = {name: _texts(name, values, n) for name, values in columns.items()}
    together = [""] * n if groups is None else _texts("groups", groups, n).tolist()
    if not len(selection):
        raise ValueError("selection must keep one sample or more, got none")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():  # the mean would spread it to all rows
        raise ValueError(f"x must be finite, got NaN or infinity in row {finite.argmin()}")
    if centre:
        rows = (rows - rows.mean(axis=0, dtype=np.float64)).astype(np.float32)
    made = []
    with reporting(progress):
        distance = _distances(rows, selection, threads)
        for name, values in told.items():
            subgroups, unknown = _subgroups(values, selection, distance)
            reading = _read(rows, values, together, neighbours, seed, threads) if read else None
            made.append(Column(name, subgroups, *unknown, reading))
    return made


def column_of(manifest: Manifest, name: str) -> list[Any]:
    """Give a column of a manifest, or "set": the data sets of a joined one.

    Raises
    ------
    ValueError
        No such column.
    """
    if name == "set":
        return [text.partition("/")[0] if "/" in text else "" for text in manifest.ids]
    return manifest.column(name)


def _texts(name: str, values: Sequence[Any], n: int) -> NDArray[np.str_]:
    if len(values) != n:
        raise ValueError(f"{name} must have a value for each of {n} samples, got {len(values)}")
    if hasattr(values, "to_pylist"):  # of pyarrow, whose nulls are no None
        values = values.to_pylist()
    texts = np.array(["" if v is None or v != v else str(v) for v in values])
    if name != "groups" and not (texts != "").any():
        raise ValueError(f"{name} must have a value for some sample, got none for all {n}")
    return texts


def _distances(rows: NDArray[Any], selection: Selection, threads: int | None) -> NDArray[Any]:
    """Return 1 - cosine of each sample to the nearest kept one, 0 for the kept ones."""
    found = ops.topk_similarity(rows, rows[selection.indices], k=1, threads=threads)
    distance: NDArray[Any] = np.maximum(0.0, 1.0 - found.similarity[:, 0])
    distance[selection.indices] = 0.0
    return distance


def _subgroups(
    values: NDArray[np.str_], selection: Selection, distance: NDArray[Any]
) -> tuple[tuple[Subgroup, ...], tuple[int, int]]:
    kept = selection.mask
    made = []
    for value in np.unique(values[values != ""]).tolist():
        own = values == value
        size, here = int(own.sum()), int((own & kept).sum())
        far, typical = float(distance[own].max()), float(np.median(distance[own]))
        made.append(Subgroup(value, size, here, here / size, far, typical))
    made.sort(key=lambda one: (one.share, -one.radius, one.value))
    nameless = values == ""
    return tuple(made), (int(nameless.sum()), int((nameless & kept).sum()))


def _read(
    rows: NDArray[Any],
    values: NDArray[np.str_],
    groups: list[str],
    neighbours: int,
    seed: int,
    threads: int | None,
) -> Reading | None:
    """Let the neighbours of each sample, of other parts, vote for its value."""
    names, classes = np.unique(values, return_inverse=True)
    # However few groups there are, unlike for the draws of intervals: its own frames name a sample.
    unit, units = units_of(groups, least=0)
    known = [
        code
        for code, name in enumerate(names.tolist())
        if name and len(np.unique(unit[classes == code])) > 1
    ]
    inside = np.flatnonzero(np.isin(classes, known))
    if len(known) < 2:
        return None
    part = np.argsort(np.argsort(random_keys(units, seed), kind="stable")) % FOLDS
    fold = part[unit]
    asked = inside
    if len(inside) > ASKED:
        drawn = np.argsort(random_keys(len(inside), seed), kind="stable")[:ASKED]
        asked = inside[np.sort(drawn)]
    right = np.zeros(len(rows), np.bool_)
    for one in range(FOLDS):
        ask, fit = asked[fold[asked] == one], inside[fold[inside] != one]
        if len(ask) and len(fit):
            answers = nearest(rows[fit], classes[fit], rows[ask], neighbours, threads)
            right[ask] = answers == classes[ask]
    counted = np.zeros(len(rows), np.bool_)
    counted[asked] = True
    sample = recall_samples({_KEY: right[None]}, counted[None], classes, groups, "subgroups")[_KEY]
    low, high = sample.interval()
    left_out = int((values != "").sum()) - len(inside)
    return Reading(sample.mean, low, high, 1 / len(known), len(asked), len(known), left_out)


def sentences(column: Column) -> list[str]:
    """Say what stands out of a column, and what :func:`reading` says."""
    least, farthest = column.least_kept, column.farthest
    told = [
        f"{column.name}: least kept is {least.value} ({least.kept:,} of {least.samples:,}); "
        f"farthest from what is kept is a sample of {farthest.value} ({farthest.radius:.3f})."
    ]
    if column.unknown:
        told.append(
            f"{column.unknown:,} samples have no {column.name}, {column.unknown_kept:,} are kept."
        )
    return [*told, *reading(column)]


def reading(column: Column) -> list[str]:
    """Say whether a column's values can be read off the embeddings."""
    read = column.reading
    if read is None:
        return ["Values were not asked for: fewer than two are of more than one group."]
    apart = "can be read" if read.low > read.chance else "is not shown to be readable"
    told = [
        f"It {apart} off the embeddings: {100 * read.score:.1f} % of samples of a value are named "
        f"rightly [{100 * read.low:.1f}, {100 * read.high:.1f}], by guessing "
        f"{100 * read.chance:.1f} ({read.asked:,} samples of {read.values:,} values asked)."
    ]
    if read.left_out:
        told.append(f"{read.left_out:,} samples of values of one group were not asked about.")
    return told


def as_json(selection: Selection, columns: Sequence[Column]) -> dict[str, Any]:
    """Give an audit as plain values."""
    return {
        "method": selection.method,
        "samples": selection.n,
        "kept": len(selection),
        "share": len(selection) / selection.n,
        "columns": [asdict(column) for column in columns],
    }
