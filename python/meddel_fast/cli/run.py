"""The whole run, and what this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import say
from meddel_fast.cli.documents import InfoDocument, RunDocument
from meddel_fast.cli.options import RootOption, print_table, run_stages


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
) -> RunDocument:
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
        expected, lacking = list(told(settings, names)), list(not_there_yet(settings))
        say("\n".join([*names, f"{len(stages)} stages", "", *expected]))
        for one in lacking:
            typer.echo(f"not there yet: {one}", err=True)
        return {"stages": names, "expected": expected, "not_there_yet": lacking}
    from meddel_fast.cli.audit_told import tell_run

    where = run_stages(config, data_root, out, None, "plan")
    tables: Any = print_table(where)
    say("\nSplits")
    splits = _tell_splits(where)
    say("\nLeakage")
    leaks = tell_run(where)
    report = where / "report" / "report.html"
    say(f"\nReport: {report}")
    own = {"run": where, "splits": splits, "leakage": leaks, "report": report}
    document: RunDocument = tables | own
    return document


def _tell_splits(run: Path) -> dict[str, list[str]]:
    """Print how the splits of each data set came about, and return it."""
    from meddel_fast.images.manifest import Manifest

    told = {}
    for path in sorted((run / "data").glob("*.parquet")):
        if path.stem not in ("pool", "pretrain"):
            told[path.stem] = list(Manifest.load(path).notes)
            for note in told[path.stem]:
                say(f"  {path.stem}: {note}")
    return told


def info() -> InfoDocument:
    """Show versions, instruction sets, threads, devices and plug-ins."""
    from meddel_fast.benchmark.machine import described, lines

    about: Any = described()
    say("\n".join(lines(about)))
    document: InfoDocument = about
    return document
