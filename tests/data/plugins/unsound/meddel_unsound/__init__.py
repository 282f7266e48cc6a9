"""Plug-ins with everything wrong that can be wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from meddel_fast.images.readers.tree import Sample, Tree
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selector import selector

about = selector(paper="-", cost="-", good_for="nothing")


@about
def kcenter(task: Task) -> Iterator[Choice]:
    """Bear a name that is taken."""
    raise AssertionError("never asked")


def no_selector(x: Any, budget: int) -> list[int]:
    """Be no selector."""
    return list(range(budget))


@about
def over_budget(task: Task) -> Iterator[Choice]:
    """Keep one more than was asked for."""
    for count in task.counts:
        yield Choice(np.arange(count + 1), np.zeros(task.n), {})


@about
def twice(task: Task) -> Iterator[Choice]:
    """Keep the first sample again and again."""
    for count in task.counts:
        yield Choice(np.zeros(count, np.int64), np.zeros(task.n), {})


@about
def raises(task: Task) -> Iterator[Choice]:
    """Fail."""
    yield {}["nothing"]


@about
def too_few(task: Task) -> Iterator[Choice]:
    """Answer the first count alone."""
    yield Choice(np.arange(task.counts[0]), np.zeros(task.n), {})


class Elsewhere:
    """Find an image that is not in the folder."""

    def find(self, tree: Tree) -> list[Sample]:
        """Find it."""
        return [Sample(Path("/elsewhere/0.png"))]


class Narrow:
    """Say 12 numbers, give 3."""

    image_size, width, fingerprint = 16, 12, "narrow"

    def __call__(self, images: Any) -> Any:
        """Return vectors of 3 numbers."""
        return images.float().mean(dim=(1, 2))


def make_narrow(*, device: Any, image_size: int | None) -> Narrow:
    """Make it."""
    return Narrow()
