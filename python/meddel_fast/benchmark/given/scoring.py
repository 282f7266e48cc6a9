"""A folder of predictions against the masks of a manifest: one result, as a head's."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.given.maps import probabilities, read_map, resized, white_of
from meddel_fast.benchmark.given.matching import Matches, find, listing, match
from meddel_fast.benchmark.given.pranet import mean_scores
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.address import ImageError
from meddel_fast.images.load_masks import load_mask, meanings
from meddel_fast.images.manifest import SPLITS
from meddel_fast.images.masks.rule import IGNORED, Meaning
from meddel_fast.training.predictions import MAX_SIDE, Predictions, confusion_matrices

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored; results that differ in it are not compared.

    Attributes
    ----------
    threshold
        What is above it is lesion.
    size
        Side of the square that truth and prediction are squeezed to; None scores at the truth's
        own height and width.
    pranet
        Also give Dice and IoU as PraNet's evaluation has them.
    """

    threshold: float = 0.5
    size: int | None = None
    pranet: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ConfigError(f"--threshold must be in (0, 1), got {self.threshold:g}")
        if self.size is not None and not 1 <= self.size <= MAX_SIDE:
            raise ConfigError(f"--size must be 1 to {MAX_SIDE} pixels, got {self.size}")


@dataclass(frozen=True, eq=False)
class Scored:
    """A result, its predicted masks, and what there is to say of the files."""

    result: dict[str, Any]
    predictions: Predictions
    notes: list[str]


def score_folder(
    folder: Path,
    manifest: Manifest,
    split: str,
    scoring: Scoring,
    *,
    allow_missing: bool = False,
    allow_extra: bool = False,
    progress: Progress | None = None,
) -> Scored:
    """Score the predictions in a folder.

    Parameters
    ----------
    folder
        Masks or maps of probabilities, a file an image (see `matching` and `maps`).
    manifest, split
        The data set, and what is tested on.
    scoring
        At which size and threshold.
    allow_missing
        Count an image without a prediction, or with one that cannot be read, as one in which
        nothing was predicted.
    allow_extra
        Leave files aside that belong to no image.
    progress
        Called as ``progress(images_done, images)``.

    Raises
    ------
    FileNotFoundError
        No such folder, or nothing in it.
    ValueError
        No image is to be tested on; predictions are missing, left over, ambiguous or unreadable.
    """
    rows = manifest.splits([split]).with_masks()
    if len(rows) == 0:
        raise ValueError(f"'{manifest.name}' has no image with a mask in its split '{split}'")
    others = manifest.splits([name for name in SPLITS if name != split])
    matches = match(folder, find(folder), rows, others)
    seen = _survey(matches.files)
    _check(rows, matches, seen, allow_missing, allow_extra)
    result, predictions, counts = _score(rows, seen, scoring, progress)
    result["given"] = {
        "folder": folder.resolve().name,
        "sha256": _digest(folder, [path for path in seen.usable if path is not None]),
        "white": seen.white,
        "missing": seen.usable.count(None),
        **counts,
        **asdict(scoring),
    }
    return Scored(result, predictions, _notes(result, matches, seen.kinds))


@dataclass(frozen=True)
class _Survey:
    """What a first look at all files found: they are read again, one by one, to be scored."""

    usable: list[Path | None]
    unreadable: list[str]
    white: int
    kinds: set[str]


def _survey(files: list[Path | None]) -> _Survey:
    usable: list[Path | None] = []
    unreadable, tops, kinds = [], [], set()
    for path in files:
        try:
            found = None if path is None else read_map(path)
        except ImageError as error:
            found = None
            unreadable.append(str(error))
        usable.append(None if found is None else path)
        if found is not None:
            kinds.add("floats" if found.dtype.kind == "f" else "whole numbers")
            if found.dtype.kind != "f":
                tops.append(int(found.max()))
    return _Survey(usable, unreadable, white_of(tops), kinds)


