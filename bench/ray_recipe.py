"""The recipe that was ``examples/ray_dedup.py`` before there was an engine, to compare it with.

A line that begins with STAGE tells of each part's end (see process_tree.py); for the rest:
remove near duplicates with Ray Data: embed in batches, compare inside clusters.

    python bench/ray_recipe.py --embeddings x.npy --out kept

``--out`` becomes a folder of Parquet files with a row a sample: number, cluster, whether it is
kept, which sample stands for it and how similar that is. The result is that of
``meddel_fast.deduplicate(x, threshold, rule=rule, labels=clusters)``, whatever the number of
workers: groups are whole clusters, in the order of the samples' numbers.

Needs ``pip install "ray[data]"`` beside meddel-fast.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import ray
import ray.data

import meddel_fast as mf

Batch = dict[str, np.ndarray]
SAMPLE = 20_000  # rows that the centroids are learned from


class Embed:
    """Embeds the images of a batch; a worker loads the encoder once."""

    def __init__(self, encoder: str) -> None:
        from meddel_fast.training.device import choose
        from meddel_fast.training.encoders.vit import load_encoder

        self.compute = choose("auto", "fp32")
        self.encoder = load_encoder(encoder, self.compute)

    def __call__(self, batch: Batch) -> Batch:
        """Give the images' embeddings in place of their paths."""
        import torch

        from meddel_fast.training.loader import Frames

        paths = [Path(path) for path in batch.pop("path")]
        images = Frames(paths, self.encoder.image_size, keep=False)[np.arange(len(paths))]
        with torch.inference_mode():
            tokens = self.encoder(self.compute.send(self.compute.stage(images)))
        return {**batch, "embedding": tokens.patches.mean(dim=(1, 2)).cpu().numpy()}


def read(batch: Batch, path: Path) -> Batch:
    """Read the embeddings of a batch from a file that all workers see."""
    number = batch["id"]
    return {"number": number, "embedding": np.load(path, mmap_mode="r")[number]}


def assign(batch: Batch, centroids: np.ndarray) -> Batch:
    """Give each sample of a batch the cluster of its most similar centroid."""
    nearest = mf.topk_similarity(matrix(batch), centroids, k=1, threads=1)
    return {**batch, "cluster": nearest.indices[:, 0]}


def deduplicate(group: Batch, threshold: float, rule: str) -> Batch:
    """Decide on the samples of one cluster."""
    order = np.argsort(group["number"])
    number = group["number"][order]
    found = mf.deduplicate(matrix(group)[order], threshold, rule=rule, threads=1)
    return {
        "number": number,
        "cluster": group["cluster"][order],
        "keep": found.keep,
        "representative": number[found.representative],
        "similarity": found.similarity,
    }


def matrix(batch: Batch) -> np.ndarray:
    """Return the embeddings of a batch as one array."""
    return np.stack(list(batch["embedding"]))


def embedded(options: argparse.Namespace) -> ray.data.Dataset:
    """Return samples with their numbers and embeddings."""
    if options.embeddings is not None:
        path = Path(options.embeddings).resolve()
        n = len(np.load(path, mmap_mode="r"))
        return ray.data.range(n).map_batches(read, fn_kwargs={"path": path})
    from meddel_fast.images.manifest import Manifest

    paths = Manifest.load(options.manifest).image_paths()
    pool = ray.data.ActorPoolStrategy(size=options.workers)
    images = ray.data.from_items([{"number": n, "path": str(p)} for n, p in enumerate(paths)])
    return images.map_batches(
        Embed, fn_constructor_args=[options.encoder], batch_size=64, compute=pool
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--embeddings", help=".npy file (samples, features)")
    parser.add_argument("--manifest", help="manifest of the images, with --encoder")
    parser.add_argument("--encoder", help="folder of an encoder")
    parser.add_argument("--out", required=True, help="folder for the result")
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--rule", default="semdedup", help="semdedup, greedy or components")
    parser.add_argument("--workers", type=int, default=1, help="encoders at a time")
    options = parser.parse_args()
    if (options.embeddings is None) == (options.manifest is None or options.encoder is None):
        parser.error("give --embeddings, or --manifest and --encoder")

    ray.init(log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    print("STAGE start", flush=True)
    samples = embedded(options).materialize()  # looked at twice
    n = samples.count()
    print("STAGE read", flush=True)
    step = max(1, n // SAMPLE)
    some = samples.filter(lambda row: row["number"] % step == 0).sort("number").take_batch(n)
    centroids = mf.kmeans(matrix(some), min(options.clusters, len(some["number"]))).centroids
    print("STAGE centroids", flush=True)
    decide = partial(deduplicate, threshold=options.threshold, rule=options.rule)
    decided = (
        samples.map_batches(assign, fn_kwargs={"centroids": centroids})
        .groupby("cluster")
        .map_groups(decide, batch_format="numpy")  # else a group may come as a pandas frame
        .materialize()  # written, and counted
    )
    print("STAGE grouping", flush=True)
    decided.write_parquet(options.out)
    kept = sum(int(batch["keep"].sum()) for batch in decided.iter_batches())
    print(f"{options.out}: {kept} of {n} kept", flush=True)
    print("STAGE writing", flush=True)


if __name__ == "__main__":
    main()
