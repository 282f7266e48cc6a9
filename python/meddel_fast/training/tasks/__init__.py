"""Tasks that an encoder is measured by, with one interface, the ``Task`` of ``base``.

=======================  ===========================================================================
``base``                 what a task is
``segmentation``         a head on patch tokens, by masks; score: ``miou``
``classification``       linear probe and nearest neighbours, by labels; score:
                         ``balanced_accuracy``
``localisation``         one box an image, by boxes or masks; score: ``box_iou``
``answers``              what a task answered to each image, on disk
``box_head``, ``boxes``  the head that finds boxes, which imports torch; boxes as numbers
=======================  ===========================================================================

To add one: a module beside these, a line in :data:`TASKS`, the class of its settings in
`training.settings`, its name in ``benchmark.config.Task`` and a field of ``RunConfig``, its name in
``benchmark.config_file.TASKS``, a test.
"""

from __future__ import annotations

from meddel_fast.training.tasks.base import Task
from meddel_fast.training.tasks.classification import CLASSIFICATION
from meddel_fast.training.tasks.localisation import LOCALISATION
from meddel_fast.training.tasks.segmentation import SEGMENTATION

__all__ = ["TASKS", "Task"]

TASKS: dict[str, Task] = {task.name: task for task in (SEGMENTATION, CLASSIFICATION, LOCALISATION)}
