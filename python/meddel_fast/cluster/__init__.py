"""The whole job from images to a kept list, on one machine or many; processes that work together.

======================  ===========================================================================
``curate``              the stages, from a source to a kept list, at one place
``plan``                their settings, checked
``source``              what the source is: images, a manifest, embeddings
``record``              ``curate.json``: what is done, of what it was made, what was done again
``shards``              the shards of embeddings, which any process can make
``tables``              the tables of duplicates and of what is kept
``curate_page``         the page
``engine``              what is asked of who does the work
``local``               this machine
======================  ===========================================================================

:func:`curate` is the function, ``meddel-fast curate`` the command. :func:`join_group` joins the
processes that torchrun started: one group for the kernels (``group=`` of :mod:`meddel_fast.ops`),
for embedding and for pre-training; all must see the same folders. What a group is to the kernels
says :class:`meddel_fast.sharded.group.Group`; any class with these members will do.
"""

from __future__ import annotations

from meddel_fast.cluster.curate import Curated, curate
from meddel_fast.sharded.torchrun import LostRankError, TorchGroup, join_group, own_device

__all__ = ["Curated", "LostRankError", "TorchGroup", "curate", "join_group", "own_device"]
