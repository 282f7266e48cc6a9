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
    masking
        Gives the network's arguments beside the pixels, of noise (b, patches) in [0, 1) and the
        share to mask.
    """

    build: Callable[[PretrainConfig, Compute], Any]
    masking: Callable[[Tensor, float], dict[str, Tensor]]


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


def _masked(noise: Tensor, share: float) -> dict[str, Tensor]:
    """Mask the patches that a MAE masks: those of the highest noise."""
    patches = noise.shape[1]
    ranks = noise.argsort(dim=1, stable=True).argsort(dim=1)
    return {"bool_masked_pos": ranks >= int(patches * (1 - share))}


METHODS: dict[str, Method] = {
    "mae": Method(build_mae, lambda noise, share: {"noise": noise}),
    "simmim": Method(build_simmim, _masked),
}
