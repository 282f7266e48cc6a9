"""Memory of a driver, of workers and of the rendezvous on three Ray nodes, object stores small.

``python bench/ray_memory.py`` starts the nodes on this machine, each with an object store of
150 MiB that spills to disk, removes near duplicates from a store and from a data set of 307 and of
128 MB, and prints the most that any process held.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import bench_scale
import numpy as np
from process_tree import watched_with_ray
from ray_peer import CLUSTERS, made, tell
from record import machine

from meddel_fast.common.atomic import write_text

OBJECT_STORE = 150 * 1024**2
NODES = 3
SETS = {"200,000 x 384 float32": (200_000, 384), "1,000,000 x 64 float16": (1_000_000, 64)}
FROM = ("store", "data set")


def child(path: Path, source: str) -> None:
    """Work on one set; say what the driver is left with."""
    import ray
    from ray.cluster_utils import Cluster

    from meddel_fast.cluster.ray import BlockRows, StoreRows, Workers
    from meddel_fast.cluster.ray.works import DEDUPLICATE

    spill = {"object_store_memory": OBJECT_STORE, "num_cpus": 1}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**spill, "include_dashboard": False},
    )
    for _ in range(NODES - 1):
        cluster.add_node(**spill)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    tell("start")
    n = len(np.load(path, mmap_mode="r"))
    if source == "store":
        rows = StoreRows(str(path.resolve()))
        labels: object = np.arange(n) % CLUSTERS
    else:
        import ray_recipe

        read = ray_recipe.read
        ds = ray.data.range(n).map_batches(
            read, fn_kwargs={"path": path.resolve()}, batch_size=10_000
        )
        ds = ds.map_batches(clustered)
        rows, labels = BlockRows(ds, "number", "embedding", ["cluster"]), "cluster"
    with Workers(rows, NODES, memory="500MB") as ranks:
        answer = ranks.run(DEDUPLICATE, threshold=0.95, labels=labels)
        tell("deduplicating")
        kept = answer.about["kept"]
        print(f"KEPT {kept} {ranks.report.meetings} {max(ranks.report.sent)}", flush=True)
    ray.shutdown()
    cluster.shutdown()


def clustered(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**batch, "cluster": batch["number"] % CLUSTERS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/ray"))
    parser.add_argument("--save", type=Path, default=Path("build/bench/ray_memory.json"))
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--sources", nargs="*", choices=FROM, default=FROM)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--source", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.source)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.sets:
        n, d = SETS[name]
        float16 = name.endswith("float16")
        path = (
            bench_scale.made_store(options.folder, n, d) if float16 else made(options.folder, n, d)
        )
        for source in options.sources:
            command = [sys.executable, __file__, "--child", str(path), "--source", source]
            quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
            with tempfile.TemporaryDirectory(prefix="rm-", ignore_cleanup_errors=True) as own:
                (Path(own) / "ray").mkdir()  # the cluster's address is written there
                took = watched_with_ray(command, env=quiet | {"RAY_TMPDIR": own}, limit=290.0)
            row = took._asdict() | {"set": name, "from": source, "bytes": path.stat().st_size}
            row["said"] = [x for x in row.pop("output").splitlines() if x.startswith("KEPT")]
            rows.append(row | {"load": os.getloadavg()[0]})
            print(json.dumps(rows[-1]), flush=True)
            write_text(options.save, json.dumps({"machine": machine(), "took": rows}, indent=1))


if __name__ == "__main__":
    main()
