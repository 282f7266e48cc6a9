"""Crops and colours of pre-training: what is drawn, and what becomes of the pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from frames import TINY, blob_frames
from torch.nn import functional

from meddel_fast.training.augment import crop, draw_colours, draw_crops, network_input
from meddel_fast.training.encoders.vit import normalise
from meddel_fast.training.loader import frames
from meddel_fast.training.pretrain import make_batch, pretrain

WHOLE = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
IMAGES = torch.randint(0, 256, (3, 16, 16, 3), generator=torch.Generator().manual_seed(0)).to(
    torch.uint8
)


def test_crops_stay_inside_and_every_other_one_is_mirrored() -> None:
    crops = draw_crops(np.random.default_rng(0), 500)
    assert (np.abs(crops[:, :, 0]) + np.abs(crops[:, :, 1])).max() <= 1 + 1e-6
    assert 0.4 < (crops[:, 0, 0] < 0).mean() < 0.6
    assert (crops[:, 1, 0] > 0).all()  # never upside down
    assert 0.3 < np.abs(crops[:, :, 0]).prod(axis=1).min() < 0.4


def test_whole_and_mirrored_crops_keep_the_pixels() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(crop(pixels, WHOLE.expand(2, 2, 2)), pixels)
    mirror = WHOLE * torch.tensor([[-1.0], [1.0]])
    torch.testing.assert_close(crop(pixels, mirror.expand(2, 2, 2)), pixels.flip(3))


def test_crops_are_those_of_grid_sample() -> None:
    drawn = torch.from_numpy(draw_crops(np.random.default_rng(1), 6))
    drawn[0] = torch.tensor([[1.5, 0.3], [1.2, -0.4]])  # beyond the edges as well
    maps = torch.zeros(6, 2, 3)
    maps[:, [0, 1], [0, 1]], maps[:, :, 2] = drawn[:, :, 0], drawn[:, :, 1]
    pixels = torch.rand(6, 3, 16, 24)
    grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
    wanted = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(crop(pixels, drawn), wanted, rtol=0, atol=2e-5)


def test_colours_are_drawn_within_the_jitter() -> None:
    colours = draw_colours(np.random.default_rng(0), 400, 0.4)
    assert np.abs(colours - [[[1.0], [0.0]]]).max() <= 0.4 + 1e-6
    assert np.abs(colours - [[[1.0], [0.0]]]).max() > 0.38
    assert (draw_colours(np.random.default_rng(0), 4, 0.0) == [[[1.0], [0.0]]]).all()


def test_network_input_is_normalised_cropped_and_coloured() -> None:
    plain = network_input(IMAGES, None, None)
    torch.testing.assert_close(plain, normalise(IMAGES), rtol=0, atol=1e-5)
    colours = torch.from_numpy(draw_colours(np.random.default_rng(2), 3, 0.5))
    crops = torch.from_numpy(draw_crops(np.random.default_rng(3), 3))
    gain, move = (colours[:, i, :, None, None] for i in range(2))
    wanted = crop(normalise(IMAGES), crops) * gain + move
    torch.testing.assert_close(network_input(IMAGES, crops, colours), wanted, rtol=0, atol=1e-4)


def test_jitter_changes_colours_alone(tmp_path: Path) -> None:
    data = blob_frames(tmp_path)
    pool, chosen = frames(data, TINY.image_size), np.arange(6)
    plain, varied = (
        make_batch(pool, chosen, replace(TINY, colour_jitter=c), 3) for c in (0.0, 0.3)
    )
    for name in ("images", "crops", "noise"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(varied, name))
    assert (plain.colours != varied.colours).all()
    again = make_batch(pool, chosen, replace(TINY, colour_jitter=0.3), 3)
    np.testing.assert_array_equal(varied.colours, again.colours)
    half = make_batch(pool, chosen, replace(TINY, colour_jitter=0.3), 3, slice(2, 4))
    np.testing.assert_array_equal(varied.colours[2:4], half.colours)
    weights = [
        pretrain(data, None, tmp_path / str(c), replace(TINY, steps=2, colour_jitter=c))
        .joinpath("model.safetensors")
        .read_bytes()
        for c in (0.0, 0.3)
    ]
    assert weights[0] != weights[1]


def test_wrong_jitter() -> None:
    with pytest.raises(ValueError, match=r"colour_jitter must be a number in \[0, 1\), got 1"):
        replace(TINY, colour_jitter=1.0)
