"""What a run measures beyond the segmentation by its own encoders; see docs/tasks.md.

`task_stages` has the other tasks and the references, `generalisation` the pre-training on one set
at a time. A run that asks for neither has no stage and no file of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddel_fast.benchmark import task_stages
from meddel_fast.benchmark.stage import Stage

if TYPE_CHECKING:
    from meddel_fast.benchmark.run_stages import RunStages


def stages(plan: RunStages) -> list[Stage]:
    """List the stages, which come after those that train and segment."""
    from meddel_fast.benchmark import generalisation

    across = [stage for source in generalisation.sources(plan) for stage in source.stages()]
    return task_stages.stages(plan) + across


def digests(plan: RunStages) -> list[str]:
    """Give the hashes of all results."""
    from meddel_fast.benchmark import generalisation

    across = [path for source in generalisation.sources(plan) for path in source.results()]
    return task_stages.digests(plan) + [plan.records.digest(path) for path in across]


def write_tables(plan: RunStages) -> None:
    """Write ``score/tasks.*`` and ``score/generalisation.*``, those that the run asks for."""
    from meddel_fast.benchmark import generalisation

    task_stages.write(plan, plan.out / "score")
    generalisation.write(plan, plan.out / "score")
