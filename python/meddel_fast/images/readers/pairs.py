"""Folders of images and folders of masks, under whatever names a release gave them."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from meddel_fast.common.remote_path import path_of
from meddel_fast.common.suffixes import PAGED
from meddel_fast.images.address import UNION, ImageError, indexed
from meddel_fast.images.readers.beside import Beside, Place
from meddel_fast.images.readers.boxes import from_text
from meddel_fast.images.readers.frame_numbers import Numbered
from meddel_fast.images.readers.item import Item, inside, read_text
from meddel_fast.images.readers.plain_names import plain
from meddel_fast.images.readers.tree import Sample, Tree
from meddel_fast.images.remote_files import raise_outage
from meddel_fast.images.sources import frame_count

_NEVER = r"(?!)"
NO_MASK = "no mask"


class _Image(NamedTuple):
    item: Item
    anchor: Place  # the folder above that of the images
    group: str
    below: Place  # the place below that of the images, without suffix


class _Near(NamedTuple):
    """A mask, or a text with boxes."""

    anchor: Place
    item: Item
    label: str = ""


@dataclass
class _Sorted:
    """What a tree holds, by role; masks and texts by their place below their folder."""

    images: list[_Image] = field(default_factory=list)
    masks: dict[Place, list[_Near]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[Place, list[_Near]] = field(default_factory=lambda: defaultdict(list))
    names: set[Place] = field(default_factory=set)  # of images


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
        What the mask's name has before and after the image's; ``_mask`` after it, or nothing, is
        understood as well. A text of boxes may have them too, and the image's name a last ``]`` or
        ``_`` that mask and boxes lack.
    above
        Masks lie beside the folder of images; `masks` is not asked.
    classes
        Masks are named ``<image>_<class>``: the sample's mask is their union and its label the
        classes, sorted, joined by ``+``.
    pages
        A mask of several pages has one for each class: the sample's mask is their union.
    within, apart
        Only below a folder whose plain name matches; not below one.
    splits
        Lists of stems, as files beside the folders or above, and the split that each one is of.
    split
        The split of all of them.
    numbers
        What the numbers in the names tell: the first of these that they fit.
    table
        CSV with the columns ``frame_id`` and ``sequence_id``: the frames' video.
    one
        The release holds its images in several formats: take the first folder in which one is.

    Images without a mask are told as such and do not count as found.
    """

    images: str = "images"
    masks: str = "masks"
    boxes: str = _NEVER
    prefix: str = ""
    suffix: str = ""
    above: bool = False
    classes: bool = False
    pages: bool = False
    within: str = ""
    apart: str = _NEVER
    splits: tuple[tuple[str, str], ...] = ()
    split: str = ""
    numbers: tuple[Numbered, ...] = ()
    table: str = ""
    one: bool = False

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images that lie in a folder of images, with their masks."""
        found = self._sort_out(tree)
        pairs = list(self._paired(found))
        if all(mask is None for _, mask in pairs):
            return []
        beside = Beside(tree, self.splits)
        listed, missing = beside.splits([(image.anchor, image.item) for image, _ in pairs])
        sequences = self._sequences(tree)
        stems = {image.item.stem for image, _ in pairs}
        numbers = next((each for each in self.numbers if each.fits(stems)), None)
        samples = []
        for image, mask in pairs:
            item = image.item
            split = listed.get(id(item), "") or self.split
            video = sequences.get(item.stem, "")
            if numbers is not None:
                split = split or numbers.split(item.stem)
                video = video or numbers.sequence(item.stem)
            boxes, relative = beside.boxes(image.anchor, item.stem), True
            text = self._named(found, found.texts, image)
            if text is not None:
                boxes, relative, _ = from_text(_nearest(text, image.anchor)[0].item)
            path, label = self._mask(mask, image.anchor) if mask else (None, None)
            samples.append(
                Sample(
                    item.path,
                    path,
                    split=split,
                    group=video or image.group or "/".join(image.below[:-1]),
                    frame=int(item.stem) if video and item.stem.isdigit() else -1,
                    label=label,
                    boxes=boxes,
                    relative=relative,
                    reason="" if mask else NO_MASK,
                )
            )
        return samples + missing

    def _sort_out(self, tree: Tree) -> _Sorted:
        """Tell images, masks and texts by the deepest folder that says what they are."""
        found = _Sorted()
        pictures = {id(item) for item in tree.images}
        for item in tree.items:
            if self.within and inside(item, self.within) is None:
                continue
            if inside(item, self.apart) is not None:
                continue
            for at in range(len(item.parts) - 2, -1, -1):
                name, anchor = plain(item.parts[at]), item.parts[:at]
                below = (*item.parts[at + 1 : -1], item.stem)
                if re.fullmatch(self.boxes, name):
                    if item.suffix == ".txt":
                        found.texts[_folded(below)].append(_Near(anchor, item))
                elif not self.above and re.fullmatch(self.masks, name):
                    if id(item) in pictures:
                        self._add_mask(found, anchor, item, below)
                elif match := re.fullmatch(self.images, name):
                    if id(item) in pictures:
                        group = match[1] if match.re.groups else ""
                        found.images.append(_Image(item, anchor, group, below))
                        found.names.add(_folded(below))
                else:
                    continue
                break
            else:
                if self.above and id(item) in pictures:
                    self._add_mask(found, item.parts[:-1], item, (item.stem,))
        return found

    def _add_mask(self, found: _Sorted, anchor: Place, item: Item, below: Place) -> None:
        *folders, stem = below
        label = ""
        if self.classes:
            stem, _, label = re.sub(r"_mask$", "", stem, flags=re.IGNORECASE).rpartition("_")
        found.masks[_folded((*folders, stem))].append(_Near(anchor, item, label))

    def _paired(self, found: _Sorted) -> Iterator[tuple[_Image, Sequence[_Near] | None]]:
        """Give each image with its masks, one format of it where the release holds several."""
        with_mask = {}
        for image in found.images:
            masks = self._named(found, found.masks, image)
            if masks and self.above:
                masks = [mask for mask in masks if mask.anchor == image.anchor] or None
            if masks and not (self.one and image.below in with_mask):
                with_mask[image.below] = image
                yield image, masks
            elif not masks and not self.one:
                yield image, None
        if self.one:
            yield from ((i, None) for i in found.images if i.below not in with_mask)

    def _named(
        self, found: _Sorted, named: dict[Place, list[_Near]], image: _Image
    ) -> list[_Near] | None:
        """Look an image's masks or texts up by the names that they may have."""
        *folders, stem = image.below
        stems = [stem]
        if stem[-1] in "]_" and _folded((*folders, stem[:-1])) not in found.names:
            stems.append(stem[:-1])
        for each in stems:
            for suffix in dict.fromkeys((self.suffix, "_mask", "")):
                near = named.get(_folded((*folders, f"{self.prefix}{each}{suffix}")))
                if near:
                    return near
        return None

    def _mask(self, masks: Sequence[_Near], anchor: Place) -> tuple[Path, str | None]:
        """Give the mask's address, and the label that masks by class tell."""
        near = _nearest(masks, anchor)
        first = near[0].item.path
        if self.classes:
            names = [each.item.parts[-1] for each in near[1:]]
            label = "+".join(sorted({each.label for each in near}))
            return path_of(UNION.join([str(first), *names])), label
        if self.pages and near[0].item.suffix in PAGED and (count := _pages(first)) > 1:
            others = [f"{number:06d}" for number in range(1, count)]
            return path_of(UNION.join([str(indexed(first, 0)), *others])), None
        return first, None

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
        by_place = {_folded((*item.parts[:-1], item.stem)): item for item in tree.images}
        samples = []
        for (*folders, stem), item in by_place.items():
            mask = by_place.get((*folders, f"{self.prefix}{stem}"))
            if mask is not None:
                samples.append(Sample(item.path, mask.path))
        return samples


def _folded(place: Place) -> Place:
    """Give a place in which the case of the name does not count."""
    return (*place[:-1], place[-1].casefold())


def _nearest(found: Sequence[_Near], anchor: Place) -> list[_Near]:
    """Choose, of what has an image's name, that which lies nearest to it in the tree."""
    most = max(_common(each.anchor, anchor) for each in found)
    return [each for each in found if _common(each.anchor, anchor) == most]


def _common(one: Place, other: Place) -> int:
    """Count the folders that two places have in common."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _pages(path: Path) -> int:
    """Count the pages of a mask; one that cannot be read is told of when it is."""
    try:
        return frame_count(path)
    except (ImageError, OSError) as error:
        raise_outage(error)
        return 1
