"""Embeddings of a manifest's images by a vision transformer, in shards that survive a kill."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.atomic import atomic_directory, write_json
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.outputs import check_folder
from meddel_fast.common.urls import StrPath, as_place, is_remote, shown
from meddel_fast.images.manifest import Manifest
from meddel_fast.sharded.torchrun import join_group, own_device
from meddel_fast.stores.embedding_files import (
    FOLDER,
    FORMAT,
    INDEX,
    note_shard,
    read_index,
    read_rows,
    shard_name,
    take_stock,
    write_shard,
)
from meddel_fast.training.device import deterministic
from meddel_fast.training.embedder import Embedder
from meddel_fast.training.loader import frames

with needs("benchmark"):
    import torch


_NO_SETTINGS = ("format", "key", "complete", "shards", "told")  # of what the index says


@dataclass(frozen=True)
class Embeddings:
    """A folder of embeddings, row i for image i of the manifest.

    Attributes
    ----------
    folder
        Where ``index.json`` and the shards lie; a path, or a URL as text.
    index
        What ``index.json`` says: encoder, shape, dtype, pooling, image_size, manifest
        (its fingerprint), key, complete, and per shard its name, rows and sha256; as ``told``
        what is not as the encoder's own files want it, if anything.
    """

    folder: StrPath
    index: dict[str, Any]

    @classmethod
    def load(cls, folder: StrPath) -> Embeddings:
        """Open what :func:`embed` wrote, and check each shard against its hash.

        By URL shards are not fetched for it: each is checked when it is read.

        Raises
        ------
        FileNotFoundError
            The folder has no index, or a shard is missing; the message names it.
        ValueError
            The run that wrote it did not come to its end, or a shard is damaged; the message
            names it.
        """
        index = read_index(folder)
        if not index["complete"]:
            raise ValueError(
                f"{shown(folder)}: embedding was interrupted, run it again to complete it"
            )
        if is_remote(folder):
            return cls(as_place(folder), index)
        folder = Path(folder)
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
                write_shard(folder, first // size, self.array[rows[first : first + size]])
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
        Folder, by path or by URL; gets ``shard-00000.npy`` … and ``index.json``.
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
    if shard_size < 1:
        raise ValueError(f"shard_size: wanted 1 or more, got {shard_size}")
    if len(manifest) == 0:
        raise ValueError("manifest: wanted at least one usable image, got none")
    check_folder(out, FOLDER, [encoder], remote=True)
    device, out = own_device(device), as_place(out)
    embedder = Embedder(
        encoder, image_size=image_size, batch_size=batch_size, dtype=dtype, pooling=pooling,
        device=device, precision=precision, offline=offline,
    )  # fmt: skip
    about = about_shards(embedder, manifest, shard_size)
    count = -(-len(manifest) // shard_size)
    with join_group(embedder.device, alone=True) as group:
        if group.first:
            take_stock(out, about, count)
        group.barrier()
        finished = {shard["name"]: shard["rows"] for shard in read_index(out)["shards"]}
        missing = [number for number in range(count) if shard_name(number) not in finished]
        known, done = sum(finished.values()), 0

        def tell(rows: int) -> None:
            nonlocal done
            done += rows
            if progress is not None:
                progress(min(len(manifest), known + done * group.size), len(manifest))

        pool = frames(manifest, embedder.image_size, workers=workers)
        with deterministic():
            for number in missing[group.rank :: group.size]:
                first = number * shard_size
                rows = np.arange(first, min(first + shard_size, len(manifest)))
                ids = manifest.ids[first : first + shard_size]
                array = embedder(pool, rows, ids, tell)
                note_shard(out, write_shard(out, number, array), about["key"])
        group.barrier()
        if group.first:
            take_stock(out, about, count, fresh=True)
    if progress is not None:
        progress(len(manifest), len(manifest))
    return Embeddings.load(out) if group.first else Embeddings(out, read_index(out))


def about_shards(embedder: Embedder, manifest: Manifest, shard_size: int) -> dict[str, Any]:
    """Return what the index of a manifest's embeddings says beside the list of shards."""
    settings = {
        **embedder.settings,
        "manifest": manifest.fingerprint,
        "shape": [len(manifest), embedder.width],
        "shard_size": shard_size,
    }
    told = {"told": embedder.told} if embedder.told else {}
    return {"format": FORMAT, **settings, "key": _key(settings), **told}


def _key(settings: dict[str, Any]) -> str:
    """Hash the settings, but the encoder's place: its content has a hash of its own."""
    return sha256_json({name: value for name, value in settings.items() if name != "encoder"})
