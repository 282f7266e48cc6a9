"""Folders that are classes, folders of images alone, and videos."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from meddel_fast.images.address import parse
from meddel_fast.images.readers.boxes import from_text
from meddel_fast.images.readers.item import Item, inside, read_text
from meddel_fast.images.readers.plain_names import plain
from meddel_fast.images.readers.tree import Sample, Tree
from meddel_fast.images.sources import units


@dataclass(frozen=True)
class Classes:
    """A folder a class: the label is the name of the folder that an image lies in.

    Attributes
    ----------
    within
        Only below a folder whose plain name matches; anywhere if empty.
    table
        CSV that lists the images in its first column: what it lists and is not there is missing.
    apart
        What lies below a folder whose plain name matches is of no class.

    Images of no class, straight in the set's own folder too, are told as such.
    """

    within: str = ""
    table: str = ""
    apart: str = r"(?!)"

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images that lie in a class's folder."""
        found = [(item, _below(item, self.within)) for item in tree.images]
        images = [(item, below) for item, below in found if below]
        samples = [self._sample(item, below) for item, below in images]
        if all(sample.reason for sample in samples):
            return []
        return samples + self._absent(tree, {item.stem for item, _ in images})

    def _sample(self, item: Item, below: tuple[str, ...]) -> Sample:
        if inside(item, self.apart) is not None:
            return Sample(item.path, reason=f"no class: a figure in {below[-2]}")
        if len(below) == 1 or plain(below[-2]) == plain(item.parts[0]):
            return Sample(item.path, reason="no class: in no folder of one")
        return Sample(item.path, label=below[-2])

    def _absent(self, tree: Tree, present: set[str]) -> list[Sample]:
        missing = []
        for item in tree.named(re.escape(self.table)) if self.table and present else ():
            if _below(item, self.within) is None:
                continue
            rows = csv.reader(read_text(item).splitlines()[1:])
            listed = {PurePosixPath(row[0]).stem for row in rows if row}
            reason = f"missing: listed in {self.table}"
            folder = item.path.parent
            missing += [Sample(folder / s, reason=reason) for s in sorted(listed - present)]
        return missing


@dataclass(frozen=True)
class Plain:
    """Images without labels or masks, below a folder whose plain name matches or anywhere.

    `sequences`: the folder below it is the group. `boxes_empty`: they are known to show nothing to
    find.
    """

    within: str = ""
    sequences: bool = False
    boxes_empty: bool = False

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images."""
        boxes = () if self.boxes_empty else None
        return [
            Sample(item.path, group="/".join(below[:-1]) if self.sequences else "", boxes=boxes)
            for item in tree.images
            if (below := _below(item, self.within)) is not None
        ]


@dataclass(frozen=True)
class Videos:
    """Videos below a folder whose plain name matches; their frames are sampled.

    `labelled`: their folder is a class.
    """

    within: str
    labelled: bool = False

    def find(self, tree: Tree) -> list[Sample]:
        """Find the sampled frames, or by name the videos; the group is the video."""
        samples = []
        for item in tree.videos:
            below = _below(item, self.within)
            if below is None:
                continue
            label = below[-2] if self.labelled and len(below) > 1 else None
            for path in [item.path] if tree.by_name else units(item.path, tree.sampling):
                index = parse(path).index
                frame = -1 if index is None else index
                samples.append(Sample(path, group=item.stem, frame=frame, label=label))
        return samples


@dataclass(frozen=True)
class Annotated:
    """Images with a text file of boxes beside them, of the same name.

    `names` are the classes by number; the label is those of the boxes, sorted, joined by ``+``.
    """

    names: tuple[str, ...] = ()

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images that have such a file."""
        texts = {(*i.parts[:-1], i.stem): i for i in tree.items if i.suffix == ".txt"}
        samples = []
        for item in tree.images:
            text = texts.get((*item.parts[:-1], item.stem))
            if text is not None:
                boxes, relative, classes = from_text(text)
                named = {self.names[int(c)] if c.isdigit() and int(c) < len(self.names) else c
                         for c in classes}  # fmt: skip
                label = "+".join(sorted(named)) or None
                samples.append(Sample(item.path, label=label, boxes=boxes, relative=relative))
        return samples


def _below(item: Item, within: str) -> tuple[str, ...] | None:
    return inside(item, within) if within else item.parts[1:]
