"""The command line, ``meddel-fast``: a module a command, put together here.

Every command but ``run``, ``info`` and ``doctor`` works in two ways: on files given as arguments,
or, with ``--config``, on a run, whose stages it brings up to date as far as its own.

==============================  ==================================================================
``run``                         ``run``, and ``info``: what this machine is
``doctor``                      ``doctor``: what is missing for which feature
``data``                        ``data``: the registry, what of it is there, manifests, made frames
``data_quality``                ``data quality``: images measured by their pixels
``curate``                      ``curate``: all of it, from images to the list of what is kept
``embed``                       ``embed``
``select``, ``selection_file``  ``select``; a saved selection as other lists, ``select --from``
``audit``                       ``audit``: what a selection kept of each site, patient, class
``export``                      ``export``: the kept images for other programs
``dedup``                       ``dedup``: near duplicates at a threshold, or at many
``hierarchy``                   ``hierarchy``: a tree of clusters for balanced selections
``probe``                       ``probe``
``pretrain``                    ``pretrain``
``evaluate``                    ``evaluate``
``reconstruction``              ``errors``, ``tile``: what a masked autoencoder cannot restore
``score``, ``score_given``      ``score``, ``report``; the predictions of somebody else's model
``leakage``, ``audit_told``     ``leakage``; what is printed of an audit
``verify``                      ``verify``
``leaderboard``                 ``leaderboard``
``index``                       ``index``: a deduplication index on disk
``options``                     what the commands share: options, and the two ways of working
``console``                     what every command has: a document, errors told, Ctrl-C, progress
``documents``                   what each command prints with ``--json``
``errors``                      what went wrong, and what to do next
``context``, ``groups``         the command that runs; mistyped commands and options
``plain``                       answered with numpy alone: ``--version``, ``info``, ``doctor``
==============================  ==================================================================
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

from meddel_fast.common.extras import needs

try:
    with needs("benchmark"):
        import typer
except ImportError as error:
    from meddel_fast.cli.plain import answer

    answer(sys.argv[1:], error)

from meddel_fast.cli.audit import audit
from meddel_fast.cli.console import (
    JsonOption,
    QuietOption,
    VerboseOption,
    guarded,
    set_volume,
    show_tracebacks,
    warn_in_one_line,
)
from meddel_fast.cli.curate import curate
from meddel_fast.cli.data import data
from meddel_fast.cli.dedup import dedup
from meddel_fast.cli.doctor import doctor
from meddel_fast.cli.embed import embed
from meddel_fast.cli.evaluate import evaluate
from meddel_fast.cli.export import export
from meddel_fast.cli.groups import Commands, helped_by
from meddel_fast.cli.hierarchy import hierarchy
from meddel_fast.cli.index import app as index
from meddel_fast.cli.leaderboard import leaderboard
from meddel_fast.cli.leakage import leakage
from meddel_fast.cli.pretrain import pretrain
from meddel_fast.cli.probe import probe
from meddel_fast.cli.reconstruction import errors, tile
from meddel_fast.cli.run import info, run
from meddel_fast.cli.score import report, score
from meddel_fast.cli.select import select
from meddel_fast.cli.verify import verify
from meddel_fast.common.errors import ConfigError

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run,
    curate,
    embed,
    leakage,
    select,
    dedup,
    audit,
    export,
    hierarchy,
    probe,
    pretrain,
    errors,
    tile,
    evaluate,
    score,
    report,
    verify,
    leaderboard,
    info,
    doctor,
):
    kind = {select: "selector", embed: "encoder"}.get(command)
    app.command(cls=helped_by(kind) if kind else None)(guarded(command))
app.add_typer(data, name="data")
app.add_typer(index, name="index")


def _version(wanted: bool) -> None:
    if wanted:
        from meddel_fast import __version__

        typer.echo(f"meddel-fast {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Choose the data a foundation model is pre-trained on, and measure what it is worth."""
    try:
        set_volume(quiet=quiet, verbose=verbose, as_json=as_json)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    show_tracebacks(traceback or verbose)


def main() -> None:
    """Start the command line."""
    # Threads that sleep while they wait: with a competitor on one of two cores a training step
    # takes 0.15 s instead of 0.39 s, and 0.07 instead of 0.27 s of processor time (torch 2.13).
    # Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warn_in_one_line()
    app(prog_name="meddel-fast")
