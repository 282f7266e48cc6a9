"""Times on a GPU: events around a call, the L2 flushed before it, after a warm-up, the median."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

FLUSHED = 256 << 20  # bytes written in between: more than twice any L2


class Clock:
    """Times calls on one device; on the CPU, for the dry run, by the wall clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._gpu = device.type == "cuda"
        self._flush = torch.empty(FLUSHED if self._gpu else 0, dtype=torch.int8, device=device)

    def once(self, call: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of one call, and its result."""
        if not self._gpu:
            began = time.perf_counter()
            result = call()
            return time.perf_counter() - began, result
        self._flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        result = call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000, result

    def runs(self, call: Callable[[], Any], limit: float = 3.0, most: int = 7) -> list[float]:
        """Times of some calls: at least one, and no more once they have taken `limit` seconds."""
        times = [self.once(call)[0]]
        while self._gpu and len(times) < most and sum(times) < limit:
            times.append(self.once(call)[0])
        return times

    def median(self, call: Callable[[], Any], limit: float = 1.0) -> float:
        """Median time after a warm-up."""
        self.once(call)
        return median(self.runs(call, limit))
