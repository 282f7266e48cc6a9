"""``meddel-fast export``: the kept images as a data set of their own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from meddel_fast.cli.console import say_result, show_work
from meddel_fast.cli.documents import ExportDocument
from meddel_fast.common.errors import ConfigError


def export(
    selection: Annotated[Path, typer.Argument(help="What 'select' wrote.")],
    manifest: Annotated[Path, typer.Argument(help="Manifest of the images selected from.")],
    out: Annotated[Path, typer.Option("--out", help="New folder.")],
    kind: Annotated[
        str, typer.Option("--as", help="folder, webdataset, huggingface, coco or yolo.")
    ] = "folder",
) -> ExportDocument:
    """Write the kept images, with masks, boxes and labels, as a data set for other programs."""
    from meddel_fast.cluster.export import export as write
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.selectors.selection import Selection, read_ids

    rows, found, ids = Manifest.load(manifest), Selection.load(selection), read_ids(selection)
    if ids is not None and ids != rows.ids:
        raise ConfigError(f"{manifest} does not hold the images that {selection} chose from")
    made = show_work("export", "images", lambda p: write(rows, found, out, kind, progress=p))
    told = {name: count for name, count in asdict(made).items() if name != "kind" and count}
    say_result(out, ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in told.items()))
    return {
        "out": out,
        "kind": made.kind,
        "images": made.images,
        "masks": made.masks,
        "boxes": made.boxes,
        "files": made.files,
        "left_out": made.left_out,
    }
