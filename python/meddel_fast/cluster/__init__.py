"""Processes that work together, on one machine or several.

======================  ===========================================================================
``torchrun``            of :mod:`meddel_fast.sharded`: join the processes that torchrun started: one
                        group for the kernels (``group=`` of :mod:`meddel_fast.ops`), for embedding
                        and for pre-training; all must see the same folders
``ray``                 the same operations on a Ray cluster, of data sets of Ray Data or of stores
======================  ===========================================================================

What a group is to the kernels says :class:`meddel_fast.sharded.group.Group`; any class with these
members will do. Nothing is imported here before it is used: a Ray worker need not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddel_fast.cluster import ray as ray
    from meddel_fast.sharded.group import LostRankError as LostRankError
    from meddel_fast.sharded.torchrun import TorchGroup as TorchGroup
    from meddel_fast.sharded.torchrun import join_group as join_group
    from meddel_fast.sharded.torchrun import own_device as own_device

_FROM = {
    "LostRankError": "meddel_fast.sharded.group",
    "TorchGroup": "meddel_fast.sharded.torchrun",
    "join_group": "meddel_fast.sharded.torchrun",
    "own_device": "meddel_fast.sharded.torchrun",
}

__all__ = ["LostRankError", "TorchGroup", "join_group", "own_device", "ray"]


def __getattr__(name: str) -> Any:
    if name == "ray":
        return importlib.import_module("meddel_fast.cluster.ray")
    if name not in _FROM:
        raise AttributeError(f"module 'meddel_fast.cluster' has no attribute {name!r}")
    return getattr(importlib.import_module(_FROM[name]), name)
