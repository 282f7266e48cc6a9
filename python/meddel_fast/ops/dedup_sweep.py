"""Near duplicates at every threshold from a floor on, after one look at the samples."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meddel_fast import _core
from meddel_fast.arrays import (
    DeduplicateResult,
    Prepared,
    SimilarPairsResult,
    check_budget,
    check_choice,
    check_float,
    check_int,
    check_labels,
    check_order,
    check_rows,
    choose_device,
    is_torch,
    resolve_threads,
    result_in_kind,
)
from meddel_fast.common.floating_point import exactly
from meddel_fast.common.progress import reports
from meddel_fast.ops._call import needs_parts, pairs_allowed, too_many_pairs
from meddel_fast.ops.deduplicate import deduplicate
from meddel_fast.stores.store import taken

if TYPE_CHECKING:
    from meddel_fast.arrays import Rows
    from meddel_fast.common.files import Progress


@reports
@exactly
def dedup_sweep(
    x: Any,
    *,
    rule: str = "semdedup",
    floor: float = 0.8,
    order: Any | None = None,
    labels: Any | None = None,
    max_pairs: int | None = None,
    memory: int | str | None = None,
    group: Any | None = None,
    threads: int | None = None,
    device: Any | None = None,
    progress: Progress | None = None,
) -> DedupSweep:
    """Look at near duplicates once, for :func:`deduplicate` at any threshold from a floor on.

    Parameters
    ----------
    x : array of shape (n, d)
        Samples. They must not change while the sweep is in use.
    rule : {"semdedup", "greedy", "components"}
        Of :func:`deduplicate`.
    floor : float
        The lowest threshold that will be asked for, from -1 to 1.
    order, labels, max_pairs : optional
        Of :func:`deduplicate`.
    memory, group, device : optional
        As of all operations, see :mod:`meddel_fast.ops`, for the rule semdedup. The other two hold
        pairs of samples in memory, on the CPU.
    threads, progress : optional
        As of all operations, see :mod:`meddel_fast.ops`.

    Returns
    -------
    DedupSweep

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As of all operations, see :mod:`meddel_fast.ops`; also for `memory`, `group`, a store or a
        GPU with the rules greedy and components.
    MemoryError
        When more than max_pairs are found at the floor.

    Notes
    -----
    Once O(d sum of squared cluster sizes) at worst, as :func:`deduplicate` at the floor. Then, p
    pairs at the floor, a threshold costs: semdedup O(n), from the highest cosine M of each sample
    to an earlier one (Abbas et al. 2023, section 3: M depends on no threshold); components O(n), by
    a maximum spanning forest, whose edges from t on join the same components as all pairs from t
    on, and O(n d) for the cosines to the first of each; greedy O(p), since what an earlier kept
    sample drops is another matter at each threshold. Held: 16 bytes a sample, 24 for each of its
    pairs with the rule greedy.
    """
    threads = resolve_threads(threads)
    floor = check_float("floor", floor, -1.0, 1.0)
    check_choice("rule", rule, ("semdedup", "greedy", "components"))
    given = x.given if isinstance(x, Prepared) else x
    x = taken("x", x, in_parts=memory is not None or group is not None)
    if rule == "semdedup":
        found = deduplicate(
            x, floor, order=order, labels=labels, max_pairs=max_pairs,
            memory=memory, group=group, threads=threads, device=device,
        )  # fmt: skip
        return DedupSweep(floor, rule, _Highest(found), given)
    if needs_parts(x, memory=memory, group=group):
        raise ValueError(
            f"rule must be 'semdedup' with memory, group or a store, got {rule!r}, which holds "
            "pairs of samples in memory"
        )
    if choose_device(device, x=x) is not None:
        raise ValueError(f"device must be 'cpu' for rule {rule!r}, whose pairs are held there")
    rows = check_rows("x", x, threads)
    limit = pairs_allowed(max_pairs, rows.n * rows.n, None)
    order, labels = check_order(order, rows.n), check_labels(labels, rows.n)
    try:
        pairs = _core.SimilarEarlier(rows.matrix, floor, rule, order, labels, limit, threads)
    except OverflowError as error:
        way_out = "pass labels to compare inside clusters only"
        raise too_many_pairs(error, limit, floor, way_out) from None
    return DedupSweep(floor, rule, _Pairs(rows, pairs), given)


class DedupSweep:
    """What :func:`dedup_sweep` found: near duplicates at any threshold from the floor on.

    Attributes
    ----------
    floor : float
        The lowest threshold that can be asked for.
    rule : str
        The rule of :func:`deduplicate`.
    n : int
        Number of samples.
    """

    def __init__(
        self, floor: float, rule: str, found: _Highest | _Pairs, given: Any = None
    ) -> None:
        self.floor, self.rule, self.n = floor, rule, found.n
        self._found, self._given = found, given

    def __repr__(self) -> str:
        return f"DedupSweep({self.n} samples, rule {self.rule!r}, thresholds from {self.floor})"

    def at(self, threshold: float) -> DeduplicateResult:
        """Return what ``deduplicate(x, threshold, rule=rule)`` does, bit for bit.

        Parameters
        ----------
        threshold : float
            From the floor to 1.

        Raises
        ------
        TypeError, ValueError
            No number, or one outside.
        """
        representative, similarity = self._found.at(self._check(threshold))
        keep = np.isnan(similarity)
        found = DeduplicateResult(*self._found.back(keep, representative, similarity))
        return result_in_kind(self._given, found)  # type: ignore[no-any-return]

    def at_budget(self, budget: int | float) -> DeduplicateResult:
        """Return :meth:`at` the threshold of :meth:`threshold_for`.

        Fewer than asked for are kept where several samples fall at one threshold.
        """
        return self.at(self.threshold_for(budget))

    def threshold_for(self, budget: int | float) -> float:
        """Return the highest threshold at which no more are kept than a budget.

        Parameters
        ----------
        budget : int or float
            A count from 1 to n, or a share of n above 0 and at most 1.

        Returns
        -------
        float
            1.0 where no threshold keeps too many. With the rule greedy, which may keep fewer at a
            higher threshold than at a lower one, one at which no more are kept, but are at the next
            higher cosine of a pair.

        Raises
        ------
        TypeError, ValueError
            No budget, or more is kept at the floor.
        """
        count = check_budget(budget, self.n)
        least = int(self.counts([self.floor])[0])
        if least > count:
            raise ValueError(
                f"budget must be at least {least}, which are kept at the floor of {self.floor}, "
                f"got {count}: a sweep from a lower floor on keeps fewer"
            )
        if int(self.counts([1.0])[0]) <= count:
            return 1.0
        if self.rule != "greedy":
            return float(self._levels[count])
        # kept(ends[low]) <= count < kept(ends[high]) throughout
        ends = np.concatenate([[self.floor], np.unique(self.pairs.similarity), [1.0]])
        low, high = 0, len(ends) - 1
        while high - low > 1:
            middle = (low + high) // 2
            fits = int(self.counts([float(ends[middle])])[0]) <= count
            low, high = (middle, high) if fits else (low, middle)
        return float(ends[low])

    def counts(self, thresholds: ArrayLike) -> NDArray[np.int64]:
        """Return how many samples are kept at each of some thresholds.

        Parameters
        ----------
        thresholds : floats of shape (m,)
            From the floor to 1, in any order.

        Returns
        -------
        int64 array of shape (m,)
        """
        asked = [self._check(t) for t in np.asarray(thresholds, np.float64).reshape(-1).tolist()]
        if self.rule == "greedy":
            kept = [np.count_nonzero(np.isnan(self._found.at(t)[1])) for t in asked]
        else:
            kept = np.searchsorted(self._levels, asked).tolist()
        return np.array(kept, np.int64)

    def quantiles(
        self, shares: ArrayLike = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    ) -> NDArray[np.float64]:
        """Return quantiles of the thresholds above which the samples stay.

        Of a sample that is the highest cosine to an earlier one (of its cluster); with the rule
        components the cosine at which its component joins that of an earlier sample.

        Parameters
        ----------
        shares : floats of shape (m,)
            From 0 to 1.

        Returns
        -------
        float64 array of shape (m,)
            The lowest value, one of a sample's, that at least this share of the samples does not
            exceed; minus infinity where it is below the floor.
        """
        asked = np.asarray(shares, np.float64).reshape(-1)
        for share in asked.tolist():
            check_float("shares", share, 0.0, 1.0)
        places = np.maximum(np.ceil(asked * self.n).astype(np.int64) - 1, 0)
        return self._levels[places]

    def nearest(self, threshold: float, m: int = 10) -> SimilarPairsResult:
        """Return the pairs whose cosine is nearest to a threshold, on both of its sides.

        Parameters
        ----------
        threshold : float
            From the floor to 1.
        m : int
            How many pairs of each side, of those that there are down to the floor.

        Returns
        -------
        SimilarPairsResult
            Some of :attr:`pairs`, the most similar first, then by (i, j).
        """
        threshold, m = self._check(threshold), check_int("m", m, 1)
        i, j, similarity = self.pairs
        falling = np.lexsort((j, i, -similarity))
        above = int(np.searchsorted(-similarity[falling], -threshold, side="right"))
        chosen = falling[max(0, above - m) : above + m]
        return SimilarPairsResult(*(field[chosen] for field in self.pairs))

    @cached_property
    def pairs(self) -> SimilarPairsResult:
        """The pairs that decide: of a sample i and an earlier one j, from the floor on.

        Semdedup: each sample with the most similar earlier one. Components: those that join two
        components. Greedy: all, but copies of a row with the first of them alone. In numpy.
        """
        return self._found.pairs()

    @cached_property
    def _levels(self) -> NDArray[np.float64]:
        """The thresholds above which samples stay, ascending; minus infinity below the floor."""
        i, _, similarity = self.pairs
        if self.rule == "components":  # an edge of the forest drops one sample, the later root
            levels = np.concatenate([np.full(self.n - len(i), -np.inf), similarity])
        else:
            levels = np.full(self.n, -np.inf)
            np.maximum.at(levels, i, similarity)
        return np.sort(levels)

    def _check(self, threshold: float) -> float:
        return check_float("threshold", threshold, self.floor, 1.0)


class _Highest:
    """The rule semdedup at the floor, which says what it is at all thresholds from there on."""

    def __init__(self, found: DeduplicateResult) -> None:
        self._kind = found.similarity
        fields = (f.cpu().numpy() if is_torch(f) else f for f in found)
        _, self._neighbor, self._similarity = fields
        self.n = len(self._neighbor)

    def at(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        dropped = self._similarity >= threshold  # not of NaN
        representative = np.where(dropped, self._neighbor, np.arange(self.n))
        return representative, np.where(dropped, self._similarity, np.nan)

    def pairs(self) -> SimilarPairsResult:
        i = np.flatnonzero(~np.isnan(self._similarity))
        return SimilarPairsResult(i, self._neighbor[i], self._similarity[i])

    def back(self, *arrays: NDArray[Any]) -> tuple[Any, ...]:
        if not is_torch(self._kind):
            return arrays
        torch = sys.modules["torch"]
        return tuple(torch.from_numpy(array).to(self._kind.device) for array in arrays)


class _Pairs:
    """The pairs that the rules greedy and components go by, with the rows that they are of."""

    def __init__(self, rows: Rows, found: _core.SimilarEarlier) -> None:
        self._rows, self._found, self.n, self.back = rows, found, rows.n, rows.back

    def at(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return self._found.at(self._rows.matrix, threshold)

    def pairs(self) -> SimilarPairsResult:
        return SimilarPairsResult(*self._found.pairs(self._rows.matrix))
