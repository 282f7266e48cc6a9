"""The report: one HTML page that shows a run, with nothing to load from anywhere else.

===========  ======================================================================
load         reads a run directory
text         numbers and names; the score table for the terminal
figures      line charts as SVG
results      headline, score table, curves, losses
worth        differences, alpha sweep, areas, ranks, costs
made         planted truth, times, settings
tables       tables that sort
thumbnails   small pictures, each embedded once
galleries    what was kept and dropped
frames       every frame with the kept one that it is most like
leaks        test images in the pool
embedmap     the map of the embeddings
page.*       the page's frame, looks and behaviour; scripts/ has a file for each part of it
===========  ======================================================================
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from string import Template

from meddel_fast.files import write_text
from meddel_fast.outputs import check_output, page
from meddel_fast.report import embedmap, frames, galleries, leaks, made, results, worth
from meddel_fast.report.load import Run, load_run
from meddel_fast.report.text import escape, number, score_table
from meddel_fast.report.thumbnails import Thumbnails

__all__ = ["render", "score_table"]

SCRIPTS = ("page", "tables", "galleries", "map", "browser")  # the first one serves the others


def render(run_dir: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run_dir
        A run directory. Stages that have not run yet are left out of the report.
    out
        File to write, atomically; None for ``report/report.html`` in the run directory.

    Returns
    -------
    Path
        The file: one page below 10 MB, that works from the disk and asks no network.

    Raises
    ------
    FileNotFoundError
        `run_dir` holds no ``run.json``.
    ValueError
        A file of the run is damaged.
    """
    run = load_run(run_dir)
    if out is not None:
        check_output(out, page("a report"), [run.folder])
    path = run.folder / "report" / "report.html" if out is None else Path(out)
    write_text(path, _page(run))
    return path


def _page(run: Run) -> str:
    thumbnails = Thumbnails([] if run.pool is None else run.pool.image_paths())
    audit = frames.audit(run)
    layout = embedmap.lay_out(run, audit.rows)
    place = embedmap.embedding_map(layout, 0 if run.pool is None else len(run.pool))
    leaked = leaks.leaks(run, thumbnails)  # few pictures: they come before those that may not fit
    shown = galleries.galleries(run, audit, thumbnails)
    sections = [
        ("results", "Results", results.headline(run) + results.table(run)),
        ("curves", "Less data, how much worse?", results.curves(run)),
        ("worth", "What is a difference worth?", worth.worth(run)),
        ("costs", "What it costs", worth.costs(run)),
        ("planted", "Planted frames", made.planted(run)),
        ("leakage", "Test images in the pool", leaked),
        ("selections", "What was kept, what was dropped",
         galleries.chooser(run) + place + frames.browser(run, audit, galleries.FATES) + shown),
        ("training", "Pre-training loss", results.losses(run)),
        ("settings", "How it was made",
         f'<div class="made">{made.times(run)}{made.settings(run)}</div>'),
    ]  # fmt: skip
    present = [(name, title, body) for name, title, body in sections if body]
    return Template(_resource("page.html")).substitute(
        title=escape(run.name),
        about=_about(run),
        alpha=f"{run.alpha:g}",
        claim=leaks.claim(run),
        links="".join(f'<a href="#{name}">{title}</a>' for name, title, _ in present),
        sections="".join(
            f'<section id="{name}"><h2>{title}</h2>{body}</section>'
            for name, title, body in present
        ),
        store=thumbnails.definitions(),
        data=frames.frame_data(run, audit, layout, galleries.FATES),
        style=_resource("page.css"),
        script="".join(_resource(f"scripts/{name}.js") for name in SCRIPTS),
    )


def _about(run: Run) -> str:
    """Say in a line what the run is."""
    parts = []
    if run.pool is not None:
        parts.append(f"{number(len(run.pool))} images in the pool")
    if run.selectors:
        parts.append(f"{len(run.selectors)} selectors")
    if "started" in run.about:
        parts.append(f"started {str(run.about['started'])[:16].replace('T', ' ')}")
    version = run.about.get("versions", {}).get("meddel-fast")
    if version:
        parts.append(f"meddel-fast {version}")
    return escape(" · ".join(parts))


def _resource(name: str) -> str:
    return files("meddel_fast.report").joinpath(name).read_text(encoding="utf-8")
