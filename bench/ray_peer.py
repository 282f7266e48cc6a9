"""The same near duplicates by the Ray recipe of before, in one process, and by our engine on Ray.

``python bench/ray_peer.py`` makes 200,000 x 384 rows in clusters with planted duplicates, runs each
way as a command of its own with all its processes watched (process_tree.py), and compares what they
decide. CPU seconds are those of all processes together, Ray's own included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray_recipe
from process_tree import MARK, watched_with_ray
from record import machine

import meddel_fast as mf
from meddel_fast.common.atomic import write_text

THRESHOLD = 0.95
CLUSTERS = 100  # the recipe's default
SAMPLE = 20_000  # rows that the recipe learns the centroids from
HERE = Path(__file__).parent


def made(folder: Path, n: int, d: int) -> Path:
    """Write the rows unless they are there: 200 clusters that overlap, each tenth row a copy."""
    path = folder / f"clustered_{n}_{d}.npy"
    if not path.exists():
        part = path.with_suffix(".part.npy")
        np.save(part, data.make("clustered", n, d))
        part.rename(path)
    return path


def command_of(way: str, path: Path, out: Path, rule: str) -> list[str]:
    """Each way runs in a process of its own, which tells of its stages."""
    if way == "recipe":
        command = [sys.executable, str(HERE / "ray_recipe.py"), "--clusters", str(CLUSTERS)]
    else:
        command = [sys.executable, __file__, "--way", way]
    return [*command, "--embeddings", str(path), "--out", str(out), "--rule", rule]


def tell(stage: str) -> None:
    print(f"{MARK}{stage}", flush=True)


def in_memory(path: Path, out: Path, rule: str) -> None:
    """What the recipe does, in one process, with two threads."""
    tell("start")
    x = np.load(path)
    tell("read")
    centroids = centroids_of(path)
    tell("centroids")
    labels = mf.topk_similarity(x, centroids, k=1, threads=1).indices[:, 0]
    found = mf.deduplicate(x, THRESHOLD, rule=rule, labels=labels, threads=1)
    tell("grouping")
    columns = dict(zip(("keep", "representative", "similarity"), found, strict=True))
    write(out, pa.table({"id": np.arange(len(x)), **columns}), labels)
    tell("writing")


def centroids_of(path: Path) -> np.ndarray:
    """The recipe's: of each so-many-th row."""
    x = np.load(path, mmap_mode="r")
    return mf.kmeans(np.array(x[:: max(1, len(x) // SAMPLE)]), CLUSTERS, threads=1).centroids


def connect() -> None:
    import ray

    ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False


def on_ray_from_data(path: Path, out: Path, rule: str) -> None:
    """The recipe's data set, with the engine in place of its grouping."""
    connect()
    tell("start")
    import ray

    from meddel_fast.cluster.ray import deduplicate

    n = len(np.load(path, mmap_mode="r"))
    rows = ray.data.range(n).map_batches(ray_recipe.read, fn_kwargs={"path": path.resolve()})
    rows = rows.materialize()
    tell("read")
    centroids = centroids_of(path)
    tell("centroids")
    near = rows.map_batches(ray_recipe.assign, fn_kwargs={"centroids": centroids}).materialize()
    tell("assigning")
    decided = deduplicate(
        near, THRESHOLD, rule=rule, labels="cluster", id="number", workers=2, memory="1GB"
    )
    tell("grouping")
    table = pa.concat_tables(ray.get(decided.to_arrow_refs()))
    clusters = {
        b["number"]: b["cluster"] for b in near.select_columns(["number", "cluster"]).take_all()
    }
    write(out, table, np.array([clusters[i] for i in table["id"].to_pylist()]))
    tell("writing")


def on_ray_from_store(path: Path, out: Path, rule: str) -> None:
    """Workers that read the file by themselves."""
    connect()
    tell("start")
    from meddel_fast.cluster.ray import StoreRows, Workers
    from meddel_fast.cluster.ray.works import DEDUPLICATE

    store = mf.open_store(path, memory="500MB")
    centroids = centroids_of(path)
    tell("centroids")
    labels = mf.topk_similarity(store, centroids, k=1, threads=1).indices[:, 0]
    tell("assigning")
    with Workers(StoreRows(str(path.resolve())), 2, memory="1GB") as ranks:
        answer = ranks.run(DEDUPLICATE, threshold=THRESHOLD, rule=rule, labels=labels)
        tell("grouping")
        write(out, answer.table(), labels)
    tell("writing")


def write(out: Path, table: Any, labels: np.ndarray) -> None:
    out.mkdir(exist_ok=True)
    similarity = table["similarity"].to_numpy().astype(float)
    columns = {
        "number": table["id"], "cluster": labels, "keep": table["keep"],
        "representative": table["representative"], "similarity": similarity,
    }  # fmt: skip
    pq.write_table(pa.table(columns), out / "kept.parquet")


WAYS = {
    "in memory": in_memory,
    "on Ray, from a data set": on_ray_from_data,
    "on Ray, from a store": on_ray_from_store,
}


def folder_of(way: str) -> str:
    return way.replace(",", "").replace(" ", "_")


def run(way: str, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one way; say what it took, and keep what it decided."""
    out = options.folder / folder_of(way)
    shutil.rmtree(out, ignore_errors=True)
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    command = command_of(way, path, out, options.rule)
    took = watched_with_ray(command, env=quiet, limit=options.limit)
    row = took._asdict() | {"way": way, "load": os.getloadavg()[0]}
    del row["output"]
    return row


def decisions(out: Path) -> dict[str, np.ndarray]:
    """Columns of a result by the samples' numbers."""
    table = pq.read_table(out)
    order = np.argsort(table["number"].to_numpy())
    names = ("cluster", "keep", "representative", "similarity")
    return {name: table[name].to_numpy()[order] for name in names}


def differing(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, int]:
    """In how many rows the two ways say something else."""
    return {
        name: int(
            (~((value == other[name]) | ((value != value) & (other[name] != other[name])))).sum()
        )
        for name, value in one.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--rule", default="semdedup")
    parser.add_argument("--folder", type=Path, default=Path("build/bench/ray"))
    parser.add_argument("--save", type=Path, default=Path("build/bench/ray.json"))
    parser.add_argument("--limit", type=float, default=290.0, help="seconds of one way")
    parser.add_argument("--ways", nargs="*", default=["recipe", *WAYS])
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--embeddings", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        WAYS[options.way](options.embeddings, options.out, options.rule)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    path = made(options.folder, options.rows, options.columns)
    told: dict[str, Any] = {"rows": options.rows, "columns": options.columns, "took": []}
    if options.save.exists():
        told = json.loads(options.save.read_text())
    for way in options.ways:
        row = run(way, path, options) | {"machine": machine()}
        told["took"] = [its for its in told["took"] if its["way"] != way] + [row]
        print(json.dumps(row), flush=True)
        done = {
            its["way"]: decisions(options.folder / folder_of(its["way"])) for its in told["took"]
        }
        truth = done.get("in memory", done[way])
        told["differ"] = {name: differing(truth, its) for name, its in done.items()}
        print(told["differ"], flush=True)
        write_text(options.save, json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
