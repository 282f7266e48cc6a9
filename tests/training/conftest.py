"""Fixtures for learning: data in two parts, a model trained on it, encoders of every family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


@pytest.fixture(scope="module")
def train(data: Manifest, request: pytest.FixtureRequest) -> Manifest:
    """The first images of the module's `data`, as many as its TRAIN_IMAGES."""
    return data.take(np.arange(request.module.TRAIN_IMAGES))


@pytest.fixture(scope="module")
def test(data: Manifest, request: pytest.FixtureRequest) -> Manifest:
    """The images of `data` that are not in `train`."""
    return data.take(np.arange(request.module.TRAIN_IMAGES, len(data)))


@pytest.fixture(scope="module")
def model(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MAE that saw `data` for twenty steps."""
    from frames import TINY

    from meddel_fast.training.pretrain import pretrain

    return pretrain(data, None, tmp_path_factory.mktemp("mae"), replace(TINY, steps=20))


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What gives the folder of an encoder of a family; copy it before you change anything in it."""
    from encoder_families import saver

    return saver(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module")
def quiet_transformers() -> None:
    """One thread, no progress bars."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
