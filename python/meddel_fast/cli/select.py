"""``meddel-fast select``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meddel_fast.cli.options import ConfigOption, OutOption, RootOption, SetOption, need, run_stages
from meddel_fast.config import ConfigError
from meddel_fast.config_file import parse_settings
from meddel_fast.console import load_embeddings, parse_budget, show_work


def select(
    embeddings: Annotated[
        Path | None, typer.Argument(help="A .npy file (samples, features), or a folder of embed.")
    ] = None,
    method: Annotated[str, typer.Option(help="random, kcenter, semdedup, meddel ...")] = "meddel",
    budget: Annotated[str | None, typer.Option(help="500, 0.05 or 5%.")] = None,
    out: OutOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the method.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    set_: SetOption = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the samples: adds their names.")
    ] = None,
    kept: Annotated[
        Path | None, typer.Option(help="Also list the kept images here; needs --manifest.")
    ] = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Select the samples that are worth keeping, exactly as many as asked for."""
    if config is not None:
        typer.echo(run_stages(config, data_root, out, "select") / "select")
        return
    from meddel_fast.files import write_text
    from meddel_fast.selectors import select as choose

    x = load_embeddings(need(embeddings, "a file of embeddings"))
    target, count = need(out, "--out SELECTION.parquet"), parse_budget(need(budget, "--budget"))
    rows = None
    if manifest is not None:
        from meddel_fast.data.manifest import Manifest

        rows = Manifest.load(manifest)
        if len(rows) != len(x):
            raise ConfigError(f"{manifest} has {len(rows)} images, {embeddings} {len(x)} rows")
    elif kept is not None:
        raise ConfigError("--kept needs --manifest")
    options = parse_settings(set_ or [])
    found = show_work(
        "select",
        "",
        lambda p: choose(method, x, count, seed=seed, threads=threads, progress=p, **options),
    )
    found.save(target, None if rows is None else rows.ids)
    if rows is not None and kept is not None:
        write_text(kept, "".join(f"{p}\n" for p in rows.take(found.indices).image_paths()))
    fates = ", ".join(f"{reason} {n}" for reason, n in found.counts().items() if n)
    typer.echo(f"{target}: {len(found)} of {found.n} kept by {found.method} ({fates})")
