"""``meddel-fast dedup``: near duplicates at a threshold, at many, and those nearest to one."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import (
    load_embeddings,
    parse_budget,
    say,
    say_result,
    show_work,
    unchanged,
)
from meddel_fast.cli.documents import DedupDocument, SweepDocument
from meddel_fast.common.columns import aligned
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.ops import DedupSweep
    from meddel_fast.selectors import Selection

_FLOOR = 0.8
_BELOW = 0.1  # so far below the threshold pairs are looked for, to be shown
_MOST = 10_000  # thresholds of a sweep
_MOST_PAIRS = 1000  # of a side of a sheet, which is one page or picture
_COLUMNS = ("threshold", "kept", "share", "pairs")


def dedup(
    embeddings: Annotated[
        Path, typer.Argument(help="A .npy, .safetensors or .parquet file, or a folder of embed.")
    ],
    threshold: Annotated[
        float | None, typer.Option(help="Cosine from which on two samples are near duplicates.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="In place of a threshold: the highest that keeps at most 500, or 5%."),
    ] = None,
    rule: Annotated[
        str, typer.Option(help="What is dropped: semdedup, greedy or components.")
    ] = "semdedup",
    out: Annotated[
        Path | None,
        typer.Option(help="The selection: .parquet, or a list of it: .txt, .csv, .npy."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(help="Show what is kept at these: .8:.99:.01 (both ends), or .8,.9,.95."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write the table of --sweep here, as .csv.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Show the pairs nearest to the threshold here: .html or .png."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the samples: their names and images.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Pairs on each side of the threshold.")] = 20,
    floor: Annotated[
        float | None,
        typer.Option(help="Lowest threshold that is looked at; .8 if nothing asks for a lower."),
    ] = None,
    within: Annotated[
        Path | None,
        typer.Option(help="Compare inside groups only: 'manifest' for its, or a .npy of ints."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
) -> DedupDocument:
    """Leave out near duplicates; see what every threshold would keep, and the pairs at one."""
    wanted = [*([] if threshold is None else [threshold]), *_thresholds(sweep)]
    _check_numbers(threshold, floor, _thresholds(sweep), pairs)
    _check(threshold, budget, out, sweep, table, sheet, manifest)
    _check_outputs(out, table, sheet, [embeddings, manifest, _file(within)])
    x = load_embeddings(embeddings, whole=rule != "semdedup")
    rows = _rows(manifest, embeddings, len(x))
    lowest = _FLOOR if floor is None else floor
    if floor is None:
        shown = [] if sheet is None or threshold is None else [threshold - _BELOW]
        lowest = max(-1.0, min([*wanted, *shown, *([_FLOOR] if budget is not None else [])]))
    asked = None if budget is None else _budget(budget, len(x))
    options = {"rule": rule, "floor": lowest, "labels": _labels(within, rows, len(x))}

    def work(progress: Any) -> DedupSweep:
        from meddel_fast.ops import dedup_sweep

        with unchanged(embeddings):
            return dedup_sweep(x, threads=threads, progress=progress, **options)

    found: DedupSweep = show_work("dedup", "samples", work)
    swept = [] if sweep is None else _tell_sweep(found, _thresholds(sweep), table)
    if asked is not None:
        threshold = found.threshold_for(asked)
    document: DedupDocument = {
        "n": found.n,
        "rule": found.rule,
        "threshold": threshold,
        "kept": None if threshold is None else int(found.counts([threshold])[0]),
        "sweep": swept,
        "out": out,
        "table": table,
        "sheet": sheet,
    }
    if threshold is None:
        return document
    if out is not None:
        _save(found, threshold, out, x, rows)
    elif sheet is None:
        say(f"{document['kept']} of {found.n} kept at {threshold!r}")
    if sheet is not None and rows is not None:
        _show(found, threshold, pairs, rows, sheet)
    return document


def _check(
    threshold: float | None,
    budget: str | None,
    out: Path | None,
    sweep: str | None,
    table: Path | None,
    sheet: Path | None,
    manifest: Path | None,
) -> None:
    """Refuse what does not go together, before any work."""
    if threshold is not None and budget is not None:
        raise ConfigError("give --threshold or --budget, not both")
    if threshold is None and budget is None:
        for name, value in (("--out", out), ("--sheet", sheet)):
            if value is not None:
                raise ConfigError(f"{name} needs --threshold or --budget")
        if sweep is None:
            raise ConfigError("--threshold, --budget or --sweep is needed")
    if table is not None and sweep is None:
        raise ConfigError("--table needs --sweep")
    if sheet is not None and manifest is None:
        raise ConfigError("--sheet needs --manifest, which knows the images")


def _check_numbers(
    threshold: float | None, floor: float | None, sweep: list[float], pairs: int
) -> None:
    from meddel_fast.arrays import check_float, check_int

    lowest = -1.0 if floor is None else check_float("--floor", floor, -1.0, 1.0)
    for value in sweep:
        check_float("--sweep", value, lowest, 1.0)
    if threshold is not None:
        check_float("--threshold", threshold, lowest, 1.0)
    check_int("--pairs", pairs, 1, _MOST_PAIRS)


def _check_outputs(
    out: Path | None, table: Path | None, sheet: Path | None, inputs: list[Path | None]
) -> None:
    from meddel_fast.common.outputs import check_output
    from meddel_fast.selectors.export import LISTS
    from meddel_fast.selectors.selection import SAVED

    if out is not None:
        check_output(out, LISTS.get(out.suffix, SAVED), [*inputs, table, sheet])
    if table is not None:
        check_output(table, _table_kind(), [*inputs, out, sheet])
    if sheet is not None:
        from meddel_fast.benchmark.pair_sheet import SHEETS

        if sheet.suffix not in SHEETS:
            raise ConfigError(f"--sheet must end in .html or .png, got {sheet}")
        check_output(sheet, SHEETS[sheet.suffix], [*inputs, out, table])


def _table_kind() -> Any:
    from meddel_fast.common.outputs import csv_table

    return csv_table("a sweep", *_COLUMNS)


def _budget(text: str, n: int) -> int:
    """Return a budget as a count."""
    from meddel_fast.arrays import check_budget

    return check_budget(parse_budget(text), n)


def _thresholds(text: str | None) -> list[float]:
    """Read ``LOW:HIGH:STEP``, both ends included, or numbers with commas between them."""
    if text is None:
        return []
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        low, high, step = (Decimal(part) for part in text.split(":"))
        if not (low.is_finite() and high.is_finite() and step > 0 and low <= high):
            raise ValueError
        count = int((high - low) / step) + 1
    except (ValueError, InvalidOperation):
        raise ConfigError(
            f"--sweep must be LOW:HIGH:STEP (.8:.99:.01) or numbers (.8,.9), got '{text}'"
        ) from None
    if count > _MOST:
        raise ConfigError(f"--sweep must be of at most {_MOST} thresholds, got {count}")
    return [float(low + i * step) for i in range(count)]


def _rows(manifest: Path | None, embeddings: Path, n: int) -> Manifest | None:
    if manifest is None:
        return None
    from meddel_fast.images.manifest import Manifest

    rows = Manifest.load(manifest)
    if len(rows) != n:
        raise ConfigError(f"{manifest} has {len(rows)} images, {embeddings} {n} rows")
    return rows


def _file(within: Path | None) -> Path | None:
    return None if str(within) == "manifest" else within


def _labels(within: Path | None, rows: Manifest | None, n: int) -> Any:
    """Return a number for each sample's group; samples without one are groups of their own."""
    import numpy as np

    from meddel_fast.common.npy import load_npy

    if within is None:
        return None
    if (file := _file(within)) is not None:
        return load_npy(file)
    if rows is None:
        raise ConfigError("--within manifest needs --manifest")
    groups = np.array(rows.column("group"), np.str_)
    codes = np.unique(groups, return_inverse=True)[1]
    return np.where(groups == "", len(groups) + np.arange(n), codes)


