"""Figures as a table on the screen and as a small CSV file, one a machine and benchmark."""

from __future__ import annotations

import csv
import datetime
import io
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from table import seconds, table

from meddel_fast import _core
from meddel_fast.common.atomic import write_text

HEADER = ("task", "data", "shape", "ours_s", "peer", "peer_s", "ratio", "note")
SHOWN = ("task", "data", "shape", "ours", "peer", "its time", "ratio", "")
ENOUGH = 5.0  # seconds of CPU after which a call is not timed again


def on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def cpu_seconds(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def in_turns(
    calls: dict[str, Callable[[], Any]], rounds: int, seen: Callable[[str, Any], None]
) -> dict[str, float]:
    """Medians of the CPU seconds of some calls, which take turns, so that all see the same load.

    A first call's answer is seen, and its time counts only where it is too long to be repeated:
    whoever is called first may be loading something. Libraries that are not installed are left out.
    """
    times: dict[str, list[float]] = {}
    for who, call in calls.items():
        began = time.process_time()
        try:
            answer = call()
        except pytest.skip.Exception:
            continue
        times[who] = [time.process_time() - began]
        seen(who, answer)
    for turn in range(rounds):
        for who, some in times.items():
            if sum(some) < ENOUGH:
                some[turn:] = [cpu_seconds(calls[who])]  # in place of the first one
    return {who: sorted(some)[len(some) // 2] for who, some in times.items()}


def line(task: str, data: str, shape: str, ours: float, peer: str, its: float | None,
         note: str = "") -> tuple[str, ...]:  # fmt: skip
    """Return one row; without a time of the peer's there is no ratio."""
    its_shown, ratio = ("", "") if its is None else (f"{its:.4g}", f"{its / ours:.3g}")
    return task, data, shape, f"{ours:.4g}", peer, its_shown, ratio, note


def show(lines: list[tuple[str, ...]]) -> None:
    shown = [SHOWN]
    for *case, ours, peer, its, ratio, note in lines:
        shown.append((*case, seconds(float(ours)), peer, its and seconds(float(its)),
                      ratio and f"{ratio}x", note))  # fmt: skip
    print(table(shown, case=4))


def save(path: Path, lines: list[tuple[str, ...]]) -> None:
    """Write rows, each with what they were measured on."""
    where = machine()
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*HEADER, *where])
    out.writerows([*row, *where.values()] for row in lines)
    write_text(path, text.getvalue())


def machine() -> dict[str, str]:
    cpu = platform.processor()
    information = Path("/proc/cpuinfo")
    if information.exists() and (
        found := re.search(r"model name\s*: (.*)", information.read_text())
    ):
        cpu = found[1]
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    return {
        "cpu": cpu, "isa": _core.isa(), "threads": "1", "load": f"{os.getloadavg()[0]:.1f}",
        "date": datetime.date.today().isoformat(), "commit": commit,
    }  # fmt: skip
