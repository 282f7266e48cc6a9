"""``meddel-fast verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meddel_fast.cli.console import Ended, say, show_work
from meddel_fast.cli.documents import VerifyDocument
from meddel_fast.common.errors import ConfigError

DISAGREES = 1  # exit status


def verify(
    run_dir: Annotated[Path, typer.Argument(help="Run directory.")],
    root: Annotated[
        list[str] | None,
        typer.Option(metavar="SET=FOLDER", help="Where a data set is now; repeatable."),
    ] = None,
) -> Ended[VerifyDocument]:
    """Score the saved predictions of a run again; exit status 1 when a result does not agree."""
    from meddel_fast.benchmark.verify import verify as score_again

    roots = {}
    for text in root or []:
        name, equals, folder = text.partition("=")
        if not equals or not folder:
            raise ConfigError(f"--root must be SET=FOLDER, got '{text}'")
        roots[name] = Path(folder)
    verdicts = show_work(
        "verify", "results", lambda p: score_again(run_dir, roots=roots, progress=p)
    )
    wrong = [verdict for verdict in verdicts if not verdict.agrees]
    for verdict in wrong:
        say(f"{verdict.name}: {verdict.reason}")
    agree = len(verdicts) - len(wrong)
    say(f"{agree} of {len(verdicts)} results agree bit for bit")
    document: VerifyDocument = {
        "results": len(verdicts),
        "agree": agree,
        "wrong": [{"name": verdict.name, "reason": verdict.reason} for verdict in wrong],
    }
    return Ended(document, DISAGREES if wrong else 0)
