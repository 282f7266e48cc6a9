"""The operations on data sets of Ray Data: rows with ids in, decisions on them out."""

from __future__ import annotations

import logging
from typing import Any

from meddel_fast.cluster.ray.blocks import BlockRows
from meddel_fast.cluster.ray.seat import Work
from meddel_fast.cluster.ray.workers import Workers
from meddel_fast.cluster.ray.works import DEDUPLICATE, KCENTER, KMEANS, SELECT
from meddel_fast.common.extras import needs
from meddel_fast.selectors import METHODS
from meddel_fast.selectors.method import PER_SAMPLE

with needs("ray"):
    import ray.data

_LOG = logging.getLogger(__name__)


def deduplicate(
    ds: Any,
    threshold: float = 0.95,
    *,
    rule: str = "semdedup",
    order: str | None = None,
    labels: str | None = None,
    id: str = "id",
    embedding: str = "embedding",
    **workers: Any,
) -> Any:
    """Decide which rows of a data set to keep so that near duplicates are left out.

    The decisions are those of :func:`meddel_fast.deduplicate` on the embeddings in the order of
    their ids, bit for bit, for any number of workers and any layout of blocks.

    Parameters
    ----------
    ds : ray.data.Dataset
        Rows with a unique id (an integer or a text) and an embedding each (a list of float16,
        float32, float64 or int8, of one length), in any order.
    threshold, rule
        As :func:`meddel_fast.deduplicate` takes them.
    order : str, optional
        A column to order the rows by, lowest first; equal ones by their ids. Default: by id.
    labels : str, optional
        A column of integers or texts: only rows with the same one are compared.
    id, embedding
        The columns of ids and embeddings.
    **workers
        What :class:`~meddel_fast.cluster.ray.workers.Workers` takes: ``workers``, ``cpus``,
        ``memory``, ``checkpoint``, ``patience``, ``wait``, ``retries``.

    Returns
    -------
    ray.data.Dataset
        A row for each of `ds`, in the order of the ids: ``id``; ``keep``; ``representative``, the
        id of the row that it repeats, or its own; ``similarity``, the cosine to that, null for what
        is kept. Its blocks are in the object store of the driver's node.

    Raises
    ------
    TypeError, ValueError
        A column is missing or of a wrong type, an id is null or stands twice, an embedding is null,
        not finite or of another type or length than the others: the message names the id. Also what
        :func:`meddel_fast.deduplicate` raises.
    RuntimeError
        No room for a worker, or too many were lost.

    Notes
    -----
    Each worker holds its rows, and 64 bytes (96: components) for each row of the whole set. All
    pairs are looked at, O(n^2 d) at worst; each worker is sent the rows of all others once.
    """
    options = {"rule": rule, "order": order, "labels": labels}
    columns = [column for column in (order, labels) if column is not None]
    return _run(
        ds, DEDUPLICATE, {"threshold": threshold, **options}, columns, id, embedding, workers
    )[0]


def select(
    ds: Any,
    method: str,
    budget: int | float,
    *,
    id: str = "id",
    embedding: str = "embedding",
    options: dict[str, Any] | None = None,
    **workers: Any,
) -> Any:
    """Choose rows of a data set with a selector.

    The selection is that of :func:`meddel_fast.selectors.select` on the embeddings in the order of
    their ids, bit for bit.

    Parameters
    ----------
    ds : ray.data.Dataset
        As :func:`deduplicate` takes it.
    method
        A selector whose work a group can share: all but herding, retrieve and combine.
    budget
        Count (int) or share (float) to keep.
    id, embedding
        The columns of ids and embeddings.
    options : dict, optional
        The selector's options. What holds a value for each sample (``exclude``, ``groups``,
        ``classes``, ``weights`` and the method's own) is the name of a column of `ds`; ``selected``
        and options that name a sample are ids.
    **workers
        As :func:`deduplicate` takes them.

    Returns
    -------
    ray.data.Dataset
        A row for each of `ds`, in the order of the ids: ``id``; ``keep``; ``rank``, 0 for the most
        wanted, null for what is not kept; ``score``, ``reason``, ``similarity``, ``distance`` and
        ``cluster`` as of :class:`meddel_fast.selectors.Selection` (facility and craig: a place in
        the order of ids); ``duplicate_of``, an id.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As :func:`deduplicate`, and what the selector raises.
    """
    given = dict(options or {})
    each: tuple[str, ...] = PER_SAMPLE
    if method in METHODS:
        each = (*each, *METHODS[method].per_sample)
    columns = [given[name] for name in each if isinstance(given.get(name), str)]
    chosen = {"method": method, "budget": budget, **given}
    return _run(ds, SELECT, chosen, columns, id, embedding, workers)[0]


