"""What a task is: the images it can use, how an encoder is measured, which scores come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import Progress, StrPath

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


class Evaluate(Protocol):
    """Measures an encoder; every task's ``evaluate`` is one.

    ``encoder`` is a folder or a hub name, ``train`` and ``test`` are manifests whose rows the task
    can use. The result is a JSON object with the task's scores, ``images``, ``train_images``,
    ``seed``, ``precision`` and ``settings``; ``predictions``, where it is given, is a file for what
    was answered to each test image.
    """

    def __call__(
        self,
        encoder: StrPath,
        train: Manifest,
        test: Manifest,
        config: Any,
        *,
        seed: int,
        predictions: StrPath | None = None,
        device: str = "auto",
        offline: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Train what the task puts on the encoder, and score it."""
        ...


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """One way to measure what an encoder is worth.

    Attributes
    ----------
    name
        As ``[[data]] tasks`` has it.
    settings
        Class of its settings, one of `training.settings`.
    wants
        What an image must have, for messages: "a mask".
    usable
        Gives the rows of a manifest that have it, under the task's settings.
    evaluate
        Trains what the task puts on an encoder and scores it.
    scores
        Keys of the result that are fractions in [0, 1], better when higher. The first one is the
        primary: what NormDEL takes for accuracy.
    counts
        From a file of predictions and the result beside it: the ids of the images, and what each
        adds to the sums that scores are made of, (images, k).
    measure
        From such sums (..., k) to each of `scores` (...).
    rescore
        From a file of predictions, the test images and the result to what the result must say by
        the truth on disk; ValueError where the file is of other images, or held against another
        truth.
    seeded
        Whether a seed changes the result; if not, one seed is evaluated.
    """

    name: str
    settings: type[Any]
    wants: str
    usable: Callable[[Manifest, Any], Manifest]
    evaluate: Evaluate
    scores: tuple[str, ...]
    counts: Callable[[Path, Mapping[str, Any]], tuple[list[str], Floats]]
    measure: Callable[[Floats], dict[str, Floats]]
    rescore: Callable[[Path, Manifest, Mapping[str, Any]], dict[str, Any]]
    seeded: bool = True

    @property
    def primary(self) -> str:
        """The score that NormDEL takes for accuracy."""
        return self.scores[0]
