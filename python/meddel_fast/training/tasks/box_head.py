"""The head that finds boxes, and the boxes that it learns from. Imports torch."""

from __future__ import annotations

from typing import cast

import numpy as np

from meddel_fast.images.manifest import Manifest
from meddel_fast.training.downstream import HeadRun, Pixels
from meddel_fast.training.loader import frames
from meddel_fast.training.settings import LocalisationConfig
from meddel_fast.training.tasks.boxes import Boxes, FilledBoxes, boxes_of_mask, read_boxes

_CHUNK = 64  # masks read at once, by all threads


class BoxHead(HeadRun):
    """A segmentation head that learns where boxes are."""

    def _truth(self, manifest: Manifest) -> Pixels:
        config = cast(LocalisationConfig, self._config)
        return FilledBoxes(true_boxes(manifest, config), config.image_size)


def true_boxes(manifest: Manifest, config: LocalisationConfig) -> list[Boxes]:
    """Give each image's boxes (k, 4), in pixels of the image squeezed to ``image_size``."""
    size = config.image_size
    columns = [manifest.column(name) for name in ("boxes", "width", "height")]
    truth = {
        i: read_boxes(text, width, height, size)
        for i, (text, width, height) in enumerate(zip(*columns, strict=True))
        if text
    }
    rest = np.array([i for i in range(len(manifest)) if i not in truth], np.int64)
    masks = frames(manifest, size, masks=True)
    for first in range(0, len(rest), _CHUNK):
        rows = rest[first : first + _CHUNK]
        for i, mask in zip(rows.tolist(), masks[rows], strict=True):
            truth[i] = boxes_of_mask(mask == 1, config.min_area)
    return [truth[i] for i in range(len(manifest))]
