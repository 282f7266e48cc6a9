"""What a selection costs and saves: bytes, steps, time, and an estimate of the energy.

Times are measured, so that no two runs have the same; they stand in ``costs.csv``, apart from the
scores, which a repeated run must reproduce.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.common.files import read_json

if TYPE_CHECKING:
    from meddel_fast.benchmark.config import CostConfig

STEADY_COLUMNS = ("kept_bytes", "saved_bytes", "steps")
"""Those that are the same in every run; the score table has them too."""

COST_COLUMNS = (
    *("selector", "ratio", "kept", *STEADY_COLUMNS, "repeats"),
    *("embed_seconds", "select_seconds", "pretrain_seconds"),
    *("device", "gpu_hours", "energy_wh_estimated"),
)
_NO_EMBEDDINGS = ("full", "random")  # need none, although the run made them for the others


def bytes_kept(sizes: Sequence[int], kept: Sequence[int]) -> dict[str, int]:
    """Give the file bytes of the images kept, and of those not."""
    inside = sum(sizes[i] for i in kept)
    return {"kept_bytes": inside, "saved_bytes": sum(sizes) - inside}


def training_steps(folder: Path) -> int:
    """Read the number of optimiser steps of the pre-training in a folder."""
    return int(read_json(folder / "model" / "pretrain.json")["settings"]["steps"])


def training_seconds(folder: Path) -> float | None:
    """Seconds that the steps of a pre-training took; None when its log does not tell.

    From the rates in ``loss.csv``, which cover every step once, however often the run was stopped.
    """
    batch = int(read_json(folder / "model" / "pretrain.json")["settings"]["batch_size"])
    with (folder / "loss.csv").open(newline="", encoding="utf-8") as file:
        rates = [float(row["images_per_s"]) for row in csv.DictReader(file)]
    return sum(batch / rate for rate in rates) if rates and min(rates) > 0 else None


def cost_row(
    row: dict[str, Any], folders: Sequence[Path], stages: Path, watts: CostConfig
) -> dict[str, Any]:
    """Add time, GPU hours and energy to what is known of a selection.

    Parameters
    ----------
    row
        selector, ratio, kept, and the columns `STEADY_COLUMNS`.
    folders
        The pre-training of each repetition; seconds are their mean. One that has the same subset
        as another counts as if it had been trained.
    stages
        The run's records, for the seconds of embedding and selection: of the stage's last start,
        and for all ratios of a selector together.
    watts
        What the machine is assumed to draw.

    Returns
    -------
    dict
        Keys `COST_COLUMNS`; None where a time is not known.
    """
    times = [training_seconds(folder) for folder in folders]
    known = [t for t in times if t is not None]
    trained = sum(known) / len(known) if len(known) == len(times) else None
    selects = row["selector"] != "full"
    embedded = _seconds(stages / "embed.json") if row["selector"] not in _NO_EMBEDDINGS else 0.0
    selected = _seconds(stages / "select" / f"{row['selector']}.json") if selects else 0.0
    device = read_json(folders[0] / "model" / "pretrain.json")["device"]
    on_gpu = device == "cuda"
    energy = None
    if trained is not None:
        heavy = trained + embedded
        joules = watts.cpu_watts * (heavy + selected) + on_gpu * watts.gpu_watts * heavy
        energy = joules / 3600
    return {
        **row,
        "repeats": len(folders),
        "embed_seconds": embedded,
        "select_seconds": selected,
        "pretrain_seconds": trained,
        "device": device,
        "gpu_hours": None if trained is None else on_gpu * (trained + embedded) / 3600,
        "energy_wh_estimated": energy,
    }


def _seconds(record: Path) -> float:
    return float(read_json(record)["seconds"])
