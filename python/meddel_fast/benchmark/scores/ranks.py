"""Average ranks over data sets, with Friedman's test and Nemenyi's critical difference.

The comparison of several methods over several data sets that Demšar recommends (JMLR 7, 2006).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meddel_fast.common.extras import needs


class Ranking(NamedTuple):
    """How k methods rank over n data sets.

    Attributes
    ----------
    ranks : float64, shape (k,)
        Average ranks, 1 is best.
    datasets
        n.
    friedman
        Friedman's statistic, corrected for ties; None with fewer than 2 data sets or 3 methods,
        or when every rank is tied.
    p_value
        Its tail of the chi-squared distribution with k - 1 degrees of freedom; None likewise.
    critical_difference
        Average ranks closer than this do not differ at the 5 % level by Nemenyi's test; None
        with fewer than 2 data sets or methods.
    """

    ranks: NDArray[np.float64]
    datasets: int
    friedman: float | None
    p_value: float | None
    critical_difference: float | None


def rank(scores: ArrayLike) -> Ranking:
    """Rank methods by their scores.

    Parameters
    ----------
    scores : float, shape (n, k)
        Row: data set; column: method; higher is better. Equal scores share their average rank.

    Raises
    ------
    ValueError
        Not a 2-d array of finite numbers.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise ValueError(
            f"scores must be finite and of shape (data sets, methods), got {table.shape}"
        )
    n, k = table.shape
    ranks = _scipy_stats().rankdata(-table, axis=1)
    statistic, p_value = None, None
    if n > 1 and k > 2 and np.ptp(ranks) > 0:
        statistic, p_value = map(float, _scipy_stats().friedmanchisquare(*table.T))
    return Ranking(
        ranks.mean(axis=0),
        n,
        statistic,
        p_value,
        critical_difference(k, n) if n > 1 and k > 1 else None,
    )


def critical_difference(methods: int, datasets: int, level: float = 0.05) -> float:
    """Nemenyi's: ``q / sqrt(2) * sqrt(k (k + 1) / (6 n))``, q of the studentized range."""
    studentized_range = _scipy_stats().studentized_range
    q = float(studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def _scipy_stats() -> Any:
    """Import what takes the better part of a second only where it is used."""
    with needs("benchmark"):
        from scipy import stats

    return stats
