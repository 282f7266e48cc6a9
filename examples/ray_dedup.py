"""Near duplicates of a data set on a Ray cluster, for sets larger than one machine.

    python examples/ray_dedup.py rows.parquet --out kept
    python examples/ray_dedup.py images.parquet --encoder FOLDER --out kept

The Parquet files have a row a sample: ``id`` and ``embedding``, or ``id`` and the image's ``path``.
``--out`` becomes a folder of Parquet files: id, whether it is kept, the id of the sample that it
repeats, and the cosine to that; as ``meddel_fast.deduplicate`` decides in memory.

Needs ``pip install "meddel-fast[ray]"``. On a cluster, start it on any node after setting
``RAY_ADDRESS=auto``; without it Ray takes the cores of this machine.
"""

from __future__ import annotations

import argparse

import ray.data

from meddel_fast.cluster.ray import deduplicate, embed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="+", help="Parquet files or a folder of them")
    parser.add_argument("--encoder", help="folder of an encoder, for images")
    parser.add_argument("--out", required=True, help="folder for the result")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--rule", default="semdedup", help="semdedup, greedy or components")
    parser.add_argument("--workers", type=int, help="by default one a node")
    parser.add_argument("--checkpoint", help="folder, or URL, that all nodes see")
    options = parser.parse_args()

    rows = ray.data.read_parquet(options.rows)
    if options.encoder is not None:
        rows = embed(rows, options.encoder, workers=options.workers)
    how = {"workers": options.workers, "checkpoint": options.checkpoint}
    decided = deduplicate(rows, options.threshold, rule=options.rule, **how)
    decided.write_parquet(options.out)
    print(f"{options.out}: {int(decided.sum('keep'))} of {decided.count()} kept")


if __name__ == "__main__":
    main()
