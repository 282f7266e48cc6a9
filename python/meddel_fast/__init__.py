"""Choose the data a foundation model is pre-trained on, exactly and fast.

The map of the package; imports go down only:

======================  ===========================================================================
``cli``                 the command line, ``meddel-fast``
``benchmark``           the whole run, from folders of images to a NormDEL table and a report
``embed``, ``pretrain``, ``downstream``, ``report``       one stage each
``data``, ``selectors`` images and manifests; ``select(embeddings, budget) -> Selection``
``compat``              drop-ins with other projects' names and results
``index``               a deduplication index on disk that samples come to and leave
``cluster``             the processes of torchrun that compute, embed or pre-train together
``progress``            the way of ``progress=`` to the C++ loops
``sharded``             the operations on parts of rows: larger than memory, or than one machine
``store``, ``shards``   embeddings in files, opened and read a range at a time
``ops``                 the kernels' public functions: checks, picks the device, one call
``reference``           the truth they are held to, in plain numpy
``_core``               the C++ extension
``gpu``, ``kernels``    the same on a GPU, in Triton and in the CUDA extension
``_cuda``               the CUDA extension, where it was built
======================  ===========================================================================

Only numpy is imported here; what needs torch, transformers or pyarrow imports it when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from meddel_fast._version import __version__
from meddel_fast.benchmark.normdel import del_score, normdel
from meddel_fast.ops import (
    deduplicate,
    iter_similar_pairs,
    kcenter_greedy,
    kmeans,
    redundancy,
    similar_pairs,
    topk_similarity,
)
from meddel_fast.store import open_store

if TYPE_CHECKING:
    from meddel_fast import selectors

__all__ = [
    "__version__",
    "deduplicate",
    "del_score",
    "iter_similar_pairs",
    "kcenter_greedy",
    "kmeans",
    "normdel",
    "open_store",
    "redundancy",
    "selectors",
    "similar_pairs",
    "topk_similarity",
]


def __getattr__(name: str) -> Any:
    if name == "selectors":
        return importlib.import_module("meddel_fast.selectors")
    raise AttributeError(f"module 'meddel_fast' has no attribute {name!r}")
