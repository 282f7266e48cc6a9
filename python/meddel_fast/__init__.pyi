from meddel_fast import compat, index, ops, reference, selectors
from meddel_fast._version import __version__
from meddel_fast.arrays import Prepared, register_kind
from meddel_fast.benchmark.scores.normdel import del_score, normdel
from meddel_fast.ops import (
    dedup_sweep,
    deduplicate,
    iter_similar_pairs,
    kcenter_greedy,
    kmeans,
    redundancy,
    similar_pairs,
    topk_similarity,
)
from meddel_fast.stores import open_store

__all__ = [
    "Prepared",
    "__version__",
    "compat",
    "dedup_sweep",
    "deduplicate",
    "del_score",
    "index",
    "iter_similar_pairs",
    "kcenter_greedy",
    "kmeans",
    "normdel",
    "open_store",
    "ops",
    "redundancy",
    "reference",
    "register_kind",
    "selectors",
    "similar_pairs",
    "topk_similarity",
]
