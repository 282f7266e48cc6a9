"""What lies beside the folders of images and masks, or above: boxes, and the lists of splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from meddel_fast.images.address import ImageError
from meddel_fast.images.readers.boxes import from_json
from meddel_fast.images.readers.item import Item, read_text
from meddel_fast.images.readers.plain_names import plain
from meddel_fast.images.readers.tree import Box, Sample, Tree
from meddel_fast.images.splits import plain_stem

Place = tuple[str, ...]

_LISTS = ("datasplit",)  # folders that hold the lists of splits of what is beside them


class Beside:
    """Boxes and lists of splits, looked for in a folder, then in those above it.

    Copies put a folder around the images, and one around the masks, below those that the release
    has: its tables are then one folder higher.
    """

    def __init__(self, tree: Tree, splits: tuple[tuple[str, str], ...]) -> None:
        self._tree = tree
        self._boxes: dict[Place, dict[str, tuple[Box, ...]]] = {}
        self._lists: dict[Place, dict[str, str]] = defaultdict(dict)
        for file, split in splits:
            for item in tree.named(re.escape(file)):
                listed = self._lists[_listed_for(item)]
                for stem in _stems(item):
                    if listed.setdefault(stem, split) != split:
                        both = f"{stem!r} is listed for {listed[stem]} as well as for {split}"
                        raise ImageError(item.path, both)

    def boxes(self, folder: Place, stem: str) -> tuple[Box, ...] | None:
        """Give the boxes of an image, as shares of its sides; None where nothing tells them."""
        for above in _upwards(folder):
            if above not in self._boxes:
                self._boxes[above] = from_json(self._tree, above)
            if stem in self._boxes[above]:
                return self._boxes[above][stem]
        return None

    def splits(self, images: Iterable[tuple[Place, Item]]) -> tuple[dict[int, str], list[Sample]]:
        """Give the splits of images, by id, and what is listed and is not there.

        `images` are those found, with the folder above theirs. Lists that lie higher up and name
        none of them are of something else.
        """
        by_list: dict[Place, list[tuple[Place, Item]]] = defaultdict(list)
        for folder, item in images:
            place = next((above for above in _upwards(folder) if above in self._lists), None)
            if place is not None:
                by_list[place].append((folder, item))
        told: dict[int, str] = {}
        missing: list[Sample] = []
        for place, found in by_list.items():
            listed = self._lists[place]
            present = {item.stem for _, item in found}
            if not present & listed.keys() and all(folder != place for folder, _ in found):
                continue
            told |= {id(item): listed.get(item.stem, "") for _, item in found}
            where = found[0][1].path.parent
            missing += [
                Sample(where / stem, split=listed[stem], reason="missing: listed in a split")
                for stem in sorted(listed.keys() - present)
            ]
        return told, missing


def _stems(item: Item) -> list[str]:
    """Read a list of images, one a line, with suffix and folder or without."""
    lines = (line.strip().replace("\\", "/") for line in read_text(item).splitlines())
    return [PurePosixPath(plain_stem(line)).name for line in lines if line]


def _upwards(folder: Place) -> Iterable[Place]:
    return (folder[:depth] for depth in range(len(folder), -1, -1))


def _listed_for(item: Item) -> Place:
    """Give the folder that a list of splits is about."""
    folder = item.parts[:-1]
    return folder[:-1] if folder and plain(folder[-1]) in _LISTS else folder
