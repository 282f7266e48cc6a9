"""The operations as the ranks do them: options may name columns, results come with ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.cluster.ray.seat import Seat, Work
from meddel_fast.common.extras import needs
from meddel_fast.ops.deduplicate import deduplicate as _deduplicate
from meddel_fast.ops.kcenter import kcenter_greedy as _kcenter_greedy
from meddel_fast.ops.kmeans import kmeans as _kmeans
from meddel_fast.selectors import METHODS, SELECTORS
from meddel_fast.selectors.method import PER_SAMPLE

with needs("ray"):
    import pyarrow as pa

Answer = tuple[dict[str, Any], Any]


def _deduplicate_all(seat: Seat, threshold: float, **options: Any) -> Any:
    labels = seat.whole("labels", options.get("labels"))
    order = seat.whole("order", options.get("order"))
    if isinstance(options.get("order"), str):  # a column to sort by
        order = np.argsort(order, kind="stable")
    if labels is not None and labels.dtype.kind == "U":
        labels = np.unique(labels, return_inverse=True)[1]
    given = {**options, "labels": labels, "order": order}
    return tuple(_deduplicate(seat.rows, threshold, **given, **seat.how))


def _deduplicate_own(seat: Seat, result: Any, threshold: float, **options: Any) -> Answer:
    keep, representative, similarity = (values[seat.own] for values in result)
    columns = {
        "keep": keep,
        "representative": seat.names(representative),
        "similarity": _nullable(similarity),
    }
    return {"kept": int(result[0].sum())}, _table(seat, columns)


def _kmeans_all(seat: Seat, k: int, **options: Any) -> Any:
    weight = seat.whole("sample_weight", options.get("sample_weight"))
    return tuple(_kmeans(seat.rows, k, **{**options, "sample_weight": weight}, **seat.how))


def _kmeans_own(seat: Seat, result: Any, k: int, **options: Any) -> Answer:
    labels, centroids, distances, inertia, iterations, converged = result
    settings = {"inertia": inertia, "iterations": iterations, "converged": converged}
    if seat.group.rank == 0:
        settings["centroids"] = centroids
    return settings, _table(seat, {"cluster": labels[seat.own], "distance": distances[seat.own]})


def _kcenter_all(seat: Seat, k: int | None, **options: Any) -> Any:
    given = dict(options)
    if given.get("selected") is not None:
        given["selected"] = seat.numbers("selected", given["selected"])
    if "start" in given:
        given["start"] = int(seat.numbers("start", [given["start"]])[0])
    return tuple(_kcenter_greedy(seat.rows, k, **given, **seat.how))


def _kcenter_own(seat: Seat, result: Any, k: int | None, **options: Any) -> Answer:
    indices, radii, distances = result
    columns = {
        "rank": _ranks(seat, indices),
        "radius": _at(seat, indices, radii),
        "distance": None if distances is None else distances[seat.own],
    }
    return {"centres": len(indices)}, _table(seat, columns)


def _select_all(seat: Seat, method: str, budget: int | float, **options: Any) -> Any:
    given = dict(options)
    each = (*PER_SAMPLE, *METHODS[method].per_sample)
    for name in each:
        if isinstance(given.get(name), str):
            given[name] = seat.column(given[name])
    if given.get("selected") is not None:
        given["selected"] = seat.numbers("selected", given["selected"])
    for name in METHODS[method].positions:
        if name in given:
            given[name] = int(seat.numbers(name, [given[name]])[0])
    found = SELECTORS[method](seat.rows, budget, **given, **seat.how)
    fields = ("scores", "reason", "duplicate_of", "similarity", "distance", "cluster")
    return found.order, {name: getattr(found, name) for name in fields}, found.settings


def _select_own(
    seat: Seat, result: Any, method: str, budget: int | float, **options: Any
) -> Answer:
    order, fields, settings = result
    own = {name: values[seat.own] for name, values in fields.items()}
    rank = _ranks(seat, order)
    columns = {
        "keep": np.asarray(rank.is_valid()),
        "rank": rank,
        "score": own["scores"],
        "reason": pa.array(own["reason"].tolist(), pa.string()),
        "duplicate_of": seat.names(own["duplicate_of"]),
        "similarity": _nullable(own["similarity"]),
        "distance": _nullable(own["distance"]),
        "cluster": own["cluster"],
    }
    return {"settings": settings, "kept": len(order)}, _table(seat, columns)


DEDUPLICATE = Work("deduplicate", _deduplicate_all, _deduplicate_own)
KMEANS = Work("kmeans", _kmeans_all, _kmeans_own)
KCENTER = Work("kcenter_greedy", _kcenter_all, _kcenter_own)
SELECT = Work("select", _select_all, _select_own)


def _table(seat: Seat, columns: dict[str, Any]) -> Any:
    return pa.table({"id": seat.own_names, **{n: v for n, v in columns.items() if v is not None}})


def _nullable(values: NDArray[np.float64]) -> Any:
    """Return numbers with a null for NaN, which stands for nothing to say."""
    return pa.array(values, mask=np.isnan(values))


def _ranks(seat: Seat, order: NDArray[np.int64]) -> Any:
    """Return for each own row its place in an order of some rows, or null."""
    return _at(seat, order, np.arange(len(order)))


def _at(seat: Seat, rows: NDArray[np.int64], values: NDArray[Any]) -> Any:
    """Return for each own row its value among those of some rows, or null."""
    n = seat.own.stop - seat.own.start
    own, missing = np.zeros(n, values.dtype), np.ones(n, bool)
    here = (rows >= seat.own.start) & (rows < seat.own.stop)
    own[rows[here] - seat.own.start] = values[here]
    missing[rows[here] - seat.own.start] = False
    return pa.array(own, mask=missing)
