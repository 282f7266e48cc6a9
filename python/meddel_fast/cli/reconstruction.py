"""``meddel-fast errors`` and ``meddel-fast tile``: what a masked autoencoder cannot restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import say, say_result, show_work
from meddel_fast.cli.documents import ErrorsDocument, TileDocument
from meddel_fast.cli.options import DeviceOption, OutOption, need

ManifestArgument = Annotated[Path, typer.Argument(help="Manifest of the images.")]
ModelOption = Annotated[Path, typer.Option("--model", help="Folder of a MAE, as pretrain writes.")]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Images at a time.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the masks.")]


def errors(
    manifest: ManifestArgument,
    model: ModelOption,
    out: OutOption = None,
    batch_size: BatchOption = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> ErrorsDocument:
    """Write each image's reconstruction error, for select --method loss --array score=FILE."""
    import numpy as np

    from meddel_fast.common.outputs import array_file, check_output, output_path
    from meddel_fast.images.manifest import Manifest

    target, kind = need(out, "--out ERRORS.npy"), array_file("a file of errors", "f", 1)
    check_output(target, kind, [manifest, model])
    found = _measured(Manifest.load(manifest), model, batch_size, seed, device)
    with output_path(target, kind) as path, path.open("wb") as file:
        np.save(file, found.image)
    mean = float(found.image.mean())
    say_result(target, f"{len(found.image)} errors, mean {mean:.4f}")
    return {"out": target, "errors": len(found.image), "mean": mean}


def tile(
    manifest: ManifestArgument,
    model: ModelOption,
    images: Annotated[int, typer.Option(help="How many images to make.")],
    out: OutOption = None,
    batch_size: BatchOption = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> TileDocument:
    """Make new images of the patches that a MAE restores worst (OptiDEL), with a manifest."""
    from meddel_fast.common.files import read_json
    from meddel_fast.common.outputs import NEW_FOLDER, check_folder
    from meddel_fast.images.manifest import Manifest

    target = need(out, "--out FOLDER")
    check_folder(target, NEW_FOLDER, [manifest, model])
    rows = Manifest.load(manifest)
    found = _measured(rows, model, batch_size, seed, device)
    from meddel_fast.training.reconstruction import write_hard_images

    size = read_json(model / "config.json")["image_size"]
    made = write_hard_images(rows, found.patch, images, target, image_size=size)
    where, patches = target / "manifest.parquet", int(found.patch[0].size)
    say(f"{where}: {len(made)} images of {patches} patches")
    return {"out": where, "images": len(made), "patches": patches}


def _measured(rows: Any, model: Path, batch_size: int, seed: int, device: str) -> Any:
    def work(progress: Any) -> Any:
        from meddel_fast.training.reconstruction import reconstruction_errors

        return reconstruction_errors(
            rows, model, batch_size=batch_size, seed=seed, device=device, progress=progress
        )

    return show_work("errors", "images", work)
