"""The head that finds boxes; apart from its task, because it imports torch."""

from __future__ import annotations

from typing import cast

from meddel_fast.data.manifest import Manifest
from meddel_fast.downstream import HeadRun, Pixels
from meddel_fast.tasks.boxes import FilledBoxes
from meddel_fast.tasks.localisation import true_boxes
from meddel_fast.training.settings import LocalisationConfig


class Locator(HeadRun):
    """A segmentation head that learns where boxes are."""

    def _truth(self, manifest: Manifest) -> Pixels:
        config = cast(LocalisationConfig, self._config)
        return FilledBoxes(true_boxes(manifest, config), config.image_size)
