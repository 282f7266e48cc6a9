"""anomalib's ``KCenterGreedy``: from anomalib.models.components.sampling."""

from __future__ import annotations

from meddel_fast import ops
from meddel_fast.common.extras import needs

with needs("compat"):
    import torch


class KCenterGreedy:
    """Core-set of an embedding by greedy k-center, from a random start.

    anomalib first projects the features at random (two-dimensional embeddings only) and so finds
    the farthest point of another set; here distances are those of the features as they are.

    Parameters
    ----------
    embedding : torch.Tensor of shape (n, ...)
        Features; further axes are flattened.
    sampling_ratio : float
        Share of the samples to select; their number is rounded down.
    include_start : bool
        Whether the random start belongs to the core-set, as in anomalib 2.5 to 2.7. In earlier
        releases that leave it out it only pushes the others away.

    Attributes
    ----------
    coreset_size, n_observations : int
        Number of samples to select, and to select from.
    features : torch.Tensor of shape (n, d)
        The flattened embedding.
    min_distances : torch.Tensor of shape (n, 1), or None before a selection
        Distance of each sample to the nearest of the start and the selected ones.

    Raises
    ------
    ValueError
        If the ratio gives no sample.
    """

    def __init__(
        self, embedding: torch.Tensor, sampling_ratio: float, include_start: bool = True
    ) -> None:
        self.embedding = embedding
        self.n_observations = int(embedding.shape[0])
        if self.n_observations == 0:
            raise ValueError(f"embedding must hold a sample, got shape {tuple(embedding.shape)}")
        self.coreset_size = int(self.n_observations * sampling_ratio)
        if not 0 < self.coreset_size <= self.n_observations:
            raise ValueError(
                f"coreset_size must be from 1 to {self.n_observations}, got {self.coreset_size} "
                f"(sampling_ratio {sampling_ratio} of {self.n_observations} samples)"
            )
        self.include_start = include_start
        self.features: torch.Tensor = embedding.reshape(self.n_observations, -1)
        self.min_distances: torch.Tensor | None = None

    def reset_distances(self) -> None:
        """Forget the distances of the last selection."""
        self.min_distances = None

    def select_coreset_idxs(self) -> list[int]:
        """Select the core-set.

        The start is one draw of torch's generator, the same as anomalib's after the same seed
        where anomalib does not project.

        Returns
        -------
        list of int
            Indices in order of selection. All samples are wanted but the start has no place among
            them: it comes last.
        """
        start = int(torch.randint(self.n_observations, (1,), device=self.features.device))
        count = self.coreset_size + (0 if self.include_start else 1)
        found = ops.kcenter_greedy(self.features, min(count, self.n_observations), start=start)
        self.min_distances = found.distances.to(self.features.dtype).unsqueeze(1)
        order: list[int] = found.indices.tolist()
        return order if self.include_start else (order[1:] + order[:1])[: self.coreset_size]

    def sample_coreset(self) -> torch.Tensor:
        """Return the rows of the embedding that :meth:`select_coreset_idxs` selects."""
        return self.embedding[self.select_coreset_idxs()]
