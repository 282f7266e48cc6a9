"""Every selection of a run with the settings it was made by, and which are one and the same.

``score/selections.json`` has a row for each selection and repetition.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meddel_fast.benchmark.results import repeated
from meddel_fast.benchmark.scores.score import as_csv
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.common.files import read_json
from meddel_fast.selectors import Selection

SELECTION_COLUMNS = (
    *("selector", "ratio", "repeat", "tag", "kept", "retained", "settings"),
    *("left_out_as_disruptive", "same_as", "shared_with"),
)


def selection_rows(
    selections: Sequence[tuple[str, float, int, str, Path]], stages: Path
) -> list[dict[str, Any]]:
    """Make the rows of ``selections.json``.

    Parameters
    ----------
    selections
        Selector, ratio, repetition, tag (without the repetition), and the file of the selection.
    stages
        The run's records.

    Returns
    -------
    list of dict
        Keys `SELECTION_COLUMNS`. "settings" are those of `Selection`, what the method found among
        them. "left_out_as_disruptive" counts the samples that were left out as disruptive, None of
        methods that look for none. "same_as" is the tag of the first selection of the repetition
        that keeps the same samples, and "shared_with" that whose training this one took over; each
        is empty where there is none.
    """
    loaded: dict[Path, Selection] = {}
    first: dict[tuple[int, bytes], str] = {}
    rows = []
    for selector, ratio, repeat, tag, path in selections:
        if path not in loaded:  # one that draws nothing is the same in all repetitions
            loaded[path] = Selection.load(path)
        chosen = loaded[path]
        same = first.setdefault((repeat, chosen.indices.tobytes()), tag)
        looks = "disruptive" in chosen.settings
        rows.append(
            {
                "selector": selector,
                "ratio": ratio,
                "repeat": repeat,
                "tag": tag,
                "kept": len(chosen),
                "retained": len(chosen) / chosen.n,
                "settings": chosen.settings,
                "left_out_as_disruptive": chosen.counts()["disruptive"] if looks else None,
                "same_as": "" if same == tag else same,
                "shared_with": _shared(stages / "pretrain" / f"{repeated(tag, repeat)}.json"),
            }
        )
    return rows


def _shared(record: Path) -> str:
    """Name the training that a pre-training took over; empty when there is none."""
    found = read_json(record) if record.is_file() else {}
    return str(found.get("shared_with", "")).removeprefix("pretrain/")


def write_selections(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``selections.json`` and ``selections.csv``, whose settings are JSON text."""
    write_json(folder / "selections.json", rows)
    flat = [{**row, "settings": json.dumps(row["settings"], sort_keys=True)} for row in rows]
    write_text(folder / "selections.csv", as_csv(SELECTION_COLUMNS, flat))


# What is said of them


def told(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in lines which selections are one and the same, and where epsilon removed nothing."""
    lines = [
        f"{selector}: epsilon = {epsilon:g} removed nothing."
        for selector, epsilon in idle_epsilons(rows).items()
    ]
    for row in rows:
        if row["repeat"] == 0 and row["same_as"]:
            once = ", and shares its training" if row["shared_with"] else ""
            lines.append(f"{row['tag']} keeps the very samples of {row['same_as']}{once}.")
    return lines


def idle_epsilons(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Give the selectors whose epsilon found nothing disruptive in any selection, with it."""
    idle: dict[str, float] = {}
    found = set()
    for row in rows:
        settings = row["settings"]
        if settings.get("epsilon") is not None:
            idle[row["selector"]] = settings["epsilon"]
            if settings.get("disruptive"):
                found.add(row["selector"])
    return {selector: epsilon for selector, epsilon in idle.items() if selector not in found}
