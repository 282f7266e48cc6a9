"""``meddel-fast data``: manifests and made frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.options import ConfigOption, OutOption, RootOption, SetOption, need, run_stages
from meddel_fast.config import ConfigError
from meddel_fast.config_file import parse_settings
from meddel_fast.console import show_work, summary


def data(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder with images/ and, for tests, masks/.")
    ] = None,
    out: OutOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    splits: Annotated[Path | None, typer.Option(help="CSV with columns file, split.")] = None,
    require_masks: Annotated[bool, typer.Option(help="Skip images without a mask.")] = False,
    made: Annotated[Path | None, typer.Option(help="Make frames in this folder first.")] = None,
    videos: Annotated[int | None, typer.Option(help="Made videos.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of each made video.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the made frames, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the made frames.")] = 0,
    set_: SetOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Write the manifest of a folder of images, or make frames for those without data."""
    if config is not None:
        typer.echo(run_stages(config, data_root, out, "data") / "data")
        return
    from meddel_fast.data.folder import scan_folder
    from meddel_fast.data.made import make_frames

    if made is not None:
        if folder is not None:
            raise ConfigError("give a folder or --made, not both")
        asked: dict[str, Any] = {"videos": videos, "frames": frames, "size": size, "seed": seed}
        asked = {key: value for key, value in asked.items() if value is not None}
        asked |= parse_settings(set_ or [])
        show_work("make", "frames", lambda p: make_frames(made, **asked, progress=p))
        out = made / "manifest.parquet" if out is None else out
    root = need(folder or made, "a folder of images, or --made FOLDER,")
    manifest = show_work(
        "data",
        "files",
        lambda p: scan_folder(
            root, name=name, splits=splits, require_masks=require_masks, progress=p
        ),
    )
    manifest.save(need(out, "--out MANIFEST.parquet"))
    typer.echo(f"{out}: {summary(manifest)}")
