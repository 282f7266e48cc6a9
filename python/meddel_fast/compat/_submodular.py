"""DeepCore's submodular functions and optimizers, which :mod:`.deepcore` offers.

Similarities come from a callable or a matrix, as there, and are held as (n, n) float32; sums run in
fp64. Gains are kept up to date as the selection grows instead of worked out anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.compat._lazy import Coverage, lazy_greedy

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_FLAT = 1e-6  # a pivot below this share of the diagonal is rounding in float32


class SubmodularFunction:
    """Similarities of n samples, from a function or a matrix.

    Parameters
    ----------
    index : sequence of length n
        The samples' own names.
    similarity_kernel : callable, optional
        ``similarity_kernel(a, b)`` takes two boolean masks of length n and returns the
        similarities of the ones to the others. Needed unless a matrix is given.
    similarity_matrix : array of shape (n, n), optional
        All similarities.
    already_selected : sequence of int
        Positions in `index` that are selected before the first step.
    """

    def __init__(
        self,
        index: Sequence[Any],
        similarity_kernel: Callable[[Any, Any], Any] | None = None,
        similarity_matrix: Any | None = None,
        already_selected: Any = (),
    ) -> None:
        self.index = index
        self.n = len(index)
        self.already_selected = np.asarray(already_selected, dtype=np.int64)
        self.all_idx = np.ones(self.n, dtype=bool)
        # Row c holds the similarities of all samples to c, so that a candidate's are adjacent.
        self._columns = np.zeros((self.n, self.n), dtype=np.float32)
        self._known = np.zeros(self.n, dtype=bool)
        if similarity_matrix is None and not callable(similarity_kernel):
            raise ValueError("similarity_kernel must be callable where no matrix is given")
        self._kernel = similarity_kernel
        if similarity_kernel is None:
            matrix = np.asarray(similarity_matrix)
            if matrix.shape != (self.n, self.n):
                raise ValueError(
                    f"similarity_matrix must have shape {(self.n, self.n)}, got {matrix.shape}"
                )
            self._columns[:] = matrix.T
            self._known[:] = True

    def similarity_kernel(self, a: Any, b: Any) -> NDArray[np.float32]:
        """Return the similarities of samples `a` to samples `b` (masks or positions)."""
        return self._columns_of(_positions(b))[:, _positions(a)].T

    def _columns_of(self, candidates: Int) -> NDArray[np.float32]:
        wanted = np.zeros(self.n, dtype=bool)
        wanted[candidates] = True
        wanted &= ~self._known
        if wanted.any() and self._kernel is not None:
            self._columns[wanted] = np.asarray(self._kernel(self.all_idx, wanted)).T
            self._known |= wanted
        return self._columns[candidates]


class FacilityLocation(SubmodularFunction):
    """Sum over all samples of the highest similarity to a selected one, from 0 up."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.coverage = Coverage(self._columns_of, self.n)
        if len(self.already_selected):
            self.coverage.covered = self._best(self.already_selected)

    @property
    def cur_max(self) -> Float:
        """Highest similarity of each sample to a selected one, shape (n,)."""
        return self.coverage.covered

    def calc_gain(self, idx_gain: Any, selected: Any, **kwargs: Any) -> Float:
        """Return what each of the samples `idx_gain` (a mask or positions) would add."""
        return self.coverage.gains(_positions(idx_gain))

    calc_gain_batch = calc_gain

    def update_state(self, new_selection: Any, total_selected: Any, **kwargs: Any) -> None:
        """Take in new selected samples."""
        best = self._best(_positions(new_selection))
        np.maximum(self.coverage.covered, best, out=self.coverage.covered)

    def _best(self, samples: Int) -> Float:
        best: Float = self._columns_of(samples).max(axis=0).astype(np.float64)
        return best