def _tell_sweep(
    found: DedupSweep, thresholds: list[float], table: Path | None
) -> list[SweepDocument]:
    """Print the table of a sweep, write it, and return it."""
    import numpy as np

    from meddel_fast.common.outputs import output_path

    rising, rows = np.sort(found.pairs.similarity), list[SweepDocument]()
    for threshold, kept in zip(thresholds, found.counts(thresholds).tolist(), strict=True):
        pairs = len(rising) - int(np.searchsorted(rising, threshold))
        share = kept / found.n
        rows.append({"threshold": threshold, "kept": kept, "share": share, "pairs": pairs})
    lines = [
        (repr(row["threshold"]), str(row["kept"]), f"{row['share']:.4f}", str(row["pairs"]))
        for row in rows
    ]
    say("\n".join(aligned([_COLUMNS, *lines], 0)))
    if table is not None:
        with output_path(table, _table_kind()) as target:
            text = "".join(",".join(line) + "\n" for line in [_COLUMNS, *lines])
            target.write_text(text, encoding="utf-8", newline="")
        say_result(table, f"{len(lines)} thresholds, rule {found.rule}")
    return rows


def _save(found: DedupSweep, threshold: float, out: Path, x: Any, rows: Manifest | None) -> None:
    from meddel_fast.selectors.export import LISTS, write_list

    names = None if rows is None else rows.ids
    selection = _selection(found, threshold)
    if out.suffix in LISTS:
        write_list(selection, out, names)
    else:
        selection.save(out, names, data=x)
    dropped = selection.n - len(selection)
    say_result(
        out, f"{len(selection)} of {selection.n} kept at {threshold!r} (duplicate {dropped})"
    )


def _selection(found: DedupSweep, threshold: float) -> Selection:
    """Return what is kept as a selection; the score of a dropped sample is less its cosine."""
    import numpy as np

    from meddel_fast.selectors.selection import make_selection

    keep, representative, similarity = found.at(threshold)
    return make_selection(
        "dedup",
        np.flatnonzero(keep),
        np.where(keep, np.inf, -similarity),
        {"rule": found.rule, "threshold": threshold},
        reason=np.full(found.n, "duplicate"),
        duplicate_of=representative,
        similarity=similarity,
    )


def _show(found: DedupSweep, threshold: float, pairs: int, rows: Manifest, sheet: Path) -> None:
    from meddel_fast.benchmark.pair_sheet import PairSheet, write_pair_sheet

    near = found.nearest(threshold, pairs)
    kept = int(found.counts([threshold])[0])
    about = f"{rows.name}: {kept} of {found.n} images kept by the rule {found.rule}"
    write_pair_sheet(PairSheet(near, threshold, rows, about), sheet)
    above = int((near.similarity >= threshold).sum())
    say_result(sheet, f"{above} pairs at or above {threshold!r}, {len(near.i) - above} below")
