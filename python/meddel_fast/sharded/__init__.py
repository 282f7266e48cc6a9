"""The operations on parts of rows: for sets larger than memory, or than one machine.

Out of core and distributed are one algorithm: each process owns a range of rows, holds some parts
of them at a time, and what has to be known of other parts is exchanged. What a pair of rows is
worth does not depend on where it is worked out, so that results are the bits of
:mod:`meddel_fast.ops` for any size of parts, any memory and any number of processes.

``ops`` comes here for a :class:`~meddel_fast.stores.store.Store`, or where ``memory``, ``group`` or
``checkpoint`` are given:

======================  ===========================================================================
``group``               what is asked of processes that work together; one on its own
``torchrun``            the group of the processes that torchrun started
``ray_group``           the group of Ray actors, whose arrays go through the object store
``spread``              a set that a group shares, for several operations: what selectors take
``memory``              what ``memory=`` says, in bytes
``checkpoint``          what an operation has done so far, kept at a place to go on from
``checkpoint_terms``    what is asked for one: a place, how often, of which rows and options
``records``             what a checkpoint is in files
``fingerprint``         what tells a set of rows from another
``parts``               who owns which rows, how many are held at once; reads, sends, asks for them
``rounds``              all pairs of parts, round by round
``pairs``               similar_pairs, iter_similar_pairs
``redundancy``          redundancy, and deduplicate's rule semdedup
``deduplicate``         its other rules
``topk``, ``kmeans``, ``kcenter``   one operation each
``seeding``             what k-means begins with
======================  ===========================================================================
"""

from __future__ import annotations

from meddel_fast.sharded.deduplicate import deduplicate
from meddel_fast.sharded.group import Group, SoloGroup
from meddel_fast.sharded.kcenter import kcenter_greedy
from meddel_fast.sharded.kmeans import kmeans
from meddel_fast.sharded.pairs import iter_similar_pairs, similar_pairs
from meddel_fast.sharded.redundancy import redundancy
from meddel_fast.sharded.spread import Spread
from meddel_fast.sharded.topk import topk_similarity

__all__ = [
    "Group",
    "SoloGroup",
    "Spread",
    "deduplicate",
    "iter_similar_pairs",
    "kcenter_greedy",
    "kmeans",
    "redundancy",
    "similar_pairs",
    "topk_similarity",
]
