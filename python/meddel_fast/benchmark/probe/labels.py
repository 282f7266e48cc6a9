"""The class and the group of each sample: from a manifest, or from files with a line a sample."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.npy import load_npy
from meddel_fast.training.settings import ClassificationConfig
from meddel_fast.training.tasks.classification import labels_of

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

BY = ("sequence", "label", "folder", "lesion")
_MASK_SIZE = 224  # side at which masks are looked at for a lesion


@dataclass(frozen=True)
class Labels:
    """Classes of n samples.

    Attributes
    ----------
    names
        The classes that any sample has, sorted.
    classes : int64, shape (n,)
        Place of each sample's class in `names`; -1 for none.
    groups
        Video, sequence or patient of each sample, empty for none.
    """

    names: list[str]
    classes: NDArray[np.int64]
    groups: list[str]

    @classmethod
    def of(cls, labels: Sequence[str], groups: Sequence[str] | None = None) -> Labels:
        """Make them of a name a sample; an empty one is none.

        Raises
        ------
        ValueError
            Fewer than two classes, or another number of groups than of labels.
        """
        counts = Counter(label for label in labels if label)
        if len(counts) < 2:
            raise ValueError(
                f"labels must be of two classes or more, got {len(counts)}: {counts.total()} of "
                f"{len(labels)} samples have a label"
            )
        if groups is not None and len(groups) != len(labels):
            raise ValueError(f"groups must be one for each of {len(labels)}, got {len(groups)}")
        names = sorted(counts)
        place = {name: i for i, name in enumerate(names)}
        classes = np.array([place.get(label, -1) for label in labels], np.int64)
        return cls(names, classes, [""] * len(labels) if groups is None else list(groups))

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """Give those of some samples; the names stay."""
        return Labels(self.names, self.classes[rows], [self.groups[i] for i in rows])

    def __len__(self) -> int:
        return len(self.classes)


def read_labels(manifest: Manifest, by: str) -> list[str]:
    """Give the class of each image of a manifest, empty for none.

    Parameters
    ----------
    manifest
        Its usable rows.
    by
        "sequence" (the manifest's group: video, sequence or patient), "label" (its column),
        "folder" (the one that the image lies in) or "lesion" (whether the mask marks any pixel).
    """
    if by == "sequence":
        return list(manifest.column("group"))
    if by == "label":
        return [label or "" for label in manifest.column("label")]
    if by == "folder":
        return [str(PurePosixPath(name).parent).lstrip(".") for name in manifest.ids]
    masked = [i for i, path in enumerate(manifest.mask_paths()) if path]
    found = [""] * len(manifest)
    if masked:
        config = ClassificationConfig(labels="lesion", image_size=_MASK_SIZE)
        for i, label in zip(masked, labels_of(manifest.take(masked), config), strict=True):
            found[i] = label
    return found


def read_column(where: str, samples: int) -> list[str]:
    """Read a value a sample: a .npy file, a .txt file with a line each, or FILE.csv:COLUMN.

    What is empty, or NaN in a .npy file, is none.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        No such column, or another number of values than `samples`.
    """
    name, _, column = where.rpartition(":") if ".csv:" in where else (where, "", "")
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if column:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            known = list(rows.fieldnames or [])
            if column not in known:
                raise ValueError(f"{path} has no column '{column}', but {', '.join(known)}")
            found = [row[column] or "" for row in rows]
    elif path.suffix == ".npy":
        array = load_npy(path)
        if array.ndim != 1:
            raise ValueError(f"{path} must hold one value a sample, got the shape {array.shape}")
        found = ["" if value != value else str(value) for value in array.tolist()]  # NaN is none
    elif path.suffix == ".txt":
        found = path.read_text(encoding="utf-8").splitlines()
    else:
        raise ValueError(f"{where} must be a .npy or .txt file, or FILE.csv:COLUMN")
    if len(found) != samples:
        raise ValueError(f"{where} has {len(found)} values, there are {samples} embeddings")
    return found
