"""Cores and memory that may be used, where systems tell more, less, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from meddel_fast.benchmark.machine import hardware, versions
from meddel_fast.common import resources

V2 = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 1 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "31 1 0:31 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine whose system tells nothing, until files are written below it."""
    monkeypatch.setattr(resources, "_ROOT", tmp_path)
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    resources._quotas.cache_clear()
    yield tmp_path
    resources._quotas.cache_clear()


def tell(machine: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = machine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def grouped(version: int, path: str, top: str = "/") -> dict[str, str]:
    """Say that this process is in the control group `path`."""
    if version == 2:
        return {"proc/self/mountinfo": V2, "proc/self/cgroup": f"0::{path}\n"}
    told = "".join(f"{n}:{name}:{path}\n" for n, name in ((4, "memory"), (1, "cpu,cpuacct")))
    return {"proc/self/mountinfo": V1.format(top=top), "proc/self/cgroup": told + "0::/x\n"}


def test_cores_are_those_that_the_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= resources.cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert resources.cores() == hardware()["threads"] == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert resources.cores() == 1


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 16),
        ({"sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 3),
        ({"sys/fs/cgroup/a/b/cpu.max": "1000 100000\n"}, 1),
        ({"sys/fs/cgroup/a/cpu.max": "400000 100000\n"}, 4),
        (
            {
                "sys/fs/cgroup/a/b/cpu.max": "900000 100000",
                "sys/fs/cgroup/a/cpu.max": "200000 100000",
            },
            2,
        ),
        ({"sys/fs/cgroup/cpu.max": "9000000 100000\n"}, 16),
        ({"sys/fs/cgroup/a/b/cpu.max": "junk\n"}, 16),
        ({"sys/fs/cgroup/other/cpu.max": "100000 100000\n"}, 16),
    ],
)
def test_a_quota_of_any_group_above_bounds_the_cores(
    machine: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    tell(machine, grouped(2, "/a/b") | files)
    assert resources.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("150000", 2), ("800000", 8)])
def test_quotas_of_version_1(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    folder = "sys/fs/cgroup/cpu,cpuacct/docker/x"
    files = {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000\n"}
    tell(machine, grouped(1, "/docker/x") | files)
    assert resources.cores() == cores


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 2**33),
        ({"proc/meminfo": "MemFree: 1 kB\nMemAvailable:   3000 kB\n"}, 3_072_000),
        ({"proc/meminfo": "MemAvailable: 3 kB", "memory.max": "max", "memory.current": "9"}, 3072),
        ({"memory.max": "90", "memory.current": "50\n"}, 40),
        ({"memory.max": "50", "memory.current": "90"}, 0),
        ({"memory.max": "max", "memory.high": "70", "memory.current": "50"}, 20),
        # what files of stores left in memory is given up when memory is asked for
        (
            {
                "memory.max": "90",
                "memory.current": "80",
                "memory.stat": "anon 10\nfile 70\ninactive_file 40\nactive_file 20\n",
            },
            70,
        ),
        ({"sys/fs/cgroup/a/memory.max": "60", "sys/fs/cgroup/a/memory.current": "55"}, 5),
        (
            {
                "memory.max": "50",
                "memory.current": "10",
                "sys/fs/cgroup/memory.max": "30",
                "sys/fs/cgroup/memory.current": "20",
            },
            10,
        ),
    ],
)
def test_free_memory_is_the_least_of_machine_and_groups(
    machine: Path, files: dict[str, str], free: int
) -> None:
    own = {name if "/" in name else f"sys/fs/cgroup/a/b/{name}": t for name, t in files.items()}
    tell(machine, grouped(2, "/a/b") | own)
    assert resources.free_memory() == free


@pytest.mark.parametrize(
    ("path", "top", "folder"),
    [
        ("/docker/x", "/", "sys/fs/cgroup/memory/docker/x"),
        ("/docker/x", "/docker/x", "sys/fs/cgroup/memory"),  # in a container of its own
        ("/docker/x", "/elsewhere", "sys/fs/cgroup/memory"),
        ("/docker/x", "/", "sys/fs/cgroup/memory/docker"),  # the group above
    ],
)
def test_memory_of_version_1(machine: Path, path: str, top: str, folder: str) -> None:
    own, unlimited = "sys/fs/cgroup/memory/docker/x", str(2**63 - 4096)
    tell(machine, grouped(1, path, top) | {"proc/meminfo": "MemAvailable: 9000 kB"})
    tell(machine, {f"{own}/memory.limit_in_bytes": unlimited, f"{own}/memory.usage_in_bytes": "5"})
    files = {
        "limit_in_bytes": str(4 * MIB),
        "usage_in_bytes": str(3 * MIB),
        "stat": f"cache 9\ntotal_inactive_file {MIB}\ntotal_active_file 0\n",
    }
    tell(machine, {f"{folder}/memory.{name}": text for name, text in files.items()})
    assert resources.free_memory() == 2 * MIB


def test_other_systems_are_asked_through_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    told = types.SimpleNamespace(virtual_memory=lambda: types.SimpleNamespace(available=12345))
    monkeypatch.setitem(sys.modules, "psutil", told)
    assert resources.free_memory() == 12345


def test_processes_of_torchrun_share_the_machine(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    tell(machine, {"proc/meminfo": "MemAvailable: 4000 kB"})
    for processes, cores in (("", 8), ("1", 8), ("3", 2), ("4", 2), ("16", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert resources.cores() == cores
        assert resources.free_memory() == 4_096_000 // int(processes or 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_limit_of_the_process_counts() -> None:
    code = """
import resource
from meddel_fast.common.resources import free_memory
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
print(free_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 4 << 30


def test_versions_tell_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meddel_fast.benchmark.machine.PACKAGES", ("numpy", "no-such-package"))
    found = versions()
    assert found["no-such-package"] is None
    assert found["numpy"]
