"""Settings of the probe."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from meddel_fast.common.extras import needs
from meddel_fast.common.settings import (
    CONFIG,
    Between,
    Each,
    NotNegativeNumber,
    Positive,
    PositiveNumber,
    one_line,
    wanted,
)

with needs("benchmark"):
    from pydantic.dataclasses import dataclass

Kind = Literal["knn", "linear", "mlp"]
Task = Literal["classification", "segmentation"]
By = Literal["sequence", "label", "folder", "lesion"]


@one_line
@dataclass(frozen=True, config=CONFIG)
class ProbeConfig:
    """The probe: small models trained on the selected samples alone, on frozen features.

    Attributes
    ----------
    tasks
        "classification" of whole images, "segmentation" by a head on the tokens of the encoder
        that embeds the pool (the head is that of ``[downstream]``).
    probes
        What learns to classify: nearest neighbours, a multinomial logistic regression, an MLP.
    by
        What the classes are: the "sequence" (video or patient, the manifest's group), its column
        "label", the "folder" of the image, "lesion" (whether the mask marks any pixel).
    test
        What is asked about: a share of each class "held-out" from the pool, anew in each draw, or
        the "split" that each set has for testing. By default the first for sequences and folders,
        which are in one split as a whole.
    held_out
        That share.
    draws
        How often is selected, held out and learnt.
    head_draws
        How often is selected and a head for masks trained, which takes longer.
    neighbours
        Neighbours that vote.
    l2
        Penalty of the logistic regression: half of it times the squared weights, of standardised
        features, beside the mean cross-entropy.
    iterations
        Its iterations of L-BFGS, at most.
    hidden
        Width of the MLP.
    steps
        Its steps of AdamW, on all samples at once.
    learning_rate
        Its highest, which a cosine brings down.
    """

    tasks: Annotated[Each[Task], wanted(f"some of {list(get_args(Task))}, each once")] = (
        "classification",
    )
    probes: Annotated[Each[Kind], wanted(f"some of {list(get_args(Kind))}, each once")] = (
        "knn",
        "linear",
    )
    by: By = "sequence"
    test: Literal["", "held-out", "split"] = ""
    held_out: Between = 0.2
    draws: Positive = 20
    head_draws: Positive = 5
    neighbours: Positive = 1
    l2: NotNegativeNumber = 1e-3
    iterations: Positive = 200
    hidden: Positive = 64
    steps: Positive = 200
    learning_rate: PositiveNumber = 1e-3

    @property
    def asks_split(self) -> bool:
        """Whether the samples of a split are asked about."""
        return (self.test or ("split" if self.by in ("label", "lesion") else "held-out")) == "split"
