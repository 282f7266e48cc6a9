"""From single results to the table: means, deviations, NormDEL, what became of planted frames."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.scores.cost import STEADY_COLUMNS
from meddel_fast.benchmark.scores.normdel import del_score, normdel
from meddel_fast.benchmark.scores.other_scores import OTHER_COLUMNS
from meddel_fast.benchmark.scores.statistics import INTERVAL_COLUMNS
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.common.untrusted import read_parquet

METRICS = {
    "miou": "miou",
    "dice": "dice",
    "image_iou": "image_iou_polyp",
    "image_dice": "image_dice",
}
"""What the columns of the tables call the scores of a result: those over the pixels of all images
together, and the means over images of the lesion's IoU and Dice."""

SCORE_COLUMNS = (
    *("selector", "ratio", "retained", "kept", "dataset", "seeds"),
    *(f"{name}_{kind}" for name in (*METRICS, "normdel") for kind in ("mean", "std")),
    *INTERVAL_COLUMNS,
    *OTHER_COLUMNS,
    *STEADY_COLUMNS,
)
_TRUTH = {"id": "string", "kind": "string", "of": "string"}
PLANTED_COLUMNS = ("selector", "ratio", "kind", "planted", "removed", "share_of_kept")


def score_rows(
    selector: str,
    ratio: float,
    share: tuple[float, float],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    alpha: float,
) -> list[dict[str, Any]]:
    """Make the table's rows of one selection: one per data set, then one named "mean".

    Parameters
    ----------
    selector, ratio
        What was asked for.
    share
        (kept, pool): NormDEL uses their quotient, the share that was truly retained.
    results
        Data set -> one result per run (repetition and seed of the head), runs in the same order:
        fractions, by the values of `METRICS`.
    alpha
        NormDEL's weight.

    Returns
    -------
    list of dict
        Keys `SCORE_COLUMNS` but for those of intervals and costs, all scores fractions; "seeds"
        counts the runs. Deviations are those of a sample (n - 1); 0 when there is a single run.
        The row "mean" averages the data sets run by run.
    """
    kept, pool = share
    retained = kept / pool
    tables = {
        name: np.array([[*values_of(r), normdel(float(r["miou"]), retained, alpha)] for r in runs])
        for name, runs in results.items()
    }
    tables["mean"] = np.mean(list(tables.values()), axis=0)
    return [
        {
            "selector": selector,
            "ratio": ratio,
            "retained": retained,
            "kept": kept,
            "dataset": name,
            "seeds": len(table),
            **_statistics(table),
        }
        for name, table in tables.items()
    ]


def values_of(result: Mapping[str, Any]) -> list[float]:
    """Give the scores of a result in the order of `METRICS`."""
    return [float(result[name]) for name in METRICS.values()]


def _statistics(table: NDArray[np.float64]) -> dict[str, float]:
    """Mean and deviation over runs (rows) of the scores of `METRICS`, then NormDEL (columns)."""
    means = table.mean(axis=0)
    deviations = table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros(table.shape[1])
    return {
        f"{name}_{kind}": float(values[column])
        for column, name in enumerate((*METRICS, "normdel"))
        for kind, values in (("mean", means), ("std", deviations))
    }


def planted_rows(
    ids: Sequence[str],
    selections: Iterable[tuple[str, float, Iterable[int]]],
    truths: Mapping[str, Path],
) -> list[dict[str, Any]]:
    """Count how many planted frames of each kind each selection removed.

    Parameters
    ----------
    ids
        Ids of the pool, ``<data set>/<id in the set>``.
    selections
        (selector, ratio, indices kept).
    truths
        Data set -> its ``truth.parquet`` (columns id, kind, of).

    Returns
    -------
    list of dict
        Keys `PLANTED_COLUMNS`. ``planted`` counts a kind's frames, ``removed`` those that no longer
        do harm: a duplicate does none once nothing that it repeats is kept beside it, so of a frame
        and its copies one may stay. ``share_of_kept`` is the share of the kept samples that are
        harmful in this way (or, for normal frames, normal). Empty without truths.
    """
    planted: dict[str, tuple[str, str]] = {}
    for name, path in truths.items():
        table = read_parquet(path, _TRUTH, "table of what was planted").to_pylist()
        planted |= {f"{name}/{r['id']}": (r["kind"], f"{name}/{r['of']}") for r in table}
    if not planted:
        return []
    total = Counter(planted[i][0] for i in ids if i in planted)
    rows = []
    for selector, ratio, indices in selections:
        chosen = {ids[i] for i in indices}
        left = _harmful(chosen, planted)
        for kind in sorted(total):
            rows.append(
                {
                    "selector": selector,
                    "ratio": ratio,
                    "kind": kind,
                    "planted": total[kind],
                    "removed": total[kind] - left[kind],
                    "share_of_kept": left[kind] / len(chosen),
                }
            )
    return rows


def _harmful(chosen: set[str], planted: Mapping[str, tuple[str, str]]) -> Counter[str]:
    """Count the chosen frames by kind; of copies of one frame, those beyond the first of all."""
    left: Counter[str] = Counter()
    copies: Counter[tuple[str, str]] = Counter()
    for i in chosen & planted.keys():
        kind, source = planted[i]
        if kind.endswith("_duplicate"):
            copies[kind, source] += 1
        else:
            left[kind] += 1
    for (kind, source), count in copies.items():
        left[kind] += count if source in chosen else count - 1
    return left


def write_scores(
    folder: Path, rows: Sequence[Mapping[str, Any]], planted: Sequence[Mapping[str, Any]]
) -> None:
    """Write ``scores.csv`` and ``scores.json``, and ``planted.csv`` when there are such rows."""
    write_rows(folder, "scores", SCORE_COLUMNS, rows)
    if planted:
        write_text(folder / "planted.csv", as_csv(PLANTED_COLUMNS, planted))


def write_rows(
    folder: Path, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write rows as a CSV file and as JSON."""
    write_text(folder / f"{name}.csv", as_csv(columns, rows))
    write_json(folder / f"{name}.json", rows)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows as CSV; floats in their shortest exact form."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def score_csv(path: Path, alpha: float) -> str:
    """Add the columns ``del`` and ``normdel`` to a CSV with ``miou`` and ``retained`` (fractions).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column is absent, or a value is no fraction; the message names the row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or [])
        rows = list(reader)
    for column in ("miou", "retained"):
        if column not in columns:
            raise ValueError(f"{path}: no column '{column}', its columns are {', '.join(columns)}")
    for number, row in enumerate(rows, start=1):
        try:
            values = float(row["miou"]), float(row["retained"])
            row |= {"del": del_score(*values, alpha), "normdel": normdel(*values, alpha)}
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from None
    return as_csv([*columns, "del", "normdel"], rows)
