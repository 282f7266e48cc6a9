"""What an image is worth by its pixels alone: sharp, lit, noisy, empty; and perceptual hashes.

The measures become columns of the manifest (:data:`~meddel_fast.images.manifest.QUALITY`), so that
limits on them leave images out, or the measures weigh them.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from meddel_fast.arrays import check_choice, check_int
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.common.pool import call_all
from meddel_fast.images.left_out import reason_kind
from meddel_fast.images.load_images import ImageError, load_image
from meddel_fast.images.manifest import HASHES, QUALITY, Manifest
from meddel_fast.images.prefetch import reading
from meddel_fast.images.remote_files import raise_outage

with needs("benchmark"):
    import pyarrow as pa
    from PIL import Image
    from scipy import ndimage

SIDE = 256
"""Images are measured as squares of so many pixels across, or of their own shorter side."""
DARK, BRIGHT = 20, 245
"""Grey levels, of 255, up to which a pixel counts as dark, and from which on as bright."""

_EDGE = 2  # pixels inside the view's edge that sharpness and noise leave out
_SQUARE = np.ones((3, 3), bool)  # 8 neighbours
_MAD = 0.6744897501960817  # median of |x| of a standard normal distribution
_MASK = 6.0  # root of the sum of squares of Immerkaer's mask

Pixels = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Limits = Mapping[str, tuple[str, float | None, float | None]]

LIMITS: dict[str, tuple[str, float | None, float | None]] = {
    "border": ("border", None, 0.7),
    "black": ("brightness", 0.08, None),
    "blown out": ("bright", None, 0.25),
    "blank": ("contrast", 0.04, None),
    "blurred": ("sharpness", 8.0, None),
    "torn": ("sharpness", None, 4000.0),
    "noisy": ("noise", None, 5.0),
}
"""Reasons to leave an image out: the measure, its lowest and its highest value.

