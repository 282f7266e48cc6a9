"""Processes that work together, on one machine or several; all must see the same folders.

======================  ===========================================================================
``torchrun``            join the processes that torchrun started: one group for the kernels
                        (``group=`` of :mod:`meddel_fast.ops`), for embedding and for pre-training
``export``              the kept images as a data set of their own, in others' layouts
======================  ===========================================================================

What a group is to the kernels says :class:`meddel_fast.sharded.group.Group`; any class with these
members will do. A recipe for Ray Data is ``examples/ray_dedup.py``.
"""

from __future__ import annotations

from meddel_fast.sharded.torchrun import LostRankError, TorchGroup, join_group, own_device

__all__ = ["LostRankError", "TorchGroup", "join_group", "own_device"]
