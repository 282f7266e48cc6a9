"""Large sets: wall time, speed-up of threads, memory beyond the input, and what a peer would take.

Each case runs in a process of its own, with a time limit. Ctrl-C stops, and prints what there is.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import data
import numpy as np
import peers
import pytest
import tasks
from table import seconds, table

import meddel_fast as mf
from meddel_fast import _core

Row = dict[str, Any]
HEADER = ("case", "data", "threads", "ours", "speed-up", "memory", "peer", "its time", "ratio")
ROWS_A_CLUSTER = 1000
QUERIES = 10_000
SLACK = 4 << 20  # bytes that the kernel may not have counted yet


def kcenter(x: peers.Floats, percent: float, threads: int) -> tasks.Task:
    task = tasks.kcenter(x, int(len(x) * percent / 100), threads)
    passes = {who: task.peers[who] for who in ("numpy", "numpy pass")}
    return tasks.Task(task.ours, task.check, passes)


def redundancy(x: peers.Floats, threads: int) -> tasks.Task:
    labels = mf.kmeans(x, len(x) // ROWS_A_CLUSTER, max_iterations=2).labels
    return tasks.redundancy(x, labels, threads)


def top1(x: peers.Floats, threads: int) -> tasks.Task:
    queries = tasks.spread(len(x), QUERIES)
    task = tasks.top1(x[queries], threads, np.delete(x, queries, axis=0))
    return tasks.Task(task.ours, task.check, {"faiss": task.peers["faiss"]})


CASES: dict[str, Callable[[peers.Floats, int], tasks.Task]] = {
    "k-center .5 %": lambda x, threads: kcenter(x, 0.5, threads),
    "k-center 1 %": lambda x, threads: kcenter(x, 1, threads),
    "pairs >= .95": lambda x, threads: tasks.pairs(x, 0.95, threads),
    "k-means x 2": lambda x, threads: tasks.kmeans(x, len(x) // ROWS_A_CLUSTER, 2, threads),
    "redundancy": redundancy,
    "top-1 of 10,000": top1,
}


def resident(kind: str) -> int:
    """Bytes resident now (VmRSS), or at most since the last reset (VmHWM)."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def forget_peak() -> None:
    """Make VmHWM count anew, from what is resident now; free memory goes back to the system first.

    Memory that malloc kept from preparing the case would else be used without being counted.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    peak, now = resident("VmHWM"), resident("VmRSS")
    if abs(peak - now) > SLACK:
        raise RuntimeError(f"the peak stays at {peak:,} bytes where {now:,} are resident")


def run_case(send: Connection, case: str, path: Path, threads: int) -> None:
    """In a process of its own: send our result, then the peers'."""
    x = np.load(path)
    task = CASES[case](x, threads)
    forget_peak()
    before = resident("VmRSS")
    worked = time.process_time()
    took, answer = tasks.clock(task.ours)
    worked = time.process_time() - worked
    beyond = resident("VmHWM") - before
    held = sum(part.nbytes for part in answer if isinstance(part, np.ndarray))
    task.check(answer)
    memory = {"memory": beyond / x.nbytes, "answer": held / x.nbytes}
    send.send({"seconds": took, "cores": worked / took, **memory, "peers": {}})
    del answer
    with peers.on_threads(threads):
        for who, peer in task.peers.items():
            try:
                send.send({"peers": {who: peer()._asdict()}})
            except pytest.skip.Exception as missing:
                print(f"{who}: {missing}", flush=True)


