"""What this process may use: cores and memory, on Linux and elsewhere."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

_UNKNOWN = 2**33  # taken for free where the system does not tell
_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Return the bytes that this process may still take: of the machine, its cgroup, its limits."""
    free = [_UNKNOWN]
    machine = re.search(r"MemAvailable:\s+(\d+) kB", _text(Path("/proc/meminfo")))
    if machine:
        free = [int(machine[1]) * 1024]
    limit, used = _text(_CGROUP / "memory.max").strip(), _text(_CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        free.append(max(0, int(limit) - int(used)))
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    mapped = re.search(r"VmSize:\s+(\d+) kB", _text(Path("/proc/self/status")))
    if space != resource.RLIM_INFINITY and mapped:
        free.append(max(0, space - int(mapped[1]) * 1024))
    return min(free)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
