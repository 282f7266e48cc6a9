"""How fast a network is trained: images a second, beside those of the bare step.

The bare step is the optimiser's step on one batch that already lies on the device, again and
again: what a run could reach if its data cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meddel_fast.common.atomic import write_json
from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath, read_json

with needs("benchmark"):
    import torch

_FILE = "speed.json"


@dataclass(frozen=True)
class Speed:
    """What ``speed.json`` says of a run.

    Attributes
    ----------
    key
        The run's.
    device
        Kind of device it trains on.
    compiled
        Whether the step was compiled by ``torch.compile``.
    bare
        Images per second of the bare step.
    images_per_s
        Images per second of the run, data and all; 0 until it is known.
    """

    key: str
    device: str
    compiled: bool
    bare: float
    images_per_s: float = 0.0

    def save(self, out: Path, images_per_s: float = 0.0) -> None:
        """Write it into a run's folder, with what the run came to."""
        known = replace(self, images_per_s=round(images_per_s, 1), bare=round(self.bare, 1))
        write_json(out / _FILE, asdict(known))

    @classmethod
    def load(cls, out: StrPath) -> Speed | None:
        """Read it from a run's folder; None when none, or no whole one, is there."""
        try:
            return cls(**read_json(Path(out) / _FILE))
        except (OSError, ValueError, TypeError):
            return None

    def __str__(self) -> str:
        if not self.images_per_s:
            return ""
        share = 100 * self.images_per_s / self.bare
        compiled = ", compiled" if self.compiled else ""
        return f"images/s {self.images_per_s:.0f}, {share:.0f} % of the bare step{compiled}"


def told(out: StrPath) -> str:
    """Tell the speed of the run in a folder; empty when it was not measured."""
    return str(Speed.load(out) or "")


def seconds_a_call(
    call: Callable[[], object], device: torch.device, *, warm: int = 3, calls: int = 10
) -> float:
    """Time `calls` calls in a row, after `warm` others; the device is waited for at the end."""
    for _ in range(warm):
        call()
    _wait(device)
    began = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(device)
    return (time.perf_counter() - began) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
