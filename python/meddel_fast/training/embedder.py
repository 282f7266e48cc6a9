"""An encoder that embeds rows of images, for whoever has them: a process, or one of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.training.device import Compute, arrays, choose
from meddel_fast.training.encoders.plugged import PluggedEncoder, embedder_key, load_embedder
from meddel_fast.training.encoders.vit import Encoder
from meddel_fast.training.loader import Frames, prefetch

with needs("benchmark"):
    import torch
    from torch import Tensor

_DTYPES = ("float32", "float16")
_POOLINGS = ("mean", "cls")


class Embedder:
    """An encoder, loaded once, with how it embeds: whoever embeds a row with it gets its bytes.

    Parameters and errors are those of :func:`meddel_fast.training.embed.embed`.

    Attributes
    ----------
    image_size, width : int
        Side of the images in pixels, numbers of an embedding.
    device : torch.device
        Where the encoder is.
    settings : dict
        All that the embeddings depend on beside the images, with the hash of the encoder's files.
    told : list of str
        What is not as the encoder's own files want it.
    """

    def __init__(
        self,
        encoder: StrPath,
        *,
        image_size: int | None = None,
        batch_size: int = 64,
        dtype: str = "float32",
        pooling: str = "mean",
        device: str | torch.device = "auto",
        precision: str = "fp32",
        offline: bool = True,
    ) -> None:
        _check(batch_size, dtype, pooling)
        self._compute = choose(device, precision)
        self._model = load_embedder(encoder, self._compute, image_size=image_size, offline=offline)
        if pooling == "cls" and not self._model.has_class:
            raise ValueError(
                f"pooling: wanted 'mean', as {str(encoder)!r} ({self._model.kind}) does not "
                "have one class token"
            )
        self.image_size, self.width = self._model.image_size, self._model.width
        self.device = self._compute.device
        self._batch_size, self._dtype, self._pooling = batch_size, dtype, pooling
        self.settings: dict[str, Any] = {
            "encoder": str(encoder),
            "encoder_sha256": embedder_key(encoder, self._model),
            "image_size": self.image_size,
            "pooling": pooling,
            "dtype": dtype,
            "batch_size": batch_size,
            "precision": self._compute.precision,
        }
        self.told = self._model.told

    def __call__(
        self,
        pool: Frames,
        rows: NDArray[np.int64],
        ids: Sequence[str],
        tell: Callable[[int], None] = lambda rows: None,
    ) -> NDArray[Any]:
        """Embed some images.

        Parameters
        ----------
        pool
            Images of :attr:`image_size`.
        rows : int64, shape (k,)
            Those to embed, by their place in `pool`.
        ids
            Their k names, for errors.
        tell
            Called with the number of images after each batch.

        Returns
        -------
        array of shape (k, d)

        Raises
        ------
        FloatingPointError
            An embedding is not finite, or too large for float16; the message names the image.
        """
        with torch.inference_mode():
            flow = _embed_rows(
                self._model, pool, rows, self._batch_size, self._pooling, self._compute
            )
            array = _gather(flow, (len(rows), self.width), self._dtype, tell)
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise FloatingPointError(
                f"the embedding of {ids[int(bad[0])]!r} is not finite in {array.dtype}"
            )
        return array


def _check(batch_size: int, dtype: str, pooling: str) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size: wanted 1 or more, got {batch_size}")
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
