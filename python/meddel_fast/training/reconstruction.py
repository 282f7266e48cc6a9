"""How well a masked autoencoder restores each image, and images made of the patches it cannot.

The error serves as a score of the selectors ``loss``, ``d2`` and ``ccs``; the hard patches are
those of OptiDEL (Yang et al. 2024, arXiv 2408.07107).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.atomic import atomic_directory
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.device import (
    Compute,
    Stream,
    arrays,
    choose,
    deterministic,
    quiet_transformers,
    rng_at,
)
from meddel_fast.training.encoders.files import check_shapes, read_config, reading_weights
from meddel_fast.training.encoders.vit import normalise
from meddel_fast.training.loader import Frames, frames, prefetch

with needs("benchmark"):
    import torch
    from torch import Tensor

if TYPE_CHECKING:
    from transformers import ViTMAEForPreTraining

_EPSILON = 1e-6  # added to a patch's variance, as in MAE's loss


class Errors(NamedTuple):
    """Reconstruction errors.

    Attributes
    ----------
    image : float64, shape (n,)
        Mean of the image's patches.
    patch : float64, shape (n, rows, columns)
        Mean squared error of each patch, as it lies in the image.
    """

    image: NDArray[np.float64]
    patch: NDArray[np.float64]


def reconstruction_errors(
    manifest: Manifest,
    model: StrPath,
    *,
    batch_size: int = 64,
    seed: int = 0,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    workers: int = 0,
    progress: Progress | None = None,
) -> Errors:
    """Measure how well a MAE restores what is masked of each image.

    Each image is seen several times, with other patches masked each time (the same for all images),
    so that each patch is masked at least once; its error is the mean over the times that it was. It
    is measured as the model was trained: against normalised patches when ``norm_pix_loss`` is set.

    Parameters
    ----------
    manifest
        Its n usable rows are measured, in order.
    model
        Folder of a ``ViTMAEForPreTraining``, as ``pretrain`` writes.
    batch_size
        Images a forward pass.
    seed
        Of the masks.
    device, precision
        As in :func:`meddel_fast.training.device.choose`.
    workers
        Decoding threads; 0 is one per core.
    progress
        Called as ``progress(images_done, images)``.

    Raises
    ------
    ValueError
        No images, a batch size below 1, or the model is no MAE.
    FileNotFoundError
        The folder holds no model.
    FloatingPointError
        An error is not finite; the message names the image.
    """
    if len(manifest) == 0:
        raise ValueError("manifest: wanted at least one usable image, got none")
    if batch_size < 1:
        raise ValueError(f"batch_size: wanted 1 or more, got {batch_size}")
    compute = choose(device, precision)
    mae = _load(Path(model), compute)
    config: Any = mae.config
    grid = config.image_size // config.patch_size
    noises = mask_noises(grid * grid, config.mask_ratio, seed)
    pool = frames(manifest, config.image_size, workers=workers)
    patch = np.empty((len(manifest), grid, grid))
    with deterministic(), torch.inference_mode():
        for start, part in arrays(_measure(mae, pool, noises, batch_size, compute)):
            patch[start : start + len(part)] = part.reshape(len(part), grid, grid)
            if progress is not None:
                progress(start + len(part), len(manifest))
    bad = np.flatnonzero(~np.isfinite(patch).all(axis=(1, 2)))
    if bad.size:
        raise FloatingPointError(f"the error of {manifest.ids[int(bad[0])]!r} is not finite")
    return Errors(patch.mean(axis=(1, 2)), patch)


def mask_noises(patches: int, mask_ratio: float, seed: int) -> NDArray[np.float32]:
    """Return noise (passes, patches) of which MAE masks the largest, each patch at least once.

    The patches stand in a ring, in random order; each pass moves on by as many as are seen, or as
    are masked where these are fewer.
    """
    seen = int(patches * (1 - mask_ratio))
    step = min(seen, patches - seen)
    if step < 1:
        raise ValueError(
            f"mask_ratio: wanted some of {patches} patches masked and some seen, got {mask_ratio}"
        )
    ring = rng_at(seed, Stream.MASK).permutation(patches)
    noises = np.empty((-(-patches // step), patches), dtype=np.float32)
    for number, noise in enumerate(noises):
        noise[np.roll(ring, -number * step)] = np.arange(patches)
    return noises


def _load(folder: Path, compute: Compute) -> ViTMAEForPreTraining:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"model: {folder} has no config.json")
    with quiet_transformers():
        with needs("benchmark"):
            from transformers import ViTMAEForPreTraining

        config = read_config(folder, True, "model")
        if config.model_type != "vit_mae":
            raise ValueError(
                f"model: wanted a vit_mae with its decoder, {folder} is a {config.model_type}"
            )
        untyped: Any = ViTMAEForPreTraining
        with reading_weights(folder, True, "model"):
            mae, loading = untyped.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                attn_implementation=compute.attention,
                dtype=torch.float32,  # else that of config.json, to which weights are rounded
                ignore_mismatched_sizes=True,  # they are named below
                output_loading_info=True,
            )
    check_shapes(folder, loading, "model")
    if loading["missing_keys"]:
        raise ValueError(f"model: {folder} lacks {sorted(loading['missing_keys'])[0]}")
    placed: ViTMAEForPreTraining = mae.float().to(compute.device).eval().requires_grad_(False)
    return placed


def _measure(
    mae: ViTMAEForPreTraining,
    pool: Frames,
    noises: NDArray[np.float32],
    batch_size: int,
    compute: Compute,
) -> Iterator[tuple[int, Tensor]]:
    """Errors (b, patches) in batches, each with the place of its first image.

    The last batch is filled up with its last image, so that equal images get equal errors.
    """
    rows, masks = np.arange(len(pool)), torch.from_numpy(noises).to(compute.device)
    starts = range(0, len(rows), batch_size)
    batches = (rows.take(np.arange(s, s + batch_size), mode="clip") for s in starts)
    staged = prefetch(lambda batch: compute.stage(pool[batch]), batches)
    network: Any = mae
    for start, images in zip(starts, staged, strict=True):
        pixels = normalise(compute.send(images))
        target = mae.patchify(pixels).double()
        if mae.config.norm_pix_loss:
            spread = target.var(dim=-1, keepdim=True)
            target = (target - target.mean(dim=-1, keepdim=True)) / (spread + _EPSILON).sqrt()
        total = torch.zeros(target.shape[:2], dtype=torch.float64, device=compute.device)
        times = torch.zeros_like(total)
        for noise in masks:
            with compute.autocast():
                out = network(pixels, noise=noise.expand(len(pixels), -1))
            masked = out.mask.double()
            total += masked * (out.logits.double() - target).square().mean(dim=-1)
            times += masked
        yield start, (total / times)[: len(rows) - start]


def write_hard_images(
    manifest: Manifest,
    patch: NDArray[np.float64],
    images: int,
    out: StrPath,
    *,
    image_size: int,
    workers: int = 0,
) -> Manifest:
    """Tile the patches with the highest errors into new images (OptiDEL).

    Parameters
    ----------
    manifest
        The n images that the errors are of.
    patch : float64, shape (n, rows, columns)
        Error of each patch, see :func:`reconstruction_errors`.
    images
        How many to make, 1 to n. They hold the images * rows * columns hardest patches, hardest
        first, row by row. Equal errors: lowest image, row, column first.
    out
        A new or empty folder; gets ``images/``, ``manifest.parquet`` (all images "train") and
        ``patches.parquet`` (for each patch its image, row, column, error, and source id, row,
        column), all or nothing.
    image_size
        Side in pixels that the images are squeezed to, a multiple of rows and columns.
    workers
        Decoding threads; 0 is one per core.

    Returns
    -------
    Manifest
        Of the new images.

    Raises
    ------
    ValueError, TypeError
        An argument out of range, or errors of another shape.
    FileExistsError
        `out` is not empty.
    """
    if patch.ndim != 3 or len(patch) != len(manifest) or patch.shape[1] != patch.shape[2]:
        raise ValueError(
            f"patch must have shape ({len(manifest)}, rows, rows), one an image, got {patch.shape}"
        )
    if not 1 <= images <= len(manifest):
        raise ValueError(f"images must be from 1 to {len(manifest)}, got {images}")
    grid = patch.shape[1]
    if image_size < grid or image_size % grid:
        raise ValueError(f"image_size must be a multiple of {grid} patches, got {image_size}")
    hardest = np.argsort(-patch.ravel(), kind="stable")[: images * grid * grid]
    source, row, column = np.unravel_index(hardest, patch.shape)
    pool = frames(manifest, image_size, workers=workers)
    out, side = Path(out), image_size // grid
    rows = []
    with atomic_directory(out) as temporary:
        (temporary / "images").mkdir()
        for number in range(images):
            part = slice(number * grid * grid, (number + 1) * grid * grid)
            pixels = _tile(pool, source[part], row[part], column[part], grid, side)
            rows.append(_write_image(temporary, f"images/{number:06d}.png", pixels))
        _write_sources(temporary, manifest, hardest, patch)
        made = Manifest.from_rows(f"{manifest.name}-hard", out, rows)
        made.save(temporary / "manifest.parquet")
    return made


def _tile(
    pool: Frames,
    source: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    grid: int,
    side: int,
) -> NDArray[np.uint8]:
    """Put patches into one image, row by row."""
    wanted, which = np.unique(source, return_inverse=True)
    images = pool[wanted]
    n, size = len(wanted), grid * side
    patches = images.reshape(n, grid, side, grid, side, 3).transpose(0, 1, 3, 2, 4, 5)
    chosen = patches[which.reshape(-1), row, column].reshape(grid, grid, side, side, 3)
    return chosen.transpose(0, 2, 1, 3, 4).reshape(size, size, 3)


def _write_image(folder: Path, name: str, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Write a PNG, and return its row of the manifest."""
    with needs("benchmark"):
        from PIL import Image

    path = folder / name
    Image.fromarray(pixels).save(path)
    return {
        "id": name,
        "image": name,
        "mask": None,
        "sha256": sha256_file(path),
        "mask_sha256": None,
        "bytes": path.stat().st_size,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "mode": "RGB",
        "split": "train",
        "group": "",
        "frame": -1,
        "status": "ok",
        "reason": "",
    }


def _write_sources(
    folder: Path, manifest: Manifest, hardest: NDArray[np.int64], patch: NDArray[np.float64]
) -> None:
    """Write where each patch comes from."""
    with needs("benchmark"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    grid = patch.shape[1]
    source, row, column = np.unravel_index(hardest, patch.shape)
    image, place = np.divmod(np.arange(len(hardest)), grid * grid)
    ids = manifest.ids
    table = pa.table(
        {
            "image": [f"images/{number:06d}.png" for number in image],
            "row": place // grid,
            "column": place % grid,
            "error": patch.ravel()[hardest],
            "source": [ids[i] for i in source],
            "source_row": row,
            "source_column": column,
        }
    )
    pq.write_table(table, folder / "patches.parquet")
