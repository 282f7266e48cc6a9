"""Files that were changed at random, for every reader: ``python readers.py SECONDS SEED [NAME …]``.

A reader gives what the file says or refuses it with one of the errors that the command line
explains in a line: no other exception, no crash, no hang, and no more memory than is its due.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from meddel_fast.checkpoint import DamagedCheckpointError

REFUSED = (ValueError, OSError, DamagedCheckpointError)
MEMORY = 3 << 30  # bytes of address space beyond what the imports take
PATIENCE = 20  # seconds that a reader may take


class Reader(NamedTuple):
    """`make` writes a right file into a folder and returns it; `read` reads it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def make_image(suffix: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / f"image{suffix}"
        pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return make


def read_image(path: Path) -> None:
    from meddel_fast.data.images import examine, load_image, load_mask

    examine(path.read_bytes(), path)
    load_image(path, 16)
    load_mask(path, 16)


def make_manifest(folder: Path) -> Path:
    from meddel_fast.data.folder import scan_folder

    (folder / "set" / "images").mkdir(parents=True)
    for k in range(5):
        make_image(".png")(folder).rename(folder / "set" / "images" / f"{k}.png")
    scan_folder(folder / "set").save(folder / "manifest.parquet")
    return folder / "manifest.parquet"


def read_manifest(path: Path) -> None:
    from meddel_fast.data.manifest import Manifest

    manifest = Manifest.load(path)
    manifest.fingerprint, manifest.image_paths(), manifest.split("train")


def make_selection(folder: Path) -> Path:
    import meddel_fast as mf

    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    mf.selectors.meddel(x, 10).save(folder / "selection.parquet", [f"id{k}" for k in range(50)])
    return folder / "selection.parquet"


def read_selection(path: Path) -> None:
    from meddel_fast.selectors import Selection

    selection = Selection.load(path)
    selection.counts(), selection.mask


def make_embeddings(folder: Path) -> Path:
    from meddel_fast.files import sha256_file, write_json

    np.save(folder / "shard-00000.npy", np.ones((4, 3), np.float32))
    shard = {
        "name": "shard-00000.npy",
        "rows": 4,
        "sha256": sha256_file(folder / "shard-00000.npy"),
    }
    index = {"complete": True, "shape": [4, 3], "dtype": "float32", "shards": [shard], "key": "k"}
    write_json(folder / "index.json", index)
    return folder / "index.json"


def read_embeddings(path: Path) -> None:
    from meddel_fast.embed import Embeddings

    Embeddings.load(path.parent).array.sum()


def make_npy(folder: Path) -> Path:
    np.save(folder / "x.npy", np.ones((6, 4), np.float32))
    return folder / "x.npy"


def read_npy(path: Path) -> None:
    from meddel_fast.console import load_embeddings

    load_embeddings(path)


def make_config(folder: Path) -> Path:
    (folder / "run.toml").write_text(
        '[run]\nname = "a"\nout = "o"\nratios = [1.0, 0.1]\nseeds = [0]\n'
        '[[data]]\nname = "made"\nmade = {videos = 6, frames = 10}\n[pretrain]\nsteps = 5\n'
        "warmup_steps = 1\n[selectors.meddel]\nepsilon = 0.9\n"
    )
    return folder / "run.toml"


def read_config(path: Path) -> None:
    from meddel_fast.benchmark.plan import build
    from meddel_fast.benchmark.stage import Records
    from meddel_fast.config_file import load_config

    config = load_config(path)
    build(config, Records(config.out))


def make_splits(folder: Path) -> Path:
    (folder / "splits.csv").write_text(
        "file,split,group,frame\na.png,train,v1,1\nb/c.png,test,v2,2\n"
    )
    return folder / "splits.csv"


def read_splits(path: Path) -> None:
    from meddel_fast.data.splits import read_splits as read

    read(path)


def make_results(folder: Path) -> Path:
    (folder / "results.csv").write_text("name,miou,retained\na,0.71,0.05\nb,0.72,1.0\n")
    return folder / "results.csv"


def read_results(path: Path) -> None:
    from meddel_fast.benchmark.score import score_csv

    score_csv(path, 1.0)


def make_checkpoint(folder: Path) -> Path:
    import torch

    from meddel_fast import checkpoint

    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    checkpoint.save(folder / "c.safetensors", model, optimizer, "key", 1)
    return folder / "c.safetensors"


def read_checkpoint(path: Path) -> None:
    import torch

    from meddel_fast import checkpoint

    model = torch.nn.Linear(4, 3)
    checkpoint.load(path, model, torch.optim.AdamW(model.parameters()), "key")


READERS = {
    "jpeg": Reader(make_image(".jpg"), read_image),
    "png": Reader(make_image(".png"), read_image),
    "tiff": Reader(make_image(".tif", compression="tiff_lzw"), read_image),
    "manifest": Reader(make_manifest, read_manifest),
    "selection": Reader(make_selection, read_selection),
    "embeddings": Reader(make_embeddings, read_embeddings),
    "npy": Reader(make_npy, read_npy),
    "config": Reader(make_config, read_config),
    "splits": Reader(make_splits, read_splits),
    "results": Reader(make_results, read_results),
    "checkpoint": Reader(make_checkpoint, read_checkpoint),
}
TOKENS = (b"-1", b"9999999999999999999", b"nan", b"null", b"[]", b"{}", b"\x00", b"\xff\xfe", b'"',
          b"1e308", b"../../x", b"true", b"\n", b",", b"=")  # fmt: skip


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Change a file in one to four places: bits, bytes, cuts, copies, tokens, JSON values."""
    changed = bytearray(data)
    is_json = data.startswith(b"{")
    for _ in range(int(rng.integers(1, 5))):
        kind, at = rng.integers(6), int(rng.integers(len(changed) + 1))
        if kind == 0 and changed:
            at = min(at, len(changed) - 1)
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and changed:
            changed[min(at, len(changed) - 1)] = int(rng.integers(256))
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            changed[at:at] = changed[: int(rng.integers(1, 60))]
        elif kind == 4:
            token = TOKENS[rng.integers(len(TOKENS))]
            changed[at : at + int(rng.integers(2)) * len(token)] = token
        elif is_json and rng.random() < 0.9:
            return json.dumps(mutate_json(rng, json.loads(data))).encode()
        else:
            del changed[at:]
    return bytes(changed)


def mutate_json(rng: np.random.Generator, value: Any) -> Any:
    """Put something of another type or size into one place of a JSON value, or leave it out."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.3:
            del value[key]
        else:
            value[key] = mutate_json(rng, value[key])
        return value
    junk: list[Any] = [
        None,
        -1,
        10**30,
        1.5,
        "",
        "../../../etc/passwd",
        [],
        {},
        True,
        [[1]],
        "x" * 999,
    ]
    return junk[rng.integers(len(junk))]


def main(seconds: float, seed: int, names: list[str]) -> dict[str, Counter[str]]:
    """Read changed files until the time is over, all readers in turn."""
    ends: dict[str, Counter[str]] = {name: Counter() for name in names or READERS}
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    right = {}
    for name in ends:
        (folder / name).mkdir()
        right[name] = READERS[name].make(folder / name)
        READERS[name].read(right[name])  # as it is, it can be read
    content = {name: path.read_bytes() for name, path in right.items()}
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if "asan" not in Path("/proc/self/maps").read_text():  # which maps terabytes
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, resource.RLIM_INFINITY))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        name = list(ends)[seed % len(ends)]
        right[name].write_bytes(mutate(np.random.default_rng(seed), content[name]))
        signal.alarm(PATIENCE)  # ends the process: nothing may take so long
        try:
            READERS[name].read(right[name])
            ends[name]["read"] += 1
        except REFUSED:
            ends[name]["refused"] += 1
        except BaseException:
            print(f"{name}, seed {seed}", flush=True)
            raise
        finally:
            signal.alarm(0)
        seed += 1
    shutil.rmtree(folder)
    for name, counts in ends.items():
        print(f"{name}: {dict(counts)}")
    print("next seed", seed)
    return ends


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
