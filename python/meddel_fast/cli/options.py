"""What the commands share: options, and the two ways that each of them works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.config import ConfigError
from meddel_fast.config_file import load_config

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Bring the stages of this run up to date instead.")
]
RootOption = Annotated[
    Path | None, typer.Option("--data-root", help="Folder that the config's data paths start from.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Where the result goes.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")]


def run_stages(config: Path, data_root: Path | None, out: Path | None, until: str | None) -> Path:
    """Bring the stages of a run up to date, up to and with the group `until`."""
    from meddel_fast.benchmark import run as run_benchmark

    return run_benchmark(load_config(config, data_root=data_root, out=out), until=until)


def print_table(run_dir: Path) -> None:
    """Print the score table of a run."""
    from meddel_fast.files import read_json
    from meddel_fast.report import score_table

    rows = read_json(run_dir / "score" / "scores.json")
    tasks = run_dir / "score" / "tasks.json"
    if rows or not tasks.is_file():
        typer.echo(score_table(rows))
    if tasks.is_file():
        from meddel_fast.benchmark.task_scores import task_table

        typer.echo("\n" * bool(rows) + task_table(read_json(tasks)))


def need(value: Any, what: str) -> Any:
    """Give `value`, or say that it is needed when there is no ``--config``."""
    if value is None:
        raise ConfigError(f"{what} is needed (or --config FILE)")
    return value
