"""How near an encoder puts an image to altered copies of it, and to other images.

By this an audit for copies is judged: what the encoder does not put near its original, the audit
cannot find. Imports torch.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.device import choose, deterministic
from meddel_fast.training.encoders.plugged import load_embedder
from meddel_fast.training.loader import Frames

with needs("benchmark"):
    import torch
    from PIL import Image

_COUNT = 64  # images that are copied; also those of a forward pass
_SIDE = 256  # pixels that copies are altered at, at least, before they become the encoder's size

Floats = NDArray[np.float64]


def _saved_again(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def _halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def _brighter(image: Image.Image) -> Image.Image:
    return image.point([min(255, round(1.1 * value)) for value in range(256)] * 3)


def _cut(image: Image.Image) -> Image.Image:
    left, top = round(image.width / 20), round(image.height / 20)
    return image.crop((left, top, image.width - left, image.height - top))


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again as JPEG, quality 50": _saved_again,
    "half the size": _halved,
    "10 % brighter": _brighter,
    "5 % cut off each side": _cut,
    "mirrored": _mirrored,
}


@dataclass(frozen=True, eq=False)
class Nearness:
    """Cosines to copies and to others.

    Attributes
    ----------
    images
        Number of images that were copied.
    copies
        By what was done: the cosine of each copy to its original, float64 (images,).
    others : float64, shape (pairs,)
        The cosines of two different images, not of one group.
    """

    images: int
    copies: dict[str, Floats]
    others: Floats


def nearness(
    manifest: Manifest,
    encoder: StrPath,
    *,
    mean: NDArray[np.float64] | None = None,
    image_size: int | None = None,
    pooling: str = "mean",
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> Nearness:
    """Alter copies of some of a manifest's images, evenly spaced, and embed them.

    Parameters
    ----------
    manifest
        Its usable rows, one or more.
    encoder, image_size, pooling, device, offline
        As of :func:`meddel_fast.training.embed.embed`.
    mean : shape (d,), optional
        Subtracted from all embeddings: the pool's, as an audit does that centres.
    progress
        Called as ``progress(done, total)``, counting kinds of copies.
    """
    compute = choose(device, "fp32")
    model = load_embedder(encoder, compute, image_size=image_size, offline=offline)
    n = len(manifest)
    rows = np.unique(np.linspace(0, n - 1, min(n, _COUNT)).astype(np.int64))
    some = manifest.take(rows.tolist())
    side = max(_SIDE, model.image_size)
    pixels = Frames(some.image_paths(), side, sha256=some.column("sha256"))[np.arange(len(some))]
    originals = [Image.fromarray(each) for each in pixels]

    def embedded(images: list[Image.Image]) -> Floats:
        size = (model.image_size, model.image_size)
        small = [np.asarray(each.resize(size, Image.Resampling.BILINEAR)) for each in images]
        tokens = model(compute.send(compute.stage(np.stack(small))))
        found = tokens.patches.mean(dim=(1, 2)) if pooling == "mean" else tokens.cls
        if found is None:
            raise ValueError("pooling must be 'mean' for an encoder without a class token")
        x: Floats = found.float().cpu().numpy().astype(np.float64)
        x = x if mean is None else x - mean
        unit: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
        return unit

    copies: dict[str, Floats] = {}
    with deterministic(), torch.inference_mode():
        x = embedded(originals)
        for done, (name, change) in enumerate(CHANGES.items(), start=1):
            copies[name] = (x * embedded([change(each) for each in originals])).sum(axis=1)
            if progress is not None:
                progress(done, len(CHANGES))
    groups = np.array(some.column("group"))
    i, j = np.triu_indices(len(x), 1)
    apart = (groups[i] != groups[j]) | (groups[i] == "")
    return Nearness(len(x), copies, (x @ x.T)[i[apart], j[apart]])
