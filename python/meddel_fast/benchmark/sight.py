"""What an audit by embeddings can see: which altered copies its encoder puts above the threshold.

An empty audit says something of the copies that it would have found, and of no others. Which these
are depends on the encoder, and an untrained one sees few, or finds everything alike; so it is
measured, on copies of the pool's own images.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.atomic import write_json
from meddel_fast.common.files import StrPath, read_json
from meddel_fast.common.untrusted import check_fields, described

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.training.altered_copies import Nearness

SIGHT = "sight.json"
_WANTED = "account of what an audit sees"
_SEEN = 0.9  # share of the copies from which on the audit is said to see them
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "threshold": (int, float),
    "centred": bool,
    "images": int,
    "copies": list,
    "pairs": int,
    "taken_for_copies": int,
}
_COPY: dict[str, type | tuple[type, ...]] = {
    "change": str,
    "found": int,
    "lowest": (int, float),
    "median": (int, float),
}


@dataclass(frozen=True)
class Sight:
    """What was found of copies and of other images.

    Attributes
    ----------
    threshold, centred
        As of the audit.
    images
        Number of images that were copied.
    copies
        For each change ``change``, ``found`` (copies at or above the threshold), ``lowest`` and
        ``median`` (cosine).
    pairs
        Number of pairs of different images, not of one video or patient, that were compared.
    taken_for_copies
        How many of these are at or above the threshold.
    """

    threshold: float
    centred: bool
    images: int
    copies: list[dict[str, Any]]
    pairs: int
    taken_for_copies: int

    @classmethod
    def measure(
        cls,
        rows: Manifest,
        encoder: StrPath,
        embeddings: NDArray[np.generic],
        threshold: float,
        centred: bool,
        **options: Any,
    ) -> Sight:
        """Alter images of the pool, embed the copies, and count what is at or above a threshold.

        `embeddings` are the pool's, as they are; `options` are those of
        :func:`meddel_fast.training.altered_copies.nearness`.
        """
        from meddel_fast.training.altered_copies import nearness

        mean = np.asarray(embeddings.mean(axis=0, dtype=np.float64)) if centred else None
        return cls.of(nearness(rows, encoder, mean=mean, **options), threshold, centred)

    @classmethod
    def of(cls, found: Nearness, threshold: float, centred: bool) -> Sight:
        """Count what is at or above a threshold."""
        copies = [
            {
                "change": change,
                "found": int((cosines >= threshold).sum()),
                "lowest": float(cosines.min()),
                "median": float(np.median(cosines)),
            }
            for change, cosines in found.copies.items()
        ]
        taken = int((found.others >= threshold).sum())
        return cls(threshold, centred, found.images, copies, len(found.others), taken)

    def save(self, folder: StrPath) -> None:
        """Write ``sight.json`` into an audit's folder."""
        write_json(Path(folder) / SIGHT, asdict(self))

    @classmethod
    def load(cls, folder: StrPath) -> Sight | None:
        """Read what :meth:`save` wrote; None where there is none.

        Raises
        ------
        ValueError
            The file is damaged.
        """
        path = Path(folder) / SIGHT
        if not path.is_file():
            return None
        about = read_json(path)
        with described(path, _WANTED):
            about = {name: about[name] for name in _FIELDS}
        check_fields(path, about, _FIELDS, _WANTED)
        for row in about["copies"]:
            check_fields(path, row, _COPY, _WANTED)
        return cls(**about)

    def told(self) -> list[str]:
        """Say in sentences what the audit sees, and what an empty one leaves open."""
        seen = [row["change"] for row in self.copies if row["found"] >= _SEEN * self.images]
        shares = ", ".join(
            f"{row['change']}: {100 * row['found'] / self.images:.0f} %" for row in self.copies
        )
        lines = [
            f"Of {self.images} images of the pool, copied and altered, this encoder puts at "
            f"{self.threshold:g} or more: {shares}."
        ]
        blind = [row["change"] for row in self.copies if row["change"] not in seen]
        if blind:
            lines.append(f"The audit cannot be relied on to find copies that are {_listed(blind)}.")
        if self.pairs:
            share = 100 * self.taken_for_copies / self.pairs
            lines.append(
                f"It takes {self.taken_for_copies:,} of {self.pairs:,} pairs of different images "
                f"for copies ({share:.1f} %)."
            )
        return lines


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + (" or " if len(names) > 1 else "") + names[-1]
