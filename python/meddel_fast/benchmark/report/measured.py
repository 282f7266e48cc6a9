"""What a run measures, and by which rule it is judged: the sentences that explain the page."""

from __future__ import annotations

import math
from typing import Any

from meddel_fast.benchmark.probe.table import PROBES
from meddel_fast.benchmark.report import floors
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.measures import Measure, pretraining, probing
from meddel_fast.benchmark.report.text import listed, number, percent


def measured(run: Run) -> dict[str, Any]:
    """Give the explanation of each kind of measurement that the run has."""
    measure, probe = pretraining(run), probing(run)
    names = dict.fromkeys(
        PROBES.get(row["probe"], str(row["probe"])) for row in run.probe.get("rows", [])
    )
    return {
        "scored": bool(run.scores),
        "given": _given(run),
        "encoder": _encoder(run),
        "by_image": bool(run.scores) and "image_iou_mean" in run.scores[0],
        "steps": _steps(run),
        "alpha": run.alpha,
        "top": f"{100 / (1 + math.exp(-1)):.1f}",
        "low_ends": floors.low_ends(run),
        "probes": listed(list(names)),
        "rules": [_rule(m, run) for m in (measure, probe) if m is not None],
    }


def _encoder(run: Run) -> str:
    """Say whether the heads' training changes the encoder."""
    encoder = run.about.get("config", {}).get("downstream", {}).get("encoder")
    return {"frozen": "stays as it is", "finetuned": "is trained with it"}.get(encoder, "")


def _steps(run: Run) -> str:
    """Say how many optimiser steps the trainings had, where the scores tell it."""
    steps = sorted({int(row["steps"]) for row in run.scores if row.get("steps") is not None})
    if not steps:
        return ""
    if len(steps) == 1:
        return f"Every training had {number(steps[0])} optimiser steps."
    return f"Trainings had from {number(steps[0])} to {number(steps[-1])} optimiser steps."


def _given(run: Run) -> str:
    """Say how given predictions are scored; nothing of a run with models of its own."""
    if not run.is_given:
        return ""
    scoring = run.about["given"]["scoring"]
    size = scoring["size"]
    where = f"squeezed to {size} pixels a side" if size else "at the size of each mask"
    return (
        "Predictions of models that were trained elsewhere are held against the masks of the test "
        f"images, {where}; what is above {scoring['threshold']:g} counts as lesion. How the models "
        "were trained is not known here."
    )


def _rule(measure: Measure, run: Run) -> dict[str, Any]:
    rule = measure.rule
    trained = "comparison" if run.is_given else "pre-training"
    return {
        "of": "probe" if measure.probe else trained,
        "confidence": percent(float(rule["confidence"])),
        "correction": str(rule["correction"]),
        "why": str(rule.get("why", "")),
        "leaves_out": str(rule.get("leaves_out", "")).rstrip("."),
        "floors": any(group.floors for group in measure.groups),
    }
