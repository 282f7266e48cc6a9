"""The group of the processes that torchrun started: how they join, talk, lose one and leave.

``torchrun --nproc-per-node N ...`` starts N processes; each finds its number and the others by the
environment that torchrun sets. They talk through gloo on CPUs and NCCL on GPUs. Every process calls
the same methods in the same order. Arrays of any type travel as their bytes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.sharded.group import LostRankError

with needs("benchmark"):
    import torch
    from torch import Tensor, distributed

T = TypeVar("T")

_MOST_AXES = 3
_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by torchrun, to each process


class TorchGroup:
    """The default process group of torch.distributed, or a process of its own.

    Made by :func:`join_group`. As a context manager, none leaves the block before all do; after an
    exception it waits for nobody, as the others may never come.

    Attributes
    ----------
    rank, size : int
        The number of this process, and of all.
    sent : int
        Bytes of arrays that this process has sent to others so far: what it gave, once for each
        of them.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size, self.sent = rank, size, 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes what all have in common, and shows progress."""
        return self.rank == 0

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the arrays of all, by rank. They agree in type and in all axes but the first."""
        if self.size == 1:
            return [array]
        lengths = self._gather_equal(np.array([len(array)], np.int64), 8)
        rows = [int(length.view(np.int64)[0]) for length in lengths]
        width = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        if max(rows) * width == 0:
            return [np.empty((count, *array.shape[1:]), array.dtype) for count in rows]
        bits = self._gather_equal(array, max(rows) * width)
        return [
            part[: count * width].view(array.dtype).reshape(count, *array.shape[1:])
            for part, count in zip(bits, rows, strict=True)
        ]

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        """Return the array of process `root`; the others pass None (theirs is not looked at)."""
        if self.size == 1:
            assert array is not None
            return array
        about = np.zeros(_MOST_AXES + 2, np.int64)  # type, number of axes, axes
        if self.rank == root:
            assert array is not None
            shape = array.shape
            code = np.frombuffer(array.dtype.str.encode().ljust(8), np.int64)[0]
            about[: 2 + len(shape)] = [code, len(shape), *shape]
        about = self._broadcast_bytes(about.view(np.uint8), root).view(np.int64)
        dtype = np.dtype(about[:1].tobytes().decode().strip())
        shape = tuple(about[2 : 2 + about[1]].tolist())
        if self.rank == root:
            assert array is not None
            bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        else:
            bits = np.empty(int(np.prod(shape)) * dtype.itemsize, np.uint8)
        if bits.size:
            bits = self._broadcast_bytes(bits, root)
        return bits.view(dtype).reshape(shape)

    def mean(self, tensor: Tensor) -> None:
        """Put the mean over all processes into a tensor, in place.

        Summed in an order that the number of processes and the tensor's size fix, so that it comes
        out the same each time.
        """
        if self.size > 1:
            self._talk(lambda: distributed.all_reduce(tensor))
            tensor /= self.size

    def agree(self, what: str, value: int) -> None:
        """Make sure that all hold the same number.

        Raises
        ------
        RuntimeError
            They do not: they see different folders.
        """
        found = [int(its[0]) for its in self.allgather(np.array([value]))]
        if len(set(found)) > 1:
            raise RuntimeError(
                f"{what} differs among the processes: {found}; they must see the same folders"
            )

    def barrier(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            self._talk(distributed.barrier)

    def __enter__(self) -> TorchGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.barrier()

    def _gather_equal(self, array: NDArray[Any], nbytes: int) -> list[NDArray[np.uint8]]:
        own = np.zeros(nbytes, np.uint8)
        bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        own[: bits.size] = bits
        tensor = torch.from_numpy(own).to(_device())
        out = [torch.empty_like(tensor) for _ in range(self.size)]
        self._talk(lambda: distributed.all_gather(out, tensor))
        self.sent += nbytes * (self.size - 1)
        return [part.cpu().numpy() for part in out]

    def _broadcast_bytes(self, bits: NDArray[np.uint8], root: int) -> NDArray[np.uint8]:
        writable = bits if bits.flags.writeable else bits.copy()
        tensor = torch.from_numpy(writable).to(_device())
        self._talk(lambda: distributed.broadcast(tensor, root))
        if self.rank == root:
            self.sent += bits.nbytes * (self.size - 1)
        return tensor.cpu().numpy()

    def _talk(self, say: Callable[[], T]) -> T:
        try:
            return say()
        except RuntimeError as error:  # torch.distributed's own errors are kinds of it
            atexit.unregister(_leave)  # which might wait for the lost one
            raise LostRankError(
                f"rank {self.rank} of {self.size} lost another rank, which has died, failed or not "
                "answered in time (its own output says why): start the same again; embedding, "
                "pre-training and calls with a checkpoint go on from what is done. "
                f"({' '.join(str(error).split())[:200]})"
            ) from error


def join_group(
    device: str | torch.device = "cpu", *, timeout: float = 1800.0, alone: bool = False
) -> TorchGroup:
    """Join the processes that torchrun has started; use it as a context manager.

    A group that the process has joined already is used as it is. One that is begun here stays until
    the process ends, since beginning a second one may find what the first left behind.

    Parameters
    ----------
    device
        What arrays travel through: the CPU, which serves the kernels also where there are GPUs, or
        each process's GPU ("cuda").
    timeout
        Seconds after which a process that is waited for counts as lost: the first one may write a
        model, or hash the shards of an earlier run. One that dies is noticed at once.
    alone
        Whether a process that was not started by torchrun is a group of its own.

    Raises
    ------
    RuntimeError
        The process was not started by torchrun, and may not be alone.
    """
    if distributed.is_available() and distributed.is_initialized():
        return TorchGroup(distributed.get_rank(), distributed.get_world_size())
    missing = [name for name in _TOLD if name not in os.environ]
    if alone and (missing or os.environ["WORLD_SIZE"] == "1"):
        return TorchGroup()
    if missing:
        raise RuntimeError(f"join_group wants a process started by torchrun: {missing} are not set")
    gpu = str(device).startswith("cuda")
    if gpu:
        torch.cuda.set_device(own_device(device))
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(seconds=timeout))
    atexit.register(_leave)
    return TorchGroup(distributed.get_rank(), distributed.get_world_size())


def own_device(device: str | torch.device) -> str | torch.device:
    """Give "auto" and "cuda" the GPU of this process's number on its machine."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or str(device) not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{local}"


def _device() -> str:
    """Give where the process group wants its tensors: NCCL takes those of a GPU alone."""
    gpu = distributed.get_backend() == "nccl"
    return f"cuda:{torch.cuda.current_device()}" if gpu else "cpu"


def _leave() -> None:
    """End the process group; all have been at the end of the last block."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
