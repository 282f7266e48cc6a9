"""PatchCore's core-set samplers: from patchcore.sampler.

Both project the features to `dimension_to_project_features_to` dimensions with the random linear
layer that PatchCore makes (the same after the same ``torch.manual_seed``), unless they have so many
already; what they select among the projected features is exact.
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.common.extras import needs
from meddel_fast.selectors.base import to_numpy

with needs("compat"):
    import torch


class IdentitySampler:
    """Keeps all."""

    def run(self, features: Any) -> Any:
        """Return the features."""
        return features


class BaseSampler(abc.ABC):
    """What the samplers share: the share to keep.

    Parameters
    ----------
    percentage : float
        Share to keep, above 0 and below 1.
    """

    def __init__(self, percentage: float) -> None:
        if not 0 < percentage < 1:
            raise ValueError(f"percentage must be above 0 and below 1, got {percentage}")
        self.percentage = percentage

    @abc.abstractmethod
    def run(self, features: Any) -> Any:
        """Return some rows of the features, as the kind of array that came."""


class GreedyCoresetSampler(BaseSampler):
    """Greedy k-center that starts at the sample farthest from all others (by squared distances).

    PatchCore holds an (n, n) matrix of distances; here sums of squared distances come from the
    mean and the norms, in O(n d).

    Parameters
    ----------
    percentage : float
        Share to keep, above 0 and below 1; the number is rounded down.
    device : torch.device or str
        Where to project.
    dimension_to_project_features_to : int
        See the module.
    """

    def __init__(
        self, percentage: float, device: Any, dimension_to_project_features_to: int = 128
    ) -> None:
        super().__init__(percentage)
        self.device = device
        self.dimension_to_project_features_to = dimension_to_project_features_to

    def run(self, features: Any) -> Any:
        """Select rows.

        Parameters
        ----------
        features : torch.Tensor or numpy array of shape (n, d)
            Features.

        Returns
        -------
        torch.Tensor or numpy array of shape (floor(percentage * n), d)
            Rows in order of selection, as what came and where it was.
        """
        if getattr(features, "ndim", 0) != 2:
            raise ValueError(f"features must be 2-d, got shape {np.shape(features)}")
        tensor = torch.from_numpy(features) if isinstance(features, np.ndarray) else features
        reduced = self._reduce_features(tensor)
        return features[self._compute_greedy_coreset_indices(reduced)]

    def _reduce_features(self, features: torch.Tensor) -> torch.Tensor:
        wanted = self.dimension_to_project_features_to
        if features.shape[1] == wanted:
            return features
        layer = torch.nn.Linear(features.shape[1], wanted, bias=False).to(self.device)
        with torch.no_grad():
            projected: torch.Tensor = layer(features.to(self.device))
        return projected

    def _compute_greedy_coreset_indices(self, features: torch.Tensor) -> NDArray[np.int64]:
        count = int(len(features) * self.percentage)
        if count == 0:
            return np.zeros(0, dtype=np.int64)
        x = to_numpy(features.detach()).astype(np.float64)
        x -= x.mean(axis=0)  # the sum of squared distances is n |x_i|^2 and a constant
        start = int(np.argmax(np.einsum("ij,ij->i", x, x)))
        found = ops.kcenter_greedy(features, count, start=start, distances=False)
        return to_numpy(found.indices)


class ApproximateGreedyCoresetSampler(GreedyCoresetSampler):
    """The same from a few random samples, whose mean distance caps each sample's distance.

    Parameters
    ----------
    percentage, device, dimension_to_project_features_to
        See :class:`GreedyCoresetSampler`.
    number_of_starting_points : int
        How many random samples, drawn by numpy's global generator as in PatchCore.
    """

    def __init__(
        self,
        percentage: float,
        device: Any,
        number_of_starting_points: int = 10,
        dimension_to_project_features_to: int = 128,
    ) -> None:
        super().__init__(percentage, device, dimension_to_project_features_to)
        self.number_of_starting_points = number_of_starting_points

    def _compute_greedy_coreset_indices(self, features: torch.Tensor) -> NDArray[np.int64]:
        n = len(features)
        count, points = int(n * self.percentage), min(self.number_of_starting_points, n)
        starts = np.random.choice(n, points, replace=False)  # noqa: NPY002, as PatchCore draws
        cap = np.mean([_distances_to(features, int(i)) for i in starts], axis=0)
        nearest, order = np.full(n, np.inf), np.zeros(0, dtype=np.int64)
        # As long as a cap is below the distance to the nearest selected sample it has a say; from
        # then on the values are those of plain k-center.
        while len(order) < count and bool((cap < nearest).any()):
            value = np.minimum(cap, nearest)
            value[order] = -1.0  # never again, where only copies are left
            last = int(np.argmax(value))
            order = np.append(order, last)
            np.minimum(nearest, _distances_to(features, last), out=nearest)
        if len(order) < count:
            rest = count - len(order)
            found = ops.kcenter_greedy(features, rest, selected=order, distances=False)
            order = np.concatenate([order, to_numpy(found.indices)])
        return order


def _distances_to(features: torch.Tensor, centre: int) -> NDArray[np.float64]:
    return to_numpy(ops.kcenter_greedy(features, 1, start=centre).distances)


class RandomSampler(BaseSampler):
    """Keeps random rows, drawn by numpy's global generator as in PatchCore."""

    def run(self, features: Any) -> Any:
        """Return ``floor(percentage * n)`` rows of the features."""
        count = int(len(features) * self.percentage)
        return features[np.random.choice(len(features), count, replace=False)]  # noqa: NPY002
