"""One pre-training for all stages that would train the same: same images, settings and seed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from meddel_fast.common.atomic import atomic_directory, atomic_path


def share_training(source: Path, folder: Path) -> None:
    """Give `folder` the model and the log of the finished pre-training in `source`.

    Files are linked where the file system can, else copied. Linked ones stay apart all the same:
    nothing is ever written into a file, only renamed into its place.
    """
    shutil.rmtree(folder, ignore_errors=True)  # a checkpoint of its own is of no use any more
    with atomic_directory(folder / "model") as model:
        for path in (source / "model").iterdir():
            _link(path, model / path.name)
    with atomic_path(folder / "loss.csv") as log:
        _link(source / "loss.csv", log)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # other file system, or one without links
        shutil.copyfile(source, target)
