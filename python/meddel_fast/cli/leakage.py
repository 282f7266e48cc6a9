"""``meddel-fast leakage``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import load_embeddings, show_work
from meddel_fast.cli.options import (
    ConfigOption,
    DeviceOption,
    OutOption,
    RootOption,
    need,
    run_stages,
)
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    from meddel_fast.benchmark.leakage import Leakage, Samples
    from meddel_fast.images.manifest import Manifest

EQUAL = "equal_files.csv"
_NAMED = 10  # pairs, and files that are there more than once, that are named


def leakage(
    pool: Annotated[
        Path | None, typer.Argument(help="Manifest of the pool, or its embeddings.")
    ] = None,
    tests: Annotated[
        list[Path] | None, typer.Argument(help="The same of one or more test sets.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder for manifests: a folder, or a name on the hub. Without one only equal "
            "files are found."
        ),
    ] = None,
    out: OutOption = None,
    threshold: Annotated[float, typer.Option(help="Cosine of near duplicates.")] = 0.98,
    centre: Annotated[
        bool, typer.Option(help="Subtract the mean of the pool's embeddings first.")
    ] = True,
    pool_splits: Annotated[
        str | None, typer.Option(help="Splits of the pool's manifest, as train,val.")
    ] = None,
    test_splits: Annotated[
        str | None, typer.Option(help="Splits of the test sets' manifests.")
    ] = None,
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Find test images that the pool holds too, or nearly so, and equal files of manifests."""
    from meddel_fast.benchmark.leakage import FOLDER, audit
    from meddel_fast.common.outputs import check_folder

    if config is not None:
        run = run_stages(config, data_root, out, "leakage")
        tell_run(run)
        typer.echo(run / "leakage")
        return
    if out is not None:
        given = [pool, *(tests or []), None if encoder is None else Path(encoder)]
        check_folder(out, FOLDER, given)
    sources = [need(pool, "a manifest, or embeddings, of the pool"), *(tests or [])]
    names = [_name(path) for path in sources[1:]]
    if len(set(names)) < len(names):
        raise ConfigError(f"the test sets need different names, got {', '.join(names)}")
    manifests = {path: _manifest(path) for path in sources if path.suffix == ".parquet"}
    if not names and not manifests:
        raise ConfigError("a manifest, or embeddings, of a test set is needed")
    if not names and (pool_splits or test_splits):
        raise ConfigError("--pool-splits and --test-splits need a test set to compare with")
    if encoder is not None or len(manifests) < len(set(sources)):
        need(out, "--out FOLDER")
        if not names:
            raise ConfigError("a manifest, or embeddings, of a test set is needed")
        if manifests:
            need(encoder, "--encoder")
    for path, manifest in manifests.items():
        _tell_equal(path, manifest)
    if out is not None and manifests:
        _save_equal(out / EQUAL, manifests)
    if names:
        splits = [pool_splits, *[test_splits] * len(names)]
        folders = [out and out / "pool", *(out and out / "test" / name for name in names)]
        found = [
            _samples(path, manifests.get(path), some, encoder, folder, device)
            for path, some, folder in zip(sources, splits, folders, strict=True)
        ]
        sets = dict(zip(names, found[1:], strict=True))
        leaks = audit(found[0], sets, threshold=threshold, centre=centre, threads=threads)
        if out is not None:
            leaks.save(out)
        _tell(leaks)
    if out is not None:
        typer.echo(out)


def _name(path: Path) -> str:
    return path.stem if path.suffix in (".parquet", ".npy") else path.name


def _manifest(path: Path) -> Manifest:
    from meddel_fast.images.manifest import Manifest

    return Manifest.load(path).ok


