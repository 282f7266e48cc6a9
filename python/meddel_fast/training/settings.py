"""Settings of encoders, of pre-training and of the heads on top."""

from __future__ import annotations

import sys
from dataclasses import field, replace
from typing import Annotated, Any, Literal

from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.settings import (
    CONFIG,
    BelowOne,
    Between,
    Flag,
    NotNegative,
    NotNegativeNumber,
    Number,
    Positive,
    PositiveNumber,
    Whole,
    must,
    one_line,
    wanted,
)

with needs("benchmark"):
    from pydantic import BeforeValidator
    from pydantic.dataclasses import dataclass

Method = Literal["mae", "simmim"]
Pooling = Literal["mean", "cls"]
Precision = Literal["auto", "fp32", "bf16"]


def _key(ratio: Any) -> Any:
    """Give a ratio as JSON writes it for a key."""
    return str(float(ratio)) if isinstance(ratio, float) else ratio


def _are_epochs(table: dict[str, float]) -> bool:
    """Whether a table has numbers above 0 by ratios, each of them once."""
    try:
        ratios = {float(text) for text in table}
    except ValueError:
        return False
    right = all(0 < r <= 1 for r in ratios) and all(
        0 < e <= sys.float_info.max for e in table.values()
    )
    return right and len(ratios) == len(table)


Epochs = Annotated[
    dict[Annotated[str, BeforeValidator(_key)], Whole | Number],
    must("such a table", _are_epochs),
    wanted('a table of numbers greater than 0 by ratios in (0, 1], such as {"0.5" = 400}'),
]


