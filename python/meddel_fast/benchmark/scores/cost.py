"""What a selection costs and saves: bytes, steps, time, and an estimate of the energy.

Times are measured, so that no two runs have the same; they stand in ``costs.csv``, apart from the
scores, which a repeated run must reproduce.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.common.files import read_json

if TYPE_CHECKING:
    from meddel_fast.benchmark.config import CostConfig

STEADY_COLUMNS = ("kept_bytes", "saved_bytes", "steps")
"""Those that are the same in every run; the score table has them too."""

COST_COLUMNS = (
    *("selector", "ratio", "kept", *STEADY_COLUMNS, "repeats"),
    *("encoder", "encoder_seconds", "embed_seconds", "loss_seconds", "select_seconds"),
    *("pretrain_seconds", "total_seconds", "device", "gpu_hours", "energy_wh_estimated"),
)
LOSS_SECONDS = "loss_seconds"
"""Of the record of a selection: its part in which the MAE losses of all images were measured."""
_NO_EMBEDDINGS = ("full", "random")  # need none, although the run made them for the others


@dataclass(frozen=True)
class Embedder:
    """What embedded the pool.

    Attributes
    ----------
    name
        "own": an encoder of the run, trained for that alone; "full": the model that all data
        pre-train; "given": one that was there before, whose training nobody here paid.
    folder
        Its pre-training; None of a given one.
    """

    name: str
    folder: Path | None


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
    row: dict[str, Any],
    folders: Sequence[Path],
    embedder: Embedder,
    stages: Path,
    watts: CostConfig,
) -> dict[str, Any]:
    """Add time, GPU hours and energy to what is known of a selection.

    All that the selection needs is in it, as if it were the only one of the run; all data and
    random need neither an encoder nor embeddings.

    Parameters
    ----------
    row
        selector, ratio, kept, and the columns `STEADY_COLUMNS`.
    folders
        The pre-training of each repetition; seconds are their mean. One that has the same subset
        as another counts as if it had been trained.
    embedder
        What embedded the pool.
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
    needed = _selection_seconds(str(row["selector"]), embedder, stages)
    device = read_json(folders[0] / "model" / "pretrain.json")["device"]
    on_gpu = device == "cuda"
    total = hours = energy = None
    if trained is not None and needed["encoder_seconds"] is not None:
        total = trained + sum(needed.values())
        heavy = total - needed["select_seconds"]
        hours = on_gpu * heavy / 3600
        energy = watts.cpu_watts * total / 3600 + watts.gpu_watts * hours
    return {
        **row,
        "repeats": len(folders),
        "encoder": "none" if row["selector"] in _NO_EMBEDDINGS else embedder.name,
        **needed,
        "pretrain_seconds": trained,
        "total_seconds": total,
        "device": device,
        "gpu_hours": hours,
        "energy_wh_estimated": energy,
    }


def _selection_seconds(selector: str, embedder: Embedder, stages: Path) -> dict[str, Any]:
    """Give the seconds of what comes before pre-training, for all ratios of a selector together."""
    found: dict[str, float | None] = dict.fromkeys(
        ("encoder_seconds", "embed_seconds", LOSS_SECONDS, "select_seconds"), 0.0
    )
    if selector not in _NO_EMBEDDINGS:
        folder = embedder.folder
        found["encoder_seconds"] = 0.0 if folder is None else training_seconds(folder)
        found["embed_seconds"] = float(read_json(stages / "embed.json")["seconds"])
    if selector != "full":
        record = read_json(stages / "select" / f"{selector}.json")
        losses = float(record.get(LOSS_SECONDS, 0.0))
        # Rounded by themselves, the part may come out above the whole.
        found |= {LOSS_SECONDS: losses, "select_seconds": max(0.0, record["seconds"] - losses)}
    return found
