"""Embeddings of a manifest's images by a vision transformer, in shards that survive a kill."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.atomic import atomic_directory, remove_leftovers, write_bytes, write_json
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath, read_json
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.outputs import FolderKind, check_folder
from meddel_fast.common.untrusted import described
from meddel_fast.images.manifest import Manifest
from meddel_fast.sharded.torchrun import join_group, own_device
from meddel_fast.stores.embedding_files import FORMAT, INDEX, check_shards, read_index, read_rows
from meddel_fast.training.device import Compute, arrays, choose, deterministic
from meddel_fast.training.encoders.plugged import PluggedEncoder, embedder_key, load_embedder
from meddel_fast.training.encoders.vit import Encoder
from meddel_fast.training.loader import Frames, frames, prefetch

with needs("benchmark"):
    import torch
    from torch import Tensor


def _is_ours(folder: Path) -> bool:
    """Tell embeddings from what else has an index.json; a damaged one counts as theirs."""
    try:
        index = read_json(folder / INDEX)
    except ValueError:
        return True
    return isinstance(index, dict) and "shards" in index


FOLDER = FolderKind("a folder of embeddings", _is_ours)
_DTYPES = ("float32", "float16")
_POOLINGS = ("mean", "cls")
_NO_SETTINGS = ("format", "key", "complete", "shards", "told")  # of what the index says


@dataclass(frozen=True)
class Embeddings:
    """A folder of embeddings, row i for image i of the manifest.

    Attributes
    ----------
    folder
        Where ``index.json`` and the shards lie.
    index
        What ``index.json`` says: encoder, shape, dtype, pooling, image_size, manifest
        (its fingerprint), key, complete, and per shard its name, rows and sha256; as ``told``
        what is not as the encoder's own files want it, if anything.
    """

    folder: Path
    index: dict[str, Any]

    @classmethod
    def load(cls, folder: StrPath) -> Embeddings:
        """Open what :func:`embed` wrote, and check each shard against its hash.

        Raises
        ------
        FileNotFoundError
            The folder has no index, or a shard is missing; the message names it.
        ValueError
            The run that wrote it did not come to its end, or a shard is damaged; the message
            names it.
        """
        folder = Path(folder)
        index = read_index(folder)
        if not index["complete"]:
            raise ValueError(f"{folder}: embedding was interrupted, run it again to complete it")
        for shard in index["shards"]:
            path = folder / shard["name"]
            if not path.is_file():
                raise FileNotFoundError(f"embedding shard {path} is missing")
            if sha256_file(path) != shard["sha256"]:
                raise ValueError(f"embedding shard {path} is damaged: its hash is not the index's")
        return cls(folder, index)

    @cached_property
    def array(self) -> NDArray[Any]:
        """Embeddings (n, d), float32 or float16; memory-mapped when they are in one shard."""
        return read_rows(self.folder, self.index)

    @cached_property
    def centred(self) -> NDArray[np.float32]:
        """The embeddings less their mean, float32 (n, d): what cosines should be taken of.

        A ViT's tokens share one large component, the more so the shorter it was trained. With it,
        two random frames had a cosine of 0.99 and near duplicates 0.9999 (MAE, 8,000 image-steps on
        made frames), so that no threshold separates anything; without it 0.5 and 0.996, and black
        frames stand at a distance of 1.8 from the centre instead of 0.7.
        """
        mean = self.array.mean(axis=0, dtype=np.float64)
        centred: NDArray[np.float32] = (self.array - mean).astype(np.float32)
        return centred

    def take(self, rows: NDArray[np.int64], manifest: Manifest, out: StrPath) -> Embeddings:
        """Write some of the rows to a folder, as :func:`embed` does for a part of the images.

        Parameters
        ----------
        rows
            Rows (k,), in the order of `manifest`.
        manifest
            The k images.
        out
            Folder; what is in it gives way.

        Raises
        ------
        ValueError
            There are not as many rows as images.
        """
        if len(rows) != len(manifest):
            raise ValueError(
                f"rows must be one for each of {len(manifest)} images, got {len(rows)}"
            )
        settings = {k: v for k, v in self.index.items() if k not in _NO_SETTINGS}
        settings |= {"manifest": manifest.fingerprint, "shape": [len(rows), self.array.shape[1]]}
        told = {k: v for k, v in self.index.items() if k == "told"}
        size = settings["shard_size"]
        check_folder(out, FOLDER)
        with atomic_directory(out, replace=True) as folder:
            shards = [
                _write_shard(folder, first // size, self.array[rows[first : first + size]])
                for first in range(0, len(rows), size)
            ]
            finished = {"format": FORMAT, "key": _key(settings), "complete": True}
            finished["shards"] = shards
            write_json(folder / INDEX, settings | told | finished)
        return Embeddings.load(out)


def embed(
    manifest: Manifest,
    encoder: StrPath,
    out: StrPath,
    *,
    image_size: int | None = None,
    batch_size: int = 64,
    dtype: str = "float32",
    shard_size: int = 8192,
    pooling: str = "mean",
    device: str | torch.device = "auto",
    precision: str = "fp32",
    workers: int = 0,
    offline: bool = True,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed a manifest's images with the final layer of a ViT.

    Started again after a kill it makes the shards that are not there; with other images, another
    encoder or other settings it starts anew. Processes that torchrun started share the shards among
    them, to the same bytes (with as many threads each); all return when all is done.

    Parameters
    ----------
    manifest
        Its n usable rows are embedded, in order.
    encoder
        Folder of a transformers model, a name on the Hugging Face Hub, or of an encoder that
        another package offers (docs/howto/plugin.md). Of a MAE, the encoder without masking. Its
        image processor decides how pixels are scaled, not how images are cut; what of it is not
        obeyed is logged, once.
    out
        Folder; gets ``shard-00000.npy`` … and ``index.json``.
    image_size
        Side in pixels that images are squeezed to; the encoder's own by default.
    batch_size
        Images a forward pass.
    dtype
        ``"float32"`` or ``"float16"``, of what is stored.
    shard_size
        Rows a shard.
    pooling
        ``"mean"`` of the patch tokens, or the ``"cls"`` token, which not every encoder has.
        Tokens have been through the model's last norm.
    device, precision
        As in :func:`meddel_fast.training.device.choose`; fp32 by default, since duplicates are told
        by the third digit of a cosine.
    workers
        Decoding threads; 0 is one per core.
    offline
        Never ask the network.
    progress
        Called as ``progress(images_done, images)``; with several processes an estimate from the
        shards of this one.

    Raises
    ------
    ValueError
        An argument out of range; no images; the encoder is no ViT, its files are damaged, or
        they ask for what is not offered.
    FileNotFoundError
        No such encoder.
    FloatingPointError
        An embedding is not finite, or too large for float16; the message names the image.
    meddel_fast.cluster.LostRankError
        Another process of the job is gone.
    """
    _check(manifest, batch_size, dtype, shard_size, pooling)
    check_folder(out, FOLDER, [encoder])
    compute = choose(own_device(device), precision)
    out = Path(out)
    model = load_embedder(encoder, compute, image_size=image_size, offline=offline)
    if pooling == "cls" and not model.has_class:
        raise ValueError(
            f"pooling: wanted 'mean', as {str(encoder)!r} ({model.kind}) does not "
            "have one class token"
        )
    settings = {
        "encoder": str(encoder),
        "encoder_sha256": embedder_key(encoder, model),
        "manifest": manifest.fingerprint,
        "image_size": model.image_size,
        "pooling": pooling,
        "shape": [len(manifest), model.width],
        "dtype": dtype,
        "shard_size": shard_size,
        "batch_size": batch_size,
        "precision": compute.precision,
    }
    about = {
        "format": FORMAT,
        **settings,
        "key": _key(settings),
        **({"told": model.told} if model.told else {}),
    }
    key = about["key"]
    count = -(-len(manifest) // shard_size)
    with join_group(compute.device, alone=True) as group:
        if group.first:
            _take_stock(out, about, count)
        group.barrier()
        finished = {shard["name"]: shard["rows"] for shard in read_index(out)["shards"]}
        missing = [number for number in range(count) if _shard_name(number) not in finished]
        known, done = sum(finished.values()), 0

        def tell(rows: int) -> None:
            nonlocal done
            done += rows
            if progress is not None:
                progress(min(len(manifest), known + done * group.size), len(manifest))

        pool = frames(manifest, model.image_size, workers=workers)
        with deterministic(), torch.inference_mode():
            for number in missing[group.rank :: group.size]:
                first = number * shard_size
                rows = np.arange(first, min(first + shard_size, len(manifest)))
                flow = _embed_rows(model, pool, rows, batch_size, pooling, compute)
                array = _gather(flow, (len(rows), model.width), dtype, tell)
                _check_finite(array, first, manifest)
                entry = _write_shard(out, number, array)
                # Beside it, what the index will say of it.
                note = (out / entry["name"]).with_suffix(".json")
                write_json(note, {"key": key, "shards": [entry]})
        group.barrier()
        if group.first:
            _take_stock(out, about, count, fresh=True)
    if progress is not None:
        progress(len(manifest), len(manifest))
    return Embeddings.load(out) if group.first else Embeddings(out, read_index(out))


def _key(settings: dict[str, Any]) -> str:
    """Hash the settings, but the encoder's place: its content has a hash of its own."""
    return sha256_json({name: value for name, value in settings.items() if name != "encoder"})


def _check(manifest: Manifest, batch_size: int, dtype: str, shard_size: int, pooling: str) -> None:
    if len(manifest) == 0:
        raise ValueError("manifest: wanted at least one usable image, got none")
    if batch_size < 1:
        raise ValueError(f"batch_size: wanted 1 or more, got {batch_size}")
    if shard_size < 1:
        raise ValueError(f"shard_size: wanted 1 or more, got {shard_size}")
    if dtype not in _DTYPES:
        raise ValueError(f"dtype: wanted one of {_DTYPES}, got {dtype!r}")
    if pooling not in _POOLINGS:
        raise ValueError(f"pooling: wanted one of {_POOLINGS}, got {pooling!r}")


def _embed_rows(
    encoder: Encoder | PluggedEncoder,
    pool: Frames,
    rows: NDArray[np.int64],
    batch_size: int,
    pooling: str,
    compute: Compute,
) -> Iterator[tuple[int, Tensor]]:
    """Embeddings, fp32 on the device, of `rows` in batches, each with the place of its first row.

    The last batch is filled up with its last image: in products of one shape, equal images get
    equal embeddings.
    """
    starts = range(0, len(rows), batch_size)
    # A take past the end is clipped to the last row.
    batches = (rows.take(np.arange(s, s + batch_size), mode="clip") for s in starts)
    staged = prefetch(lambda batch: compute.stage(pool[batch]), batches)
    for start, images in zip(starts, staged, strict=True):
        with compute.autocast():
            tokens = encoder(compute.send(images))
        own = tokens.cls if pooling == "cls" else None
        pooled = tokens.patches.mean(dim=(1, 2)) if own is None else own
        yield start, pooled[: len(rows) - start]


def _gather(
    flow: Iterator[tuple[int, Tensor]],
    shape: tuple[int, int],
    dtype: str,
    tell: Callable[[int], None],
) -> NDArray[Any]:
    """Put batches together as one array, telling how many rows came with each."""
    out = np.empty(shape, dtype)
    for start, part in arrays(flow):
        out[start : start + len(part)] = part
        tell(len(part))
    return out


def _check_finite(array: NDArray[Any], first: int, manifest: Manifest) -> None:
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise FloatingPointError(
            f"the embedding of {manifest.ids[first + int(bad[0])]!r} is not finite in {array.dtype}"
        )


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.npy"


def _write_shard(out: Path, number: int, array: NDArray[Any]) -> dict[str, Any]:
    path = out / _shard_name(number)
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())
    return {"name": path.name, "rows": len(array), "sha256": sha256_file(path)}


