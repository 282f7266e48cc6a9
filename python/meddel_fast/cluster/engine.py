"""What a curation asks of the machine, or the machines, that do its work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from meddel_fast.arrays import DeduplicateResult
    from meddel_fast.cluster.shards import ShardJob
    from meddel_fast.cluster.source import RowSource
    from meddel_fast.common.files import Progress
    from meddel_fast.selectors import Selection

Tell = Callable[[str, str], None]
"""Takes note of a stage that something of it was done again, and why."""


class Engine(Protocol):
    """Does the three stages that take long; a context manager.

    Whatever the engine and the number of its workers, results are the same bits.
    """

    def __enter__(self) -> Engine: ...

    def __exit__(self, *exception: object) -> None: ...

    def embed(self, job: ShardJob, missing: Sequence[int], progress: Progress) -> None:
        """Make these shards."""

    def deduplicate(
        self, rows: RowSource, threshold: float, rule: str, checkpoint: str, progress: Progress
    ) -> DeduplicateResult:
        """Do :func:`meddel_fast.deduplicate`, with its state at a place `checkpoint`."""

    def select(
        self,
        rows: RowSource,
        method: str,
        budget: int,
        options: dict[str, Any],
        checkpoint: str,
        progress: Progress,
    ) -> Selection:
        """Do :func:`meddel_fast.selectors.select`, with its state at a place `checkpoint`."""
