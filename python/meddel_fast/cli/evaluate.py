"""``meddel-fast evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import say, say_place, show_work
from meddel_fast.cli.documents import EvaluateDocument
from meddel_fast.cli.options import (
    ConfigOption,
    DeviceOption,
    OutOption,
    RootOption,
    SetOption,
    need,
    run_stages,
)
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.toml import parse_settings


def evaluate(
    model: Annotated[Path | None, typer.Argument(help="Folder of the encoder.")] = None,
    manifest: Annotated[Path | None, typer.Argument(help="Manifest with masks.")] = None,
    out: OutOption = None,
    test: Annotated[
        Path | None, typer.Option(help="Manifest to test on, when it is another one.")
    ] = None,
    train_split: Annotated[list[str], typer.Option(help="Repeatable.")] = ["train"],  # noqa: B006
    test_split: Annotated[list[str], typer.Option(help="Repeatable.")] = ["test"],  # noqa: B006
    task: Annotated[
        str, typer.Option(help="segmentation, classification or localisation.")
    ] = "segmentation",
    seed: Annotated[int, typer.Option(help="Seed of the head.")] = 0,
    predictions: Annotated[
        Path | None, typer.Option(help="File for what was predicted (.npz): masks, classes, boxes.")
    ] = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> EvaluateDocument:
    """Train a head on an encoder, for segmentation or another task, and measure it."""
    if config is not None:
        return {"out": say_place(run_stages(config, data_root, out, "evaluate") / "evaluate")}
    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.files import read_json
    from meddel_fast.common.outputs import RESULT, check_output
    from meddel_fast.common.settings import from_table
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.training.predictions import KIND as PREDICTIONS
    from meddel_fast.training.settings import DownstreamConfig
    from meddel_fast.training.tasks.answers import KIND as ANSWERS

    folder = need(model, "the folder of an encoder")
    given = [folder, manifest, test]
    for path, kind in (
        (out, RESULT),
        (predictions, PREDICTIONS if task == "segmentation" else ANSWERS),
    ):
        if path is not None:
            check_output(path, kind, given)
            given.append(path)
    rows = Manifest.load(need(manifest, "a manifest"))
    tested = rows if test is None else Manifest.load(test)
    size = {"image_size": read_json(folder / "config.json").get("image_size", 224)}
    settings = size | parse_settings(set_ or [])
    if task != "segmentation":
        splits = (rows.splits(train_split), tested.splits(test_split))
        options = {"seed": seed, "predictions": predictions, "device": device}
        result = _evaluate_task(task, folder, splits, settings, out, options)
        return _document(result, out, predictions)
    values = from_table(DownstreamConfig, settings, "--set")
    parts = (rows.splits(train_split).with_masks(), tested.splits(test_split).with_masks())
    _check_apart(*parts)

    def work(progress: Any) -> Any:
        from meddel_fast.training.downstream import evaluate as measure

        return measure(
            folder,
            *parts,
            values,
            seed=seed,
            predictions=predictions,
            device=device,
            progress=progress,
        )

    result = show_work("evaluate", "steps", work)
    if out is not None:
        write_json(out, result)
    say(f"mIoU {result['miou']:.4f}  Dice {result['dice']:.4f}  ({result['images']} images)")
    return _document(result, out, predictions)


def _document(
    result: dict[str, Any], out: Path | None, predictions: Path | None
) -> EvaluateDocument:
    return {"result": result, "out": out, "predictions": predictions}


def _check_apart(train: Any, test: Any) -> None:
    """Refuse to test a head on images that it was trained on."""
    from meddel_fast.images.shared_images import shared_images

    shared = shared_images(train, test)
    if shared:
        name, other = shared[0]
        raise ConfigError(
            f"{len(shared)} of {len(test)} test images are among the {len(train)} training images "
            f"(at the same path, or the same file), such as {name}"
            + (f" = {other}" if other != name else "")
            + ": choose other splits, or a manifest without them"
        )


def _evaluate_task(
    name: str,
    model: Path,
    splits: tuple[Any, Any],
    settings: dict[str, Any],
    out: Path | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Do the same for a task other than segmentation."""
    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.settings import from_table
    from meddel_fast.training.tasks import TASKS

    if name not in TASKS:
        near = did_you_mean(name, TASKS)
        raise ConfigError(f"--task must be one of {', '.join(TASKS)}, got '{name}'{near}")
    task = TASKS[name]
    values = from_table(task.settings, settings, "--set")
    train, test = (task.usable(part, values) for part in splits)
    _check_apart(train, test)

    def work(progress: Any) -> Any:
        return task.evaluate(model, train, test, values, **options, progress=progress)

    result: dict[str, Any] = show_work("evaluate", "steps", work)
    if out is not None:
        write_json(out, result)
    scores = "  ".join(f"{score} {result[score]:.4f}" for score in task.scores)
    say(f"{scores}  ({result['images']} images)")
    return result
