"""The whole job from images to a kept list, on one machine or many; processes that work together.

======================  ===========================================================================
``curation``            :func:`curate`: the stages, from a source to a kept list, at one place
``plan``                their settings, checked
``source``              what the source is: images, a manifest, embeddings
``record``              ``curate.json``: what is done, of what it was made, what was done again
``shards``              the shards of embeddings, which any process can make
``tables``              the tables of duplicates and of what is kept
``curate_page``         the page
``engine``              what is asked of who does the work
``local``               this machine
``ray_engine``          a Ray cluster
``ray_shards``          its actors that embed
``ray``                 the operations on a Ray cluster, of data sets of Ray Data or of stores
``export``              the kept images as a data set of their own, in others' layouts
======================  ===========================================================================

:func:`join_group`, of :mod:`meddel_fast.sharded.torchrun`, joins the processes that torchrun
started: one group for the kernels (``group=`` of :mod:`meddel_fast.ops`), for embedding and for
pre-training; all must see the same folders. What a group is to the kernels says
:class:`meddel_fast.sharded.group.Group`; any class with these members will do. Nothing is imported
here before it is used: a Ray worker need not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddel_fast.cluster import ray as ray
    from meddel_fast.cluster.curation import Curated as Curated
    from meddel_fast.cluster.curation import curate as curate
    from meddel_fast.sharded.group import LostRankError as LostRankError
    from meddel_fast.sharded.torchrun import TorchGroup as TorchGroup
    from meddel_fast.sharded.torchrun import join_group as join_group
    from meddel_fast.sharded.torchrun import own_device as own_device

_FROM = {
    "Curated": "cluster.curation",
    "LostRankError": "sharded.group",
    "TorchGroup": "sharded.torchrun",
    "curate": "cluster.curation",
    "join_group": "sharded.torchrun",
    "own_device": "sharded.torchrun",
}

__all__ = [
    "Curated", "LostRankError", "TorchGroup", "curate", "join_group", "own_device", "ray",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "ray":
        return importlib.import_module("meddel_fast.cluster.ray")
    if name not in _FROM:
        raise AttributeError(f"module 'meddel_fast.cluster' has no attribute {name!r}")
    return getattr(importlib.import_module(f"meddel_fast.{_FROM[name]}"), name)
