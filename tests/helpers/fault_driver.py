"""Runs jobs in forked children on a disk that fails, with native/faults.c preloaded.

``python fault_driver.py FOLDER SEED JOB=FAULTS ...``, of `fault_jobs`: a first child does the job
undisturbed, into FOLDER/JOB/whole, and the calls that change files are counted. FAULTS children
then work on FOLDER/JOB/broken, each with one fault at a call drawn at random. What is there has to
be as in the undisturbed folder after each of them; where one finishes after all, and at the end,
all of it is, and the next begins anew. The heavy imports are paid for once. Prints a line a child,
and fails where one ends in another way than its fault should make it end.
"""

from __future__ import annotations

import ctypes
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet  # noqa: F401
import torch
import transformers.models.vit.modeling_vit
import transformers.models.vit_mae.modeling_vit_mae  # noqa: F401
from fault_jobs import JOBS, Job

import meddel_fast.benchmark.display as display
import meddel_fast.benchmark.run
import meddel_fast.images.scan.build
import meddel_fast.training.pretrain  # noqa: F401
from meddel_fast.benchmark.stages.stage import Stage
from meddel_fast.cli.console import INTERRUPTED, explain, guarded, show_tracebacks

KINDS = {
    "full": 1, "kill": 2, "torn": 3, "broken": 4, "read-only": 5, "denied": 6, "interrupt": 7,
    "terminate": 8, "memory": 0,
}  # fmt: skip
TOLD = {
    "full": "the disk is full",
    "read-only": "Read-only file system",
    "denied": "Permission denied",
}
# What the command line explains; of import: a library that there is no memory to load.
USER_ERRORS = (
    ImportError,
    OSError,
    RuntimeError,
    ValueError,
    MemoryError,
)  # what the command line explains
FINISHED, EXPLAINED, WRONG = 0, 3, 4
GAVE_UP = 127  # libc, for a thread that it has no memory for
HANGS = 300.0  # seconds; all jobs take less
PATIENCE = 3.0  # seconds from an interrupt to the end: one, and what a busy machine adds

LIBRARY = ctypes.CDLL(None)


class Silent:
    """A watcher that says nothing."""

    def begin(self, stage: Stage, reason: str) -> None: ...
    def progress(self, done: int, total: int) -> None: ...
    def end(self, stage: Stage, skipped: bool, seconds: float) -> None: ...


@contextmanager
def watch(stages: Sequence[Stage], console: object) -> Iterator[Silent]:
    yield Silent()


def limit_memory(megabytes: int) -> None:
    """Leave so much more address space than is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def child(job: Job, out: Path, kind: str, nth: int) -> int:
    """Work as a command of the command line does; what became of it."""
    torch.set_num_threads(1)

    def work() -> None:
        if kind == "memory":
            limit_memory(nth)
        LIBRARY.faults_arm(str(out).encode(), KINDS[kind] or 1, 0 if kind == "memory" else nth)
        job.work(out.with_name("inputs"), out)

    told = sys.stdout
    try:
        with Path(os.devnull).open("w") as sys.stdout:
            guarded(work)()
    except USER_ERRORS as error:
        text = explain(error)
        print(f"    {type(error).__name__}: {text[:200]}", file=told, flush=True)
        named = kind not in ("read-only", "denied") or str(out) in text
        return EXPLAINED if named and TOLD.get(kind, "") in text else WRONG
    finally:
        sys.stdout = told
    return FINISHED


def status_of(process: int) -> int:
    """Wait for a child, and interrupt one that hangs."""
    deadline = time.monotonic() + HANGS
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGINT)
            deadline = math.inf
        time.sleep(0.01)


def forked(job: Job, out: Path, kind: str, nth: int) -> str:
    """Work in a child; "finished", "explained", "killed", "interrupted", "wrong" and so on."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        status = WRONG
        try:
            status = child(job, out, kind, nth)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(status)
    status = status_of(process)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = {signal.SIGKILL: "killed", signal.SIGTERM: "terminated", signal.SIGABRT: "aborted"}
        return known.get(signal.Signals(number), f"signal {number}")
    ends = {FINISHED: "finished", EXPLAINED: "explained", GAVE_UP: "gave-up"}
    return (ends | {INTERRUPTED: "interrupted"}).get(os.WEXITSTATUS(status), "wrong")


