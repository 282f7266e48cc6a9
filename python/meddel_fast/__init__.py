"""Choose the data a foundation model is pre-trained on, exactly and fast.

The map of the package; imports go down only:

======================  ===========================================================================
``cli``                 the command line, ``meddel-fast``
``benchmark``           the whole run, from folders of images to a NormDEL table and a report
``embed``, ``pretrain``, ``downstream``, ``normdel``, ``report``     one stage each
``data``, ``selectors`` images and manifests; ``select(embeddings, budget) -> Selection``
``compat``              drop-ins with other projects' names and results
``pair_stream``         ``iter_similar_pairs``: similar pairs by ranges of rows
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

from meddel_fast.normdel import del_score, normdel
from meddel_fast.ops import (
    deduplicate,
    kcenter_greedy,
    kmeans,
    redundancy,
    similar_pairs,
    topk_similarity,
)
from meddel_fast.pair_stream import iter_similar_pairs

if TYPE_CHECKING:
    from meddel_fast import selectors

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "deduplicate",
    "del_score",
    "iter_similar_pairs",
    "kcenter_greedy",
    "kmeans",
    "normdel",
    "redundancy",
    "selectors",
    "similar_pairs",
    "topk_similarity",
]


def __getattr__(name: str) -> Any:
    if name == "selectors":
        return importlib.import_module("meddel_fast.selectors")
    raise AttributeError(f"module 'meddel_fast' has no attribute {name!r}")
