"""What work on many workers sends, reads, holds and takes: counted, modelled, and carried on.

``python bench/scaling.py`` runs each operation on 1, 2, 4 and 8 processes, on a store of made rows
(video-like, fp16), and counts exactly what each sends and reads; holds ``scaling_model.py`` against
it; measures CPU rates; and says what follows for 100M x 768 on 16 machines. Every line's result has
to be that of one worker, bit for bit. ``--help`` lists the parts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import data
import numpy as np
from bench_scale import WALK, digest, made_store
from record import machine
from scaling_group import Row, on_processes
from scaling_model import PASSES, SENT, Case, Facts, Plan, least_memory, planned

import meddel_fast as mf
from meddel_fast.common.atomic import write_text
from meddel_fast.sharded.memory import check_memory
from meddel_fast.stores.shards import ArrayShard
from meddel_fast.stores.store import Store

WORKERS = (1, 2, 4, 8)
ITERATIONS = 5  # of k-means, at most, where it is counted
COUNTED = ((20_000, 64), (60_000, 96), (24_000, 768))
# With the first budget all rows stay in memory; the other is little more than the least.
BUDGETS = ("256MB", "least")
SPARE = 1.1
RATE = (100_000, 768)  # rows and columns that CPU rates are measured on
RATE_CLUSTER = 20_000  # rows of a cluster there, as of 5,000 clusters of 100 million rows
FEW = 20_000  # rows that k-means is measured on
FAR = Case(100_000_000, 768, 2, 16, 5_000)
FAR_CENTRES = 100_000
FAR_ITERATIONS = 20
SCALE = 100  # a plan is worked out for so many times fewer rows: what it needs grows with them


def clusters(n: int) -> int:
    """As many as the selectors take."""
    return math.floor(math.sqrt(n) / 2 + 0.5)


def labels_of(n: int, k: int) -> np.ndarray:
    """Whole videos go to one of k groups, so that each worker has some of each."""
    return np.arange(n) // WALK % k


def semdedup(x: Any, case: Case, **how: Any) -> Any:
    labels = labels_of(case.n, case.k)
    return mf.deduplicate(x, 0.95, labels=labels, threads=1, **how)


def redundancy(x: Any, case: Case, **how: Any) -> Any:
    """What meddel asks of clusters."""
    return mf.redundancy(x, labels=labels_of(case.n, case.k), threads=1, **how)


def greedy(x: Any, case: Case, **how: Any) -> Any:
    del case
    return mf.deduplicate(x, 0.95, rule="greedy", threads=1, **how)


def components(x: Any, case: Case, **how: Any) -> Any:
    del case
    return mf.deduplicate(x, 0.95, rule="components", threads=1, **how)


def kmeans(x: Any, case: Case, **how: Any) -> Any:
    return mf.kmeans(x, case.k, max_iterations=ITERATIONS, threads=1, **how)


def kcenter(x: Any, case: Case, **how: Any) -> Any:
    return mf.kcenter_greedy(x, centres(case.n), threads=1, **how)


def meddel(x: Any, case: Case, **how: Any) -> Any:
    return mf.selectors.meddel(x, 0.1, clusters=case.k, max_iterations=ITERATIONS, threads=1, **how)


def centres(n: int) -> int:
    """Of k-center: as many of 100 rows as far away, or 1 % where it is counted."""
    return FAR_CENTRES // SCALE if n == FAR.n // SCALE else n // 100


WORK: dict[str, Callable[..., Any]] = {
    "semdedup": semdedup, "greedy": greedy, "components": components,
    "k-means": kmeans, "k-center": kcenter, "meddel": meddel,
}  # fmt: skip


def iterations(x: Any, case: Case, **how: Any) -> Any:
    """k-means after its seeds."""
    first = np.zeros((case.k, case.d), np.float32)
    return mf.kmeans(x, case.k, init=first, threads=1, **how)


STEPS = {"k-means": (kmeans, iterations), "meddel": (kmeans, iterations, semdedup)}


def about(found: Any) -> Row:
    """A hash of a result, and what of it the model takes for given."""
    row: Row = {}
    if hasattr(found, "iterations"):
        row["iterations"] = found.iterations
    if hasattr(found, "settings"):  # a selection
        row["iterations"] = found.settings["iterations"]
        found = (found.order, found.scores)
    if hasattr(found, "representative"):
        row["roots"] = len(np.unique(found.representative[~found.keep]))
        row["dropped"] = int((~found.keep).sum())
    fields = [np.asarray(f) for f in found if f is not None]
    return row | {"hash": digest(fields)}


def count(options: argparse.Namespace, rows: list[Row]) -> None:
    """Add a line for each operation, size, budget and number of workers that has none."""
    for operation, n, d, memory, workers in cases(options):
        known = {"operation": operation, "n": n, "d": d, "memory": memory, "workers": workers}
        if any(known.items() <= row.items() for row in rows):
            continue
        case = Case(n, d, 2, workers, clusters(n))
        path = made_store(options.folder, n, d)
        work, budget = WORK[operation], budget_of(operation, case, memory)

        def run(group: Any) -> tuple[Any, Any]:
            store = mf.open_store(path)  # noqa: B023
            return work(store, case, memory=budget, group=group), store  # noqa: B023

        ranks = on_processes(workers, run, about)
        same = {key: known[key] for key in ("operation", "n", "d")}
        alike = {r["hash"] for r in [*ranks, *(r for r in rows if same.items() <= r.items())]}
        if len(alike) > 1:
            sys.exit(f"the results differ: {known}")
        row = known | {"k": case.k, "budget": budget, **summed(ranks), "load": os.getloadavg()[0]}
        row["plan"] = planned_if_one(operation, case, budget)
        row["whole"] = whole_clusters(operation, case, budget)
        rows.append(row)
        print(counted_line(row), flush=True)
        keep(options, rows)


def budget_of(operation: str, case: Case, memory: str) -> int:
    """Bytes; at the least what each step of the operation needs."""
    if memory != "least":
        return check_memory(memory)
    steps = STEPS.get(operation, (WORK[operation],))
    return int(SPARE * max(least_memory(step, case, lambda plan: True) for step in steps))


def planned_if_one(operation: str, case: Case, budget: int) -> Plan | None:
    """How the rows were cut; a selector cuts them several times."""
    return None if operation == "meddel" else planned(WORK[operation], case, budget)


def whole_clusters(operation: str, case: Case, budget: int) -> bool:
    """Whether each rank compares whole clusters."""
    if operation not in ("semdedup", "meddel") or case.workers == 1:
        return False
    work = semdedup if operation == "semdedup" else redundancy
    return planned(work, case, budget).tries == 1


def summed(ranks: list[Row]) -> Row:
    """Put together what the ranks say: sums over all, and the most of one where named so."""
    row = {
        key: sum(r[key] for r in ranks) for key in ("sent", "rows_read", "cpu", "kernels", "seeded")
    }
    most = ("sent", "got", "cpu", "own_memory", "largest", "exchanges", "seconds")
    row |= {f"{key}_most": max(r[key] for r in ranks) for key in most}
    alike = ("rounds", "asked", "offered", "iterations", "roots", "dropped", "hash")
    return row | {key: ranks[0][key] for key in alike if key in ranks[0]}


def cases(options: argparse.Namespace) -> Iterator[tuple[str, int, int, str, int]]:
    for n, d in COUNTED:
        for operation in WORK:
            for memory in BUDGETS:
                for workers in WORKERS:
                    yield operation, n, d, memory, workers


def rated(n: int) -> dict[str, tuple[float, int, Callable[..., Any]]]:
    """Of each piece of work: pairs that a plain loop would compare, rows, and the call."""
    labels = np.arange(n) % (n // RATE_CLUSTER)  # no walk has a cluster of its own
    first = {"memory": "3GB", "threads": 1}
    within = {"labels": labels, **first}
    return {
        "pairs inside clusters": (
            n * RATE_CLUSTER / 2, n, lambda x: mf.deduplicate(x, 0.95, **within),
        ),
        "all pairs, greedy": (
            n * n / 2, n, lambda x: mf.deduplicate(x, 0.95, rule="greedy", **first),
        ),
        "all pairs, components": (
            n * n / 2, n, lambda x: mf.deduplicate(x, 0.95, rule="components", **first),
        ),
        "k-center": (n * n / 100, n, lambda x: mf.kcenter_greedy(x, n // 100, **first)),
        "seeds of k-means": (
            FEW * FAR.k, FEW, lambda x: mf.kmeans(x, FAR.k, max_iterations=0, **first),
        ),
        "iterations of k-means": (
            3 * FEW * FAR.k, FEW,
            lambda x: mf.kmeans(x, FAR.k, init=np.float32(x[: FAR.k]), max_iterations=2, **first),
        ),
    }  # fmt: skip


def rates(options: argparse.Namespace, rows: list[Row]) -> None:
    """Add the CPU seconds of each piece of work on two kinds of data, in one process each."""
    n, d = RATE
    for kind in ("video", "clustered"):
        x = np.load(made_store(options.folder, n, d)) if kind == "video" else None
        for name, (pairs, used, call) in rated(n).items():
            known = {"rate": name, "data": kind, "n": used, "d": d}
            if any(known.items() <= row.items() for row in rows):
                continue
            x = data.make(kind, n, d).astype(np.float16) if x is None else x
            own = x[:: n // used]

            def run(group: Any) -> tuple[Any, Any]:
                del group
                return call(own), Store([ArrayShard("x", own)])  # noqa: B023

            (row,) = on_processes(1, run, lambda found: {})
            row = known | {"pairs": pairs, "cpu": row["cpu"], "load": os.getloadavg()[0]}
            rows.append(row)
            print(
                f"| {name} | {kind} | {row['cpu']:.1f} s | {pairs / row['cpu']:.3g} pairs/s |",
                flush=True,
            )
            keep(options, rows)


def facts_of(row: Row) -> Facts:
    return Facts(**{name: row.get(name, 0) for name in Facts._fields})


def case_of(row: Row) -> Case:
    return Case(row["n"], row["d"], 2, row["workers"], row["k"])


def far(rows: list[Row]) -> None:
    """Print what each operation would send, read, hold and take on 16 machines."""
    rate = {(row["rate"], row["data"]): row["pairs"] / row["cpu"] for row in rows if "rate" in row}
    counted = [row for row in rows if row.get("operation") == "k-center" and row["workers"] == 8]
    a_centre = {key: max(r[key] / centres(r["n"]) for r in counted) for key in ("rounds", "asked")}
    offered = max(row["offered"] / centres(row["n"]) for row in counted)
    facts = {
        "k-means": Facts(iterations=FAR_ITERATIONS),
        "k-center": Facts(
            rounds=int(a_centre["rounds"] * FAR_CENTRES),
            asked=int(a_centre["asked"] * FAR_CENTRES),
            offered=int(offered * FAR_CENTRES),
        ),
        "components": Facts(roots=FAR.n // 100),
        "meddel": Facts(iterations=FAR_ITERATIONS, whole=True),
        "semdedup": Facts(whole=True),
    }
    works = {
        "semdedup": [("pairs inside clusters", FAR.n * (FAR.n / FAR.k) / 2)],
        "greedy": [("all pairs, greedy", FAR.n**2 / 2)],
        "components": [("all pairs, components", FAR.n**2 / 2)],
        "k-means": [("seeds of k-means", FAR.n * FAR.k),
                    ("iterations of k-means", FAR_ITERATIONS * FAR.n * FAR.k)],
        "k-center": [("k-center", FAR.n * FAR_CENTRES)],
    }  # fmt: skip
    works["meddel"] = works["k-means"] + works["semdedup"]
    small = FAR._replace(n=FAR.n // SCALE, k=FAR.k // SCALE)
    print("| operation | sent by a node | memory, at least | rows stay from | CPU hours |")
    for name, pieces in works.items():
        sent = SENT[name](FAR, facts.get(name, Facts())) / FAR.workers
        steps = STEPS.get(name, (WORK[name],))
        least, stay = (
            SCALE * max(least_memory(step, small, wanted) for step in steps)
            for wanted in (lambda plan: True, lambda plan: plan.stays)
        )
        hours = [
            sum(pairs / rate[piece, kind] for piece, pairs in pieces) / 3600
            for kind in ("video", "clustered")
        ]
        print(f"| {name} | {sent / 1e9:.3g} GB | {least / 1e9:.3g} GB | {stay / 1e9:.3g} GB | "
              f"{min(hours):.3g} to {max(hours):.3g} |")  # fmt: skip


def counted_line(row: Row) -> str:
    """One case, and how far the model's bytes and passes are from it."""
    told = modelled(row)
    parts = [
        row["operation"], f"{row['n']:,} x {row['d']}", row["memory"], str(row["workers"]),
        f"{row['sent'] / 1e6:.2f} MB", off(told["sent"], row["sent"]),
        f"{row['rows_read'] / row['n']:.2f}", off(told.get("passes"), row["rows_read"] / row["n"]),
        f"{row['own_memory_most'] / 1e6:.0f} MB", f"{row['cpu']:.1f} s", f"{row['kernels']:.1f} s",
    ]  # fmt: skip
    return "| " + " | ".join(parts) + " |"


def off(said: float | None, counted: float) -> str:
    """How far a figure of the model is from what was counted."""
    if said is None:
        return "-"
    return f"{100 * (said / counted - 1):+.1f} %" if counted else f"{said:+g}"


def modelled(row: Row) -> Row:
    """What the model says of a counted case, given what the data decided."""
    case, facts = case_of(row), facts_of(row)
    told: Row = {"sent": SENT[row["operation"]](case, facts)}
    if row["plan"]:
        told["passes"] = PASSES[row["operation"]](case, Plan(*row["plan"]), facts)
    return told


def keep(options: argparse.Namespace, rows: list[Row]) -> None:
    write_text(options.out, json.dumps({"machine": machine(), "rows": rows}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    every = ["count", "rates", "far"]
    parser.add_argument("--parts", nargs="*", choices=every, default=every)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/scale"))
    parser.add_argument("--out", type=Path, default=Path("build/bench/scaling.json"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    if "count" in options.parts:
        count(options, rows)
    if "rates" in options.parts:
        rates(options, rows)
    if "far" in options.parts:
        far(rows)


if __name__ == "__main__":
    main()
