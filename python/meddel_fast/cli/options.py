"""What the commands share: options, and the two ways that each of them works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import progress_console, say
from meddel_fast.cli.context import context, given
from meddel_fast.common.errors import ConfigError

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Bring the stages of this run up to date instead.")
]
RootOption = Annotated[
    Path | None, typer.Option("--data-root", help="Folder that the config's data paths start from.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Where the result goes; with --config the run's folder."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")]


def refuse_beside(what: str, *allowed: str) -> None:
    """Refuse what the user gave beside `what`, which leaves no other parameter an effect.

    Parameters
    ----------
    what
        The parameter as users write it.
    *allowed
        Names of the parameters that it goes with, its own included.
    """
    idle = given() - set(allowed)
    shown = [_written(p) for p in context().command.params if p.name in idle]
    if shown:
        raise ConfigError(f"{', '.join(shown)} would have no effect with {what}: leave it out")


def _written(parameter: Any) -> str:
    """Return a parameter as users write it."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return str(max(parameter.opts, key=len))


def run_stages(
    config: Path, data_root: Path | None, out: Path | None, until: str | None, *beside: str
) -> Path:
    """Bring the stages of a run up to date, up to and with the group `until`.

    `beside` names the parameters that the command takes beside --config.
    """
    refuse_beside("--config", "config", "data_root", "out", *beside)
    from meddel_fast.benchmark.config_file import load_config
    from meddel_fast.benchmark.run import run as run_benchmark

    settings = load_config(config, data_root=data_root, out=out)
    return run_benchmark(settings, until=until, console=progress_console())


_TABLES = ("scores", "statistics", "probe", "floors", "selections", "tasks", "given")


def print_table(run_dir: Path, metric: str = "miou") -> dict[str, Any]:
    """Print the score table of a run, with one of the scores beside NormDEL, and its floors.

    Return all of its tables, by the names of their files.
    """
    from meddel_fast.benchmark.report import score_table
    from meddel_fast.benchmark.scores import floors, selections
    from meddel_fast.common.files import read_json

    folder = run_dir / "score"
    if not (folder / "scores.json").is_file():
        raise ConfigError(
            f"{run_dir} has no table of scores: it is no run, or none that has one yet"
        )
    rows = read_json(folder / "scores.json")
    tasks, statistics = folder / "tasks.json", folder / "statistics.json"
    judged = read_json(statistics) if statistics.is_file() else {}
    if judged and "rule" not in judged:
        judged = {"rule": {"why": "scored by a version that had no rule for them"}}
    if rows and f"{metric}_mean" not in rows[0]:
        raise ConfigError(f"{folder} has no {metric}: it is of a version before there was one")
    probe = folder / "probe.json"
    if probe.is_file():
        from meddel_fast.benchmark.probe.table import as_text

        say(as_text(read_json(probe)) + "\n" * bool(rows))
    if rows or not (tasks.is_file() or probe.is_file()):
        say(score_table(rows, judged, metric))
    if (folder / "floors.json").is_file():
        for line in floors.told(read_json(folder / "floors.json"), judged["differences"], metric):
            say(line)
    if (folder / "selections.json").is_file():
        for line in selections.told(read_json(folder / "selections.json")):
            say(line)
    if tasks.is_file():
        from meddel_fast.benchmark.scores.task_scores import task_table

        say("\n" * bool(rows) + task_table(read_json(tasks)))
    if (folder / "given.json").is_file():
        from meddel_fast.benchmark.given.tables import text_table

        say("\n" + text_table(read_json(folder / "given.json")))
    files = {name: folder / f"{name}.json" for name in _TABLES}
    return {name: read_json(file) for name, file in files.items() if file.is_file()}


def write_table(run_dir: Path, out: Path) -> None:
    """Write the score table of a run as CSV; that of the tasks, where it segments no set."""
    from meddel_fast.common.files import read_json
    from meddel_fast.common.outputs import check_output, csv_table, output_path

    if out.suffix != ".csv":
        raise ConfigError(f"--out must end in .csv for the table of a run, got {out}")
    kind = csv_table("a table of scores", "selector", "ratio", "retained")
    check_output(out, kind, [run_dir])
    segmented = read_json(run_dir / "score" / "scores.json")
    tasks = run_dir / "score" / "tasks.csv"
    table = tasks if tasks.is_file() and not segmented else run_dir / "score" / "scores.csv"
    with output_path(out, kind) as target:
        target.write_bytes(table.read_bytes())
    say(f"{out}: written")


def need(value: Any, what: str) -> Any:
    """Give `value`, or say that it is needed when there is no ``--config``."""
    if "data_root" in given():
        raise ConfigError("--data-root would have no effect without --config: leave it out")
    if value is None:
        raise ConfigError(f"{what} is needed (or --config FILE)")
    return value
