"""Folders of images and folders of masks, under whatever names a release gave them."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from meddel_fast.data.address import UNION, ImageError
from meddel_fast.data.readers.boxes import from_json, from_text
from meddel_fast.data.readers.tree import Item, Sample, Tree, inside, plain, read_text

_NEVER = r"(?!)"

_Place = tuple[str, ...]
_Image = tuple[Item, _Place, str, _Place]  # file, folder above, group, place below
_Mask = tuple[_Place, Item, str | None]  # folder above, file, class


@dataclass(frozen=True)
class Pairs:
    """Images in one folder, their masks, by the same path or nearly so, in another.

    Attributes
    ----------
    images, masks, boxes
        Regular expressions for the folders' names in plain form (no case, spaces, ``-``, ``_``);
        `boxes` for one with a text file an image. What a group of `images` matches is the sample's
        group; else it is the folder below.
    prefix, suffix
        What the mask's name has before and after the image's.
    classes
        Masks are named ``<image>_<class>``: the sample's mask is their union and its label the
        classes, sorted, joined by ``+``.
    within
        Only below the folder of this name, in plain form.
    splits
        Lists of stems, as files beside the folders, and the split that each one is of.
    table
        CSV with the columns ``frame_id`` and ``sequence_id``: the frames' video.
    one
        The release holds its images in several formats: take the first folder in which one is.

    Images without a mask do not count as found.
    """

    images: str = "images"
    masks: str = "masks"
    boxes: str = _NEVER
    prefix: str = ""
    suffix: str = ""
    classes: bool = False
    within: str = ""
    splits: tuple[tuple[str, str], ...] = ()
    table: str = ""
    one: bool = False

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images that lie in a folder of images, with their masks."""
        images, masks, texts = self._sort_out(tree)
        sequences = self._sequences(tree)
        besides: dict[_Place, _Beside] = {}
        samples: list[Sample] = []
        seen: set[_Place] = set()
        for item, anchor, group, below in images:
            found = masks.get(self._key(below), [])
            if not found or (self.one and below in seen):
                continue
            seen.add(below)
            if anchor not in besides:
                besides[anchor] = _Beside(tree, anchor, self.splits)
            beside = besides[anchor]
            beside.present[item.stem] = item.path.parent
            mask, label = _nearest(found, anchor)
            boxes, relative = beside.boxes.get(item.stem), True
            if text := texts.get(below):
                boxes, relative, _ = from_text(text)
            video = sequences.get(item.stem)
            samples.append(
                Sample(
                    item.path,
                    mask,
                    split=beside.listed.get(item.stem, ""),
                    group=video or group or "/".join(below[:-1]),
                    frame=int(item.stem) if video and item.stem.isdigit() else -1,
                    label=label,
                    boxes=boxes,
                    relative=relative,
                )
            )
        return samples + [sample for beside in besides.values() for sample in beside.absent()]

    def _sort_out(
        self, tree: Tree
    ) -> tuple[list[_Image], dict[_Place, list[_Mask]], dict[_Place, Item]]:
        """Tell images, masks and texts by the deepest folder that says what they are."""
        images: list[_Image] = []
        masks: dict[_Place, list[_Mask]] = defaultdict(list)
        texts: dict[_Place, Item] = {}
        pictures = {id(item) for item in tree.images}
        for item in tree.items:
            if self.within and inside(item, self.within) is None:
                continue
            for at in range(len(item.parts) - 2, -1, -1):
                name, anchor = plain(item.parts[at]), item.parts[:at]
                below = (*item.parts[at + 1 : -1], item.stem)
                if re.fullmatch(self.boxes, name):
                    if item.suffix == ".txt":
                        texts[below] = item
                elif re.fullmatch(self.masks, name):
                    if id(item) in pictures:
                        key, label = self._mask_key(below)
                        masks[key].append((anchor, item, label))
                elif match := re.fullmatch(self.images, name):
                    if id(item) in pictures:
                        group = match[1] if match.re.groups else ""
                        images.append((item, anchor, group, below))
                else:
                    continue
                break
        return images, masks, texts

    def _key(self, below: _Place) -> _Place:
        return (*below[:-1], f"{self.prefix}{below[-1]}{self.suffix}".casefold())

    def _mask_key(self, below: _Place) -> tuple[_Place, str | None]:
        stem, label = below[-1], None
        if self.classes:
            stem, _, label = stem.rpartition("_")
        return (*below[:-1], stem.casefold()), label

    def _sequences(self, tree: Tree) -> dict[str, str]:
        """Read which frame is of which video."""
        found: dict[str, str] = {}
        for item in tree.named(re.escape(self.table)) if self.table else ():
            for row in csv.DictReader(read_text(item).splitlines()):
                if not row.get("frame_id") or not row.get("sequence_id"):
                    raise ImageError(item.path, "wanted the columns frame_id and sequence_id")
                found[row["frame_id"]] = row["sequence_id"]
        return found


@dataclass(frozen=True)
class SameFolder:
    """Images and masks in one folder: a mask is named as its image, after a prefix."""

    prefix: str

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images that have a mask."""
        by_place = {(*item.parts[:-1], item.stem): item for item in tree.images}
        samples = []
        for place, item in by_place.items():
            mask = by_place.get((*place[:-1], f"{self.prefix}{place[-1]}"))
            if mask is not None:
                samples.append(Sample(item.path, mask.path))
        return samples


class _Beside:
    """What lies beside the folders of images and masks: boxes, and the lists of splits.

    ``present`` gathers the images that are there, by stem, and their folders.
    """

    def __init__(self, tree: Tree, anchor: _Place, splits: tuple[tuple[str, str], ...]) -> None:
        self.boxes = from_json(tree, anchor)
        self.listed: dict[str, str] = {}
        self.present: dict[str, Path] = {}
        for file, split in splits:
            for item in tree.named(re.escape(file)):
                if item.parts[:-1] == anchor:
                    stems = (PurePosixPath(name).stem for name in read_text(item).split())
                    self.listed |= dict.fromkeys(stems, split)

    def absent(self) -> list[Sample]:
        """Give the images that a list of splits names and that are not there."""
        folder = next(iter(self.present.values()))
        return [
            Sample(folder / stem, split=self.listed[stem], reason="missing: listed in a split")
            for stem in sorted(self.listed.keys() - self.present)
        ]


def _nearest(found: list[_Mask], anchor: _Place) -> tuple[Path, str | None]:
    """Choose, of the masks with an image's name, those that lie nearest to it in the tree."""
    most = max(_common(mask[0], anchor) for mask in found)
    near = [mask for mask in found if _common(mask[0], anchor) == most]
    first, label = near[0][1:]
    if label is None:
        return first.path, None
    names = [item.parts[-1] for _, item, _ in near[1:]]
    label = "+".join(sorted({str(name) for _, _, name in near}))
    return Path(UNION.join([str(first.path), *names])), label


def _common(one: _Place, other: _Place) -> int:
    """Count the folders that two places have in common."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
