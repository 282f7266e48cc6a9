"""What a run ran on: versions without importing, hardware without torch where possible."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from meddel_fast import __version__, _core
from meddel_fast.benchmark import survey
from meddel_fast.common.resources import cores

PACKAGES = ("numpy", "torch", "triton", "transformers", "pyarrow", "pillow")


def versions() -> dict[str, str | None]:
    """Versions of Python, this package and those it builds on; None where one is absent."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "meddel-fast": __version__,
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, Any]:
    """Processor, memory, threads, and the instruction set that the kernels use."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "threads": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "isa": _core.isa(),
        "available_isas": list(_core.available_isas()),
        "cuda_built": find_spec("meddel_fast._cuda") is not None,
    }


def _processor() -> str:
    """Give the processor's name as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def described() -> dict[str, Any]:
    """Give all that ``meddel-fast info`` shows, as JSON values."""
    return {
        "versions": versions(),
        "hardware": hardware(),
        "cuda_device": cuda_device(),
        "plugins": [survey.told(one) for one in survey.offered()],
    }


def lines(about: dict[str, Any]) -> list[str]:
    """Give what :func:`described` returns as lines for people."""
    machine = about["hardware"]
    built = "built" if machine["cuda_built"] else "not built"
    shown = {name: version or "not installed" for name, version in about["versions"].items()} | {
        "processor": machine["processor"],
        "threads": str(machine["threads"]),
        "memory": f"{machine['memory_gib']} GiB",
        "instruction set": f"{machine['isa']} (available: {', '.join(machine['available_isas'])})",
        "CUDA": f"kernels {built}, {about['cuda_device'] or 'no CUDA device'}",
    }
    for plugin in about["plugins"]:
        trouble = f": {plugin['trouble']}" if plugin["trouble"] else ""
        told = f"{plugin['package']} {plugin['version']}{trouble}"
        shown[f"{plugin['kind']} {plugin['name']}"] = told
    width = max(map(len, shown))
    return [f"{name:<{width}}  {value}" for name, value in shown.items()]


def cuda_device() -> str | None:
    """Name the first CUDA device that the kernels, or without them torch, find; None without."""
    if find_spec("meddel_fast._cuda") is not None:
        from meddel_fast import _cuda

        return next(iter(_cuda.device_names()), None)
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
