"""Checkpoints of a training run: weights and optimiser moments in one safetensors file.

The file is written atomically and carries a digest of all it holds, so that what is read back is
what was written or is refused. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meddel_fast.common.atomic import atomic_path
from meddel_fast.common.extras import needs
from meddel_fast.common.files import check_readable

with needs("benchmark"):
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
    from torch import Tensor, nn

FORMAT = "1"  # those of earlier versions have no number, and are of this form too
_MOMENTS = ("exp_avg", "exp_avg_sq")


class DamagedCheckpointError(Exception):
    """A checkpoint that cannot be gone on from: cut, changed or newer; the message names it."""


def save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, key: str, step: int
) -> None:
    """Write the state after `step` steps of the run `key`, in place of an earlier one."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in _MOMENTS:
            if parameter in optimizer.state:
                tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"format": FORMAT, "key": key, "step": str(step)}
    metadata["digest"] = _digest(tensors, metadata)
    with atomic_path(path) as temporary, writing(path):
        save_file(tensors, temporary, metadata)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise what safetensors tells of the disk, as text alone, as the ``OSError`` about `path`."""
    try:
        yield
    except SafetensorError as error:
        told = re.search(r"\(os error (\d+)\)", str(error))
        if told is None:
            raise
        number = int(told[1])
        raise OSError(number, os.strerror(number), str(path)) from error


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, key: str) -> int:
    """Put a saved state into `model` and `optimizer`; return the number of steps done.

    Returns 0, with both untouched, when there is no checkpoint or it is of another run.

    Raises
    ------
    DamagedCheckpointError
        The file was cut or changed, or is of a format of a later version.
    PermissionError
        It may not be read.
    """
    if not path.is_file():
        return 0
    tensors, metadata = _read(path)
    if metadata["key"] != key:
        return 0
    step = int(metadata["step"])
    weights = {
        name.removeprefix("model."): value
        for name, value in tensors.items()
        if name.startswith("model.")
    }
    model.load_state_dict(weights)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            optimizer.state[parameter] = _moments(tensors, name, parameter, step)
    return step


def _moments(
    tensors: dict[str, Tensor], name: str, parameter: Tensor, step: int
) -> dict[str, Tensor]:
    state = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS}
    state["step"] = torch.tensor(float(step), device=parameter.device)
    return state


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_readable(path)  # what may not be read is not damaged
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedCheckpointError(f"{path} is damaged: {error}") from error
    if metadata.pop("digest", None) != _digest(tensors, metadata):
        raise DamagedCheckpointError(f"{path} is damaged: its content does not match its digest")
    if metadata.get("format", FORMAT) != FORMAT:
        raise DamagedCheckpointError(
            f"{path} is of format {metadata['format']:.80}, which needs a newer meddel-fast: this "
            f"one reads format {FORMAT}"
        )
    return tensors, metadata


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
