"""``meddel-fast score`` and ``report``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli import score_given as of_given
from meddel_fast.cli.console import say, say_place
from meddel_fast.cli.context import given
from meddel_fast.cli.documents import ScoreDocument, StageDocument
from meddel_fast.cli.options import (
    ConfigOption,
    OutOption,
    RootOption,
    need,
    print_table,
    refuse_beside,
    run_stages,
    write_table,
)
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.urls import local_path


def score(
    results: Annotated[
        Path | None, typer.Argument(help="A run directory, or a CSV with columns miou, retained.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Weight of the retained share.")] = 1.0,
    metric: Annotated[
        str,
        typer.Option(
            help="What the table of a run shows beside NormDEL: miou or dice, over the pixels of "
            "all images together; image_iou or image_dice, the lesion's, averaged over images."
        ),
    ] = "miou",
    out: OutOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
    predictions: of_given.PredictionsOption = None,
    manifest: of_given.ManifestOption = None,
    selector: of_given.SelectorOption = None,
    retained: of_given.RetainedOption = None,
    run: of_given.RunOption = of_given.RUN,
    name: of_given.NameOption = "",
    repeat: of_given.RepeatOption = 0,
    seed: of_given.SeedOption = 0,
    threshold: of_given.ThresholdOption = 0.5,
    size: of_given.SizeOption = None,
    split: of_given.SplitOption = "test",
    pranet: of_given.PranetOption = False,
    allow_missing: of_given.MissingOption = False,
    allow_extra: of_given.ExtraOption = False,
    replace: of_given.ReplaceOption = False,
) -> ScoreDocument:
    """Print the table of a run, or make results of your own comparable.

    They are a CSV of mIoU and retained share (fractions), to which DEL and NormDEL are added, or
    the predictions of your own model.
    """
    asked = dict(locals())
    _check_metric(metric)
    if config is not None:
        return _of_run(run_stages(config, data_root, out, "score", "metric"), metric)
    if predictions is not None:
        refuse_beside("--predictions", "predictions", "alpha", "metric", *of_given.NAMES)
        options = {option: asked[option] for option in of_given.NAMES}
        document = of_given.score_given(predictions, alpha, options)
        has_tables = Path(run, "score").is_dir()
        return {**document, **(_of_run(run, metric) if has_tables else {})}
    if idle := given(*of_given.NAMES):
        raise ConfigError(
            f"--{sorted(idle)[0].replace('_', '-')} would have no effect without --predictions: "
            "leave it out"
        )
    path = local_path(need(results, "a run directory or a CSV file"), "results")
    if path.is_dir():
        if given("alpha"):
            raise ConfigError(
                "--alpha would have no effect on a run, whose weight is the config's: set [run] "
                f"alpha and run it again; {path / 'score' / 'alphas.csv'} has other weights"
            )
        if out is None:
            return _of_run(path, metric)
        refuse_beside("--out, whose table has all scores", "results", "out")
        write_table(path, out)
        return {"run": path, "out": out}
    refuse_beside("a CSV file", "results", "alpha", "out")
    from meddel_fast.benchmark.scores.score import score_csv
    from meddel_fast.common.outputs import check_output, csv_table, output_path

    kind = csv_table("a table of scores", "miou", "retained", "normdel")
    if out is not None:
        check_output(out, kind, [path])
    text = score_csv(path, alpha)
    if out is None:
        say(text, end="")
    else:
        with output_path(out, kind) as target:
            target.write_text(text, "utf-8", newline="")
    rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(text.splitlines())]
    return {"results": rows, "out": out}


def _of_run(run: Path, metric: str) -> ScoreDocument:
    tables: Any = print_table(run, metric) | {"run": run}
    document: ScoreDocument = tables
    return document


def _check_metric(metric: str) -> None:
    from meddel_fast.benchmark.scores.score import METRICS

    if metric not in METRICS:
        near = did_you_mean(metric, METRICS)
        raise ConfigError(f"--metric must be one of {', '.join(METRICS)}, got {metric!r}{near}")


def report(
    run_dir: Annotated[Path | None, typer.Argument(help="Run directory.")] = None,
    out: OutOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> StageDocument:
    """Write the report of a run: one HTML file."""
    if config is not None:
        run = run_stages(config, data_root, out, "report")
        return {"out": say_place(run / "report" / "report.html")}
    from meddel_fast.benchmark.report import render

    return {"out": say_place(render(need(run_dir, "a run directory"), out))}
