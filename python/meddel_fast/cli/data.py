"""``meddel-fast data``: the registry, what is there of it, manifests, and made frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import Ended, guarded, say, say_place, say_result, show_work, summary
from meddel_fast.cli.context import given
from meddel_fast.cli.data_quality import quality
from meddel_fast.cli.documents import (
    DataCheckDocument,
    DataListDocument,
    MakeDocument,
    ManifestDocument,
)
from meddel_fast.cli.errors import printable
from meddel_fast.cli.groups import Commands, complete, helped_by
from meddel_fast.cli.options import (
    ConfigOption,
    OutOption,
    RootOption,
    SetOption,
    need,
    run_stages,
)
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import is_stream
from meddel_fast.common.toml import parse_settings

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

data = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Know the data sets, check them, write manifests."
)


def list_() -> DataListDocument:
    """List the 14 data sets of DataDEL: counts, terms, and where to get them."""
    from meddel_fast.images.datadel.registry import collections, data_sets

    sets = data_sets().values()
    rows = [("key", "year", "division", "paper", "release", "terms")]
    for entry in [*sets, *collections().values()]:
        release = "?" if entry.images is None else f"{entry.images:,}"
        paper = "-" if entry.paper_frames is None else f"{entry.paper_frames:,}"
        rows.append((entry.key, str(entry.year), entry.division, paper, release, entry.terms))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [f"{c:>{w}}" if i in (3, 4) else f"{c:<{w}}"
                 for i, (c, w) in enumerate(zip(row, widths, strict=False))]  # fmt: skip
        say("  ".join([*cells, row[5]]))
    say("\nWhere to get them: meddel-fast data list --json. What is here: data check ROOT.")
    shown = [asdict(entry) | {"images": entry.images} for entry in sets]
    for table in shown:
        for part in table["parts"]:
            del part["layouts"], part["download"]
        del table["copies"], table["signs"]
    return {"sets": shown}


def check(
    root: Annotated[Path, typer.Argument(help="Folder that holds the data sets.")],
    sets: Annotated[list[str] | None, typer.Argument(help="Keys; all if none is given.")] = None,
    quick: Annotated[bool, typer.Option(help="Count only, decode nothing.")] = False,
) -> Ended[DataCheckDocument]:
    """Say what of the data sets is found, missing, corrupt or off in count.

    Ends with status 0 when all SETS are complete (none named: all that are there, at least one),
    else with 1.
    """
    from meddel_fast.images.scan.registry_check import check as check_sets
    from meddel_fast.images.scan.registry_check import unclaimed

    reports = show_work(
        "check", "images", lambda p: check_sets(root, sets or None, quick=quick, progress=p)
    )
    for report in reports:
        _print(report)
    others = [] if sets else list(unclaimed(root, reports))
    if others:
        say(f"no data set by name: {', '.join(others)}")
    there = reports if sets else [report for report in reports if report.status != "missing"]
    document: DataCheckDocument = {
        "sets": [asdict(report) for report in reports],
        "unclaimed": others,
    }
    complete = bool(there) and all(report.is_complete for report in there)
    return Ended(document, 0 if complete else 1)


def _print(report: Any) -> None:
    say(f"{report.key}: {report.status}" + "".join(f" {place}" for place in report.where))
    for part in report.parts:
        wanted = " or ".join(f"{n:,}" for n in part.expected) or "an unknown number of"
        text = f"  {part.name}: {part.found:,} of {wanted} {part.unit}, {part.status}"
        text += f", {part.corrupt} corrupt" if part.corrupt else ""
        text += f", {part.absent} listed but absent" if part.absent else ""
        text += f", {part.unfit} besides that are no samples" if part.unfit else ""
        say(text)
        for example in part.examples:
            say(f"    {example}")
    if report.problem:
        say(f"  {report.problem}")
    for note in report.notes:
        say(f"  {note}")
    if report.download:
        say(f"  get it from {report.download}")


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
    reader: Annotated[
        str | None,
        typer.Option(
            help="Layout of ROOT: pairs (folders of images and masks), classes (a folder a class), "
            "plain (images alone), or one that another package offers.",
            autocompletion=complete("reader"),
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    splits: Annotated[Path | None, typer.Option(help="CSV with columns file, split.")] = None,
    require_masks: Annotated[bool, typer.Option(help="Skip images without a mask.")] = False,
    # these five as `benchmark.config.DataConfig` has them, which would take long to import
    stride: Annotated[int, typer.Option(help="Take every n-th frame of a video.")] = 25,
    scene: Annotated[
        float, typer.Option(help="Of these only such as differ from the last by this, 0 to 1.")
    ] = 0.0,
    split: Annotated[
        str, typer.Option(help="All images are for this: train, val or test; or deal.")
    ] = "",
    group_by: Annotated[
        str, typer.Option(help="Regular expression that finds an image's group in its path.")
    ] = "",
    near_duplicates: Annotated[
        bool, typer.Option(help="Deal images that look alike together, where no group is known.")
    ] = True,
    mask_foreground: Annotated[
        str | None, typer.Option(help="Numbers or #colours in masks that are lesion: 1,2,#ff0000.")
    ] = None,
    mask_background: Annotated[
        str | None, typer.Option(help="Those that are not; with this alone all others are lesion.")
    ] = None,
    mask_ignore: Annotated[
        str | None, typer.Option(help="Those that count neither in losses nor in scores: 255.")
    ] = None,
    mask_above: Annotated[
        float | None, typer.Option(help="Lesion is what is brighter than this level.")
    ] = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> ManifestDocument:
    """Write a manifest of images/ and masks/, of WebDataset tars, or of the data sets in ROOT.

    Tells what of ROOT is in no row, and what looks odd in the rows; 'data show' tells it again.
    """
    if config is not None:
        return {"out": say_place(run_stages(config, data_root, out, "data") / "data")}
    from meddel_fast.common.outputs import check_output
    from meddel_fast.images.manifest import KIND
    from meddel_fast.images.scan.build import build as build_sets
    from meddel_fast.images.scan.build import looks_plain, scan
    from meddel_fast.images.scan_with_reader import scan_with_reader
    from meddel_fast.images.sources import Sampling
    from meddel_fast.images.splits import Dealing

    where, target = need(root, "a folder of images"), need(out, "--out MANIFEST.parquet")
    check_output(target, KIND, [splits, where if where.is_file() else None])
    ways = {"--dataset": dataset, "--only": only, "--reader": reader}
    if len(asked := [option for option, value in ways.items() if value]) > 1:
        raise ConfigError(f"give {' or '.join(asked)}, not both")
    dealing = Dealing(split, near_duplicates, group_by)
    options: dict[str, Any] = {"name": name, "splits": splits, "dealing": dealing}
    options |= {"require_masks": True} if require_masks else {}
    mask = _mask(mask_foreground, mask_background, mask_ignore, mask_above)
    options |= {"mask": mask} if mask else {}
    sampling = Sampling(stride, scene)

    def work(progress: Any) -> Any:
        if reader is not None:
            return scan_with_reader(where, reader, sampling=sampling, progress=progress, **options)
        if dataset is not None or (not only and looks_plain(where)):
            return scan(where, dataset or "", sampling=sampling, progress=progress, **options)
        if splits is not None or require_masks or mask:
            raise ConfigError(
                "--splits, --require-masks and --mask-... are for one data set: add --dataset KEY"
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
    return _tell(manifest, target)


def show(
    manifest: Annotated[Path, typer.Argument(help="What 'data build' or a run wrote.")],
) -> ManifestDocument:
    """Say what a manifest holds, what was skipped or left out when it was made, and what is odd."""
    from meddel_fast.images.manifest import Manifest

    return _tell(Manifest.load(manifest), manifest)


def _tell(manifest: Manifest, path: Path) -> ManifestDocument:
    """Print the table at the end of a scan, and return it."""
    from meddel_fast.images.left_out import skipped_tallies
    from meddel_fast.images.load_masks import told as told_of_masks

    table, masks = manifest.skipped, told_of_masks(manifest)
    skipped = skipped_tallies(zip(*(table[c].to_pylist() for c in ("id", "reason")), strict=True))
    told = manifest.left_out
    lines = [f"{path}: {summary(manifest)}", *(f"  {line}" for line in (*manifest.notes, *masks))]
    lines += [*(f"  skipped: {tally}" for tally in skipped)]
    lines += ["what the scan left out is not known"] if told is None else told.lines()
    text = "\n".join(map(printable, lines))
    if is_stream(path):
        typer.echo(text, err=True)
    else:
        say(text)
    return {
        "manifest": path,
        "images": len(manifest),
        "splits": dict(sorted(Counter(manifest.column("split")).items())),
        "notes": list(manifest.notes),
        "masks": list(masks),
        "skipped": [asdict(tally) for tally in skipped],
        "left_out": None if told is None else asdict(told),
    }


def _mask(
    foreground: str | None, background: str | None, ignore: str | None, above: float | None
) -> dict[str, Any]:
    """Read what the options say of masks, and refuse it before any file is read."""
    from meddel_fast.images.masks.rule import parse_mask

    lists = {"foreground": foreground, "background": background, "ignore": ignore}
    mask: dict[str, Any] = {
        key: [_number(part.strip()) for part in text.split(",")]
        for key, text in lists.items()
        if text is not None
    }
    mask |= {} if above is None else {"above": above}
    if mask:
        try:
            parse_mask(mask)
        except ValueError as error:
            raise ConfigError(f"--mask-...: {error}") from None
    return mask


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def make(
    folder: Annotated[Path, typer.Argument(help="Where the frames go.")],
    out: OutOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    videos: Annotated[int | None, typer.Option(help="Made videos.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of each made video.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the made frames, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the made frames.")] = 0,
    set_: SetOption = None,
) -> MakeDocument:
    """Make colonoscopy frames, for those without data, and their manifest."""
    from meddel_fast.common.outputs import check_output
    from meddel_fast.images.made.frames import check_made, make_frames
    from meddel_fast.images.manifest import KIND
    from meddel_fast.images.scan.folder import scan_folder

    target = folder / "manifest.parquet" if out is None else out
    check_output(target, KIND)
    asked: dict[str, Any] = {"videos": videos, "frames": frames, "size": size, "seed": seed}
    asked = {key: value for key, value in asked.items() if value is not None}
    more = parse_settings(set_ or [])
    twice = sorted(set(more) & given("videos", "frames", "size", "seed"))
    if twice:
        raise ConfigError(f"the setting '{twice[0]}' is given twice")
    asked |= more
    check_made(asked)
    show_work("make", "frames", lambda p: make_frames(folder, **asked, progress=p))
    manifest = show_work("data", "files", lambda p: scan_folder(folder, name=name, progress=p))
    manifest.save(target)
    say_result(target, summary(manifest))
    splits = dict(sorted(Counter(manifest.column("split")).items()))
    return {"manifest": target, "images": len(manifest), "splits": splits}


data.command("list")(guarded(list_))
data.command(cls=helped_by("reader"))(guarded(build))
for command in (check, show, quality, make):
    data.command()(guarded(command))
