"""The shards of a manifest's embeddings, each of which any process can make by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from meddel_fast.common.hashes import sha256_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.stores.embedding_files import note_shard, read_index, write_shard
from meddel_fast.training.embed import about_shards
from meddel_fast.training.embedder import Embedder
from meddel_fast.training.loader import Frames

_MOST = 8192  # rows a shard
_ABOUT = 64  # shards of a small set, so that there is one for each worker


def shard_size(n: int, batch_size: int) -> int:
    """Return the rows of a shard: whole batches, so that the shards' size changes no embedding."""
    batches = -(-n // (_ABOUT * batch_size))
    return max(1, min(batches, _MOST // batch_size)) * batch_size


@dataclass(frozen=True)
class ShardJob:
    """The shards of one folder of embeddings.

    Attributes
    ----------
    out
        Place of the folder.
    manifest
        The images.
    options
        What :class:`~meddel_fast.training.embedder.Embedder` takes.
    embedder
        Such a one, of this process.
    """

    out: str
    manifest: Manifest
    options: dict[str, Any]
    embedder: Embedder

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the folder's index says."""
        size = shard_size(len(self.manifest), self.embedder.settings["batch_size"])
        return about_shards(self.embedder, self.manifest, size)

    @property
    def size(self) -> int:
        """Rows of a shard; the last may have fewer."""
        return int(self.about["shard_size"])

    @property
    def count(self) -> int:
        """How many shards there are."""
        return -(-len(self.manifest) // self.size)

    @cached_property
    def _usable(self) -> Manifest:
        return self.manifest.ok

    def part(self, number: int) -> Manifest:
        """Return the images of a shard."""
        rows = self._usable.table.slice(number * self.size, self.size)
        return replace(self._usable, table=rows, left_out=None, notes=())


def shards_state(out: str) -> str:
    """Hash the embeddings that a whole index lists, wherever they lie."""
    return sha256_json([shard["sha256"] for shard in read_index(out)["shards"]])


def make_shard(
    embedder: Embedder,
    images: Manifest,
    out: str,
    number: int,
    key: str,
    tell: Callable[[int], None] = lambda rows: None,
) -> None:
    """Embed the images of a shard and write it.

    Parameters
    ----------
    embedder
        The encoder.
    images
        Those of the shard.
    out, number, key
        Place of the folder, number of the shard, key of the index.
    tell
        Called with the number of images after each batch.

    Raises
    ------
    ImageError
        An image cannot be read, or is another file than the manifest was made of.
    FloatingPointError
        An embedding is not finite.
    """
    paths, hashes = images.image_paths(), images.column("sha256")
    pool = Frames(paths, embedder.image_size, keep=False, sha256=hashes)
    array = embedder(pool, np.arange(len(images)), images.ids, tell)
    note_shard(out, write_shard(out, number, array), key)
