"""How much memory an operation may use."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

from meddel_fast.arrays import check_int

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_UNKNOWN = 2**33  # taken for free where the system does not tell
_CGROUP = Path("/sys/fs/cgroup")


def check_memory(memory: Any | None) -> int:
    """Return a budget in bytes: a number, a text such as "512MB", by default half of what is free.

    Raises
    ------
    TypeError, ValueError
        If it is neither; the message says what came.
    """
    if memory is None:
        return free_memory() // 2
    if not isinstance(memory, str):
        return check_int("memory", memory, 1)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", memory)
    if found is None or found[2].upper() not in _UNITS:
        raise ValueError(
            f"memory must be bytes, or a text such as '512MB' or '2GiB', got {memory!r}"
        )
    return check_int("memory", int(float(found[1]) * _UNITS[found[2].upper()]), 1)


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
