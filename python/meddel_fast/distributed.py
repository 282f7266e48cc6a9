"""Several processes that embed or pre-train together, started by torchrun.

``torchrun --nproc-per-node N -m meddel_fast embed ...`` starts N processes; each finds its number
and the others by the environment that torchrun sets. All must see the same folders. Without
torchrun there is one process, and nothing here needs torch.distributed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from meddel_fast.extras import needs

with needs("benchmark"):
    import torch
    from torch import Tensor, distributed

T = TypeVar("T")

# How long a process that has not died may keep the others waiting: the first one writes a model, or
# hashes the shards of an earlier run.
PATIENCE = timedelta(minutes=30)


class LostProcessError(RuntimeError):
    """Another process of the job died, or did not answer in time."""


@dataclass(frozen=True)
class Processes:
    """The processes of a job as one of them sees them.

    Attributes
    ----------
    rank
        Its number; 0 is the one that writes what all have in common, and shows progress.
    size
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            self._together(distributed.barrier)

    def mean(self, tensor: Tensor) -> None:
        """Put the mean over all processes into a tensor, in place.

        Summed in an order that the number of processes and the tensor's size fix, so that it comes
        out the same each time.
        """
        if self.size > 1:
            self._together(lambda: distributed.all_reduce(tensor))
            tensor /= self.size

    def agree(self, what: str, value: int, device: torch.device) -> None:
        """Make sure that all hold the same number.

        Raises
        ------
        RuntimeError
            They do not: they see different folders.
        """
        if self.size == 1:
            return
        values = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.size)]
        own = torch.tensor([value], device=device)
        self._together(lambda: distributed.all_gather(values, own))
        found = [int(v) for v in values]
        if len(set(found)) > 1:
            raise RuntimeError(
                f"{what} differs among the processes: {found}; they must see the same folders"
            )

    def _together(self, talk: Callable[[], T]) -> T:
        try:
            return talk()
        except RuntimeError as error:  # torch.distributed's own are kinds of it
            atexit.unregister(_leave)  # which might wait for the lost one
            raise LostProcessError(
                f"process {self.rank} of {self.size} lost another one, which died or did not "
                f"answer within {PATIENCE}: start the same again to go on from what is done. "
                f"({' '.join(str(error).split())[:200]})"
            ) from error


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Work with the other processes that torchrun started; none leaves the block before all do.

    They talk through gloo on CPUs and NCCL on GPUs. A process group that exists already is used.
    One that is begun here stays until the process ends, since beginning a second one may find what
    the first left behind.
    """
    group = _join(device)
    yield group
    group.barrier()  # not after an exception: the others may never come


def _join(device: torch.device) -> Processes:
    if not (distributed.is_available() and distributed.is_initialized()):
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
            return Processes()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        atexit.register(_leave)
    return Processes(distributed.get_rank(), distributed.get_world_size())


def _leave() -> None:
    """End the process group; all have been at the end of the last block."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def own_device(device: str | torch.device) -> str | torch.device:
    """Give "auto" and "cuda" the GPU of this process's number on its machine."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or str(device) not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{local}"