def _take_stock(out: Path, about: dict[str, Any], count: int, *, fresh: bool = False) -> None:
    """Write the index of those shards of this very run that are whole, and delete all others.

    The index is complete when these are all. Fresh ones were hashed when they were written.
    """
    remove_leftovers(out)
    whole: dict[str, dict[str, Any]] = {}
    for path in [out / INDEX, *sorted(out.glob("shard-*.json"))]:
        for shard in _written(path, about["key"]):
            if shard["name"] not in whole and (fresh or _is_whole(out, shard)):
                whole[shard["name"]] = shard
    for path in out.glob("shard-*.npy"):
        if path.name not in whole:
            path.unlink()
    shards = [whole[name] for name in sorted(whole, key=lambda name: (len(name), name))]
    complete = len(shards) == count
    if not (complete and len(_written(out / INDEX, about["key"])) == count):
        write_json(out / INDEX, {**about, "complete": complete, "shards": shards})
    for path in out.glob("shard-*.json"):
        path.unlink()


def _written(path: Path, key: str) -> list[dict[str, Any]]:
    """Shards that a file lists for a run with this key; none when it is not whole."""
    try:
        with described(path, "list of shards"):
            index = read_json(path)
            if index["key"] != key:
                return []
            shards = list(index["shards"])
        check_shards(path, shards)
        return shards
    except (OSError, ValueError):
        return []


def _is_whole(out: Path, shard: dict[str, Any]) -> bool:
    path = out / shard["name"]
    return path.is_file() and sha256_file(path) == str(shard["sha256"])
