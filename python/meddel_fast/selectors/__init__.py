"""Selectors: embeddings and a budget in, a :class:`Selection` out.

===========  ====================================================================
random       drawn at random
kcenter      farthest-point selection, also known as CoreSet
semdedup     inside clusters, drop what repeats an earlier sample
meddel       semdedup after disruptive samples are gone; the paper's method
prototypes   k-means, ranked by the distance to the centroid
===========  ====================================================================

Every method keeps exactly the number asked for, gives ties to the lowest index, and returns the
same for any number of threads. To add one: a module beside these, a line in :data:`SELECTORS`
(and in :data:`LADDERS` where one pass serves several budgets), a test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from meddel_fast.arrays import check_choice
from meddel_fast.files import Progress
from meddel_fast.progress import reporting
from meddel_fast.selectors.base import REASONS, Selection
from meddel_fast.selectors.kcenter import kcenter
from meddel_fast.selectors.meddel import meddel, meddel_ladder
from meddel_fast.selectors.prototypes import prototypes
from meddel_fast.selectors.random import random
from meddel_fast.selectors.semdedup import semdedup, semdedup_ladder

__all__ = [
    "LADDERS",
    "REASONS",
    "SELECTORS",
    "Selection",
    "kcenter",
    "meddel",
    "meddel_ladder",
    "prototypes",
    "random",
    "select",
    "select_ladder",
    "semdedup",
    "semdedup_ladder",
]

SELECTORS: dict[str, Callable[..., Selection]] = {
    "random": random,
    "kcenter": kcenter,
    "semdedup": semdedup,
    "meddel": meddel,
    "prototypes": prototypes,
}

LADDERS: dict[str, Callable[..., list[Selection]]] = {
    "semdedup": semdedup_ladder,
    "meddel": meddel_ladder,
}


def select(
    name: str,
    x: Any,
    budget: int | float,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Selection:
    """Select by a method's name.

    Parameters
    ----------
    name
        A key of :data:`SELECTORS`.
    x : shape (n, d)
        The embeddings: float16, float32, float64 or int8, numpy or torch; finite.
    budget
        A count in 1..n (int), or a share in (0, 1] (float), of which the count is
        ``max(1, floor(share * n + 0.5))``.
    progress
        Called as ``progress(done, total)`` by each pass in turn, see
        :func:`meddel_fast.progress.reporting`.
    **options
        The method's own, and ``seed`` and ``threads``.

    Raises
    ------
    ValueError, TypeError
        An unknown method or option, or a value out of range: the message names the argument, what
        was wanted and what came.
    """
    check_options(name, options)
    with reporting(progress):
        return SELECTORS[name](x, budget, **options)


def select_ladder(
    name: str,
    x: Any,
    budgets: Sequence[int | float],
    *,
    progress: Progress | None = None,
    **options: Any,
) -> list[Selection]:
    """Return :func:`select` for several budgets, from one pass where the method has one."""
    check_options(name, options)
    with reporting(progress):
        if name in LADDERS:
            return LADDERS[name](x, budgets, **options)
        return [SELECTORS[name](x, budget, **options) for budget in budgets]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Refuse an unknown method, or an option that it does not have, before any work is done."""
    check_choice("name", name, tuple(SELECTORS))
    parameters = inspect.signature(SELECTORS[name]).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"{name}: no option {', '.join(unknown)}; it has {', '.join(known)}")