class _Growing(SubmodularFunction, ABC):
    """A function whose gains are kept for all samples, and changed by each selected one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._reset()

    def _reset(self) -> None:
        self._seen = np.zeros(self.n, dtype=bool)

    @abstractmethod
    def _add(self, sample: int) -> None: ...

    def _catch_up(self, selected: Any) -> None:
        self._columns_of(np.arange(self.n))
        now = np.zeros(self.n, dtype=bool)
        now[_positions(selected)] = True
        if np.any(self._seen & ~now):
            self._reset()
        for sample in np.flatnonzero(now & ~self._seen):
            self._add(int(sample))
        self._seen = now

    def update_state(self, new_selection: Any, total_selected: Any, **kwargs: Any) -> None:
        """Do nothing: :meth:`calc_gain` is told what is selected."""


class GraphCut(_Growing):
    """Similarity to all samples, `lam` times, less twice that to the selected ones."""

    def __init__(self, lam: float = 1.0, **kwargs: Any) -> None:
        self.lam = lam
        super().__init__(**kwargs)
        self._sums: Float | None = None

    def _reset(self) -> None:
        super()._reset()
        self._to_selected: Float = np.zeros(self.n)

    def _add(self, sample: int) -> None:
        self._to_selected += self._columns[:, sample]

    def calc_gain(self, idx_gain: Any, selected: Any, **kwargs: Any) -> Float:
        """Return what each of the samples `idx_gain` (a mask or positions) would add."""
        self._catch_up(selected)
        if self._sums is None:
            self._sums = self._columns.astype(np.float64).sum(axis=1)
        where = _positions(idx_gain)
        gains: Float = self.lam * self._sums[where] - 2.0 * self._to_selected[where]
        return gains


class LogDeterminant(_Growing):
    """DeepCore's gain for the log-determinant: s_xA S_AA^-1 s_Ax of a symmetric matrix S.

    That is the part of S_xx that the selected samples A explain, so the highest gain is that of the
    sample explained best; it is given as DeepCore computes it. Here it grows by one term of an LDL
    factorisation a step. A sample that the others explain to rounding adds nothing.
    """

    def _reset(self) -> None:
        super()._reset()
        self._explained: Float = np.zeros(self.n)
        self._factors: list[tuple[Float, float]] = []

    def _add(self, sample: int) -> None:
        row = self._columns[:, sample].astype(np.float64)
        own = float(row[sample])
        for factor, pivot in self._factors:
            row -= factor * (factor[sample] / pivot)
        if (pivot := float(row[sample])) and abs(pivot) > _FLAT * abs(own):
            self._factors.append((row, pivot))
            self._explained += row * row / pivot

    def calc_gain(self, idx_gain: Any, selected: Any, **kwargs: Any) -> Float:
        """Return the gain of each of the samples `idx_gain` (a mask or positions)."""
        self._catch_up(selected)
        gains: Float = self._explained[_positions(idx_gain)]
        return gains


class _Optimizer(ABC):
    """A way to select `budget` samples by their gains.

    Parameters
    ----------
    args
        DeepCore's settings; not used (nothing is printed).
    index : array of length n
        The samples' own names.
    budget : int
        How many to select, the already selected ones included.
    already_selected : sequence of int
        Positions that are selected before the first step.

    Raises
    ------
    ValueError
        If the budget is not from 1 to n.
    """

    def __init__(self, args: Any, index: Any, budget: int, already_selected: Any = ()) -> None:
        self.args = args
        self.index = np.asarray(index)
        self.n = len(self.index)
        if not 0 < budget <= self.n:
            raise ValueError(f"budget must be from 1 to {self.n} (the index), got {budget}")
        self.budget = budget
        self.already_selected = np.asarray(already_selected, dtype=np.int64)

    def select(
        self,
        gain_function: Callable[..., Any],
        update_state: Callable[..., None] | None = None,
        **kwargs: Any,
    ) -> NDArray[Any]:
        """Select samples.

        Parameters
        ----------
        gain_function : callable
            ``gain_function(candidates, selected, **kwargs)`` returns the gains of the candidates
            (positions), given the mask of the selected.
        update_state : callable, optional
            ``update_state(new, selected, **kwargs)`` is told of each choice.
        **kwargs
            Handed on to both.

        Returns
        -------
        array of shape (budget,)
            Names of the selected samples, in the order of the index.
        """
        selected = np.zeros(self.n, dtype=bool)
        selected[self.already_selected] = True

        def gains(candidates: Int) -> Float:
            return np.asarray(gain_function(candidates, selected, **kwargs), dtype=np.float64)

        def choose(sample: int) -> None:
            selected[sample] = True
            if update_state is not None:
                update_state(np.array([sample]), selected, **kwargs)

        missing = self.budget - int(selected.sum())
        owner: Any = getattr(gain_function, "__self__", None)
        covers = isinstance(owner, FacilityLocation) and isinstance(self, NaiveGreedy | LazyGreedy)
        if covers and update_state == owner.update_state:
            left = np.flatnonzero(~selected)
            selected[lazy_greedy(owner.coverage, left, max(0, missing))[0]] = True
        else:
            for _ in range(missing):
                self._step(gains, choose, selected)
        return self.index[selected]

    @abstractmethod
    def _step(
        self, gains: Callable[[Int], Float], choose: Callable[[int], None], selected: NDArray[Any]
    ) -> None: ...


class NaiveGreedy(_Optimizer):
    """Takes the sample of the highest gain; of several the first."""

    def _step(self, gains: Any, choose: Any, selected: NDArray[Any]) -> None:
        left = np.flatnonzero(~selected)
        choose(int(left[np.argmax(gains(left))]))


class LazyGreedy(_Optimizer):
    """The same for submodular functions, looking again only at those that may be best."""

    _bounds: Float | None = None

    def select(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        """See :meth:`NaiveGreedy.select`."""
        self._bounds = None
        return super().select(*args, **kwargs)

    def _step(self, gains: Any, choose: Any, selected: NDArray[Any]) -> None:
        if self._bounds is None:
            self._bounds = np.full(self.n, -np.inf)
            left = np.flatnonzero(~selected)
            self._bounds[left] = gains(left)
        last, highest = -1, -np.inf
        while (best := int(np.argmax(self._bounds))) != last:
            self._bounds[best] = fresh = gains(np.array([best]))[0]
            if fresh >= highest:
                last, highest = best, fresh
        self._bounds[best] = -np.inf
        choose(best)


class StochasticGreedy(_Optimizer):
    """Takes the best of a random part of the samples each time.

    The part has ``round(-log(epsilon) * n / budget)`` samples, drawn by numpy's global generator:
    after the same ``numpy.random.seed`` it is DeepCore's.
    """

    def __init__(
        self,
        args: Any,
        index: Any,
        budget: int,
        already_selected: Any = (),
        epsilon: float = 0.9,
    ) -> None:
        super().__init__(args, index, budget, already_selected)
        self.epsilon = epsilon

    def _step(self, gains: Any, choose: Any, selected: NDArray[Any]) -> None:
        left = np.flatnonzero(~selected)
        size = max(round(-np.log(self.epsilon) * self.n / self.budget), 1)
        part = np.random.choice(left, min(size, len(left)), replace=False)  # noqa: NPY002
        choose(int(part[np.argmax(gains(part))]))


def _positions(samples: Any) -> Int:
    array = np.asarray(samples)
    return np.flatnonzero(array) if array.dtype == bool else array.astype(np.int64)
