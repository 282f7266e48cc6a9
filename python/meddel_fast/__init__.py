"""Choose the data a foundation model is pre-trained on, exactly and fast.

The rooms of the package; imports go down only (the contract stands in ``pyproject.toml``):

====================  ==============================================================================
``cli``               the command line, ``meddel-fast``
``benchmark``         the whole run: settings, stages, scores, leakage, leaderboard, report
``compat``            drop-ins with other projects' names and results
``training``          encoders, pre-training, embedding, and the tasks an encoder is measured by
``images``            images on disk: manifests, formats, masks, splits, the DataDEL sets, made
                      frames
``selectors``         ``select(embeddings, budget) -> Selection``, a file a method
``index``             a deduplication index on disk: samples are added and removed
``cluster``           processes that work together: torchrun
``ops``               the kernels' public functions, a file an operation: picks the device, makes
                      one call
``kernels``           the operations on a GPU, in Triton
``sharded``           the operations on parts of rows: larger than memory, or than one machine
``stores``            embeddings in files, opened and read a range at a time
``arrays``            what users hand over and get back: checks, rows, results
``common``            files, locks, resources, untrusted input, progress
``reference``         what all operations must return, in plain numpy
``_core``, ``_cuda``  the C++ and CUDA extensions
====================  ==============================================================================

Nothing is imported here before it is used, and what needs torch, transformers or pyarrow imports it
then. ``__init__.pyi`` says the same to type checkers.
"""

from __future__ import annotations

import importlib
from typing import Any

from meddel_fast._version import __version__

_ROOM_OF = {
    "Prepared": "arrays",
    "dedup_sweep": "ops",
    "deduplicate": "ops",
    "del_score": "benchmark.scores.normdel",
    "iter_similar_pairs": "ops",
    "kcenter_greedy": "ops",
    "kmeans": "ops",
    "normdel": "benchmark.scores.normdel",
    "open_store": "stores",
    "redundancy": "ops",
    "register_kind": "arrays",
    "similar_pairs": "ops",
    "topk_similarity": "ops",
}
_ROOMS = ("compat", "index", "ops", "reference", "selectors")

__all__ = ["__version__", *_ROOM_OF, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"meddel_fast.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'meddel_fast' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"meddel_fast.{_ROOM_OF[name]}"), name)
    globals()[name] = found  # the next time it is here
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