Set between 1,612 real frames of endoscopy, none of which breaks one, and spoilt ones
(docs/selectors.md).
"""


class Measures(NamedTuple):
    """What :func:`measure_pixels` finds.

    Attributes
    ----------
    border : float
        Share of the image that is dark and joined to its edge by dark pixels.
    inset : float
        Share that is neither border nor the view, the largest part that the border leaves: text,
        or pictures set into the border.
    brightness : float
        Mean grey level of the view, 0 to 1.
    dark, bright : float
        Share of the view that is dark (up to :data:`DARK`) or bright (from :data:`BRIGHT` on).
    contrast : float
        Standard deviation of the view's grey levels, of 1.
    sharpness : float
        Variance of the Laplacian of the view's grey levels, of 255.
    noise : float
        Standard deviation of the noise in the view's grey levels, of 255.
    warmth : float
        Mean of red less blue in the view, -1 to 1: tissue in white light is above 0.
    """

    border: float
    inset: float
    brightness: float
    dark: float
    bright: float
    contrast: float
    sharpness: float
    noise: float
    warmth: float


class Measured(NamedTuple):
    """A manifest with columns of quality, and the images that could not be read: id, reason."""

    manifest: Manifest
    unread: dict[str, str]


def measure_pixels(pixels: Pixels) -> Measures:
    """Measure an image.

    Parameters
    ----------
    pixels
        uint8 (height, width, 3), RGB.

    Returns
    -------
    Measures
        With no view at all (a black image): brightness, contrast, sharpness, noise and warmth 0,
        dark 1.

    Notes
    -----
    All sums are of whole numbers, so that equal pixels give equal measures on every machine.
    Grey is ``(299 R + 587 G + 114 B + 500) // 1000`` (ITU-R BT.601). Sharpness is the variance of
    the Laplacian over 4 neighbours (Pech-Pacheco et al. 2000); noise is what the mask of Immerkaer
    (1996) leaves, which plane surfaces and straight edges do not answer, its deviation taken from
    the median of absolute values (Donoho and Johnstone 1994), which fine texture in less than half
    of the view does not move. Both leave out what lies within 2 pixels of the view's edge.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise TypeError(
            f"pixels must be uint8 (height, width, 3), got {pixels.dtype} {pixels.shape}"
        )
    red, green, blue = np.moveaxis(pixels.astype(np.int32), 2, 0)
    grey = (299 * red + 587 * green + 114 * blue + 500) // 1000
    border = _border(grey <= DARK)
    view = _largest(~border)
    all_, seen = grey.size, int(view.sum())
    share = float(border.sum()) / all_, float(all_ - int(border.sum()) - seen) / all_
    if not seen:
        return Measures(*share, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    values = grey[view]
    inner = ndimage.binary_erosion(view, _SQUARE, iterations=_EDGE)
    warmth = int(red[view].sum()) - int(blue[view].sum())
    return Measures(
        *share,
        int(values.sum()) / seen / 255,
        int((values <= DARK).sum()) / seen,
        int((values >= BRIGHT).sum()) / seen,
        _variance(values) ** 0.5 / 255,
        _variance(_laplacian(grey)[inner]),
        _noise(grey, inner),
        warmth / seen / 255,
    )


def measure_manifest(
    manifest: Manifest,
    *,
    size: int = SIDE,
    hashes: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure all usable images of a manifest.

    Parameters
    ----------
    manifest
        What to read.
    size
        Images are measured as :func:`~meddel_fast.images.load_images.load_image` squeezes them into
        squares of this side, or of their own shorter side where that is less: an image that is
        enlarged hides its noise. Sharpness and noise compare at one size.
    hashes
        Perceptual hashes beside: some of phash, dhash, average_hash and whash, as the package
        imagehash makes them of the squares (needs the extra ``hashes``).
    workers
        Threads that read; by default one a core.
    progress
        Called as ``progress(done, total)`` after every image.

    Returns
    -------
    Measured
        The manifest with columns for these; null in rows that are not usable or could not be read,
        which ``unread`` names. A note says how many.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range; raised before anything is read.
    """
    check_int("size", size, 8, 4096)
    if workers is not None:
        check_int("workers", workers, 1)
    for name in hashes:
        check_choice("hashes", name, HASHES)
    makers = _makers(hashes)
    sides = zip(manifest.column("width"), manifest.column("height"), strict=True)
    sizes = [max(1, min(size, *sides_)) for sides_ in sides]
    jobs = list(zip(manifest.ids, manifest.image_paths(), sizes, strict=True))
    found: dict[str, dict[str, Any]] = {}
    unread: dict[str, str] = {}
    for name, values, reason in _read_all(jobs, makers, workers, progress):
        if reason:
            unread[name] = reason
        else:
            found[name] = values
    return Measured(_with_columns(manifest, found, size, hashes, unread), unread)


def judge(manifest: Manifest, limits: Limits | None = None) -> npt.NDArray[np.str_]:
    """Say of each usable image which limits it breaks.

    Parameters
    ----------
    manifest
        One that :func:`measure_manifest` made.
    limits
        By reason: the measure, and its lowest and its highest value that will do, or None.
        By default :data:`LIMITS`.

    Returns
    -------
    str (n,)
        The reasons, with "; " between them; "" where there is none, "not read" where an image could
        not be. ``judge(manifest) != ""`` will do as `exclude` of a selector.

    Raises
    ------
    ValueError
        The manifest has no such column.
    """
    limits = LIMITS if limits is None else limits
    reasons: list[list[str]] = [[] for _ in range(len(manifest))]
    for reason, (name, low, high) in limits.items():
        for row, value in enumerate(manifest.column(name)):
            if value is None:
                if "not read" not in reasons[row]:
                    reasons[row].append("not read")
            elif (low is not None and value < low) or (high is not None and value > high):
                reasons[row].append(reason)
    return np.array(["; ".join(found) for found in reasons], np.str_)


def _read_all(
    jobs: Sequence[tuple[str, Path, int]],
    makers: Mapping[str, Any],
    workers: int | None,
    progress: Progress | None,
) -> list[tuple[str, dict[str, Any], str]]:
    """Read and measure with a pool of threads; Pillow decodes without the GIL."""

    def read(number: int) -> tuple[str, dict[str, Any], str]:
        name, path, size = jobs[number]
        try:
            with ahead.using(number):
                pixels = load_image(path, size)
        except ImageError as error:
            return name, {}, error.reason
        except OSError as error:
            raise_outage(error)
            return name, {}, f"cannot be read: {error.strerror or error}"
        values: dict[str, Any] = measure_pixels(pixels)._asdict()
        for key, make in makers.items():
            values[key] = str(make(Image.fromarray(pixels)))
        return name, values, ""

    with warnings.catch_warnings(), reading([(path,) for _, path, _ in jobs]) as ahead:
        warnings.simplefilter("ignore")  # what Pillow warns of; a scan has told it
        return call_all(read, [(number,) for number in range(len(jobs))], workers, progress)


def _with_columns(
    manifest: Manifest,
    found: Mapping[str, Mapping[str, Any]],
    size: int,
    hashes: Sequence[str],
    unread: Mapping[str, str],
) -> Manifest:
    """Give the manifest these columns, in place of those that it may have, and a note."""
    names = [*Measures._fields, *hashes]
    table = manifest.table.drop_columns(
        [n for n in QUALITY.names if n in manifest.table.column_names]
    )
    every = table["id"].to_pylist()
    for name in names:
        values = [found.get(id_, {}).get(name) for id_ in every]
        table = table.append_column(QUALITY.field(name), pa.array(values, QUALITY.field(name).type))
    note = f"quality: {len(found)} images measured at up to {size} x {size} pixels"
    if unread:
        kinds = Counter(map(reason_kind, unread.values())).most_common()
        told = ", ".join(f"{kind} {count}" for kind, count in kinds)
        note += f", {len(unread)} could not be read: {told}"
    notes = (*(n for n in manifest.notes if not n.startswith("quality: ")), note)
    return Manifest(manifest.name, manifest.root, table, manifest.left_out, notes)


def _makers(hashes: Sequence[str]) -> dict[str, Any]:
    if not hashes:
        return {}
    with needs("hashes"):
        import imagehash

    return {name: getattr(imagehash, name) for name in hashes}


def _border(dark: Bool) -> Bool:
    """Return the dark pixels that dark ones (of 4 neighbours) join to the edge."""
    label, _ = ndimage.label(dark)
    edges = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
    at_edge = np.zeros(int(label.max()) + 1, bool)
    at_edge[edges] = True
    at_edge[0] = False
    return np.asarray(at_edge[label])


def _largest(inside: Bool) -> Bool:
    """Return the largest part of what is inside (of 8 neighbours), the first of equal ones."""
    label, parts = ndimage.label(inside, _SQUARE)
    if not parts:
        return np.zeros_like(inside)
    size = np.bincount(label.ravel())
    size[0] = 0
    return np.asarray(label == int(size.argmax()))


def _variance(values: npt.NDArray[np.integer[Any]]) -> float:
    n = values.size
    if not n:
        return 0.0
    total, squares = int(values.sum(dtype=np.int64)), int((values.astype(np.int64) ** 2).sum())
    return (n * squares - total * total) / (n * n)


def _laplacian(grey: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the Laplacian over 4 neighbours; the outermost pixels, without all four, have 0."""
    out = np.zeros_like(grey)
    inner = grey[1:-1, 1:-1]
    out[1:-1, 1:-1] = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    )
    return out


def _noise(grey: npt.NDArray[np.int32], inner: Bool) -> float:
    """Return Immerkaer's: the Laplacian across of the Laplacian down, of three pixels each."""
    down = np.zeros_like(grey)
    down[1:-1] = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = np.zeros_like(grey)
    both[:, 1:-1] = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    values = np.abs(both[inner])
    return float(np.median(values)) / _MAD / _MASK if values.size else 0.0
