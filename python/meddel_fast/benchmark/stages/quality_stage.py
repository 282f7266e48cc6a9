"""Images of the pool that break a limit of quality: measured, told of, and taken out if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import Progress

if TYPE_CHECKING:
    from meddel_fast.benchmark.config import RunConfig
    from meddel_fast.images.manifest import Manifest

FILE = "quality.json"
"""In a run's ``data/``: what was done, the number of images, and the reasons of the flawed."""


def inputs(flawed: str) -> dict[str, Any]:
    """Return what the pool depends on beside its sets; nothing where nothing is measured."""
    if flawed == "ignore":
        return {}
    from meddel_fast.images.quality import LIMITS, SIDE

    return {"flawed": flawed, "limits": {name: list(limit) for name, limit in LIMITS.items()},
            "side": SIDE}  # fmt: skip


def measured(
    pool: Manifest, flawed: str, file: Path, config: RunConfig, progress: Progress
) -> Manifest:
    """Measure all images, write which break a limit and why, and return those that stay."""
    from meddel_fast.images.quality import judge, measure_manifest

    found = measure_manifest(pool, workers=config.threads, progress=progress).manifest
    reasons = judge(found)
    fine = reasons == ""
    if flawed == "exclude" and not fine.any():
        raise ConfigError("[quality] flawed = 'exclude' leaves no image in the pool")
    told = {
        name: reason.split("; ")
        for name, reason in zip(found.ids, reasons.tolist(), strict=True)
        if reason
    }
    write_json(file, {"flawed": flawed, "images": len(found), "reasons": told})
    return found.take(np.flatnonzero(fine)) if flawed == "exclude" else found
