"""What pre-training varies of its images: a crop, every other one mirrored, and the colours.

The numbers are drawn where a batch is made, and put to use on the device. A crop is a bilinear
resampling with an own scale for each axis, so that it is two products with a matrix of two entries
a row: half the time that ``grid_sample`` takes on a CPU, and deterministic everywhere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.training.encoders.vit import shift_and_scale

with needs("benchmark"):
    import torch
    from torch import Tensor

# Share of the frame's area that a crop shows. MAE's 0.2 is for photographs of several hundred
# pixels; frames here are kept at the network's own size, and a smaller crop would only be blurred.
_CROP_AREA = (0.35, 1.0)
_CROP_LOG_ASPECT = (math.log(3 / 4), math.log(4 / 3))


def draw_crops(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Side and centre (n, 2, 2) of random crops, along x and along y.

    Both in coordinates from -1 to 1; a negative side mirrors, which every other crop has along x.
    """
    area = rng.uniform(*_CROP_AREA, n)
    aspect = np.exp(rng.uniform(*_CROP_LOG_ASPECT, n))
    sides = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)), 1)
    centres = rng.uniform(-1, 1, (n, 2)) * (1 - sides)
    sides[:, 0] *= rng.choice([-1, 1], n)
    return np.stack([sides, centres], axis=2).astype(np.float32)


def draw_colours(rng: np.random.Generator, n: int, jitter: float) -> NDArray[np.float32]:
    """Factor and shift (n, 2, 3) of the normalised channels of n images."""
    drawn = rng.uniform(-jitter, jitter, (n, 2, 3))
    drawn[:, 0] += 1
    return drawn.astype(np.float32)


def network_input(images: Tensor, crops: Tensor | None, colours: Tensor | None) -> Tensor:
    """Float32 (b, 3, h, w) for the network, of uint8 images (b, h, w, 3).

    As :func:`~meddel_fast.training.encoders.vit.normalise` gives it, cropped and coloured. What is
    linear commutes: the colours come last, and normalising is part of them.
    """
    pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    if crops is not None:
        pixels = crop(pixels, crops)
    mean, factor = shift_and_scale(images.device)
    shift = -mean * factor
    if colours is not None:
        gain, move = colours[..., None, None].unbind(dim=1)
        factor, shift = factor * gain, shift * gain + move
    return torch.addcmul(shift, pixels, factor)


def crop(pixels: Tensor, crops: Tensor) -> Tensor:
    """Resample images (b, c, h, w) bilinearly to what crops (b, 2, 2) show of them."""
    b, colours, height, width = pixels.shape
    across = _weights(crops[:, 0], width)
    down = _weights(crops[:, 1], height)
    rows = pixels.reshape(b, colours * height, width) @ across.transpose(1, 2)
    return down.unsqueeze(1) @ rows.view(b, colours, height, width)


def _weights(crops: Tensor, size: int) -> Tensor:
    """Matrices (b, size, size) that resample one axis; beyond its ends the last pixel goes on."""
    places = torch.arange(size, dtype=torch.float32, device=crops.device)
    side, centre = crops[:, :1], crops[:, 1:]
    seen = side * ((2 * places + 1) / size - 1) + centre  # pixels have their centres at halves
    seen = (((seen + 1) * size - 1) / 2).clamp(0, size - 1)
    return (1 - (seen.unsqueeze(2) - places).abs()).clamp_min(0)