def _check(
    rows: Manifest,
    matches: Matches,
    seen: _Survey,
    allow_missing: bool,
    allow_extra: bool,
) -> None:
    """Refuse what is wrong and was not allowed, all of it in one message."""
    without = zip(rows.ids, matches.files, strict=True)
    missing = [name for name, path in without if path is None]
    wrong = []
    if matches.ambiguous:
        wrong.append(f"{len(matches.ambiguous)} are ambiguous: {'; '.join(matches.ambiguous[:5])}")
    if missing and not allow_missing:
        wrong.append(
            f"{len(missing)} of {len(rows)} images have none: {listing(missing)} "
            "(--allow-missing counts them as nothing predicted)"
        )
    if seen.unreadable and not allow_missing:
        wrong.append(f"{len(seen.unreadable)} cannot be used: {'; '.join(seen.unreadable[:3])}")
    if matches.extra and not allow_extra:
        wrong.append(
            f"{len(matches.extra)} belong to no image: {listing(matches.extra)} "
            "(--allow-extra leaves them aside)"
        )
    if wrong:
        raise ValueError("predictions: " + "; ".join(wrong))
    if not any(seen.usable):
        raise ValueError("predictions: none is of an image that is tested on")


def _score(
    rows: Manifest, seen: _Survey, scoring: Scoring, progress: Progress | None
) -> tuple[dict[str, Any], Predictions, dict[str, int]]:
    """Give the result, the masks, and how many maps were ``resized`` or ``below`` the threshold."""
    with needs("benchmark"):
        from meddel_fast.training.segmentation import scores

    bits, confusions, shapes, means = [], [], [], []
    told = {"resized": 0, "below": 0}
    pairs = zip(rows.mask_paths(), meanings(rows), seen.usable, strict=True)
    for done, (path, meaning, file) in enumerate(pairs, start=1):
        truth = _truth(path, scoring.size, meaning)
        found = np.zeros(truth.shape) if file is None else probabilities(file, seen.white)
        told["resized"] += found.shape != truth.shape
        found = resized(found, truth.shape)
        lesion, ignored, predicted = truth == 1, truth == IGNORED, found > scoring.threshold
        told["below"] += bool(found.any() and not predicted.any())
        bits.append(np.packbits(predicted))
        shapes.append(truth.shape)
        confusions.append(confusion_matrices(lesion[None], predicted[None], ignored[None]))
        if scoring.pranet:
            means.append(mean_scores(lesion, found, ignored))
        if progress is not None:
            progress(done, len(rows))
    counts = np.concatenate(confusions)
    if scoring.size is None:
        sizes = np.array(shapes, np.int64)
        kept = Predictions(rows.ids, np.concatenate(bits), 0, counts, sizes)
    else:
        kept = Predictions(rows.ids, np.stack(bits), scoring.size, counts)
    if not counts.any():
        raise ValueError(f"the masks of all {len(rows)} images ignore all pixels")
    result: dict[str, Any] = {**scores(counts), "images": len(rows)}
    if kept.pixels > counts.sum():
        result["ignored_pixels"] = kept.pixels - int(counts.sum())
    if scoring.pranet:
        iou, dice = np.mean(means, axis=0).tolist()
        result["pranet"] = {"iou": iou, "dice": dice, "images": [list(one) for one in means]}
    return result, kept, told


def _truth(path: Path | None, size: int | None, meaning: Meaning | None) -> NDArray[np.uint8]:
    assert path is not None  # `with_masks` has left those out
    truth = load_mask(path, size, meaning)
    if max(truth.shape) > MAX_SIDE:
        raise ImageError(path, f"a mask of more than {MAX_SIDE} pixels a side: give --size")
    return truth


def _digest(folder: Path, files: list[Path]) -> str:
    """Hash the names and contents of predictions."""
    lines = [f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _notes(result: dict[str, Any], matches: Matches, kinds: set[str]) -> list[str]:
    """Say what was done with the files, a line each."""
    given = result["given"]
    meant = {"floats": "probabilities", "whole numbers": f"whole numbers up to {given['white']}"}
    read_as = " and ".join(meant[kind] for kind in sorted(kinds))
    notes = [f"{result['images'] - given['missing']} maps read, as {read_as}"]
    if given["resized"]:
        notes.append(f"{given['resized']} resized to the truth's size, bilinearly")
    if given["below"]:
        notes.append(
            f"{given['below']} have nothing above the threshold, {given['threshold']:g} of what "
            "stands for certainty: nothing is predicted there"
        )
    if given["missing"]:
        notes.append(f"{given['missing']} images without a usable map count as nothing predicted")
    if matches.elsewhere:
        notes.append(f"{len(matches.elsewhere)} files of other splits left aside")
    if matches.extra:
        notes.append(f"{len(matches.extra)} files of no image left aside")
    return notes
