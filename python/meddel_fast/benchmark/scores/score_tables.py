"""The score stage: from the results on disk to the tables in ``score/``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.results import (
    NOTHING,
    UNTRAINED,
    Result,
    floor_results,
    list_results,
    repeated,
)
from meddel_fast.benchmark.scores.bootstrap import Run, resample
from meddel_fast.benchmark.scores.cost import (
    COST_COLUMNS,
    STEADY_COLUMNS,
    Embedder,
    bytes_kept,
    cost_row,
    training_steps,
)
from meddel_fast.benchmark.scores.floors import floor_rows, nothing_of, write_floors
from meddel_fast.benchmark.scores.other_scores import other_intervals
from meddel_fast.benchmark.scores.score import as_csv, planted_rows, score_rows, write_scores
from meddel_fast.benchmark.scores.selections import selection_rows, write_selections
from meddel_fast.benchmark.scores.statistics import (
    COLUMNS,
    FULL,
    Key,
    Table,
    all_statistics,
    intervals,
)
from meddel_fast.common.atomic import atomic_directory, write_json, write_text
from meddel_fast.common.files import read_json
from meddel_fast.selectors import Selection
from meddel_fast.training.predictions import load_confusions

if TYPE_CHECKING:
    from meddel_fast.benchmark.config import RunConfig
    from meddel_fast.images.manifest import Manifest


Results = Mapping[Key, Mapping[str, Sequence[Result]]]
"""Selection -> data set -> its runs in order."""
Counted = tuple[str, dict[Key, NDArray[np.int64]], list[Run]]
"""A data set, the counts of each selection on it (runs, images, 2, 2), and their runs."""


def score_run(
    config: RunConfig,
    tags: Sequence[tuple[str, str, float]],
    pool: Manifest,
    truths: Mapping[str, Path],
    groups: Mapping[str, Sequence[str]],
    embedder: Embedder,
    selected: Callable[[str, str, int], Path | None],
) -> None:
    """Write ``score/``: scores, floors, planted frames, selections, costs and statistics.

    Parameters
    ----------
    config
        The run's settings; its results and selections are there.
    tags
        What is scored: (tag, selector, ratio).
    pool
        The manifest that was selected from.
    truths
        See `score.planted_rows`.
    groups
        Test set -> video or patient of each of its test images, empty for none.
    embedder
        What embedded the pool.
    selected
        Gives the file of a selection by its tag, selector and repetition; None for all data.
    """
    out = config.out
    sets = list(groups)
    results = group(list_results(out, tags, sets, config.seeds, config.repeats))
    results |= group(floor_results(out, sets, config.seeds, config.repeats))
    kept = {
        (s, r): np.arange(len(pool))
        if s == FULL
        else Selection.load(out / "select" / f"{t}.parquet").indices
        for t, s, r in tags
    }
    retained = {key: len(rows) / len(pool) for key, rows in kept.items()}
    counts = list(counted(results, sets))
    table = sample_table(counts, groups)
    spans = spans_of(counts, groups, table, retained, config.alpha)
    trained = tags if "pretrain" in config.measures else []
    costs, scores = costs_of(config, trained, kept, pool, embedder), []
    for cost in costs if sets else ():
        key = (cost["selector"], cost["ratio"])
        written = {name: [read_json(r.path) for r in found] for name, found in results[key].items()}
        steady = {name: cost[name] for name in STEADY_COLUMNS}
        share = (len(kept[key]), len(pool))
        for row in score_rows(*key, share, written, config.alpha):
            scores.append({**row, **spans[key][row["dataset"]], **steady})
    planted = planted_rows(pool.ids, [(*key, rows) for key, rows in kept.items()], truths)
    made = [
        (s, r, repeat, t, path)
        for repeat in range(config.repeats)
        for t, s, r in tags
        if (path := selected(t, s, repeat)) is not None
    ]
    with atomic_directory(out / "score", replace=True) as folder:
        write_scores(folder, scores, planted)
        write_text(folder / "costs.csv", as_csv(COST_COLUMNS, costs))
        write_selections(folder, selection_rows(made, out / "stages"))
        if sets:
            shares = {ratio: share for (_, ratio), share in retained.items()}
            write_floors(folder, floors_of(table, results, counts, shares, config.alpha))
            write_statistics(folder, all_statistics(table, retained, config.alpha, config.alphas))


def floors_of(
    table: Table,
    results: Results,
    counts: Iterable[Counted],
    shares: Mapping[float, float],
    alpha: float,
) -> list[dict[str, Any]]:
    """Give the rows of the floors, see `floors.floor_rows`."""
    from meddel_fast.training.segmentation import scores  # brings torch

    untrained = results.get((UNTRAINED, 0.0), {})  # none beside given predictions
    written = {name: [read_json(r.path) for r in found] for name, found in untrained.items()}
    empty = {name: scores(of_set[NOTHING, 0.0][0]) for name, of_set, _ in counts}
    return floor_rows(table, written, empty, shares, alpha)


def group(results: Sequence[Result]) -> dict[Key, dict[str, list[Result]]]:
    """Group results by selection and data set, each with its runs in order."""
    grouped: dict[Key, dict[str, list[Result]]] = {}
    for result in results:
        sets = grouped.setdefault((result.selector, result.ratio), {})
        sets.setdefault(result.data, []).append(result)
    return grouped


def sample_table(counts: Iterable[Counted], groups: Mapping[str, Sequence[str]]) -> Table:
    """Draw from the counts of all selections, see :func:`counted`, a data set at a time."""
    table: dict[Key, dict[str, Any]] = {}
    for name, of_set, runs in counts:
        for key, sample in resample(of_set, runs, name, groups=groups[name]).items():
            table.setdefault(key, {})[name] = sample
    return table


def spans_of(
    counts: Iterable[Counted],
    groups: Mapping[str, Sequence[str]],
    table: Table,
    retained: Mapping[Key, float],
    alpha: float,
) -> dict[Key, dict[str, dict[str, float]]]:
    """Give the ends of all intervals of the score table, by selection and data set."""
    others = other_intervals(counts, groups)
    return {
        key: {name: {**ends, **others[key][name]} for name, ends in sets.items()}
        for key, sets in intervals(table, retained, alpha).items()
    }


def counted(results: Results, sets: Iterable[str]) -> Iterator[Counted]:
    """Read the saved counts of all selections, (runs, images, 2, 2), a data set at a time.

    The empty mask has counts of the same truths, in every run.

    Raises
    ------
    ValueError
        Two selections were tested on other images, or by other repetitions and seeds.
    """
    for name in sets:
        counts: dict[Key, NDArray[np.int64]] = {}
        seen: set[tuple[tuple[str, ...], tuple[Run, ...]]] = set()
        for key, of_key in results.items():
            found = [load_confusions(result.predictions) for result in of_key[name]]
            runs = tuple((result.repeat, result.seed) for result in of_key[name])
            seen |= {(tuple(ids), runs) for ids, _ in found}
            if len(seen) > 1:
                raise ValueError(
                    f"{name}: selections must be tested on the same images by the same runs, "
                    f"those of {key[0]} at {key[1]:g} differ"
                )
            counts[key] = np.stack([confusions for _, confusions in found])
        counts[NOTHING, 0.0] = nothing_of(next(iter(counts.values())))
        yield name, counts, list(runs)


def costs_of(
    config: RunConfig,
    tags: Sequence[tuple[str, str, float]],
    kept: Mapping[Key, NDArray[np.int64]],
    pool: Manifest,
    embedder: Embedder,
) -> list[dict[str, Any]]:
    """Give the cost row of each selection."""
    sizes = pool.column("bytes")
    rows = []
    for tag, selector, ratio in tags:
        chosen = kept[selector, ratio].tolist()
        folders = [config.out / "pretrain" / repeated(tag, r) for r in range(config.repeats)]
        row = {"selector": selector, "ratio": ratio, "kept": len(chosen)}
        row |= {**bytes_kept(sizes, chosen), "steps": training_steps(folders[0])}
        rows.append(cost_row(row, folders, embedder, config.out / "stages", config.cost))
    return rows


def write_statistics(folder: Path, found: Mapping[str, Any]) -> None:
    """Write ``statistics.json``, and each of its tables as a CSV file."""
    write_json(folder / "statistics.json", found)
    for name, columns in COLUMNS.items():
        write_text(folder / f"{name}.csv", as_csv(columns, found[name]))
