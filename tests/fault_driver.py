"""Runs a benchmark in forked children on a disk that fails, with native/faults.c preloaded.

``python fault_driver.py CONFIG OUT SEED FAULTS``: a first child runs undisturbed, into OUT/whole,
and counts the calls that change files. FAULTS children then work on OUT/broken, each with one fault
at a call drawn at random; where one finishes after all, and at the end, the results must be those
of the undisturbed run, and the next begins anew. The heavy imports are paid for once. Prints a line
a child, and fails where one ends in another way than its fault should make it end.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet  # noqa: F401
import torch
import transformers.models.vit_mae.modeling_vit_mae  # noqa: F401

import meddel_fast.benchmark.display as display
from meddel_fast.benchmark import run
from meddel_fast.benchmark.stage import Stage
from meddel_fast.config_file import load_config
from meddel_fast.console import explain

KINDS = {"full": 1, "kill": 2, "torn": 3, "broken": 4, "read-only": 5, "memory": 0}
USER_ERRORS = (OSError, RuntimeError, ValueError, MemoryError)  # what the command line explains
RESULTS = (
    "score/*.csv",
    "select/*.parquet",
    "embeddings/*.npy",
    "pretrain/*/model/*.safetensors",
    "data/made/images/*",
)
TIMED = {"costs.csv"}  # tells how long it took
FINISHED, EXPLAINED, WRONG = 0, 3, 4
GAVE_UP = 127  # libc, for a thread that it has no memory for

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


def child(config: str, out: Path, kind: str, nth: int) -> int:
    """Run; what became of it."""
    display.watch = watch  # type: ignore[assignment]
    torch.set_num_threads(1)
    if kind == "memory":
        limit_memory(nth)
    LIBRARY.faults_arm(str(out).encode(), KINDS[kind] or 1, 0 if kind == "memory" else nth)
    try:
        run(load_config(Path(config), out=out))
    except USER_ERRORS as error:
        print(f"    {type(error).__name__}: {explain(error)[:150]}", flush=True)
        right = kind != "full" or "the disk is full" in explain(error)
        return EXPLAINED if right else WRONG
    if nth == 0:
        out.with_name("calls").write_text(str(LIBRARY.faults_count()))
    return FINISHED


def forked(config: str, out: Path, kind: str, nth: int) -> str:
    """Run in a child; "finished", "explained", "killed", "wrong" or "signal N"."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        status = WRONG
        try:
            status = child(config, out, kind, nth)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "killed" if number == signal.SIGKILL else f"signal {number}"
    return {FINISHED: "finished", EXPLAINED: "explained", GAVE_UP: "gave up"}.get(
        os.WEXITSTATUS(status), "wrong"
    )


ALLOWED = {
    "full": {"explained"},
    "kill": {"killed"},
    "torn": {"killed"},
    "broken": {"explained"},
    "read-only": {"explained"},
    "memory": {"explained", "gave up", f"signal {int(signal.SIGABRT)}"},  # libraries that give up
}


def compare(whole: Path, broken: Path) -> None:
    """All results are there, with the same bytes, and nothing half-written lies beside them."""
    for pattern in RESULTS:
        names = [p.relative_to(whole) for p in whole.glob(pattern) if p.name not in TIMED]
        if not names:
            sys.exit(f"no {pattern} in an undisturbed run")
        for name in names:
            if (broken / name).read_bytes() != (whole / name).read_bytes():
                sys.exit(f"{name} differs")
    if left := [*broken.rglob(".tmp-*")]:
        sys.exit(f"left behind: {left}")


def main(config: str, folder: str, seed: int, faults: int) -> None:
    """Run undisturbed, then with faults, then to the end."""
    LIBRARY.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
    LIBRARY.faults_count.restype = ctypes.c_long
    place = Path(folder).resolve()
    whole, broken = place / "whole", place / "broken"
    if forked(config, whole, "kill", 0) != "finished":
        sys.exit("the undisturbed run did not finish")
    calls = int((place / "calls").read_text())
    print(f"calls {calls}")
    draw = random.Random(seed)
    for k in range(faults):
        kind = list(KINDS)[k % len(KINDS)]
        nth = draw.randint(8, 96) if kind == "memory" else draw.randint(1, calls // 2)
        end = forked(config, broken, kind, nth)
        print(f"{kind} {nth}: {end}", flush=True)
        if end == "finished":  # the fault lay beyond what was left to do, or did no harm
            compare(whole, broken)
            shutil.rmtree(broken)
        elif end not in ALLOWED[kind]:
            sys.exit(f"{kind} at call {nth}: {end}")
    if forked(config, broken, "kill", 0) != "finished":
        sys.exit("the run does not go on")
    compare(whole, broken)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
