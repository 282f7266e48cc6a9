"""Tasks that an encoder is measured by, with one interface, :class:`~meddel_fast.tasks.base.Task`.

================  ==============================================  =====================
segmentation      a head on patch tokens, by masks                ``miou``
classification    linear probe and nearest neighbours, by labels  ``balanced_accuracy``
localisation      one box an image, by boxes or masks             ``box_iou``
================  ==============================================  =====================

To add one: a module beside these, a line in :data:`TASKS`, the class of its settings in
`training.settings`, its name in ``benchmark.config.Task`` and a field of ``RunConfig``, its name in
``benchmark.config_file.TASKS``, a test.
"""

from __future__ import annotations

from meddel_fast.tasks.base import Task
from meddel_fast.tasks.classification import CLASSIFICATION
from meddel_fast.tasks.localisation import LOCALISATION
from meddel_fast.tasks.segmentation import SEGMENTATION

__all__ = ["TASKS", "Task"]

TASKS: dict[str, Task] = {task.name: task for task in (SEGMENTATION, CLASSIFICATION, LOCALISATION)}
