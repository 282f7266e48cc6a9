"""``meddel-fast leakage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.options import (
    ConfigOption,
    DeviceOption,
    OutOption,
    RootOption,
    need,
    run_stages,
)
from meddel_fast.config import ConfigError
from meddel_fast.console import load_embeddings, show_work

if TYPE_CHECKING:
    from meddel_fast.leakage import Leakage, Samples


def leakage(
    pool: Annotated[
        Path | None, typer.Argument(help="Manifest of the pool, or its embeddings.")
    ] = None,
    tests: Annotated[
        list[Path] | None, typer.Argument(help="The same of one or more test sets.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder for manifests: a folder, or a name on the hub.")
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
    """Find test images that the pool holds too, or nearly so."""
    from meddel_fast.leakage import FOLDER, Leakage, audit
    from meddel_fast.outputs import check_folder

    if config is not None:
        folder = run_stages(config, data_root, out, "leakage") / "leakage"
        _tell(Leakage.load(folder))
        typer.echo(folder)
        return
    target = need(out, "--out FOLDER")
    check_folder(target, FOLDER, [pool, *(tests or []), None if encoder is None else Path(encoder)])
    sources = [need(pool, "a manifest, or embeddings, of the pool"), *(tests or [])]
    if len(sources) < 2:
        raise ConfigError("a manifest, or embeddings, of a test set is needed")
    names = [_name(path) for path in sources[1:]]
    if len(set(names)) < len(names):
        raise ConfigError(f"the test sets need different names, got {', '.join(names)}")
    splits = [pool_splits, *[test_splits] * len(names)]
    folders = [target / "pool", *(target / "test" / name for name in names)]
    found = [
        _samples(path, some, encoder, folder, device)
        for path, some, folder in zip(sources, splits, folders, strict=True)
    ]
    leaks = audit(
        found[0],
        dict(zip(names, found[1:], strict=True)),
        threshold=threshold,
        centre=centre,
        threads=threads,
    )
    leaks.save(target)
    _tell(leaks)
    typer.echo(target)


def _name(path: Path) -> str:
    return path.stem if path.suffix in (".parquet", ".npy") else path.name


def _samples(
    path: Path, splits: str | None, encoder: str | None, folder: Path, device: str
) -> Samples:
    """Read embeddings, whose names are their rows, or embed a manifest into `folder`."""
    from meddel_fast.leakage import Samples

    if path.suffix != ".parquet":
        if splits is not None:
            raise ConfigError(f"only a manifest has splits, {path} holds embeddings")
        x = load_embeddings(path)
        return Samples([f"row {i}" for i in range(len(x))], x)
    from meddel_fast.data.manifest import Manifest

    where = need(encoder, "--encoder")
    manifest = Manifest.load(path)
    rows = manifest.ok if splits is None else manifest.splits(splits.split(","))

    def work(progress: Any) -> Any:
        from meddel_fast.embed import embed

        offline = Path(where).is_dir()
        return embed(rows, where, folder, device=device, offline=offline, progress=progress)

    return Samples(rows.ids, show_work("embed", "images", work).array, rows.column("sha256"))


def _tell(leaks: Leakage) -> None:
    """Print what was found."""
    kind = "centred embeddings" if leaks.centred else "embeddings as they are"
    typer.echo(f"cosine of {leaks.threshold:g} or more ({kind}), or the same file:")
    for row in leaks.summary():
        typer.echo(
            f"  {row['dataset']}: {row['touched']} of {row['images']} test images "
            f"({100 * row['share']:.1f} %) like {row['pool_touched']} of {leaks.pool} in the pool; "
            f"{row['pairs']} pairs, {row['same_bytes']} of them the same file"
        )
        steps = [s for s in leaks.ladder if s["dataset"] == row["dataset"]]
        counts = ", ".join(f"{s['threshold']:g}: {s['test_images']}" for s in steps)
        typer.echo(f"    test images by threshold: {counts}")
