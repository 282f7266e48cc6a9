"""The network that a pre-training starts from: what an encoder is worth that learned nothing."""

from __future__ import annotations

from pathlib import Path

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.training.device import choose
from meddel_fast.training.methods import METHODS
from meddel_fast.training.pretrain import write_model
from meddel_fast.training.settings import PretrainConfig

with needs("benchmark"):
    import torch


def write_untrained(
    folder: StrPath, config: PretrainConfig, *, device: str | torch.device = "auto"
) -> Path:
    """Write the first weights of the pre-training of `config`, before its first step.

    Parameters
    ----------
    folder
        Gets what ``model/`` of a pre-training gets.
    config
        Architecture, method and seed; the rest is of no effect.
    device
        ``"auto"``, or a torch device; the weights are the same on every one.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    compute = choose(device, config.precision)
    network = METHODS[config.method].build(config, compute)
    record: dict[str, object] = {"steps": 0, "method": config.method, "seed": config.seed}
    write_model(Path(folder), network, config, record, compute.device.type)
    return Path(folder)
