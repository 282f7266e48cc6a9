"""The whole run, and what this machine is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from meddel_fast.cli.options import JsonOption, RootOption, print_table, run_stages


def _print_schema(wanted: bool) -> None:
    if wanted:
        from meddel_fast.benchmark.config_schema import schema_text

        typer.echo(schema_text(), nl=False)
        raise typer.Exit


def run(
    config: Annotated[Path, typer.Argument(help="Settings of the run, a TOML file.")],
    data_root: RootOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory, instead of the config's.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="List the stages and what they come to, and run none.")
    ] = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON schema of config files, and run none.",
        ),
    ] = False,
) -> None:
    """Run the whole benchmark; done stages are skipped, a stopped run goes on."""
    if plan:
        from meddel_fast.benchmark.checks import check_plan, not_there_yet
        from meddel_fast.benchmark.config_file import load_config
        from meddel_fast.benchmark.expected import told
        from meddel_fast.benchmark.plan import build
        from meddel_fast.benchmark.stages.stage import Records

        settings = load_config(config, data_root=data_root, out=out)
        stages = build(settings, Records(settings.out))
        check_plan(settings)
        names = [stage.name for stage in stages]
        typer.echo("\n".join([*names, f"{len(stages)} stages", "", *told(settings, names)]))
        for lacking in not_there_yet(settings):
            typer.echo(f"not there yet: {lacking}", err=True)
        return
    from meddel_fast.cli.audit_told import tell_run

    where = run_stages(config, data_root, out, None, "plan")
    print_table(where)
    typer.echo("\nSplits")
    _tell_splits(where)
    typer.echo("\nLeakage")
    tell_run(where)
    typer.echo(f"\nReport: {where / 'report' / 'report.html'}")


def _tell_splits(run: Path) -> None:
    """Print how the splits of each data set came about."""
    from meddel_fast.images.manifest import Manifest

    for path in sorted((run / "data").glob("*.parquet")):
        if path.stem not in ("pool", "pretrain"):
            for note in Manifest.load(path).notes:
                typer.echo(f"  {path.stem}: {note}")


def info(as_json: JsonOption = False) -> None:
    """Show versions, instruction sets, threads and devices."""
    from meddel_fast.benchmark.machine import described, lines

    typer.echo(json.dumps(described(), indent=2) if as_json else "\n".join(lines()))
