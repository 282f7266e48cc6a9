"""The loss of a MAE is that of transformers' network, and so are its gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from frames import TINY

from meddel_fast.training.device import Compute, choose
from meddel_fast.training.encoders.vit import build_mae
from meddel_fast.training.mae_loss import mae_loss, patchify
from meddel_fast.training.settings import PretrainConfig

GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randn(3, 3, 32, 32, generator=GENERATOR)


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of a loss by the name of the weight; those of a biased key are always 0."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: grad for name, grad in found.items() if not name.endswith("k_proj.bias")}


def both(
    config: PretrainConfig, compute: Compute
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    model = build_mae(config, compute).train()
    with torch.no_grad():  # else the two norms of a layer, and all biases, would look alike
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=GENERATOR))
    patches = (config.image_size // config.patch_size) ** 2
    noise = torch.rand(len(PIXELS), patches, generator=GENERATOR)
    with compute.autocast():
        wanted = model(PIXELS, noise=noise).loss
    found = mae_loss(model, PIXELS, noise, compute)
    return wanted.detach(), found.detach(), gradients(model, wanted), gradients(model, found)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm_pix_loss": False},
        {"mask_ratio": 0.3},
        {"mask_ratio": 0.97},  # nothing is seen but the class token
        {"decoder_layers": 3, "layers": 1},
        {"patch_size": 16},
    ],
)
def test_loss_and_gradients_are_the_networks(settings: dict[str, Any]) -> None:
    wanted, found, of_wanted, of_found = both(replace(TINY, **settings), choose("cpu", "fp32"))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
    assert set(of_found) == set(of_wanted)
    for name, grad in of_wanted.items():
        scale = max(1e-4, float(grad.abs().max()))
        torch.testing.assert_close(of_found[name], grad, rtol=0, atol=2e-5 * scale, msg=name)


def test_bf16_is_as_near_to_fp32_as_autocast_is() -> None:
    state = GENERATOR.get_state()
    exact, _, of_exact, _ = both(TINY, choose("cpu", "fp32"))
    GENERATOR.set_state(state)
    _, found, _, of_found = both(TINY, choose("cpu", "bf16"))
    torch.testing.assert_close(found, exact, rtol=2e-3, atol=0)
    for name, grad in of_exact.items():
        assert of_found[name].dtype == torch.float32
        error = (of_found[name] - grad).norm() / grad.norm()
        assert error < 0.05, (name, error)


def test_patches_lie_row_by_row_with_colours_first() -> None:
    cells = patchify(PIXELS, 8)
    assert cells.shape == (3, 16, 192)
    torch.testing.assert_close(cells[1, 4 * 2 + 3].view(3, 8, 8), PIXELS[1, :, 16:24, 24:32])