@one_line
@dataclass(frozen=True, config=CONFIG)
class PretrainConfig:
    """Masked pre-training. The defaults are ViT-Base as in the paper.

    `checkpoint_every` and `workers` do not change the result, `compile` only how it is rounded.

    Attributes
    ----------
    image_size
        Side of the square that images are brought to, in pixels; a multiple of `patch_size`.
    patch_size
        Side of a patch, in pixels.
    hidden_size
        Width of the encoder; a multiple of `heads`.
    layers
        Layers of the encoder.
    heads
        Attention heads of a layer of the encoder.
    decoder_hidden_size
        Width of the decoder of "mae"; a multiple of `decoder_heads`.
    decoder_layers
        Layers of the decoder of "mae".
    decoder_heads
        Attention heads of a layer of the decoder of "mae".
    mask_ratio
        Share of the patches that is hidden.
    norm_pix_loss
        Whether "mae" restores patches whose pixels are normalised, each patch by itself.
    steps
        Optimiser steps, for every ratio.
    batch_size
        Images of a step.
    learning_rate
        The highest, which a cosine brings down after the warm-up.
    warmup_steps
        Steps in which the learning rate rises from 0; not more than `steps`.
    weight_decay
        That of AdamW.
    betas
        Those of AdamW.
    crop
        Whether images are cropped at random, and every other one mirrored.
    colour_jitter
        How far the colours of each image are varied: with c, each channel of its normalised pixels
        is multiplied by a number from [1 - c, 1 + c] and moved by one from [-c, c]; 0 leaves them
        as they are.
    precision
        What products are made in: bfloat16, float32, or, with "auto", what suits the device.
    compile
        Whether ``torch.compile`` has the step; "auto": where a trial on a GPU shows that it pays.
    checkpoint_every
        Steps between two checkpoints.
    workers
        Threads that decode images; 0 is one per core.
    seed
        Seed of the weights, the order, the crops, the colours and the masks.
    method
        "mae" has a decoder of its own over the patches that it sees; "simmim" sees mask tokens too
        and has one linear layer for a decoder: it has no use for ``decoder_*`` and `norm_pix_loss`.
    epochs
        Another way to say how long: epochs by the ratio kept, such as ``{"1.0" = 200, "0.5" =
        400}``, from which the steps follow with the number of images.
    """

    image_size: Positive = 224
    patch_size: Positive = 16
    hidden_size: Positive = 768
    layers: Positive = 12
    heads: Positive = 12
    decoder_hidden_size: Positive = 512
    decoder_layers: Positive = 8
    decoder_heads: Positive = 16
    mask_ratio: Between = 0.75
    norm_pix_loss: Flag = True
    steps: Positive = 10_000
    batch_size: Positive = 16
    learning_rate: PositiveNumber = 1.5e-4
    warmup_steps: NotNegative = 500
    weight_decay: NotNegativeNumber = 0.05
    betas: Annotated[
        tuple[BelowOne, BelowOne], wanted("a list of 2 values, two numbers in [0, 1)")
    ] = (0.9, 0.95)
    crop: Flag = True
    colour_jitter: BelowOne = 0.0
    precision: Precision = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    checkpoint_every: Positive = 200
    workers: NotNegative = 0
    seed: Whole = 0
    method: Method = "mae"
    epochs: Epochs = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.epochs and self.warmup_steps > self.steps:  # with them these are not known yet
            raise ConfigError(f"warmup_steps must be 0 to {self.steps}, got {self.warmup_steps}")
        for whole, part in (
            ("image_size", "patch_size"),
            ("hidden_size", "heads"),
            ("decoder_hidden_size", "decoder_heads"),
        ):
            size, divisor = getattr(self, whole), getattr(self, part)
            if size % divisor:
                raise ConfigError(f"{whole} must be a multiple of {part} ({divisor}), got {size}")

    def epochs_at(self, ratio: float) -> float | None:
        """Epochs that `epochs` has for a ratio; None when it has none."""
        return next((float(e) for r, e in self.epochs.items() if float(r) == ratio), None)

    def at_ratio(self, ratio: float, images: int) -> PretrainConfig:
        """Settle the steps of a run on `images` images, kept at `ratio`.

        Without `epochs` these settings as they are. With them, the steps that the ratio's epochs
        come to, at least one, and a warm-up of at most a tenth of them.
        """
        if not self.epochs:
            return self
        epochs = self.epochs_at(ratio)
        if epochs is None:
            raise ConfigError(f"epochs must have the ratio {ratio:g}, got {self.epochs!r}")
        steps = max(1, round(epochs * images / self.batch_size))
        warmup = min(self.warmup_steps, steps // 10)
        return replace(self, steps=steps, warmup_steps=warmup, epochs={})


@one_line
@dataclass(frozen=True, config=CONFIG)
class EncoderConfig:
    """The encoder that embeds the pool for the selectors.

    Attributes
    ----------
    path
        A local folder or a hub name. When it is empty the run uses a MAE encoder of its own, of the
        ``[pretrain]`` architecture.
    steps
        Steps that the run's own encoder is trained for; 0 takes the very model that the ratio 1.0
        pre-trains.
    pooling
        How the tokens of an image become one vector.
    centre
        Whether the selectors see the embeddings less their mean; the paper does not say.
    image_size
        Side of the square that images are brought to, in pixels; by default the encoder's own.
    batch_size
        Images that are embedded at a time.
    dtype
        What embeddings are kept as.
    """

    path: str = ""
    steps: NotNegative = 0
    pooling: Pooling = "mean"
    centre: Flag = True
    image_size: Positive | None = None
    batch_size: Positive = 64
    dtype: Literal["float32", "float16"] = "float32"


@one_line
@dataclass(frozen=True, config=CONFIG)
class DownstreamConfig:
    """Segmentation with an MLP head on the pre-trained encoder.

    Attributes
    ----------
    image_size
        Side of the square that images and masks are brought to, in pixels; in a config by default
        that of ``[pretrain]``.
    head
        Kind of the head.
    head_hidden
        Width of the head.
    steps
        Optimiser steps.
    batch_size
        Images of a step.
    learning_rate
        The highest, which a cosine brings down after a short warm-up.
    weight_decay
        That of AdamW.
    encoder
        "frozen" trains the head alone, on tokens that are computed once; "finetuned" the encoder
        too, at a tenth of the head's learning rate.
    precision
        What products are made in: bfloat16, float32, or, with "auto", what suits the device.
    threshold
        Probability above which a pixel counts as lesion.
    """

    image_size: Positive = 224
    head: Literal["mlp"] = "mlp"
    head_hidden: Positive = 256
    steps: Positive = 1_000
    batch_size: Positive = 16
    learning_rate: PositiveNumber = 1e-3
    weight_decay: NotNegativeNumber = 0.05
    encoder: Literal["frozen", "finetuned"] = "finetuned"
    precision: Precision = "auto"
    threshold: Between = 0.5


@one_line
@dataclass(frozen=True, config=CONFIG)
class ClassificationConfig:
    """Classification by a linear probe and by the nearest neighbours, of a frozen encoder.

    Attributes
    ----------
    image_size
        Side of the square that images are brought to, in pixels; in a config by default that of
        ``[downstream]``.
    labels
        Where an image's class comes from: "label" is the manifest's column, "lesion" whether its
        mask has any pixel set.
    pooling
        How the tokens of an image become one vector.
    neighbours
        Nearest neighbours that are asked.
    l2
        Penalty of the probe: half of it times the squared weights, of standardised features, beside
        the mean cross-entropy.
    iterations
        Iterations of L-BFGS, at most.
    batch_size
        Images that are embedded at a time.
    precision
        What products are made in: bfloat16, float32, or, with "auto", what suits the device.
    """

    image_size: Positive = 224
    labels: Literal["label", "lesion"] = "label"
    pooling: Pooling = "mean"
    neighbours: Positive = 20
    l2: NotNegativeNumber = 1e-3
    iterations: Positive = 200
    batch_size: Positive = 64
    precision: Precision = "auto"


@one_line
@dataclass(frozen=True, config=CONFIG)
class LocalisationConfig(DownstreamConfig):
    """One box an image, from a segmentation head that is trained on filled boxes.

    In a config it takes what it shares with ``[downstream]`` from there.

    Attributes
    ----------
    min_area
        Parts of a mask smaller than this, a share of the image, are no box.
    """

    min_area: Annotated[BelowOne, wanted("0 or greater, and less than 1")] = 0.001
