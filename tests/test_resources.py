"""Cores and memory that may be used, where systems tell more, less, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meddel_fast import resources
from meddel_fast.benchmark.machine import hardware, versions


def test_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= resources.cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert resources.cores() == hardware()["threads"] == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert resources.cores() == 1


@pytest.mark.parametrize(
    ("told", "free"),
    [
        ({}, 2**33),
        ({"meminfo": "MemFree: 1 kB\nMemAvailable:   3000 kB\n"}, 3_072_000),
        ({"meminfo": "MemAvailable: 3 kB", "memory.max": "max", "memory.current": "9"}, 3072),
        ({"meminfo": "MemAvailable: 3000 kB", "memory.max": "90", "memory.current": "50\n"}, 40),
        ({"memory.max": "50", "memory.current": "90"}, 0),
    ],
)  # fmt: skip
def test_free_memory(monkeypatch: pytest.MonkeyPatch, told: dict[str, str], free: int) -> None:
    monkeypatch.setattr(resources, "_text", lambda path: told.get(path.name, ""))
    assert resources.free_memory() == free


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_limit_of_the_process_counts() -> None:
    code = """
import resource
from meddel_fast.resources import free_memory
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
