"""The processes that work on one set together, and the two things that they say to each other.

Every process calls the same methods in the same order. Arrays of any type travel as their bytes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.extras import needs

T = TypeVar("T")

_MOST_AXES = 3


class Group(Protocol):
    """Processes numbered 0 to size - 1.

    Attributes
    ----------
    rank, size : int
        The number of this process, and of all.
    sent : int
        Bytes that this process has sent to others so far: what it gave, once for each of them.
    """

    rank: int
    size: int
    sent: int

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the arrays of all, by rank. They agree in type and in all axes but the first."""

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        """Return the array of process `root`; the others pass None (theirs is not looked at)."""


class SoloGroup:
    """One process on its own."""

    rank = 0
    size = 1
    sent = 0

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return its own array."""
        return [array]

    def broadcast(self, array: NDArray[Any] | None, root: int) -> NDArray[Any]:
        """Return its own array."""
        assert array is not None
        return array


class TorchGroup:
    """The default process group of torch.distributed. See :func:`join_group`."""

    def __init__(self, *, owner: bool = False) -> None:
        with needs("benchmark"):
            self._torch: Any = importlib.import_module("torch")
            self._dist: Any = importlib.import_module("torch.distributed")
        self._owner = owner
        self.rank, self.size = int(self._dist.get_rank()), int(self._dist.get_world_size())
        self.sent = 0
        gloo = self._dist.get_backend() != "nccl"  # which takes tensors of a GPU alone
        self._device = "cpu" if gloo else f"cuda:{self._torch.cuda.current_device()}"

    def allgather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the arrays of all, by rank."""
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
        """Return the array of process `root`."""
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

    def close(self) -> None:
        """Leave, once all processes are done; ends the process group if this class began it."""
        if self._owner and self._dist.is_initialized():
            self._talk(self._dist.barrier)  # or the store may end while others still ask it
            self._leave()

    def _leave(self) -> None:
        if self._owner and self._dist.is_initialized():
            self._dist.destroy_process_group()

    def __enter__(self) -> TorchGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self._leave()  # at once, so that the others notice

    def _gather_equal(self, array: NDArray[Any], nbytes: int) -> list[NDArray[np.uint8]]:
        own = np.zeros(nbytes, np.uint8)
        bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        own[: bits.size] = bits
        tensor = self._torch.from_numpy(own).to(self._device)
        out = [self._torch.empty_like(tensor) for _ in range(self.size)]
        self._talk(lambda: self._dist.all_gather(out, tensor))
        self.sent += nbytes * (self.size - 1)
        return [part.cpu().numpy() for part in out]

    def _broadcast_bytes(self, bits: NDArray[np.uint8], root: int) -> NDArray[np.uint8]:
        writable = bits if bits.flags.writeable else bits.copy()
        tensor = self._torch.from_numpy(writable).to(self._device)
        self._talk(lambda: self._dist.broadcast(tensor, root))
        if self.rank == root:
            self.sent += bits.nbytes * (self.size - 1)
        return tensor.cpu().numpy()  # type: ignore[no-any-return]

    def _talk(self, say: Callable[[], T]) -> T:
        try:
            return say()
        except RuntimeError as error:  # torch.distributed's own errors are kinds of it
            raise RuntimeError(
                f"rank {self.rank} of {self.size} lost another rank, which has died, failed or "
                f"not answered in time (its own output says why): {error}"
            ) from error


def join_group(*, backend: str = "gloo", timeout: float = 1800.0) -> TorchGroup:
    """Join the processes that torchrun has started; use it as a context manager.

    The kernels run on the CPU, so that gloo serves also where there are GPUs. A group that the
    process has joined already (by ``torch.distributed``) is used as it is, and not ended.

    Parameters
    ----------
    backend
        Of torch.distributed: "gloo", or "nccl" (arrays then travel through each process's GPU).
    timeout
        Seconds after which a process that is waited for counts as lost. One that dies is noticed
        at once.

    Raises
    ------
    RuntimeError
        The process was not started by torchrun.
    """
    with needs("benchmark"):
        torch: Any = importlib.import_module("torch")
        dist: Any = importlib.import_module("torch.distributed")
    if dist.is_initialized():
        return TorchGroup()
    missing = [
        v for v in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if v not in os.environ
    ]
    if missing:
        raise RuntimeError(f"join_group wants a process started by torchrun: {missing} are not set")
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    return TorchGroup(owner=True)
