"""CPU seconds and memory of a command with all processes that come of it, Ray's daemons included.

Looked at from outside every 0.1 s (memory: every 0.5 s): what a process does between the last look
and its end is missed. Memory is PSS, in which a page that several processes share, as those of
Ray's object store, counts once.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
MARK = "STAGE "  # a line of the command's output that begins so ends a stage


class Stage(NamedTuple):
    """A part of a command: wall seconds, and CPU seconds of all processes by kind."""

    name: str
    seconds: float
    cpu: dict[str, float]


class Took(NamedTuple):
    """What a command took.

    Attributes
    ----------
    seconds, cpu
        Of wall and, of all processes together, of CPU.
    memory
        Most PSS of all together at any look, in bytes.
    by_kind
        The same at each kind's own worst moment: driver, workers, raylets, other daemons.
    stages
        What each stage took that the command told of.
    output
        All that it wrote.
    """

    seconds: float
    cpu: float
    memory: int
    by_kind: dict[str, int]
    stages: list[Stage]
    output: str


class Tree:
    """The processes that came of one, with what they have taken so far; Linux's /proc tells."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._cpu: dict[int, float] = {}
        self._kinds: dict[int, str] = {}
        self.memory: dict[str, int] = defaultdict(int)
        self.most = 0
        self._lock = threading.Lock()

    def pids(self) -> dict[int, float]:
        """Return the processes that are there, each with its CPU seconds."""
        parents: dict[int, tuple[int, float]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (text := _text(folder / "stat")):
                fields = text.rpartition(")")[2].split()  # a name may hold anything
                parents[int(folder.name)] = (
                    int(fields[1]),
                    (int(fields[11]) + int(fields[12])) / _TICKS,
                )
        ours = {self._root}
        while more := {pid for pid, (parent, _) in parents.items() if parent in ours} - ours:
            ours |= more
        return {pid: parents[pid][1] for pid in ours if pid in parents}

    def look(self, *, memory: bool) -> None:
        """Add up what all have taken."""
        with self._lock:
            held: dict[str, int] = defaultdict(int)
            for pid, seconds in self.pids().items():
                self._cpu[pid] = seconds
                self._kinds[pid] = kind = self._kind(pid) or self._kinds.get(pid, "daemon")
                if memory:
                    bytes_ = pss(pid)
                    held[kind] += bytes_
                    one = f"one {kind}"
                    self.memory[one] = max(self.memory[one], bytes_)
            for kind, value in held.items():
                self.memory[kind] = max(self.memory[kind], value)
            self.most = max(self.most, sum(held.values()))

    def cpu(self) -> float:
        """Return the CPU seconds of all, those that have ended included."""
        return sum(self._cpu.values())

    def cpu_by_kind(self) -> dict[str, float]:
        total: dict[str, float] = defaultdict(float)
        for pid, seconds in self._cpu.items():
            total[self._kinds[pid]] += seconds
        return dict(total)

    def _kind(self, pid: int) -> str:
        """Return driver, raylet, rendezvous, worker or daemon; nothing of one that has ended."""
        if pid == self._root:
            return "driver"
        line = _text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")
        if "raylet/raylet" in line:
            return "raylet"
        if line.startswith("ray::Exchange"):
            return "rendezvous"
        if (line.startswith("ray::") and "Agent" not in line) or "default_worker" in line:
            return "worker"
        return "daemon" if line else ""


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def watched_with_ray(command: list[str], *, limit: float, env: dict[str, str]) -> Took:
    """Watch a command that starts a Ray; again where Ray's daemons did not come up.

    It gives them 30 seconds, which on a busy machine is too little.

    Raises
    ------
    RuntimeError
        As :func:`watched`; after three such starts.
    """
    for last in (False, False, True):
        try:
            return watched(command, limit=limit, env=env)
        except RuntimeError as error:
            if last or "timed out during startup" not in str(error):
                raise
            print("Ray has not started, once more", flush=True)
    raise AssertionError


def pss(pid: int) -> int:
    """Return the bytes of a process's memory, of shared pages its share; 0 if it has ended."""
    text = _text(Path(f"/proc/{pid}/smaps_rollup"))
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def watched(
    command: list[str], *, limit: float = 290.0, env: dict[str, str] | None = None,
) -> Took:  # fmt: skip
    """Run a command and watch what comes of it.

    Raises
    ------
    RuntimeError
        It failed, or took longer than `limit` seconds; all that came of it is ended.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    tree = Tree(process.pid)
    lines: list[str] = []
    marks = [Stage("", 0.0, {})]  # each as from the beginning

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith(MARK):
                tree.look(memory=True)
                name = line.removeprefix(MARK).strip()
                marks.append(Stage(name, time.perf_counter() - began, tree.cpu_by_kind()))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    ended = (started := time.perf_counter()) + limit
    turn = 0
    while process.poll() is None and time.perf_counter() < ended:
        tree.look(memory=turn % 5 == 0)
        turn += 1
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    if process.poll() is None:
        for pid in tree.pids():
            os.kill(pid, signal.SIGKILL)
    reader.join(10)
    output = "".join(lines)
    if process.wait() != 0:
        raise RuntimeError(
            f"{' '.join(command)} ended with {process.returncode}:\n{output[-3000:]}"
        )
    stages = [
        Stage(
            now.name,
            now.seconds - before.seconds,
            {kind: cpu - before.cpu.get(kind, 0.0) for kind, cpu in now.cpu.items()},
        )
        for before, now in pairwise(marks)
    ]
    return Took(seconds, tree.cpu(), tree.most, dict(tree.memory), stages, output)
