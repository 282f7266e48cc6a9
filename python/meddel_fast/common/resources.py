"""What this process may use: cores and memory, on Linux and elsewhere.

Both are asked for here alone. A container's limits count like the machine's: those of the process's
own control group (cgroup version 1 and 2) and of every group above it. Of the processes that
torchrun started on this machine, each takes its share.
"""

from __future__ import annotations

import math
import os
import re
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

_UNKNOWN = 2**33  # bytes taken for free where the system does not tell
_ROOT = Path("/")
_V2, _V1_MEMORY, _V1_CPU = "", "memory", "cpu"


def cores() -> int:
    """Return the number of processor cores that this process may use, at least 1.

    Those that it may run on, at most what the quotas of its control groups come to (rounded up),
    divided by the processes that torchrun started here.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, int(min(count, _quotas())) // processes_here())


def free_memory() -> int:
    """Return the bytes that this process may still take.

    Of the machine, its control groups and its own limits the least, divided by the processes that
    torchrun started here. What the system holds of files' contents, and gives up when asked for
    memory, counts as free.
    """
    free = [_machine(), *(_left(folder) for folder in _groups(_V2, _V1_MEMORY))]
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    mapped = re.search(r"VmSize:\s+(\d+) kB", _text(_ROOT / "proc/self/status"))
    if space != resource.RLIM_INFINITY and mapped:
        free.append(max(0, space - int(mapped[1]) * 1024))
    return int(min(free)) // processes_here()


def processes_here() -> int:
    """Return how many processes of this job run on this machine, by what torchrun tells; or 1."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(told)) if told.isdigit() else 1


def _machine() -> int:
    """Return what the machine has left."""
    told = re.search(r"MemAvailable:\s+(\d+) kB", _text(_ROOT / "proc/meminfo"))
    if told:
        return int(told[1]) * 1024
    try:
        import psutil  # knows other systems than Linux
    except ModuleNotFoundError:
        return _UNKNOWN
    return int(psutil.virtual_memory().available)


def _left(folder: Path) -> float:
    """Return what a control group may still take."""
    limits = [_number(folder / name) for name in ("memory.max", "memory.high")]
    used, cache = _number(folder / "memory.current"), ("inactive_file", "active_file")
    if math.isinf(used):  # version 1
        limits = [_number(folder / "memory.limit_in_bytes")]
        used = _number(folder / "memory.usage_in_bytes")
        cache = ("total_inactive_file", "total_active_file")
    if math.isinf(min(limits)) or math.isinf(used):
        return math.inf
    told = dict(re.findall(r"^(\w+) (\d+)$", _text(folder / "memory.stat"), re.MULTILINE))
    used -= sum(int(told.get(name, 0)) for name in cache)
    return max(0.0, min(limits) - max(0.0, used))


@cache  # every operation asks, and reading the files takes as long as a small one
def _quotas() -> float:
    """Return the cores that the quotas of this process's control groups come to, rounded up."""
    least = min((_quota(folder) for folder in _groups(_V2, _V1_CPU)), default=math.inf)
    return least if math.isinf(least) else math.ceil(least)


def _quota(folder: Path) -> float:
    """Return the cores that a control group's time comes to."""
    told = _text(folder / "cpu.max").split()
    if len(told) == 2:
        quota, period = told
    else:  # version 1, where -1 stands for no limit
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = (_text(folder / name).strip() for name in names)
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return math.inf
    return int(quota) / int(period)


def _groups(*controllers: str) -> Iterator[Path]:
    """Give the folders of this process's control groups, each with those above it.

    ``/proc/self/cgroup`` names the groups, ``/proc/self/mountinfo`` where their trees are mounted,
    and from which group on: in a container that is mostly the container's own.
    """
    mounts: dict[str, tuple[PurePosixPath, str]] = {}
    for line in _text(_ROOT / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.partition(" ")
        if kind in ("cgroup", "cgroup2") and len(fields.split()) > 4:
            root, place = fields.split()[3:5]
            names = [""] if kind == "cgroup2" else options.split()[-1].split(",")
            mounts |= {name: (PurePosixPath(root), place) for name in names}
    for line in _text(_ROOT / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        named, _, path = rest.partition(":")
        for name in set(named.split(",")) & set(controllers) & mounts.keys():
            top, mounted = mounts[name]
            base = _ROOT / mounted.lstrip("/")
            group = PurePosixPath(path)
            below = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
            yield base
            for depth in range(len(below.parts)):
                yield base.joinpath(*below.parts[: depth + 1])


def _number(path: Path) -> float:
    """Read a count; infinite where there is none, or "max"."""
    text = _text(path).strip()
    return float(text) if text.isdigit() else math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
