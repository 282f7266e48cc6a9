"""Samples as the pipelines take them: on the device, or in host memory and sent there in chunks.

``Rows(data, device)`` holds an (n, d) tensor of float32, float16, bfloat16, int8 or float64 (which
is rounded to float32). Where ``data`` lies on another device than ``device`` it stays there:
:meth:`Rows.chunks` sends it part by part, the copy of one beside the work on the one before, and
:meth:`Rows.take` sends single rows. Neither changes a result.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK_BYTES = 1 << 26  # of a chunk widened to fp64; the pipelines hold a few such at a time
BLOCK_ROWS = 1024  # chunks are whole blocks of the contract's sums over samples


class Rows:
    """An (n, d) set of samples and the device that works on it."""

    def __init__(self, data: Tensor, device: torch.device) -> None:
        self.device = device
        self.resident = data.device == device
        if self.resident and data.dtype == torch.float64:
            data = data.to(torch.float32)
        if data.stride(1) != 1 or data.stride(0) < data.shape[1]:
            data = data.contiguous()
        self.data = data

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.data.shape[0]

    @property
    def d(self) -> int:
        """Number of columns."""
        return self.data.shape[1]

    def chunks(self, *, whole: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, rows on the device), in order, some CHUNK_BYTES each as fp64.

        A chunk begins at a multiple of BLOCK_ROWS and is valid until the next one is asked for.
        With `whole`, rows that are on the device come at once.
        """
        size = max(1, CHUNK_BYTES // (8 * self.d) // BLOCK_ROWS) * BLOCK_ROWS
        if whole and self.resident:
            size = self.n
        if not self.resident and self.device.type == "cuda":
            yield from self._sent(size)
            return
        for begin in range(0, self.n, size):
            yield begin, _rounded(self.data[begin : begin + size].to(self.device))

    def _sent(self, size: int) -> Iterator[tuple[int, Tensor]]:
        """Send chunks by two pinned buffers: one is filled while the other's rows are worked on."""
        size = min(size, self.n)
        shape, kind = (size, self.d), self.data.dtype
        pinned = [torch.empty(shape, dtype=kind, pin_memory=True) for _ in range(2)]
        there = [torch.empty(shape, dtype=kind, device=self.device) for _ in range(2)]
        sent, used = ([torch.cuda.Event() for _ in range(2)] for _ in range(2))
        copies, work = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        copies.wait_stream(work)  # the buffers' memory may still be in use by earlier work
        for number, begin in enumerate(range(0, self.n, size)):
            slot, part = number % 2, self.data[begin : begin + size]
            sent[slot].synchronize()
            pinned[slot][: len(part)].copy_(part)
            with torch.cuda.stream(copies):
                copies.wait_event(used[slot])
                there[slot][: len(part)].copy_(pinned[slot][: len(part)], non_blocking=True)
                sent[slot].record(copies)
            work.wait_event(sent[slot])
            yield begin, _rounded(there[slot][: len(part)])
            used[slot].record(work)
        work.wait_stream(copies)

    def take(self, index: Tensor) -> Tensor:
        """Return the rows of an int64 index on the device."""
        if self.resident:
            return self.data.index_select(0, index)
        return _rounded(self.data[index.to(self.data.device)].to(self.device))


def _rounded(rows: Tensor) -> Tensor:
    return rows.to(torch.float32) if rows.dtype == torch.float64 else rows
