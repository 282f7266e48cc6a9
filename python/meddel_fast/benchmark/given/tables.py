"""``score/`` of given predictions: the tables of a run, over what all selections have.

Differences are paired by run and image, so a table compares the runs (repetition, seed) that every
selection has on every data set. Those that only some have so far wait, and are named.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meddel_fast.benchmark.results import Result, masked_rows, results_of_run
from meddel_fast.benchmark.scores.bootstrap import Floats, Run, Sample, average
from meddel_fast.benchmark.scores.floors import write_floors
from meddel_fast.benchmark.scores.other_scores import averages, by_image
from meddel_fast.benchmark.scores.score import score_rows, write_rows, write_scores
from meddel_fast.benchmark.scores.score_tables import (
    Results,
    counted,
    floors_of,
    group,
    sample_table,
    spans_of,
    write_statistics,
)
from meddel_fast.benchmark.scores.statistics import MEAN, Key, all_statistics
from meddel_fast.common.atomic import atomic_directory
from meddel_fast.common.columns import aligned
from meddel_fast.common.files import read_json
from meddel_fast.common.untrusted import described
from meddel_fast.training.predictions import load_confusions

COLUMNS = (
    *("selector", "ratio", "dataset", "measure", "runs", "mean", "low", "high"),
    *("images", "missing", "resized"),
)
"""Of ``given.csv``: scores averaged over images, with their intervals, and what was read."""
MEASURES = {
    "image_iou": "IoU",
    "image_dice": "Dice",
    "pranet_iou": "meanIoU (PraNet)",
    "pranet_dice": "meanDic (PraNet)",
}
"""The scores averaged over images, and what tables call them."""
LEAVES_OUT = (
    "What was trained anew from one repetition to the next is not known from predictions: what was "
    "not is in no interval."
)
ONE_REPETITION = (
    "one repetition: how much another selection and training would move a score is not known, so "
    "no difference is judged (predictions of further ones, with --repeat, would tell)"
)


def common(about: Mapping[str, Any]) -> set[Run]:
    """Give the runs that every selection has on every data set."""
    runs: dict[tuple[str, str], set[Run]] = {
        (tag["tag"], data["name"]): set()
        for tag in about["tags"]
        for data in about["config"]["data"]
    }
    for name, data, repeat, seed in about["given"]["results"]:
        runs[name, data].add((repeat, seed))
    return set.intersection(*runs.values()) if runs else set()


def write(run_dir: Path, about: Mapping[str, Any]) -> list[str]:
    """Make the tables anew; say which results they leave out, and what is missing for them."""
    shared = common(about)
    results = results_of_run(run_dir, dict(about))
    notes = _waiting(about, results, shared)
    if not shared:
        shutil.rmtree(run_dir / "score", ignore_errors=True)
        return [*notes, "no tables yet: no run is there for all selections and data sets"]
    compared = group([r for r in results if (r.repeat, r.seed) in shared])
    groups = {
        data["name"]: masked_rows(run_dir, data, "test").column("group")
        for data in about["config"]["data"]
    }
    alpha, alphas = about["config"]["alpha"], about["config"]["alphas"]
    retained = {key: key[1] for key in compared}
    counts = list(counted(compared, groups))
    table = sample_table(counts, groups)
    spans = spans_of(counts, groups, table, retained, alpha)
    scores = []
    for key, sets in compared.items():
        written = {name: [read_json(r.path) for r in found] for name, found in sets.items()}
        for row in score_rows(*key, (key[1], 1), written, alpha):
            # How many images that are, nobody told.
            scores.append({**row, "kept": None, **spans[key][row["dataset"]]})
    statistics = all_statistics(table, retained, alpha, alphas)
    statistics["rule"] |= {"leaves_out": LEAVES_OUT}
    if statistics["rule"]["why"]:
        statistics["rule"] |= {"why": ONE_REPETITION}
    shares = {ratio: ratio for _, ratio in compared}
    floors = floors_of(table, compared, counts, shares, alpha)
    averaged = image_rows(compared, groups)
    with atomic_directory(run_dir / "score", replace=True) as folder:
        write_scores(folder, scores, [])
        write_floors(folder, floors)
        write_statistics(folder, statistics)
        write_rows(folder, "given", COLUMNS, averaged)
    return notes


def _waiting(about: Mapping[str, Any], results: Sequence[Result], shared: set[Run]) -> list[str]:
    """Say of each selection and data set which runs of the others it lacks."""
    runs = {(r.repeat, r.seed) for r in results}
    if runs == shared:
        return []
    notes = []
    for tag in about["tags"]:
        for data in about["config"]["data"]:
            have = {(r.repeat, r.seed) for r in results
                    if (r.tag, r.data) == (tag["tag"], data["name"])}  # fmt: skip
            lacking = sorted(runs - have)
            if lacking:
                named = ", ".join(f"{repeat}/{seed}" for repeat, seed in lacking)
                notes.append(
                    f"{tag['tag']} on {data['name']} lacks the runs (repetition/seed) {named}, "
                    "which the tables leave out"
                )
    return notes


def image_rows(results: Results, groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Give scores averaged over images, each with its interval; of several sets also their mean."""
    found: dict[tuple[Key, str], dict[str, Sample]] = {}
    about: dict[tuple[Key, str], dict[str, int]] = {}
    for name, together in groups.items():
        values: dict[str, dict[Key, list[Floats]]] = {}
        for key, sets in results.items():
            runs = [(result.repeat, result.seed) for result in sets[name]]
            for result in sets[name]:
                written = read_json(result.path)
                with described(result.path, "result of given predictions"):
                    scores = _by_image(result, written)
                    about[key, name] = {k: written["given"][k] for k in ("missing", "resized")}
                    about[key, name]["images"] = written["images"]
                for measure, each in scores.items():
                    values.setdefault(measure, {}).setdefault(key, []).append(each)
        for measure, by_key in values.items():
            stacked = {key: np.stack(scores) for key, scores in by_key.items()}
            for key, sample in averages(stacked, runs, name, together).items():
                found.setdefault((key, measure), {})[name] = sample
    rows = []
    for (key, measure), samples in found.items():
        more = {MEAN: average(list(samples.values()))} if len(samples) > 1 else {}
        for name, sample in {**samples, **more}.items():
            low, high = sample.interval()
            rows.append({
                "selector": key[0], "ratio": key[1], "dataset": name, "measure": measure,
                "runs": len(sample.observed), "mean": sample.mean, "low": low, "high": high,
                **about.get((key, name), {}),
            })  # fmt: skip
    return rows


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the rows of ``given.json`` for the terminal."""
    measures = [m for m in MEASURES if any(row["measure"] == m for row in rows)]
    places = dict.fromkeys((r["selector"], r["ratio"], r["dataset"]) for r in rows)
    at = {(r["selector"], r["ratio"], r["dataset"], r["measure"]): r for r in rows}
    lines = [["selector", "kept", "data set", *(MEASURES[m] for m in measures)]]
    for selector, ratio, dataset in places:
        cells = [at[selector, ratio, dataset, m] for m in measures]
        spans = [
            f"{100 * c['mean']:.2f} [{100 * c['low']:.1f}, {100 * c['high']:.1f}]" for c in cells
        ]
        lines.append([selector, f"{100 * ratio:g} %", dataset, *spans])
    laid = aligned(lines, len(lines[0]))
    runs = max(row["runs"] for row in rows)
    note = f"Averaged over images, per cent, {runs} run{'s' * (runs > 1)} [95 % interval]."
    return "\n".join([laid[0], "-" * max(map(len, laid)), *laid[1:], note])


def _by_image(result: Result, written: Mapping[str, Any]) -> dict[str, Floats]:
    """Give the scores of each image by measure; NaN where the mask ignores all of it."""
    _, counts = load_confusions(result.predictions)
    found = by_image(counts)
    if "pranet" in written:
        each = np.array(written["pranet"]["images"], np.float64).reshape(len(counts), 2)
        found |= {"pranet_iou": each[:, 0], "pranet_dice": each[:, 1]}
    return found
