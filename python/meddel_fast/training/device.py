"""Where torch computes, in which precision, and from which seeds: the one place that decides.

Shared by the stages that train or run networks. Importing it imports torch; transformers only
inside :func:`quiet_transformers`.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs

with needs("benchmark"):
    import torch
    from torch import Tensor

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"

K = TypeVar("K")


class Stream(IntEnum):
    """The independent random streams of one seed."""

    WEIGHTS = 0
    ORDER = 1
    CROP = 2
    MASK = 3
    HEAD = 4
    FLIP = 5
    COLOUR = 6


@dataclass(frozen=True)
class Compute:
    """A device and the type that matrix products use on it."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """``"bf16"`` or ``"fp32"``, as settings name it."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @property
    def attention(self) -> str:
        """Attention implementation of transformers to ask for.

        On CPU the backward pass of torch's fused attention is slow in bf16 (12 ms a call against
        2 ms in fp32 for 64 x 65 tokens, torch 2.13); plain matrix products make a whole MAE step
        1.3 to 1.7 times as fast. In fp32 the two are level; on CUDA the fused one is taken untried.
        """
        slow = self.device.type == "cpu" and self.dtype == torch.bfloat16
        return "eager" if slow else "sdpa"

    def autocast(self) -> torch.autocast:
        """Context in which matrix products use `dtype`; weights stay fp32."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )

    def stage(self, array: NDArray[Any]) -> Tensor:
        """Make a tensor that :meth:`send` copies to the device while the host goes on.

        For a GPU in page-locked memory, of which torch keeps a pool; filling it is work for the
        thread that loads. On the CPU it is the array's own memory.
        """
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def send(self, staged: Tensor) -> Tensor:
        """Copy a staged tensor to the device, in the order of its current stream."""
        return staged.to(self.device, non_blocking=True)


def choose(device: str | torch.device = "auto", precision: str = "auto") -> Compute:
    """Settle the device and the precision.

    Parameters
    ----------
    device
        ``"auto"`` (CUDA when it is there, else the CPU) or a torch device such as ``"cuda:1"``.
    precision
        ``"fp32"``, ``"bf16"``, or ``"auto"``: bf16 where the device has the instructions for it.

    Raises
    ------
    ValueError
        An unknown precision or device, or a device that is not there.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision: wanted 'auto', 'fp32' or 'bf16', got {precision!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA answers an AssertionError
        raise ValueError(f"device: {device!r} cannot be used here: {error}") from error
    if precision == "auto":
        precision = "bf16" if _has_bf16(chosen) else "fp32"
    return Compute(chosen, torch.bfloat16 if precision == "bf16" else torch.float32)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # oneDNN also takes bf16 on AVX-512 machines without the instructions, but slowly.
        return _cpu_flag("_is_avx512_bf16_supported") or _cpu_flag("_is_amx_tile_supported")
    return False


def _cpu_flag(name: str) -> bool:
    """One of torch's private CPU probes; False where this torch does not have it."""
    probe = getattr(torch.cpu, name, None)
    return bool(probe is not None and probe())


def arrays(flow: Iterable[tuple[K, Tensor]]) -> Iterator[tuple[K, NDArray[Any]]]:
    """Give tensors as arrays, each while its device works on the next one."""
    held: tuple[K, Tensor, torch.cuda.Event | None] | None = None
    for key, tensor in flow:
        copy, copied = tensor.to("cpu", non_blocking=True), None  # into page-locked memory
        if tensor.is_cuda:
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(torch.cuda.current_stream(tensor.device))
        if held is not None:
            yield _landed(*held)
        held = key, copy, copied
    if held is not None:
        yield _landed(*held)


def _landed(key: K, copy: Tensor, copied: torch.cuda.Event | None) -> tuple[K, NDArray[Any]]:
    if copied is not None:
        copied.synchronize()
    return key, copy.numpy()


def rng_at(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """Give the generator for one place (a step, an epoch) of one stream of a seed.

    Nothing is carried from one place to the next, so that a resumed run needs no saved state and
    every device draws the same numbers.
    """
    if seed < 0:
        raise ValueError(f"seed: wanted an integer of 0 or more, got {seed}")
    return np.random.default_rng([seed, int(stream), *place])


@contextlib.contextmanager
def torch_seed(seed: int, stream: Stream) -> Iterator[None]:
    """Seed torch's CPU generator inside the block; the caller's state comes back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng_at(seed, stream).integers(2**62)))
        yield


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Ask torch for its deterministic algorithms inside the block, then restore what was.

    An operation without such an algorithm warns instead of failing.
    """
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")  # what cuBLAS wants, read when it starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        if workspace is None:
            del os.environ[_WORKSPACE]


@contextlib.contextmanager
def quiet_transformers(offline: bool = True) -> Iterator[None]:
    """Import transformers and keep its notices and bars out of the terminal inside the block.

    Loading an encoder out of a MAE checkpoint, for instance, would list the decoder's weights as
    unexpected. The network is not asked unless `offline` is false, and told nothing of this
    machine: huggingface_hub 2.4 asks the Hub which agent runs it even for local files alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with needs("benchmark"):
            from huggingface_hub import constants
            from transformers.utils import logging as untyped

        logging: Any = untyped
        hub: Any = constants
        asked = hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY
        hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY = asked[0] or offline, True
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY = asked
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
