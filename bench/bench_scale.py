"""Cost of work on parts: against the number of rows, the budget, the processes; what follows.

Each case runs in a process of its own, on a store of made video-like rows (fp16), and reports wall
and CPU seconds, the most memory that it had of its own (RssAnon, sampled) and in all (VmHWM), how
often the rows were read, the bytes that each rank sent, and a hash of its result, which has to be
that of the same call in memory. ``python bench/bench_scale.py --help`` lists the parts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
Case = tuple[str, int, int]  # operation, rows, columns
WALK = 400  # frames of a video
LATENT = 24
TILE = 250 * WALK
CENTRES = 1000
CLUSTER = 1000  # rows of a group of "dedup in groups"

# Assumed, not measured: operations and bytes a second of one H200 that a good kernel reaches, of
# int8 products (half of what is claimed), its memory, its host's link, and those between GPUs.
H200 = {"int8": 1.0e15, "memory": 4.0e12, "host": 50e9, "link": 400e9, "room": 120e9}
PREFIX = 64  # int8 numbers a row, by which nearly all pairs are decided
PASSES = 3.5  # of k-center over the rows, as measured at 2M x 384


def video(start: int, stop: int, d: int) -> np.ndarray:
    """Rows [start, stop) of an endless set: each walk depends on its number alone."""
    basis = np.random.default_rng(0).standard_normal((LATENT, d), np.float32) / np.float32(d**0.5)
    out = np.empty((stop - start, d), np.float16)
    for walk in range(start // WALK, -(-stop // WALK)):
        rng = np.random.default_rng([1, walk])
        steps = np.float32(0.12) * rng.standard_normal((WALK, LATENT), np.float32)
        steps[0] = 2 * rng.standard_normal(LATENT, np.float32)
        noise = np.float32(0.3 / d**0.5) * rng.standard_normal((WALK, d), np.float32)
        rows = (np.cumsum(steps, axis=0) @ basis + noise).astype(np.float16)
        first = max(start, walk * WALK)
        last = min(stop, (walk + 1) * WALK)
        out[first - start : last - start] = rows[first - walk * WALK : last - walk * WALK]
    return out


def made_store(folder: Path, n: int, d: int) -> Path:
    """Write the first n rows, tile by tile, unless they are there."""
    path = folder / f"video_{n}_{d}.npy"
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (n, d)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, n, TILE):
                video(start, min(n, start + TILE), d).tofile(file)
        part.rename(path)
    return path


def operations() -> dict[str, Callable[..., Any]]:
    import meddel_fast as mf

    return {
        "dedup": lambda x, **how: mf.deduplicate(x, 0.95, **how),
        "dedup in groups": lambda x, **how: mf.deduplicate(
            x, 0.95, labels=np.arange(len(x)) // CLUSTER, **how
        ),
        "greedy": lambda x, **how: mf.deduplicate(x, 0.95, rule="greedy", **how),
        "components": lambda x, **how: mf.deduplicate(x, 0.95, rule="components", **how),
        "k-center": lambda x, **how: mf.kcenter_greedy(x, CENTRES, **how),
        "k-center alone": lambda x, **how: mf.kcenter_greedy(x, CENTRES, distances=False, **how)[
            :2
        ],
        "k-means": lambda x, **how: mf.kmeans(x, 100, max_iterations=3, **how),
    }


def digest(fields: Any) -> str:
    parts = [np.ascontiguousarray(f).tobytes() for f in fields if f is not None]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


class Watch:
    """The most memory of its own that the process has, looked at every 5 ms."""

    def __init__(self) -> None:
        self.peak, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, status("RssAnon"))


def status(kind: str) -> int:
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def child(options: argparse.Namespace) -> None:
    """Work on one case in this process; print what it took."""
    import meddel_fast as mf

    operation = operations()[options.operation]
    store = mf.open_store(options.store)
    how: dict[str, Any] = {"threads": options.threads}
    group = None
    if options.memory != "all":
        how["memory"] = options.memory
    if "RANK" in os.environ:
        from meddel_fast.cluster import join_group

        group = how["group"] = join_group()
    before = status("RssAnon")
    began, worked = time.perf_counter(), time.process_time()
    with Watch() as watch:
        found = operation(np.load(options.store) if options.memory == "all" else store, **how)
    row: Row = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - worked,
        "before": before,
        "anonymous": watch.peak,
        "peak": status("VmHWM"),
        "passes": store.rows_read / len(store),
        "sent": group.sent if group else 0,
        "hash": digest(found),
    }
    rows = [row]
    if group:
        about = np.frombuffer(json.dumps(row).encode().ljust(1000), np.uint8)
        rows = [json.loads(bytes(part)) for part in group.allgather(about)]
        group.barrier()
    if group is None or group.rank == 0:
        print("RESULT " + json.dumps(rows), flush=True)


def run(store: Path, operation: str, memory: str, ranks: int, options: argparse.Namespace) -> Row:
    """Run a case in processes of its own; the times are the slowest rank's."""
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += [__file__, "--child", "--store", str(store), "--operation", operation]
    command += ["--memory", memory, "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    line = next(text for text in done.stdout.splitlines() if text.startswith("RESULT "))
    rows = json.loads(line.removeprefix("RESULT "))
    row: Row = {"operation": operation, "memory": memory, "ranks": ranks}
    row |= {key: max(r[key] for r in rows) for key in rows[0] if key != "hash"}
    if len({r["hash"] for r in rows}) > 1:
        sys.exit(f"the ranks differ: {rows}")
    return row | {"hash": rows[0]["hash"], "load": os.getloadavg()[0]}


def cases(options: argparse.Namespace) -> Iterator[tuple[Case, str, int]]:
    """Go through (operation, rows, columns), memory, ranks."""
    if "big" in options.parts:
        for operation in ("k-center", "dedup"):
            for memory in ("512MB", "all"):
                yield (operation, 2_000_000, 384), memory, 1
    if "rows" in options.parts:
        for operation in ("dedup", "dedup in groups", "k-center alone", "k-center"):
            for n in (10_000, 30_000, 100_000, 300_000):
                yield (operation, n, 64), "512MB", 1
    if "memory" in options.parts:
        for operation in ("dedup", "greedy", "components", "k-center", "k-means"):
            for memory in ("all", "32MB", "64MB", "256MB"):
                yield (operation, 100_000, 192), memory, 1
    if "ranks" in options.parts:
        for operation in ("dedup", "greedy", "components", "k-center", "k-means"):
            for ranks in (1, 2, 4):
                yield (operation, 60_000, 192), "256MB", ranks


def measure(options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    for (operation, n, d), memory, ranks in cases(options):
        known = {"operation": operation, "n": n, "d": d, "memory": memory, "ranks": ranks}
        if any(known.items() <= row.items() for row in rows):
            continue
        row = known | run(made_store(options.folder, n, d), operation, memory, ranks, options)
        alike = {r["hash"] for r in rows if (r["operation"], r["n"], r["d"]) == (operation, n, d)}
        if alike - {row["hash"]}:
            sys.exit(f"another result than before: {row}")
        rows.append(row)
        print(line_of(row), flush=True)
        options.out.write_text(json.dumps({"threads": options.threads, "rows": rows}, indent=1))
    return rows


def line_of(row: Row) -> str:
    """Return a line of docs/scale.md's table."""
    return "| " + " | ".join(value(row) for value in COLUMNS.values()) + " |"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "operation": lambda row: row["operation"],
    "rows": lambda row: f"{row['n']:,} x {row['d']}",
    "memory": lambda row: row["memory"],
    "ranks": lambda row: str(row["ranks"]),
    "wall": lambda row: f"{row['seconds']:.1f} s",
    "CPU": lambda row: f"{row['cpu']:.1f} s",
    "own memory": lambda row: f"{(row['anonymous'] - row['before']) / 1e6:.0f} MB",
    "in all": lambda row: f"{row['peak'] / 1e6:.0f} MB",
    "passes": lambda row: f"{row['passes']:.1f}",
    "sent a rank": lambda row: f"{row['sent'] / 1e6:.1f} MB",
    "bits": lambda row: row["hash"][:8],
}


def exponent(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Fit seconds = a n^b to the larger half of the points; return a, b."""
    n, seconds = np.log(np.array(points[len(points) // 2 - 1 :])).T
    b, a = np.polyfit(n, seconds, 1)
    return float(np.exp(a)), float(b)


def report(rows: list[Row]) -> None:
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    for row in rows:
        print(line_of(row))
    for operation in dict.fromkeys(row["operation"] for row in rows):
        points = sorted(
            (r["n"], r["cpu"]) for r in rows
            if r["operation"] == operation and r["d"] == 64 and r["ranks"] == 1
        )  # fmt: skip
        if len(points) < 3:
            continue
        a, b = exponent(points)
        most = points[-1][0]
        print(f"{operation}: CPU seconds ~ n^{b:.2f} ({most:,} rows: {a * most**b:.1f})")
    for n in (10**7, 10**8):
        for gpus in (1, 8):
            print(predicted(n, 768, gpus))


def predicted(n: int, d: int, gpus: int) -> str:
    """Return what a self-join and 10,000 centres take at least, by their parts: no measurement."""
    own = n * d * 2 / gpus  # bytes of fp16 rows
    screens = {"join": n * n / 2 / gpus, "k-center": n * 10_000 / gpus}
    seconds = {name: pairs * 2 * PREFIX / H200["int8"] for name, pairs in screens.items()}
    # Rows beyond a GPU's memory come from the host: once for each resident half of its memory, or
    # in each pass.
    fits = own < H200["room"]
    loads = {"join": 1 if fits else own / H200["room"], "k-center": 1 if fits else PASSES}
    reads = PASSES * own / H200["memory"]
    out = [f"{n:,} x {d} on {gpus} H200"]
    for name in screens:
        sent = (gpus - 1) * own if name == "join" else 0.0
        parts = {
            "screens": seconds[name],
            "memory": reads if name == "k-center" else 0.0,
            "loading": loads[name] * own / H200["host"],
            "sending": sent / H200["link"],
        }
        out.append(f"{name}: " + ", ".join(f"{part} {s:,.2f} s" for part, s in parts.items()))
    return "; ".join(out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    every = ["big", "rows", "memory", "ranks"]
    parser.add_argument("--parts", nargs="*", choices=every, default=every)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/scale"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/scale.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--operation", help=argparse.SUPPRESS)
    parser.add_argument("--memory", default="512MB", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.child:
        child(options)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report(measure(options))


if __name__ == "__main__":
    main()
