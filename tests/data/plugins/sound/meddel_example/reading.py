"""A reader: images in one folder, named <class>__<patient>__<number>."""

from __future__ import annotations

from meddel_fast.images.readers.tree import Sample, Tree


class Underscored:
    """Images whose names tell class and patient."""

    def find(self, tree: Tree) -> list[Sample]:
        """Find the images whose names have two double underscores."""
        found = []
        for item in tree.images:
            parts = item.stem.split("__")
            if len(parts) == 3:
                found.append(Sample(item.path, group=parts[1], label=parts[0]))
        return found