def _samples(
    path: Path,
    manifest: Manifest | None,
    splits: str | None,
    encoder: str | None,
    folder: Path | None,
    device: str,
) -> Samples:
    """Read embeddings, whose names are their rows, or embed a manifest into `folder`."""
    from meddel_fast.benchmark.leakage import Samples

    if manifest is None:
        if splits is not None:
            raise ConfigError(f"only a manifest has splits, {path} holds embeddings")
        x = load_embeddings(path)
        return Samples([f"row {i}" for i in range(len(x))], x)
    rows = manifest if splits is None else manifest.splits(splits.split(","))
    if encoder is None or folder is None:
        return Samples(rows.ids, sha256=rows.column("sha256"))

    def work(progress: Any) -> Any:
        from meddel_fast.training.embed import embed

        offline = Path(encoder).is_dir()
        return embed(rows, encoder, folder, device=device, offline=offline, progress=progress)

    return Samples(rows.ids, show_work("embed", "images", work).array, rows.column("sha256"))


def _tell_equal(path: Path, manifest: Manifest) -> None:
    """Print which images of one manifest are one file."""
    from meddel_fast.images.shared_images import equal_files

    groups = equal_files(manifest)
    across = [group for group in groups if len({split for _, split in group}) > 1]
    typer.echo(
        f"{path}: {sum(map(len, groups))} of {len(manifest)} images are one file with another, "
        f"{len(across)} files in more than one split"
    )
    across_first = [*across, *(group for group in groups if group not in across)]
    _echo(" = ".join(f"{name} ({split})" for name, split in group) for group in across_first)


def _save_equal(path: Path, manifests: dict[Path, Manifest]) -> None:
    from meddel_fast.common.atomic import write_text
    from meddel_fast.images.shared_images import equal_files

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["manifest", "file", "id", "split"])
    for where, manifest in manifests.items():
        for number, group in enumerate(equal_files(manifest)):
            table.writerows([where, number, *image] for image in group)
    write_text(path, text.getvalue())


def _echo(lines: Any) -> None:
    """Print some lines, and how many there are besides."""
    listed = list(lines)
    for line in listed[:_NAMED]:
        typer.echo(f"    {line}")
    if len(listed) > _NAMED:
        typer.echo(f"    and {len(listed) - _NAMED} more")


def tell_run(run: Path) -> None:
    """Print what the audit of a run found, if it has one."""
    from meddel_fast.benchmark.leakage import PAIRS, Leakage, split_audits

    folder = run / "leakage"
    if not (folder / PAIRS).is_file():
        return
    _tell(Leakage.load(folder))
    for of, where in (("train", "that train its heads"), ("val", "in validation")):
        for leaks in split_audits(folder, of).values():
            for row in leaks.summary():
                typer.echo(_line(leaks, row, where))


def _line(leaks: Leakage, row: dict[str, Any], where: str) -> str:
    """Say in a line what was found of one test set."""
    how = "like" if leaks.threshold is not None else "the same file as"
    same = row["same_bytes"]
    told = f"{same} of them the same file"
    if same is None:
        told = "whether files are the same is not known"
    return (
        f"  {row['dataset']}: {row['touched']} of {row['images']} test images "
        f"({100 * row['share']:.1f} %) {how} {row['pool_touched']} of {leaks.pool} {where}; "
        f"{row['pairs']} pairs, {told}"
    )


def _tell(leaks: Leakage) -> None:
    """Print what was found."""
    if leaks.threshold is None:
        typer.echo("the same file, byte for byte (an --encoder finds near duplicates too):")
    else:
        kind = "centred embeddings" if leaks.centred else "embeddings as they are"
        files = ", or the same file" if any(leaks.files.values()) else ""
        typer.echo(f"cosine of {leaks.threshold:g} or more ({kind}){files}:")
    for row in leaks.summary():
        typer.echo(_line(leaks, row, "in the pool"))
        steps = [s for s in leaks.ladder if s["dataset"] == row["dataset"]]
        counts = ", ".join(f"{s['threshold']:g}: {s['test_images']}" for s in steps)
        if counts:
            typer.echo(f"    test images by threshold: {counts}")
        _echo(_same(leaks, row["dataset"]))


def _same(leaks: Leakage, name: str) -> Sequence[str]:
    of = (leaks.dataset == name) & leaks.same_bytes
    pairs = zip(leaks.test_id[of], leaks.pool_id[of], strict=True)
    return [f"{test} = {pool}, the same file" for test, pool in pairs]
