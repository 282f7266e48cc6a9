"""A right file of each kind that the package writes itself, and what reads it: part of `readers`.

Where a hash guards a file, its reader also puts the hash right: a forged file must do no more harm
than a damaged one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from data_files import Reader, make_manifest


def small(dtype: str = "float32") -> Any:
    return np.random.default_rng(0).normal(size=(50, 8)).astype(dtype)


def make_selection(folder: Path) -> Path:
    import meddel_fast as mf

    found = mf.selectors.meddel(small(), 10)
    found.save(folder / "selection.parquet", [f"id{k}" for k in range(50)])
    return folder / "selection.parquet"


def read_selection(path: Path) -> None:
    from meddel_fast.selectors import Selection
    from meddel_fast.selectors.selection import read_ids

    selection = Selection.load(path)
    selection.counts(), selection.mask
    read_ids(path)


def write_embeddings(folder: Path) -> Path:
    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.hashes import sha256_file

    shards = []
    for number in range(2):
        path = folder / f"shard-{number:05d}.npy"
        np.save(path, small()[25 * number : 25 * (number + 1)])
        shards.append({"name": path.name, "rows": 25, "sha256": sha256_file(path)})
    index = {"complete": True, "shape": [50, 8], "dtype": "float32", "shards": shards, "key": "k"}
    write_json(folder / "index.json", index | {"encoder_sha256": "e"})
    return folder / "index.json"


def make_shard(folder: Path) -> Path:
    write_embeddings(folder)
    return folder / "shard-00001.npy"


def read_embeddings(path: Path) -> None:
    from meddel_fast.stores.store import open_store
    from meddel_fast.training.embed import Embeddings

    open_store(path.parent).rows(0, 50)
    Embeddings.load(path.parent).array.sum()


def read_shard(path: Path) -> None:
    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.files import read_json
    from meddel_fast.common.hashes import sha256_file

    index = read_json(path.parent / "index.json")
    index["shards"][1]["sha256"] = sha256_file(path)
    write_json(path.parent / "index.json", index)
    read_embeddings(path)


def make_npy(folder: Path) -> Path:
    np.save(folder / "x.npy", small())
    return folder / "x.npy"


def read_npy(path: Path) -> None:
    from meddel_fast.cli.console import load_embeddings

    load_embeddings(path)


def make_npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=small())
    return folder / "x.npz"


def make_packed_npz(folder: Path) -> Path:
    np.savez_compressed(folder / "x.npz", x=small())
    return folder / "x.npz"


def make_safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({"x": small("float16")}, folder / "x.safetensors")
    return folder / "x.safetensors"


def make_lists(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = pa.FixedSizeListArray.from_arrays(pa.array(small().ravel()), 8)
    pq.write_table(pa.table({"x": lists}), folder / "x.parquet", row_group_size=20)
    return folder / "x.parquet"


def read_store(path: Path) -> None:
    from meddel_fast.stores.store import open_store

    try:
        store = open_store(path)
    except TypeError as error:  # what it raises for elements of a type that no kernel takes
        raise ValueError(error) from error
    store.rows(0, min(50, len(store)))
    store.take(np.arange(0, min(50, len(store)), 7))


def make_index(kind: str) -> Callable[[Path], Path]:
    """Make an index of two calls and a removal, and give its newest file of a kind."""

    def make(folder: Path) -> Path:
        from meddel_fast.index import SelectionIndex

        index = SelectionIndex.create(folder / "index", 8, threshold=0.5)
        index.add(small()[:30], [f"a{k}" for k in range(30)])
        index.add(small()[30:], [f"b{k}" for k in range(20)])
        index.remove(["a3"])
        return max((folder / "index").glob(f"*{kind}*.*"))

    return make


def read_index(path: Path) -> None:
    """Read an index whose head has the hash of what was changed."""
    import hashlib

    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.files import read_json
    from meddel_fast.common.hashes import sha256_json
    from meddel_fast.index import SelectionIndex

    head = read_json(path.parent / "index.json")
    if isinstance(head, dict):
        head.pop("sha256", None)
        entries = [e for s in head["segments"] for e in s.values()] if path.suffix == ".npy" else []
        for entry in entries:
            if isinstance(entry, dict) and entry["name"] == path.name:
                data = path.read_bytes()
                entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        write_json(path.parent / "index.json", {**head, "sha256": sha256_json(head)})
    index = SelectionIndex.open(path.parent)
    index.kept, index.verify()


def make_config(folder: Path) -> Path:
    (folder / "run.toml").write_text(
        '[run]\nname = "a"\nout = "o"\nratios = [1.0, 0.1]\nseeds = [0]\n'
        '[[data]]\nname = "made"\nmade = {videos = 6, frames = 10}\n[pretrain]\nsteps = 5\n'
        "warmup_steps = 1\n[selectors.meddel]\nepsilon = 0.9\n"
    )
    return folder / "run.toml"


def read_config(path: Path) -> None:
    from meddel_fast.benchmark.config_file import load_config
    from meddel_fast.benchmark.plan import build
    from meddel_fast.benchmark.stages.stage import Records

    config = load_config(path)
    build(config, Records(config.out))


def make_results(folder: Path) -> Path:
    (folder / "results.csv").write_text("name,miou,retained\na,0.71,0.05\nb,0.72,1.0\n")
    return folder / "results.csv"


def read_results(path: Path) -> None:
    from meddel_fast.benchmark.scores.score import score_csv

    score_csv(path, 1.0)


def make_checkpoint(folder: Path) -> Path:
    import torch

    from meddel_fast.training import checkpoint

    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    checkpoint.save(folder / "c.safetensors", model, optimizer, "key", 1)
    return folder / "c.safetensors"


def read_checkpoint(path: Path) -> None:
    import torch

    from meddel_fast.training import checkpoint

    model = torch.nn.Linear(4, 3)
    checkpoint.load(path, model, torch.optim.AdamW(model.parameters()), "key")


def make_run(name: str) -> Callable[[Path], Path]:
    """Write a run as the report reads it, and give one of its files."""

    def make(folder: Path) -> Path:
        from made_verdicts import make as make_scored

        return make_scored(folder, kind="both") / name

    return make


def read_run(path: Path) -> None:
    from meddel_fast.benchmark.report.load import load_run

    root = next(p for p in path.parents if (p / "leakage").is_dir())
    run = load_run(root)
    str((run.name, run.alpha, run.selectors, run.compared))


def make_verified(name: str) -> Callable[[Path], Path]:
    """Write a run of one result with its predictions, and give one of its files."""

    def make(folder: Path) -> Path:
        from PIL import Image

        from meddel_fast.common.atomic import write_json
        from meddel_fast.images.load_masks import load_mask
        from meddel_fast.images.manifest import Manifest
        from meddel_fast.images.scan.folder import scan_folder
        from meddel_fast.training.predictions import Predictions, confusion_matrices, pack
        from meddel_fast.training.segmentation import scores

        make_manifest(folder)
        (folder / "set" / "masks").mkdir()
        for k in range(5):
            mask = np.zeros((40, 50), np.uint8)
            mask[: 8 * k] = 255
            Image.fromarray(mask).save(folder / "set" / "masks" / f"{k}.png")
        rows = scan_folder(folder / "set")
        run = folder / "run"
        for place in ("made", "pretrain"):
            rows.save(run / "data" / f"{place}.parquet")
        (run / "embeddings").mkdir()
        write_embeddings(run / "embeddings")
        settings = {
            "data": [{"name": "made", "path": None, "use": ["pretrain", "test"],
                      "train_splits": ["train"], "test_splits": ["train", "val", "test"]}],
            "seeds": [0], "seed": 0, "pretrain": {"seed": 0}, "encoder": {"path": None},
        }  # fmt: skip
        tags = [{"tag": "full-100", "selector": "full", "ratio": 1.0}]
        write_json(run / "run.json", {"name": "r", "config": settings, "tags": tags})
        test = Manifest.load(run / "data" / "made.parquet").with_masks()
        truth = np.stack([load_mask(path, 16) for path in test.mask_paths()]).astype(bool)
        counts = confusion_matrices(truth, truth)
        result = run / "evaluate" / "full-100" / "made-seed0.json"
        write_json(result, {**scores(counts), "images": len(test), "precision": "fp32"})
        Predictions(test.ids, pack(truth), 16, counts).save(result.with_suffix(".npz"))
        return run / name

    return make


def read_verified(path: Path) -> None:
    from meddel_fast.benchmark.leaderboard.entries import collect
    from meddel_fast.benchmark.verify import verify
    from meddel_fast.training.predictions import Predictions

    root = next(p for p in path.parents if (p / "embeddings").is_dir())
    if path.suffix == ".npz":
        Predictions.load(path)
    verify(root)
    collect([root])


READERS = {
    "selection": Reader(make_selection, read_selection),
    "embeddings": Reader(write_embeddings, read_embeddings),
    "shard": Reader(make_shard, read_shard),
    "npy": Reader(make_npy, read_npy),
    "store npy": Reader(make_npy, read_store),
    "store npz": Reader(make_npz, read_store),
    "store packed npz": Reader(make_packed_npz, read_store),
    "store safetensors": Reader(make_safetensors, read_store),
    "store parquet": Reader(make_lists, read_store),
    **{f"index {kind}": Reader(make_index(kind), read_index)
       for kind in ("index", "rows", "ids", "arrivals", "changes")},
    "config": Reader(make_config, read_config),
    "results": Reader(make_results, read_results),
    "checkpoint": Reader(make_checkpoint, read_checkpoint),
    **{f"run {Path(name).name}": Reader(make_run(name), read_run)
       for name in ("run.json", "score/scores.json", "score/statistics.json", "score/planted.csv",
                    "score/floors.json", "score/probe.json", "score/selections.json",
                    "score/costs.csv", "pretrain/full-100/loss.csv", "stages/embed.json",
                    "leakage/pairs.parquet", "leakage/sight.json", "leakage/inside.json")},
    **{f"verified {Path(name).name}": Reader(make_verified(name), read_verified)
       for name in ("run.json", "evaluate/full-100/made-seed0.json",
                    "evaluate/full-100/made-seed0.npz")},
}  # fmt: skip
