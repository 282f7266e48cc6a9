"""``meddel-fast audit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import load_embeddings, say, show_work
from meddel_fast.cli.documents import AuditDocument
from meddel_fast.cli.options import OutOption
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    from meddel_fast.benchmark.subgroups import Column
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.selectors import Selection

_SHOWN = 10  # values of a column, the least kept first


def audit(
    selection: Annotated[Path, typer.Argument(help="A saved selection.")],
    embeddings: Annotated[
        Path, typer.Argument(help="What it was made from: a file, or a folder of embed.")
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME[=FILE]",
            help="Site, scanner, patient, class ...: a column of the manifest (or set: the data "
            "set of a joined one), or a .npy or .txt file or FILE.csv:COLUMN, a value a sample. "
            "Repeatable.",
        ),
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Manifest of the samples.")] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Video or patient of each sample, as --column; else the manifest's."),
    ] = None,
    neighbours: Annotated[int, typer.Option(help="How many vote for a sample's value.")] = 10,
    centre: Annotated[bool, typer.Option(help="Subtract the mean of the embeddings first.")] = True,
    seed: Annotated[int, typer.Option(help="Of the deal into parts.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    out: OutOption = None,
) -> AuditDocument:
    """Tell what a selection kept of each site, scanner, patient, class: its shares and gaps."""
    from meddel_fast.benchmark.probe.labels import read_column
    from meddel_fast.benchmark.subgroups import FILE, as_json, audit_subgroups
    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.outputs import check_output
    from meddel_fast.selectors import Selection

    if out is not None:
        check_output(out, FILE, [selection, embeddings, manifest])
    chosen = Selection.load(selection)
    rows = _manifest(manifest, selection, chosen.n)
    values = dict(_column(text, rows, chosen.n) for text in column or ())
    if len(values) < len(column or ()) or not values:
        raise ConfigError("--column NAME or NAME=FILE is needed, each name once")
    if groups is not None:
        together: list[Any] | None = read_column(groups, chosen.n)
    else:
        together = None if rows is None else rows.column("group")
    x = load_embeddings(embeddings)
    if len(x) != chosen.n:
        raise ConfigError(f"{selection} is of {chosen.n} samples, {embeddings} has {len(x)}")

    def work(progress: Any) -> list[Column]:
        return audit_subgroups(
            chosen, x, values, groups=together, neighbours=neighbours, seed=seed, centre=centre,
            threads=threads, progress=progress,
        )  # fmt: skip

    found = show_work("audit", "", work)
    for line in _lines(chosen, found):
        say(line)
    told: Any = as_json(chosen, found)
    if out is not None:
        write_json(out, told)
        say(out)
    document: AuditDocument = told | {"out": out}
    return document


def _manifest(path: Path | None, selection: Path, samples: int) -> Manifest | None:
    if path is None:
        return None
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.selectors.selection import read_ids

    rows = Manifest.load(path).ok
    if len(rows) != samples:
        raise ConfigError(f"{path} has {len(rows)} images, the selection is of {samples}")
    ids = read_ids(selection)
    if ids is not None and ids != rows.ids:
        raise ConfigError(f"{path} does not hold the images that {selection} chose from, in order")
    return rows


def _column(text: str, rows: Manifest | None, samples: int) -> tuple[str, Sequence[Any]]:
    from meddel_fast.benchmark.probe.labels import read_column
    from meddel_fast.benchmark.subgroups import column_of

    name, equals, where = text.partition("=")
    if equals:
        return name, read_column(where, samples)
    if rows is None:
        raise ConfigError(f"--column {name} needs --manifest, or NAME=FILE")
    return name, column_of(rows, name)


def _lines(chosen: Selection, columns: Sequence[Column]) -> list[str]:
    """Say in lines what was found."""
    from meddel_fast.benchmark.subgroups import sentences
    from meddel_fast.common.columns import aligned

    told = [f"{len(chosen):,} of {chosen.n:,} kept by {chosen.method}"]
    for column in columns:
        heads = (column.name, "samples", "kept", "share", "radius", "typical")
        cells = [
            (one.value, f"{one.samples:,}", f"{one.kept:,}", f"{100 * one.share:.1f} %",
             f"{one.radius:.3f}", f"{one.typical:.3f}")
            for one in column.subgroups[:_SHOWN]
        ]  # fmt: skip
        told += ["", *aligned([heads, *cells], 1)]
        if len(column.subgroups) > _SHOWN:
            more = len(column.subgroups) - _SHOWN
            told.append(f"and {more:,} more, of which as much or more is kept")
        told += sentences(column)
    return told
