"""``meddel-fast pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import say_place, show_work
from meddel_fast.cli.documents import StageDocument
from meddel_fast.cli.options import (
    ConfigOption,
    DeviceOption,
    OutOption,
    RootOption,
    SetOption,
    need,
    run_stages,
)
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.toml import parse_settings


def pretrain(
    manifest: Annotated[Path | None, typer.Argument(help="Manifest of the pool.")] = None,
    selection: Annotated[
        Path | None, typer.Option(help="What `select` kept of the pool; all without it.")
    ] = None,
    out: OutOption = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> StageDocument:
    """Pre-train a masked autoencoder on a pool or a selection; goes on from its checkpoint."""
    if config is not None:
        return {"out": say_place(run_stages(config, data_root, out, "pretrain") / "pretrain")}
    from meddel_fast.common.outputs import check_folder
    from meddel_fast.common.settings import from_table
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.selectors import Selection
    from meddel_fast.training.settings import PretrainConfig

    rows, target = Manifest.load(need(manifest, "a manifest")), need(out, "--out FOLDER")
    chosen = None if selection is None else Selection.load(selection)
    if chosen is not None and chosen.n != len(rows):
        raise ConfigError(f"{selection} is of {chosen.n} samples, {manifest} has {len(rows)}")
    indices = None if chosen is None else chosen.indices
    values = from_table(PretrainConfig, parse_settings(set_ or []), "--set")

    def work(progress: Any) -> Any:
        from meddel_fast.training.pretrain import FOLDER
        from meddel_fast.training.pretrain import pretrain as train

        check_folder(target, FOLDER, [manifest, selection])
        return train(rows, indices, target, values, device=device, progress=progress)

    def speed() -> str:
        from meddel_fast.training.speed import told

        return told(target)

    return {"out": say_place(show_work("pretrain", "steps", work, speed))}
