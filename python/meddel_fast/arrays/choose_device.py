"""On which device an operation works: where its samples live, or where it was told to."""

from __future__ import annotations

import importlib
from typing import Any

from meddel_fast.arrays.rows import is_torch
from meddel_fast.common.extras import needs


def choose_device(device: Any | None, **samples: Any) -> Any | None:
    """Return the GPU to work on, as a torch.device, or None for the CPU.

    Without `device` it is where the samples (by argument) live; a GPU that is named takes them from
    the CPU too.

    Raises
    ------
    ValueError
        If the name is none, or the samples live elsewhere.
    RuntimeError
        If the GPU cannot be used here: the message says what is missing.
    """
    if device is None and not any(map(is_torch, samples.values())):
        return None
    homes = {name: str(array.device) for name, array in samples.items() if is_torch(array)}
    if device is None and not homes:
        return None
    away = {name: home for name, home in homes.items() if home != "cpu"}
    wanted = next(iter(away.values()), "cpu") if device is None else str(device)
    if wanted != "cpu" and wanted.partition(":")[0] != "cuda":
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {wanted!r}")
    chosen = None if wanted == "cpu" else _cuda_device(wanted)
    for name, home in away.items():
        if home != str(chosen):
            wanted = "the CPU" if chosen is None else f"the CPU or {chosen}"
            raise ValueError(f"{name} must be on {wanted}, which is to work on it, got {home}")
    return chosen


def _cuda_device(name: str) -> Any:
    with needs("gpu"):
        torch = importlib.import_module("torch")
        importlib.import_module("triton")
    if not torch.cuda.is_available():
        raise RuntimeError(f"device {name!r} cannot be used: torch finds no CUDA device here")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {name!r}") from None
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"device must be one of the {count} CUDA devices here, got {name!r}")
    return torch.device("cuda", index)
