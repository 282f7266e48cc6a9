"""What a task is: the images it can use, how an encoder is measured, which scores come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from meddel_fast.common.files import Progress, StrPath

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


class Evaluate(Protocol):
    """Measures an encoder; every task's ``evaluate`` is one.

    ``encoder`` is a folder or a hub name, ``train`` and ``test`` are manifests whose rows the task
    can use. The result is a JSON object with the task's scores, ``images``, ``train_images``,
    ``seed``, ``precision`` and ``settings``.
    """

    def __call__(
        self,
        encoder: StrPath,
        train: Manifest,
        test: Manifest,
        config: Any,
        *,
        seed: int,
        device: str = "auto",
        offline: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Train what the task puts on the encoder, and score it."""
        ...


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
    seeded
        Whether a seed changes the result; if not, one seed is evaluated.
    """

    name: str
    settings: type[Any]
    wants: str
    usable: Callable[[Manifest, Any], Manifest]
    evaluate: Evaluate
    scores: tuple[str, ...]
    seeded: bool = True

    @property
    def primary(self) -> str:
        """The score that NormDEL takes for accuracy."""
        return self.scores[0]