def kmeans(
    ds: Any,
    k: int,
    *,
    sample_weight: str | None = None,
    id: str = "id",
    embedding: str = "embedding",
    options: dict[str, Any] | None = None,
    **workers: Any,
) -> tuple[Any, dict[str, Any]]:
    """Cluster the rows of a data set.

    The clusters are those of :func:`meddel_fast.kmeans` on the embeddings in the order of their
    ids, bit for bit.

    Parameters
    ----------
    ds : ray.data.Dataset
        As :func:`deduplicate` takes it.
    k
        How many clusters.
    sample_weight : str, optional
        A column of weights.
    id, embedding
        The columns of ids and embeddings.
    options : dict, optional
        Further ones of :func:`meddel_fast.kmeans`: ``spherical``, ``max_iterations``, ``tol``,
        ``seed``, ``init``.
    **workers
        As :func:`deduplicate` takes them.

    Returns
    -------
    clusters : ray.data.Dataset
        A row for each of `ds`, in the order of the ids: ``id``, ``cluster``, ``distance`` to its
        centroid.
    about : dict
        ``centroids`` (float32 (k, d)), ``inertia``, ``iterations``, ``converged``.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As :func:`deduplicate`, and what :func:`meddel_fast.kmeans` raises.
    """
    columns = [] if sample_weight is None else [sample_weight]
    given = {"k": k, "sample_weight": sample_weight, **(options or {})}
    return _run(ds, KMEANS, given, columns, id, embedding, workers)


def kcenter_greedy(
    ds: Any,
    k: int | None = None,
    *,
    id: str = "id",
    embedding: str = "embedding",
    options: dict[str, Any] | None = None,
    **workers: Any,
) -> Any:
    """Choose rows of a data set, each the one farthest from all chosen before it.

    The choice is that of :func:`meddel_fast.kcenter_greedy` on the embeddings in the order of their
    ids, bit for bit.

    Parameters
    ----------
    ds : ray.data.Dataset
        As :func:`deduplicate` takes it.
    k
        How many to choose.
    id, embedding
        The columns of ids and embeddings.
    options : dict, optional
        Further ones of :func:`meddel_fast.kcenter_greedy`: ``radius``, ``metric``, ``distances``,
        and ``start`` and ``selected``, which are ids.
    **workers
        As :func:`deduplicate` takes them.

    Returns
    -------
    ray.data.Dataset
        A row for each of `ds`, in the order of the ids: ``id``; ``rank``, the place among the
        chosen, null for others; ``radius``, its distance when chosen to those before it;
        ``distance`` to the nearest centre.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As :func:`deduplicate`, and what :func:`meddel_fast.kcenter_greedy` raises.
    """
    return _run(ds, KCENTER, {"k": k, **(options or {})}, [], id, embedding, workers)[0]


def _run(
    ds: Any,
    work: Work,
    options: dict[str, Any],
    columns: list[str],
    id: str,
    embedding: str,
    workers: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    with Workers(BlockRows(ds, id, embedding, columns), **workers) as ranks:
        answer = ranks.run(work, **options)
        report = ranks.report
    _LOG.info(
        "%s: %d workers, %d exchanges, at most %d bytes sent by one, %d recoveries",
        work.name, len(report.sent), report.meetings, max(report.sent), len(report.recoveries),
    )  # fmt: skip
    return ray.data.from_arrow_refs(answer.tables), answer.about
