"""The whole work on a Ray cluster, for data sets of Ray Data and for stores.

================  =================================================================================
``datasets``      the public functions: take and return :class:`ray.data.Dataset`
``embedding``     embeddings of a data set's images, by a pool of actors
``workers``       the ranks as one: calls, what is lost on the way, how they go on
``crew``          their actors: placed, made again, asked whether they live
``worker``        one such actor: holds a rank's rows, does its part of each call
``seat``          a rank in one attempt: rows, group, budget; asks others for ids
``works``         what the operations do on a rank, and what each answers of its rows
``sources``       where rows come from: a store, or blocks of a data set
``blocks``        the blocks of a data set, checked and sorted by id
``exchange``      the actor at which the ranks of a group meet
``session``       a connection to Ray
================  =================================================================================

Nothing is imported here before it is used, so that a worker loads no more than it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddel_fast.cluster.ray.blocks import BlockRows as BlockRows
    from meddel_fast.cluster.ray.datasets import deduplicate as deduplicate
    from meddel_fast.cluster.ray.datasets import kcenter_greedy as kcenter_greedy
    from meddel_fast.cluster.ray.datasets import kmeans as kmeans
    from meddel_fast.cluster.ray.datasets import select as select
    from meddel_fast.cluster.ray.embedding import embed as embed
    from meddel_fast.cluster.ray.session import connected as connected
    from meddel_fast.cluster.ray.sources import StoreRows as StoreRows
    from meddel_fast.cluster.ray.workers import Workers as Workers

_FROM = {
    "BlockRows": "blocks",
    "StoreRows": "sources",
    "Workers": "workers",
    "connected": "session",
    "deduplicate": "datasets",
    "embed": "embedding",
    "kcenter_greedy": "datasets",
    "kmeans": "datasets",
    "select": "datasets",
}

__all__ = [
    "BlockRows",
    "StoreRows",
    "Workers",
    "connected",
    "deduplicate",
    "embed",
    "kcenter_greedy",
    "kmeans",
    "select",
]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module 'meddel_fast.cluster.ray' has no attribute {name!r}")
    return getattr(importlib.import_module(f"meddel_fast.cluster.ray.{_FROM[name]}"), name)
