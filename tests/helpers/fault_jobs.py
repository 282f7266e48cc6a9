"""Jobs for `fault_driver`: what each is given, what it does, and what it leaves.

A job is done again from its beginning until it ends; it finds by itself where to go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tiny_run import made, tiny

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

TINY = (
    tiny(
        run={"selectors": ["meddel", "loss"], "seeds": [0]},
        data=[made(videos=4, frames=8)],
        pretrain={"steps": 6, "checkpoint_every": 2},
        downstream={"steps": 4},
    )
    + '[selectors.loss]\nscore = "mae"\n'
)


class Job(NamedTuple):
    """A job: `prepare` makes what it reads, in a folder; `work` reads there and writes to another.

    `results` are the files that have their last bytes from the moment they are there, `ends` those
    that have them when the job ends. In the folders `swept` nothing else is left behind. What is
    prepared in ``start`` is what the folder to write to holds at the beginning.
    """

    prepare: Callable[[Path], object]
    work: Callable[[Path, Path], object]
    results: tuple[str, ...]
    ends: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2, 3, size=(n, 8)).astype(np.float32)


def prepare_benchmark(inputs: Path) -> None:
    (inputs / "tiny.toml").write_text(TINY)


def benchmark(inputs: Path, out: Path) -> None:
    from meddel_fast.benchmark.config_file import load_config
    from meddel_fast.benchmark.run import run

    run(load_config(inputs / "tiny.toml", out=out))


def prepare_embed(inputs: Path) -> None:
    from frames import blob_frames
    from transformers import ViTConfig, ViTModel

    blob_frames(inputs).save(inputs / "manifest.parquet")
    width = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    shape = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 1}
    ViTModel(ViTConfig(**width, **shape)).save_pretrained(inputs / "encoder")


def embed(inputs: Path, out: Path) -> None:
    """Embed, and write a part of the rows to a folder of its own."""
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.training.embed import embed

    images = Manifest.load(inputs / "manifest.parquet")
    found = embed(images, inputs / "encoder", out / "embeddings", shard_size=8, batch_size=8)
    part = np.arange(0, len(images), 3)
    found.take(part, images.take(part), out / "part")


def prepare_nothing(inputs: Path) -> None:
    """Leave the folder empty."""


def index(inputs: Path, out: Path) -> None:
    """Make an index, add twice, remove, and write it anew; each only if it was not done yet."""
    from meddel_fast.common.files import read_json
    from meddel_fast.index import SelectionIndex
    from meddel_fast.index.segments import HEAD

    there = (out / HEAD).exists()
    found = SelectionIndex.open(out) if there else SelectionIndex.create(out, 8, threshold=0.8)
    if read_json(out / HEAD)["centroids"] is None:  # which the last step writes
        for part in range(2):
            if f"{part} 0" not in found.ids:
                found.add(rows(30, part), [f"{part} {k}" for k in range(30)], threads=1)
        if gone := [name for name in found.ids if name.endswith("5")]:
            found.remove(gone, threads=1)
        found.compact(threads=1)
    if wrong := found.verify(threads=1):
        raise AssertionError(wrong)


def prepare_rows(inputs: Path) -> None:
    np.save(inputs / "x.npy", rows(200))


def select(inputs: Path, out: Path) -> None:
    """Select for two budgets, list what is kept, and select from a store on parts of its rows."""
    import meddel_fast as mf
    from meddel_fast.cli.select import select
    from meddel_fast.cli.selection_file import reuse

    select(inputs / "x.npy", budget="20,40", out=out / "sel-{budget}.parquet", threads=1)
    reuse(out / "sel-20.parquet", out / "kept.txt", None, None)
    store = mf.open_store(inputs / "x.npy", memory="4MB")
    mf.selectors.kcenter(store, 20, threads=1).save(out / "parts.parquet")
    mf.selectors.semdedup(store, 20, threads=1).save(out / "dedup.parquet")


def prepare_runs(inputs: Path) -> None:
    from run_files import make_verified

    make_verified("run.json")(inputs)
    (inputs / "run").rename(inputs / "start")


def leaderboard(inputs: Path, out: Path) -> None:
    from meddel_fast.cli.leaderboard import leaderboard

    leaderboard([out], out / "board", verify=True)


def prepare_model(inputs: Path) -> None:
    (inputs / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (inputs / "model" / name).write_bytes(name.encode() * 1000)
    (inputs / "loss.csv").write_text("step,loss\n1,0.5\n")


def share(inputs: Path, out: Path) -> None:
    from meddel_fast.benchmark.stages.shared_training import share_training

    share_training(inputs, out / "other")


JOBS = {
    "benchmark": Job(
        prepare_benchmark,
        benchmark,
        ("score/[!c]*.csv", "select/*.parquet", "embeddings/*.npy", "data/made/images/*",
         "pretrain/*/model/*.safetensors"),
        swept=(".",),
    ),
    "embed": Job(
        prepare_embed, embed, ("embeddings/*.npy", "part/*"), ("embeddings/index.json",),
        ("embeddings",),
    ),
    # Files of before the last change may stay until the next one.
    "index": Job(prepare_nothing, index, ("000004-*",), ("index.json",)),
    "select": Job(prepare_rows, select, ("*.parquet", "kept.txt")),
    "leaderboard": Job(prepare_runs, leaderboard, ("board/*", "verified.json")),
    "share": Job(prepare_model, share, ("other/*.csv", "other/model/*")),
}  # fmt: skip
