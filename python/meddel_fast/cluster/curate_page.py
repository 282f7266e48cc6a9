"""The page of a curation: what became of the samples, stage by stage, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meddel_fast.benchmark.report.markup import fill
from meddel_fast.benchmark.report.text import duration, number
from meddel_fast.benchmark.report.thumbnails import Figure, Frame, Gallery, Thumbnails
from meddel_fast.common.outputs import output_path, page
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import Selection

EXAMPLES = 12  # of the dropped, and of the kept
_TITLES = {
    "manifest": "Images read",
    "embeddings": "Embedded",
    "duplicates": "Near duplicates left out",
    "selection": "Selected",
    "kept": "Listed",
}
_FATES = {
    "kept": "kept",
    "duplicate": "repeat another, by the method itself",
    "disruptive": "disruptive",
    "budget": "wanted less than others",
    "excluded": "near duplicates",
}
KIND = page("a report of a curation")

Dropped = Sequence[tuple[str, str, float]]


def write_page(
    path: Path,
    record: Mapping[str, Any],
    images: Manifest | None,
    selection: Selection,
    ids: Sequence[str],
    dropped: Dropped,
) -> None:
    """Write the page, atomically; it loads nothing.

    Parameters
    ----------
    path
        Where to.
    record
        What ``curate.json`` says.
    images
        The images, where these are known: some are shown.
    selection
        What was selected.
    ids
        Names of all samples.
    dropped
        Near duplicates that were left out: name, that of its representative, cosine.
    """
    stages = record["stages"]
    read = stages["manifest"]["counts"] if "manifest" in stages else {}
    thumbnails = Thumbnails([] if images is None else images.image_paths())
    galleries = [] if images is None else _galleries(thumbnails, ids, selection, dropped)
    text = fill(
        "curate",
        source=record["source"],
        kept=len(selection),
        samples=selection.n,
        share=len(selection) / selection.n,
        stages=[(_TITLES[n], _told(n, s), duration(s["seconds"])) for n, s in stages.items()],
        fates=[(_FATES[r], count) for r, count in selection.counts().items() if count],
        skipped=list(read.get("skipped", {}).items()),
        left_out=read.get("left_out", []),
        settings=_settings(record),
        again=[
            (_TITLES.get(a["stage"], a["stage"]), a["what"], a["when"]) for a in record["again"]
        ],
        galleries=galleries,
        thumbnails=thumbnails.stored(),
    )
    with output_path(path, KIND) as temporary:
        temporary.write_text(text, "utf-8", newline="")


def _told(name: str, stage: Mapping[str, Any]) -> str:
    """Say in a line what a stage has come to."""
    counts = {k: number(v) for k, v in stage["counts"].items() if isinstance(v, int)}
    if name == "manifest":
        skipped = number(sum(stage["counts"]["skipped"].values()))
        return f"{counts['images']} images, {skipped} skipped"
    if name == "embeddings":
        return f"{counts['width']} numbers each, in {counts['shards']} shards"
    if name == "duplicates":
        made = stage["made_of"]
        how = f"cosine {made['threshold']:g} or more, rule {made['rule']}"
        return f"{counts['dropped']} of {counts['samples']} dropped: {how}"
    if name == "selection":
        wanted = stage["counts"]["wanted"]
        short = f", {number(wanted)} were asked for" if wanted > stage["counts"]["kept"] else ""
        return f"{counts['kept']} of {counts['left']} by {stage['made_of']['method']}{short}"
    return f"{counts['kept']} names"


def _settings(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ("budget", "method", "dedup", "encoder", "engine", "version")
    told = [(name, "none" if record[name] is None else str(record[name])) for name in names]
    made = record["stages"]["selection"]["made_of"]
    return [*told, ("seed", str(made["seed"])), *((k, str(v)) for k, v in made["options"].items())]


def _galleries(
    thumbnails: Thumbnails, ids: Sequence[str], selection: Selection, dropped: Dropped
) -> list[Gallery]:
    """Show the first of the kept, and near duplicates beside what stands for them."""
    wanted = {name for pair in dropped for name in pair[:2]}
    row_of = {name: row for row, name in enumerate(ids) if name in wanted}
    best = selection.order[:EXAMPLES].tolist()
    thumbnails.prepare([*best, *row_of.values()])
    kept = [Figure([_frame(thumbnails, ids, row)], None) for row in best]
    pairs = [
        Figure(
            [_frame(thumbnails, ids, row_of[name]) for name in (representative, dropped_one)],
            [("cosine", f"{similarity:.4f}")],
        )
        for dropped_one, representative, similarity in dropped
    ]
    return [
        Gallery("Near duplicates, the least alike: kept on the left, left out on the right", pairs),
        Gallery("Kept, the most wanted first", kept),
    ]


def _frame(thumbnails: Thumbnails, ids: Sequence[str], row: int) -> Frame:
    name = ids[row]
    return Frame(thumbnails.picture(row, name), number(row), name.rpartition("/")[2], name)
