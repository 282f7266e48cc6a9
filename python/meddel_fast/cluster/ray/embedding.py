"""Embeddings of a data set's images, by a pool of actors that load the encoder once each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_choice, check_int
from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath

with needs("ray"):
    import pyarrow as pa
    import ray
    import ray.data


def embed(
    ds: Any,
    encoder: StrPath,
    *,
    image: str = "path",
    id: str = "id",
    embedding: str = "embedding",
    workers: int | None = None,
    cpus: int = 1,
    gpus: float | None = None,
    batch_size: int = 64,
    image_size: int | None = None,
    pooling: str = "mean",
    precision: str = "fp32",
    dtype: str = "float32",
    broken: str = "refuse",
    offline: bool = True,
) -> Any:
    """Embed the images of a data set with the final layer of a ViT.

    Each actor loads the encoder once. Every forward pass is of `batch_size` images, the last ones
    repeated where a block ends, so that all are products of one shape. What
    :func:`meddel_fast.training.embed.embed` gives for these batches comes out bit for bit, on the
    same kind of processor with as many threads. That an image's embedding does not depend on the
    others of its batch, so that the layout of blocks changes nothing, is not promised by torch; the
    tests hold it for CPUs.

    Parameters
    ----------
    ds : ray.data.Dataset
        Rows with an id and an image each.
    encoder
        Folder of a transformers model, which all nodes see, or a name on the Hugging Face Hub.
    image
        The column of the images: addresses (texts), or files' contents (binary).
    id
        The column that errors name a row by.
    embedding
        The column to add.
    workers : int, optional
        Actors; by default one for each GPU, or else for each node.
    cpus
        Cores of an actor: its threads.
    gpus : float, optional
        GPUs of an actor; by default 1 where the cluster has any.
    batch_size, image_size, pooling, precision, dtype, offline
        As :func:`meddel_fast.training.embed.embed` takes them.
    broken : {"refuse", "mark"}
        What becomes of a row whose image cannot be read: "refuse" is an error that names its id.
        "mark" gives it a null for an embedding, and the reason in a column ``broken``, which is
        null for the others.

    Returns
    -------
    ray.data.Dataset
        The rows of `ds` with `embedding` (a list of float32 or float16 of one length). Not yet
        worked out: Ray does it when they are asked for, and once more each time, unless
        ``materialize()`` keeps them.

    Raises
    ------
    TypeError, ValueError
        An argument out of range, or a column that is missing, as far as it is known.
    ray.exceptions.RayTaskError
        When the rows are asked for: an image is broken (ValueError), an embedding not finite
        (FloatingPointError), or the encoder not to be used; the message says which.
    """
    if not isinstance(ds, ray.data.Dataset):
        raise TypeError(f"ds must be a ray.data.Dataset, got {type(ds).__name__}")
    check_int("batch_size", batch_size, 1)
    check_choice("broken", broken, ("refuse", "mark"))
    check_choice("pooling", pooling, ("mean", "cls"))
    check_choice("dtype", dtype, ("float32", "float16"))
    check_choice("precision", precision, ("fp32", "bf16", "auto"))
    schema = ds.schema(fetch_if_missing=False)
    for column in (image, id) if schema is not None else ():
        if column not in schema.names:
            raise ValueError(f"ds has no column {column!r}, got {', '.join(schema.names)}")
    if Path(encoder).exists():
        encoder = str(Path(encoder).resolve())
    there = ray.cluster_resources()
    if gpus is None:
        gpus = 1 if there.get("GPU", 0) >= 1 else 0
    if workers is None:
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
        workers = max(1, int(there["GPU"] // gpus) if gpus else nodes)
    return ds.map_batches(
        _Embed,
        fn_constructor_kwargs={
            "encoder": str(encoder), "image": image, "id": id, "embedding": embedding,
            "cpus": check_int("cpus", cpus, 1), "mark": broken == "mark",
            "batch_size": batch_size, "image_size": image_size, "pooling": pooling,
            "precision": precision, "dtype": dtype, "offline": offline,
        },
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=check_int("workers", workers, 1)),
        num_cpus=cpus,
        num_gpus=gpus,
    )  # fmt: skip


class _Embed:
    """One actor: the encoder, and what becomes of a batch."""

    def __init__(
        self, encoder: str, image: str, id: str, embedding: str, cpus: int, mark: bool, **how: Any
    ) -> None:
        with needs("benchmark"):
            import torch

            from meddel_fast.training.embedder import Embedder

        torch.set_num_threads(cpus)
        self._embedder = Embedder(encoder, **how)
        self._image, self._id, self._embedding = image, id, embedding
        self._cpus, self._mark = cpus, mark

    def __call__(self, table: Any) -> Any:
        """Return the rows with their embeddings."""
        from meddel_fast.training.device import deterministic

        ids = table[self._id].to_pylist()
        pictures, reasons = self._decoded(table[self._image].to_pylist(), ids)
        whole = np.flatnonzero([reason is None for reason in reasons])
        with deterministic():
            values = self._embedder(pictures, np.arange(len(whole)), [ids[i] for i in whole])
        width = self._embedder.width
        rows = np.zeros((len(ids), width), values.dtype)
        rows[whole] = values
        missing = pa.array([reason is not None for reason in reasons])
        lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width, mask=missing)
        table = table.append_column(self._embedding, lists)
        if self._mark:
            table = table.append_column("broken", pa.array(reasons, pa.string()))
        return table

    def _decoded(self, images: list[Any], ids: list[Any]) -> tuple[Any, list[str | None]]:
        """Return the pictures of those that can be read, and for each None or what is wrong."""
        from meddel_fast.common.pool import Pool
        from meddel_fast.common.remote_path import path_of
        from meddel_fast.images.load_images import ImageError, load_content, load_image
        from meddel_fast.images.prefetch import reading
        from meddel_fast.images.remote_files import raise_outage

        size = self._embedder.image_size
        paths = [path_of(image) if isinstance(image, str) else None for image in images]

        def load(number: int) -> NDArray[np.uint8] | str:
            image, path = images[number], paths[number]
            if image is None:
                return "there is none"
            try:
                with ahead.using(number):
                    if path is None:
                        return load_content(image, str(ids[number]), size)
                    return load_image(path, size)
            except (ImageError, OSError) as error:
                raise_outage(error)
                return str(error)

        with reading([(path,) for path in paths]) as ahead, Pool(self._cpus) as pool:
            found = list(pool.map(load, range(len(images))))
        for name, its in zip(ids, found, strict=True):
            if isinstance(its, str) and not self._mark:
                raise ValueError(f"the image of id {name!r} is broken: {its}")
        pictures = [its for its in found if not isinstance(its, str)]
        reasons = [its if isinstance(its, str) else None for its in found]
        return np.array(pictures, np.uint8).reshape(len(pictures), size, size, 3), reasons