def apart(function: Callable[..., None], *args: Any, limit: float) -> Iterator[Row]:
    """Run in another process, yield what it sends or that it failed; stop it when time is over."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=function, args=(send, *args), daemon=True)
    process.start()
    send.close()
    end = time.monotonic() + limit
    try:
        while receive.poll(max(0.0, end - time.monotonic())):
            yield receive.recv()
    except EOFError:
        process.join()
        if process.exitcode:
            yield {"failed": True, "peers": {}}
    finally:
        process.kill()
        process.join()


def save(options: argparse.Namespace, rows: list[Row]) -> None:
    out = {"isa": _core.isa(), "load": options.load, "rows": rows}
    options.out.write_text(json.dumps(out, indent=1))


def measure(options: argparse.Namespace, folder: Path, rows: list[Row]) -> None:
    for name in options.data:
        path = folder / f"{name}.npy"
        np.save(path, data.make(name, options.n, options.d))
        for case in options.cases:
            for threads in options.threads:
                row: Row = {"case": case, "data": name, "threads": threads}
                rows.append(row | {"n": options.n, "d": options.d, "peers": {}})
                for part in apart(run_case, case, path, threads, limit=options.limit):
                    rows[-1]["peers"] |= part.pop("peers")
                    rows[-1] |= part
                print(case, name, threads, outcome(rows[-1]), flush=True)
                save(options, rows)
        path.unlink()


def outcome(row: Row) -> str:
    """Our time; what failed may be a wrong answer, and what has no answer had too little time."""
    if row.get("failed"):
        return "FAILED"
    return seconds(row["seconds"]) if "seconds" in row else "no answer"


def goals(rows: list[Row]) -> Iterator[str]:
    """What the project wants to reach at a million samples, and what is not reached."""
    done = [row for row in rows if "seconds" in row]
    alone = {(r["case"], r["data"]): r["seconds"] for r in done if r["threads"] == 1}
    for row in done:
        case, single = f"{row['case']}, {row['data']}", alone.get((row["case"], row["data"]))
        held = row["memory"]
        yield judge(case, row["threads"], "memory", f"{held:.0%}", "25 %", held <= 0.25)
        if row["case"] != "pairs >= .95":
            continue
        if row["threads"] == 1:
            took = row["seconds"]
            yield judge(case, 1, "time", seconds(took), "120 s", took <= 120)
        elif row["threads"] == 2 and single:
            gain = single / row["seconds"]
            yield judge(case, 2, "speed-up", f"{gain:.2f}x", "1.9x", gain >= 1.9)


def judge(case: str, threads: int, what: str, found: str, goal: str, reached: bool) -> str:
    word = "reached" if reached else "NOT reached"
    return f"{case}, threads {threads}: {what} {found}, goal {goal}: {word}"


def lines(rows: list[Row]) -> list[tuple[str, ...]]:
    out = []
    alone = {(r["case"], r["data"]): r.get("seconds") for r in rows if r["threads"] == 1}
    for row in rows:
        took, single = row.get("seconds"), alone.get((row["case"], row["data"]))
        gain = f"{single / took:.2f}x" if took and single and row["threads"] > 1 else "-"
        memory = f"{row['memory']:.0%} ({row['answer']:.0%})" if took else "-"
        cores = f"{row['threads']} ({row['cores']:.1f})" if took else str(row["threads"])
        left = (row["case"], row["data"], cores)
        left = (*left, outcome(row), gain, memory)
        for who, peer in row["peers"].items() or [("-", None)]:
            its = "-" if peer is None else seconds(peer["seconds"]) + " *" * peer["extrapolated"]
            ratio = "-" if peer is None else f"{peer['seconds'] / took:.1f}x"
            out.append((*left, who, its, ratio))
    return out


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--n", type=int, default=1_000_000, help="samples")
    parser.add_argument("--d", type=int, default=384, help="width")
    parser.add_argument("--data", nargs="+", choices=data.MADE, default=data.MADE[:3])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, cores}))
    parser.add_argument("--limit", type=float, default=900, help="seconds a case, peer included")
    parser.add_argument("--out", type=Path, default=Path("build/bench/large.json"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.load = os.getloadavg()[0]
    rows: list[Row] = []
    stopped = False
    try:
        with tempfile.TemporaryDirectory(dir=options.out.parent) as folder:
            measure(options, Path(folder), rows)
    except KeyboardInterrupt:
        stopped = True
        save(options, rows)
    load = f"load {options.load:.1f} at the start"
    print(f"{options.n:,} x {options.d} fp32, {_core.isa()}, {load}")
    print(table([HEADER, *lines(rows)], case=6))
    print("threads: asked for (cores that worked, on average: fewer on a busy machine)")
    print("memory: the most held beyond the input, as a share of it (of which the answer)")
    print("* extrapolated from a part of the peer's work")
    if options.n >= 1_000_000 and options.d >= 384:
        print("\n".join(goals(rows)))
    if stopped or any(row.get("failed") for row in rows):
        sys.exit("stopped" if stopped else "a case failed")


if __name__ == "__main__":
    main()
