"""The configurations that autotuning chooses from, by kernel and name. No result depends on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import triton


class Config(NamedTuple):
    """What a kernel is compiled for beside its types."""

    warps: int
    stages: int


# Sizes of tiles are the caller's, as other kernels read what one writes by tile. "dense" kernels
# hold a tile of sums and what becomes of it: with fewer than 8 warps they spill.
CONFIGS = {
    "coarse": {"w4s2": Config(4, 2), "w4s3": Config(4, 3), "w8s3": Config(8, 3)},
    "dense": {"w8s2": Config(8, 2), "w8s3": Config(8, 3), "w8s4": Config(8, 4)},
}
# For every launch. Fusing changes no result there; Triton warns where it is left open.
OPTIONS: dict[str, Any] = {"enable_fp_fusion": True}
# Where it would: instead of that.
UNFUSED: dict[str, Any] = {"enable_fp_fusion": False}


def autotuned(kind: str, key: list[str], reset: list[str]) -> Any:
    """Decorate a kernel to be tuned over its kind's configurations, for each value of the key.

    Arguments named in `reset` are set to zero before each trial. The interpreter, which has nothing
    to measure, takes the first configuration.
    """
    configs = [
        triton.Config({}, num_warps=config.warps, num_stages=config.stages)
        for config in CONFIGS[kind].values()
    ]
    if triton.knobs.runtime.interpret:
        configs = configs[:1]
    return triton.autotune(configs=configs, key=key, reset_to_zero=reset)
