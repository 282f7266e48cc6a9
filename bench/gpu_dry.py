"""The code for GPUs on the CPU, for a dry run: Triton's kernels in its interpreter, the CUDA
extension's own code on the host, where MEDDEL_BUILD_DIR was built with MEDDEL_CUDA_ON_HOST."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from pathlib import Path

import torch

from meddel_fast.kernels import confirm, cuda
from meddel_fast.kernels.prepared import Tuning
from meddel_fast.ops import _gpu

# Several tiles, clusters and windows out of few rows.
SMALL = Tuning(tile=32, clusters=3, window=32)
PIPELINES = {
    "similar_pairs": _gpu._pairs, "topk_similarity": _gpu._topk, "redundancy": _gpu._redundancy,
    "kmeans": _gpu._kmeans, "deduplicate": _gpu._deduplicate,
}  # fmt: skip


def install() -> bool:
    """Let ops take the CPU for the device; return whether the extension's code is here."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("a dry run needs TRITON_INTERPRET=1 before triton is imported")
    cpu = torch.device("cpu")
    for name in ("deduplicate", "kcenter", "kmeans", "pairs", "redundancy", "topk"):
        module = importlib.import_module(f"meddel_fast.ops.{name}")
        module.choose_device = lambda device, **_: None if device is None else cpu
    confirm.PAIRS = 512  # the interpreter's cost is by the program
    for name, pipeline in PIPELINES.items():
        setattr(pipeline, name, functools.partial(getattr(pipeline, name), tuning=SMALL))
    build = Path(os.environ.get("MEDDEL_BUILD_DIR", "nowhere")).resolve()
    if not list(build.glob("_cuda_on_host*")):
        return False
    sys.path.insert(0, str(build))
    host = importlib.import_module("_cuda_on_host")
    cuda._cuda = host
    cuda._launch = lambda name, _device, *arguments: getattr(host, name)(*arguments, 0)
    return True
