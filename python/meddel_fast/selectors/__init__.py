"""Selectors: embeddings and a budget in, a :class:`Selection` out.

================  ==================================================================================
``random``        drawn at random
``stratified``    drawn at random, in proportion from each stratum
``kcenter``       farthest-point selection, also known as CoreSet
``semdedup``      inside clusters, drop what repeats an earlier sample
``meddel``        semdedup after disruptive samples are gone; the paper's method
``prototypes``    k-means, ranked by the distance to the centroid
``d4``            semdedup, then prototypes of what is left
``density``       more from clusters that are wide and far from others
``hierarchical``  an equal share for each cluster, down a tree of clusters
``moderate``      closest to the median distance from the centre
``facility``      the samples that represent all others best
``craig``         the same by distance, with a weight for each kept sample
``coverage``      within a step or two of the others in a neighbour graph, class by class
``graphcut``      represents the others, and repeats itself little
``herding``       the mean of what is kept follows the mean of all
``d2``            difficulty passed on to neighbours: hard, dense and diverse
``ccs``           the same number from each range of a score
``loss``          the highest (or lowest) scores, of a model's loss say
``retrieve``      the most similar to each of some seeds
``combine``       several objectives with strengths, in one greedy
================  ==================================================================================

Every method keeps exactly the number asked for, gives ties to the lowest index, and returns the
same for any number of threads. All take exclusions, groups and already selected samples, and most
take weights. What they share:

===================  =============================================================
``selection``        the result: its fields, saved and loaded, applied to tables
``export``           lists and shards of it, for other programs
``provenance``       hashes that tell what was selected from
``selector``         makes the public function: what is done for all methods alike
``choice_check``     what a plan gives back, held to what it was asked for
``plugged``          methods of other packages
``plan``             what a method is given, and what it gives back
``method``           what is said of a method, and the options that it takes
``options``          checks of single options
``base``             checks of rows, random keys
``groups``           patients or videos that are covered, or split the budget
``targets``          shares of the budget that classes are to have
``seeds``            rows that are wanted more of, or less
``greedy``           keeps what is wanted, and far from what is kept
``hierarchy``        a tree of clusters, saved and loaded
``cluster_levels``   hierarchical k-means with resampling, which makes it
``clusters``         k-means that methods share, and the order of a sweep
``strata``           groups that a budget is divided among, or clusters for them
``neighbor_graph``   most similar samples, as edges
``edge_files``       the same in temporary files, where a budget does not hold them
``spanning_forest``  thresholds at which similar samples become one component
``unit_rows``        samples scaled to norm 1
``exp_log``          exponential and logarithm, the same on every machine
===================  =============================================================

To add a method: a module beside these, a line in :data:`SELECTORS`, a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from meddel_fast.arrays import check_choice
from meddel_fast.common.files import Progress
from meddel_fast.common.plugins import plugins
from meddel_fast.common.progress import reporting
from meddel_fast.selectors import export
from meddel_fast.selectors.ccs import ccs
from meddel_fast.selectors.cluster_levels import build_hierarchy
from meddel_fast.selectors.combine import combine
from meddel_fast.selectors.coverage import coverage
from meddel_fast.selectors.craig import craig
from meddel_fast.selectors.d2 import d2
from meddel_fast.selectors.d4 import d4
from meddel_fast.selectors.density import density
from meddel_fast.selectors.facility import facility
from meddel_fast.selectors.graphcut import graphcut
from meddel_fast.selectors.herding import herding
from meddel_fast.selectors.hierarchical import hierarchical
from meddel_fast.selectors.hierarchy import HierarchyResult
from meddel_fast.selectors.kcenter import kcenter
from meddel_fast.selectors.loss import loss
from meddel_fast.selectors.meddel import meddel, meddel_ladder
from meddel_fast.selectors.method import Method
from meddel_fast.selectors.moderate import moderate
from meddel_fast.selectors.plugged import plugged
from meddel_fast.selectors.prototypes import prototypes
from meddel_fast.selectors.random import random
from meddel_fast.selectors.retrieve import retrieve
from meddel_fast.selectors.selection import REASONS, Selection
from meddel_fast.selectors.selector import Selector
from meddel_fast.selectors.semdedup import semdedup, semdedup_ladder
from meddel_fast.selectors.stratified import stratified

__all__ = [
    "DRAW_NOTHING",
    "METHODS",
    "REASONS",
    "SELECTORS",
    "HierarchyResult",
    "Method",
    "Selection",
    "build_hierarchy",
    "ccs",
    "combine",
    "coverage",
    "craig",
    "d2",
    "d4",
    "density",
    "export",
    "facility",
    "find_selector",
    "graphcut",
    "herding",
    "hierarchical",
    "kcenter",
    "loss",
    "meddel",
    "meddel_ladder",
    "moderate",
    "prototypes",
    "random",
    "retrieve",
    "select",
    "select_ladder",
    "semdedup",
    "semdedup_ladder",
    "stratified",
]

_ALL: tuple[Selector, ...] = (
    random, stratified, kcenter, semdedup, meddel, prototypes, d4, density, hierarchical, moderate,
    facility, craig, coverage, graphcut, herding, d2, ccs, loss, retrieve, combine,
)  # fmt: skip

METHODS: dict[str, Method] = {f.method.name: f.method for f in _ALL}
"""What there is to say of each method: paper, cost, what it is good for."""

SELECTORS: dict[str, Selector] = {f.method.name: f for f in _ALL}

DRAW_NOTHING = frozenset({"kcenter", "coverage", "graphcut", "herding", "d2", "loss", "combine"})
"""Methods that take a seed for the common interface only: every seed selects the same."""


@overload
def select(
    name: str, x: Any, budget: int | float, *, progress: Progress | None = None, **options: Any
) -> Selection: ...
@overload
def select(
    name: str,
    x: Any,
    budget: Sequence[int | float],
    *,
    progress: Progress | None = None,
    **options: Any,
) -> list[Selection]: ...
def select(
    name: str, x: Any, budget: Any, *, progress: Progress | None = None, **options: Any
) -> Selection | list[Selection]:
    """Select by a method's name.

    Parameters
    ----------
    name
        A key of :data:`SELECTORS`, or of another package's method (docs/howto/plugin.md).
    x : shape (n, d)
        The embeddings: float16, float32, float64 or int8, numpy or torch; finite.
    budget
        A count in 1..n (int), or a share in (0, 1] (float), of which the count is
        ``max(1, floor(share * n + 0.5))``; or a list of them, for a list of selections that share
        their clusters, neighbours and greedy order.
    progress
        Called as ``progress(done, total)`` by each pass in turn, see
        :func:`meddel_fast.common.progress.reporting`.
    **options
        The method's own, and those that all have: ``seed``, ``threads``, ``exclude``, ``groups``,
        ``group_rule``, ``classes``, ``target``, ``weights``, ``selected``, ``memory`` and ``group``
        (``help(mf.selectors.kcenter)`` explains them).

    Raises
    ------
    ValueError, TypeError
        An unknown method or option, or a value out of range: the message names the argument, what
        was wanted and what came.
    """
    check_options(name, options)
    with reporting(progress):
        found: Selection | list[Selection] = find_selector(name)(x, budget, **options)
    return found


def select_ladder(
    name: str,
    x: Any,
    budgets: Sequence[int | float],
    *,
    progress: Progress | None = None,
    **options: Any,
) -> list[Selection]:
    """Return :func:`select` for several budgets."""
    return select(name, x, list(budgets), progress=progress, **options)


def check_options(name: str, options: dict[str, Any], n: int | None = None) -> None:
    """Refuse an unknown method, and options that it cannot use, before any work is done.

    Parameters
    ----------
    name
        A key of :data:`SELECTORS`.
    options
        Of the method, and those that all have.
    n
        Number of samples, where that is known: some options depend on it.
    """
    find_selector(name).method.check_options(options, n)


def find_selector(name: str) -> Selector:
    """Return a method by its name: one of :data:`SELECTORS`, or one that another package offers.

    Raises
    ------
    ValueError
        There is none of that name.
    meddel_fast.common.plugins.PluginError
        A package offers one that cannot be used; the message names the package.
    """
    if not isinstance(name, str) or name not in SELECTORS:
        found = plugged(name) if isinstance(name, str) else None
        if found is not None:
            return found
        others = [plugin.name for plugin in plugins("selector", SELECTORS) if not plugin.refused]
        check_choice("name", name, (*SELECTORS, *others))
    return SELECTORS[name]
