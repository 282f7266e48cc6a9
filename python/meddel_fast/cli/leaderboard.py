"""``meddel-fast leaderboard``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meddel_fast.cli.console import say, show_work
from meddel_fast.cli.documents import LeaderboardDocument
from meddel_fast.common.files import Progress


def leaderboard(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Run directories, or folders of them.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for leaderboard.parquet, .csv and .html.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Weight of the retained share.")] = 1.0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Score the saved predictions of every run again first.")
    ] = False,
) -> LeaderboardDocument:
    """Rank the selections of many runs, those of one protocol together."""
    from meddel_fast.benchmark.leaderboard import entries as board
    from meddel_fast.benchmark.leaderboard import page as leaderboard_page
    from meddel_fast.benchmark.leaderboard.standings import standings
    from meddel_fast.common.atomic import write_text
    from meddel_fast.common.outputs import check_folder

    runs = board.find_runs(folders)
    if out is not None:
        check_folder(out, board.FOLDER)
    for run in runs if verify else []:
        show_work("verify", "results", partial(_score_again, run))
    entries, notes = board.collect(runs, alpha)
    single, more = board.without_copies(entries)
    notes += more
    found = standings(single, alpha)
    for one in found:
        say(leaderboard_page.text_table(one) + "\n")
    for note in notes:
        say(note)
    if not found:
        say("No results yet.")
    if out is not None:
        board.write_table(out, entries)
        write_text(out / "leaderboard.html", leaderboard_page.page(found, entries, notes, alpha))
        say(f"Written: {out / 'leaderboard.html'}, .csv, .parquet")
    boards = [asdict(one) for one in found]
    return {"boards": boards, "notes": notes, "out": out}


def _score_again(run: Path, progress: Progress) -> None:
    from meddel_fast.benchmark.verify import verify

    verify(run, progress=progress)
