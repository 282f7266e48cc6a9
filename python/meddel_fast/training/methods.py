"""Methods of pre-training: what network a method trains, and what a step feeds it.

A method is a row of :data:`METHODS`. Batches, crops and the noise that decides which patches are
masked are the same for all of them; so are the schedule, the checkpoints and the files that
`pretrain` writes, from which ``AutoModel`` takes the encoder. (DINO and its kin are not here:
transformers has their encoders, but no class that trains them.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meddel_fast.common.extras import needs
from meddel_fast.training.device import Compute, Stream, quiet_transformers, torch_seed
from meddel_fast.training.encoders.vit import (
    build_mae,
    encoder_shape,
    initialise_linear,
    sine_cosine,
)
from meddel_fast.training.mae_loss import mae_loss
from meddel_fast.training.settings import PretrainConfig

with needs("benchmark"):
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Method:
    """One way to pre-train.

    Attributes
    ----------
    build
        Makes the network, with weights drawn from ``config.seed``.
    loss
        Gives the loss of a network on pixels (b, 3, h, w), of which noise (b, patches) in [0, 1)
        decides what is masked.
    """

    build: Callable[[PretrainConfig, Compute], Any]
    loss: Callable[[Any, Tensor, Tensor, PretrainConfig, Compute], Tensor]


def build_simmim(config: PretrainConfig, compute: Compute) -> Any:
    """Make a ``ViTForMaskedImageModeling`` with weights drawn from ``config.seed``.

    Positions start as those of a MAE, and are trained.
    """
    if config.hidden_size % 4:
        raise ValueError(
            f"hidden_size: wanted a multiple of 4 (sine-cosine positions), got {config.hidden_size}"
        )
    with quiet_transformers(), torch_seed(config.seed, Stream.WEIGHTS), torch.no_grad():
        with needs("benchmark"):
            from transformers import ViTConfig, ViTForMaskedImageModeling

        make: Any = ViTConfig  # its type does not list the arguments of its base class
        model: Any = ViTForMaskedImageModeling(
            make(encoder_stride=config.patch_size, **encoder_shape(config, compute))
        )
        initialise_linear(model)
        embeddings = model.vit.embeddings
        grid = config.image_size // config.patch_size
        positions = torch.from_numpy(sine_cosine(grid, config.hidden_size))
        embeddings.position_embeddings.copy_(positions)
        for token in (embeddings.cls_token, embeddings.mask_token):
            nn.init.normal_(token, std=0.02)
    return model.to(compute.device)


def masked(noise: Tensor, share: float) -> Tensor:
    """Tell which patches (b, patches) a MAE masks: those of the highest noise."""
    patches = noise.shape[1]
    ranks = noise.argsort(dim=1, stable=True).argsort(dim=1)
    return ranks >= int(patches * (1 - share))


def _simmim_loss(
    model: Any, pixels: Tensor, noise: Tensor, config: PretrainConfig, compute: Compute
) -> Tensor:
    with compute.autocast():
        loss: Tensor = model(pixels, bool_masked_pos=masked(noise, config.mask_ratio)).loss
    return loss


def _mae_loss(
    model: Any, pixels: Tensor, noise: Tensor, config: PretrainConfig, compute: Compute
) -> Tensor:
    return mae_loss(model, pixels, noise, compute)


METHODS: dict[str, Method] = {
    "mae": Method(build_mae, _mae_loss),
    "simmim": Method(build_simmim, _simmim_loss),
}
