"""``meddel-fast embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import say, say_place, show_work
from meddel_fast.cli.documents import EmbedDocument
from meddel_fast.cli.options import (
    ConfigOption,
    DeviceOption,
    OutOption,
    RootOption,
    need,
    run_stages,
)


def embed(
    manifest: Annotated[Path | None, typer.Argument(help="Manifest of the images.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Folder of an encoder, or its name on the hub.")
    ] = None,
    out: OutOption = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> EmbedDocument:
    """Embed the images of a manifest; a stopped run goes on at the first missing shard."""
    if config is not None:
        return {"out": say_place(run_stages(config, data_root, out, "embed") / "embeddings")}
    from meddel_fast.common.outputs import check_folder
    from meddel_fast.common.urls import shown
    from meddel_fast.images.manifest import Manifest

    rows = Manifest.load(need(manifest, "a manifest"))
    name, target = need(encoder, "--encoder"), need(out, "--out FOLDER")

    def work(progress: Any) -> Any:
        from meddel_fast.stores.embedding_files import FOLDER
        from meddel_fast.training.embed import embed as embed_images

        check_folder(target, FOLDER, [manifest], remote=True)
        return embed_images(
            rows,
            name,
            target,
            image_size=image_size,
            batch_size=batch_size,
            dtype=dtype,
            pooling=pooling,
            device=device,
            offline=Path(name).is_dir(),
            progress=progress,
        )

    n, d = show_work("embed", "images", work).index["shape"]
    say(f"{shown(target)}: {n} embeddings of {d} numbers")
    return {"out": target, "embeddings": n, "features": d}
