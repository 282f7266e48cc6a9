"""The report: one HTML page that shows a run, with nothing to load from anywhere else.

===============  ===================================================================================
``load``         reads a run directory
``text``         numbers and names as text; the score table for the terminal
``figures``      line charts: where their parts lie
``tables``       tables that sort: heads, rows, cells
``measures``     verdicts of pre-training and of the probe, in one shape
``answer``       the first screen's sentences: what to use, what it costs, how sure that is
``picture``      the first screen's picture: selections against random, with intervals
``floors``       an untrained encoder and nothing segmented, in text, tables and charts
``measured``     what is measured and by which rule it is judged, in sentences
``results``      score table, curves, losses
``probe``        what was learnt from the selected samples alone
``comparisons``  differences, alpha sweep, areas, ranks, costs
``chosen``       by which settings selections were made, and which are the same
``quality``      images that break a limit, and what was kept of them
``subgroups``    what was kept of every data set, class and video
``beyond``       other tasks, references, generalisation
``planted``      what became of planted frames
``settings``     times, hardware, versions, settings
``thumbnails``   small pictures, each embedded once
``galleries``    what was kept and dropped
``frames``       every frame with the kept one that it is most like
``leaks``        test images in the pool
``embedmap``     the map of the embeddings
``markup``       fills in the templates
===============  ===================================================================================

All of them but the last give plain values. ``templates/`` has the markup, a file for each section
of the page; ``page.css`` its looks, and ``scripts/`` its behaviour.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from meddel_fast.benchmark.report import (
    beyond,
    chosen,
    comparisons,
    embedmap,
    frames,
    galleries,
    leaks,
    markup,
    measured,
    results,
)
from meddel_fast.benchmark.report.answer import answers
from meddel_fast.benchmark.report.load import Run, load_run
from meddel_fast.benchmark.report.planted import planted
from meddel_fast.benchmark.report.probe import probe
from meddel_fast.benchmark.report.quality import quality
from meddel_fast.benchmark.report.settings import settings
from meddel_fast.benchmark.report.subgroups import subgroups
from meddel_fast.benchmark.report.text import number, score_table
from meddel_fast.benchmark.report.thumbnails import Thumbnails
from meddel_fast.common.atomic import write_text
from meddel_fast.common.outputs import check_output, page

__all__ = ["render", "score_table"]

SCRIPTS = ("page", "tables", "galleries", "map", "browser")  # the first one serves the others
SECTIONS = (  # template, id, title, and its short form for the way there
    ("results", "results", "Scores", "Scores"),
    ("curves", "curves", "Less data, how much worse?", "Curves"),
    ("probe", "probe", "The probe", "Probe"),
    ("comparisons", "worth", "What is a difference worth?", "Differences"),
    ("costs", "costs", "What it costs", "Costs"),
    ("chosen", "chosen", "How each selection was made", "Settings"),
    ("quality", "quality", "Blurred, black, blown out", "Quality"),
    ("subgroups", "subgroups", "What was kept of whom", "Subgroups"),
    ("beyond", "beyond", "Other tasks and encoders", "Other tasks"),
    ("planted", "planted", "Planted frames", "Planted frames"),
    ("leakage", "leakage", "Test images like what a training saw", "Leakage"),
    ("selections", "selections", "What was kept, what was dropped", "Frames"),
    ("training", "training", "Pre-training loss", "Loss"),
    ("settings", "settings", "How it was made", "How it was made"),
)


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
    leaked = leaks.leaks(run, thumbnails)  # few pictures: they come before those that may not fit
    answered = answers(run)
    shown: dict[str, Any] = {  # by the names of templates
        "results": results.results(run),
        "curves": results.curves(run),
        "probe": probe(run),
        "comparisons": comparisons.comparisons(run),
        "costs": comparisons.costs(run),
        "chosen": chosen.settings_of_selections(run),
        "quality": quality(run),
        "subgroups": subgroups(run),
        "beyond": beyond.beyond(run),
        "planted": planted(run),
        "leakage": leaked,
        "selections": None if run.is_given else _selections(run, audit, layout, thumbnails),
        "training": results.losses(run),
        "settings": settings(run),
    }
    return markup.fill(
        "page",
        title=run.name,
        about=_about(run),
        answers=list(answered.items()),
        measured=measured.measured(run),
        given=run.is_given,
        claim=leaks.claim(run),
        repeats=run.repeats,
        selectors=results.legend(run),
        sections=[section for section in SECTIONS if shown[section[0]] is not None],
        thumbnails=thumbnails.stored(),
        data=frames.frame_data(run, audit, layout, galleries.FATES),
        scripts=[f"scripts/{name}.js" for name in SCRIPTS],
        **shown,
    )


def _selections(
    run: Run, audit: frames.Audit, layout: embedmap.Layout | None, thumbnails: Thumbnails
) -> dict[str, Any]:
    pool = 0 if run.pool is None else len(run.pool)
    return {
        "choices": galleries.choices(run),
        "map": layout and {"points": len(layout.points), "pool": pool, "share": layout.share},
        "browser": frames.browser(run, audit, galleries.FATES),
        "panels": galleries.panels(run, audit, thumbnails),
    }


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
    return " · ".join(parts)