ALLOWED = {
    "full": {"explained"},
    "kill": {"killed"},
    "torn": {"killed"},
    "broken": {"explained"},
    "read-only": {"explained"},
    "denied": {"explained"},
    "interrupt": {"interrupted"},
    "terminate": {"terminated"},
    # Libraries give up; Python's Thread.start waits for ever for a thread that has found no memory
    # to begin with, and is interrupted.
    "memory": {"explained", "gave-up", "aborted", "interrupted"},
}


def matching(folder: Path, patterns: Sequence[str]) -> set[Path]:
    found = (p for pattern in patterns for p in folder.glob(pattern))
    return {p.relative_to(folder) for p in found if not p.name.startswith(".tmp-")}


def compare(job: Job, whole: Path, broken: Path, *, finished: bool) -> None:
    """What is there has the bytes of the undisturbed job; when it has finished, all is there."""
    wanted = matching(whole, job.results)
    there = matching(broken, job.results)
    if finished:
        wanted |= matching(whole, job.ends)
        there |= matching(broken, job.ends)
        if there != wanted:
            sys.exit(f"wanted {sorted(wanted)}, got {sorted(there)}")
        if left := [p for folder in job.swept for p in (broken / folder).rglob(".tmp-*")]:
            sys.exit(f"left behind: {left}")
    for name in there & wanted:
        if (broken / name).read_bytes() != (whole / name).read_bytes():
            sys.exit(f"{name} differs")


def begin(broken: Path) -> None:
    """Let the folder hold what it does at the beginning of the job."""
    shutil.rmtree(broken, ignore_errors=True)
    if (start := broken.with_name("inputs") / "start").is_dir():
        shutil.copytree(start, broken)


def main(folder: Path, seed: int, name: str, faults: int) -> None:
    """Do a job undisturbed, then with faults, then to the end."""
    job = JOBS[name]
    whole, broken, inputs = (folder / name / part for part in ("whole", "broken", "inputs"))
    inputs.mkdir(parents=True)
    job.prepare(inputs)
    for target in (whole, broken):
        begin(target)
    if forked(job, whole, "kill", 0) != "finished":
        sys.exit(f"the undisturbed {name} did not finish")
    calls = LIBRARY.faults_count()
    for pattern in job.results + job.ends:
        if not matching(whole, [pattern]):
            sys.exit(f"no {pattern} of an undisturbed {name}")
    print(f"{name}: {calls} calls", flush=True)
    draw = random.Random(seed)
    for k in range(faults):
        kind = list(KINDS)[k % len(KINDS)]
        nth = draw.randint(8, 96) if kind == "memory" else draw.randint(1, calls * 2 // 3)
        end = forked(job, broken, kind, nth)
        sent = LIBRARY.faults_signalled()
        took = time.monotonic() - sent
        after = f" after {took:.2f} s" if sent > 0 and end == "interrupted" else ""
        print(f"{name} {kind} {nth}: {end}{after}", flush=True)
        if end not in ALLOWED[kind] | ({"finished"} if sent == 0 else set()):
            sys.exit(f"{kind} at call {nth} of {name}: {end}")
        if after and took > PATIENCE:
            sys.exit(f"{name} took {took:.2f} s to end after an interrupt")
        # Finished: the fault lay beyond what was left to do, or did no harm.
        compare(job, whole, broken, finished=end == "finished")
        if end == "finished":
            begin(broken)
    if forked(job, broken, "kill", 0) != "finished":
        sys.exit(f"{name} does not go on")
    compare(job, whole, broken, finished=True)


if __name__ == "__main__":
    LIBRARY.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
    LIBRARY.faults_count.restype = ctypes.c_long
    LIBRARY.faults_signalled.restype = ctypes.c_double
    display.watch = watch  # type: ignore[assignment]
    show_tracebacks()
    for argument in sys.argv[3:]:
        job_name, _, count = argument.partition("=")
        main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), job_name, int(count))
