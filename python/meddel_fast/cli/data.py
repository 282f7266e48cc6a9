"""``meddel-fast data``: the registry, what is there of it, manifests, and made frames."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.options import ConfigOption, OutOption, RootOption, SetOption, need, run_stages
from meddel_fast.config import ConfigError, DataConfig
from meddel_fast.config_file import parse_settings
from meddel_fast.console import guarded, show_work, summary

data = typer.Typer(no_args_is_help=True, help="Know the data sets, check them, write manifests.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def list_(as_json: JsonOption = False) -> None:
    """List the 14 data sets of DataDEL: counts, terms, and where to get them."""
    from meddel_fast.data.registry import data_sets

    sets = data_sets().values()
    if as_json:
        shown = [asdict(entry) | {"images": entry.images} for entry in sets]
        for table in shown:
            for part in table["parts"]:
                del part["layouts"]
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    rows = [("key", "year", "division", "paper", "release", "terms")]
    for entry in sets:
        release = "?" if entry.images is None else f"{entry.images:,}"
        rows.append(
            (entry.key, str(entry.year), entry.division, f"{entry.paper_frames:,}", release,
             entry.terms)
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [f"{c:>{w}}" if i in (3, 4) else f"{c:<{w}}"
                 for i, (c, w) in enumerate(zip(row, widths, strict=False))]  # fmt: skip
        typer.echo("  ".join([*cells, row[5]]))
    typer.echo("\nWhere to get them: meddel-fast data list --json. What is here: data check ROOT.")


def check(
    root: Annotated[Path, typer.Argument(help="Folder that holds the data sets.")],
    sets: Annotated[list[str] | None, typer.Argument(help="Keys; all if none is given.")] = None,
    quick: Annotated[bool, typer.Option(help="Count only, decode nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what of the data sets is found, missing, corrupt or off in count.

    Ends with status 0 when all SETS are complete (none named: all that are there, at least one),
    else with 1.
    """
    from meddel_fast.data.check import check as check_sets

    reports = show_work(
        "check", "images", lambda p: check_sets(root, sets or None, quick=quick, progress=p)
    )
    if as_json:
        typer.echo(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        for report in reports:
            _print(report)
    there = reports if sets else [report for report in reports if report.status != "missing"]
    if not there or not all(report.is_complete for report in there):
        raise SystemExit(1)


def _print(report: Any) -> None:
    typer.echo(f"{report.key}: {report.status}" + "".join(f" {place}" for place in report.where))
    for part in report.parts:
        wanted = " or ".join(f"{n:,}" for n in part.expected) or "an unknown number of"
        text = f"  {part.name}: {part.found:,} of {wanted} {part.unit}, {part.status}"
        text += f", {part.corrupt} corrupt" if part.corrupt else ""
        text += f", {part.absent} listed but absent" if part.absent else ""
        typer.echo(text)
        for example in part.examples:
            typer.echo(f"    {example}")
    if report.problem:
        typer.echo(f"  {report.problem}")
    if report.download:
        typer.echo(f"  get it from {report.download}")


def build(
    root: Annotated[
        Path | None,
        typer.Argument(help="Folder or archive with images, and masks; or folder of data sets."),
    ] = None,
    out: OutOption = None,
    dataset: Annotated[
        str | None, typer.Option(help="ROOT is this data set of the registry.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Of the data sets in ROOT only this; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    splits: Annotated[Path | None, typer.Option(help="CSV with columns file, split.")] = None,
    require_masks: Annotated[bool, typer.Option(help="Skip images without a mask.")] = False,
    stride: Annotated[
        int, typer.Option(help="Take every n-th frame of a video.")
    ] = DataConfig.stride,
    scene: Annotated[
        float, typer.Option(help="Of these only such as differ from the last by this, 0 to 1.")
    ] = DataConfig.scene,
    split: Annotated[
        str, typer.Option(help="All images are for this: train, val or test; or deal.")
    ] = DataConfig.split,
    group_by: Annotated[
        str, typer.Option(help="Regular expression that finds an image's group in its path.")
    ] = DataConfig.group_by,
    near_duplicates: Annotated[
        bool, typer.Option(help="Deal images that look alike together, where no group is known.")
    ] = DataConfig.near_duplicates,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Write a manifest of images/ and masks/, of WebDataset tars, or of the data sets in ROOT."""
    if config is not None:
        typer.echo(run_stages(config, data_root, out, "data") / "data")
        return
    from meddel_fast.data.build import build as build_sets
    from meddel_fast.data.build import looks_plain, scan
    from meddel_fast.data.sources import Sampling
    from meddel_fast.data.splits import Dealing

    where, target = need(root, "a folder of images"), need(out, "--out MANIFEST.parquet")
    if dataset is not None and only:
        raise ConfigError("give --dataset or --only, not both")
    dealing = Dealing(split, near_duplicates, group_by)
    options: dict[str, Any] = {"name": name, "splits": splits, "dealing": dealing}
    options |= {"require_masks": True} if require_masks else {}
    sampling = Sampling(stride, scene)

    def work(progress: Any) -> Any:
        if dataset is not None or (not only and looks_plain(where)):
            return scan(where, dataset or "", sampling=sampling, progress=progress, **options)
        if splits is not None or require_masks:
            raise ConfigError(
                "--splits and --require-masks are for one data set: add --dataset KEY"
            )
        return build_sets(
            where,
            only or None,
            name=name or "datadel",
            sampling=sampling,
            dealing=dealing,
            progress=progress,
        )

    manifest = show_work("data", "files", work)
    manifest.save(target)
    typer.echo(f"{target}: {summary(manifest)}")
    for note in manifest.notes:
        typer.echo(f"  {note}")


def make(
    folder: Annotated[Path, typer.Argument(help="Where the frames go.")],
    out: OutOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    videos: Annotated[int | None, typer.Option(help="Made videos.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of each made video.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the made frames, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the made frames.")] = 0,
    set_: SetOption = None,
) -> None:
    """Make colonoscopy frames, for those without data, and their manifest."""
    from meddel_fast.data.folder import scan_folder
    from meddel_fast.data.made import make_frames

    asked: dict[str, Any] = {"videos": videos, "frames": frames, "size": size, "seed": seed}
    asked = {key: value for key, value in asked.items() if value is not None}
    asked |= parse_settings(set_ or [])
    show_work("make", "frames", lambda p: make_frames(folder, **asked, progress=p))
    target = folder / "manifest.parquet" if out is None else out
    manifest = show_work("data", "files", lambda p: scan_folder(folder, name=name, progress=p))
    manifest.save(target)
    typer.echo(f"{target}: {summary(manifest)}")


data.command("list")(guarded(list_))
for command in (check, build, make):
    data.command()(guarded(command))
