"""The stages of a run that look for test images in the pool, and take them out where asked to."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.benchmark.stage import Stage
from meddel_fast.config import ConfigError, DataConfig
from meddel_fast.files import Progress
from meddel_fast.leakage import PAIRS, SUMMARY, Leakage, Samples, audit

if TYPE_CHECKING:
    from meddel_fast.benchmark.run_stages import RunStages
    from meddel_fast.data.manifest import Manifest


def stages(plan: RunStages) -> list[Stage]:
    """Embed each test set with the pool's encoder, then compare it with the pool."""
    tested = [d for d in plan.config.data if "test" in d.use]
    embedded = [
        plan.embedding(f"leakage/embed-{d.name}", _embeddings(plan, d), partial(_rows, plan, d))
        for d in tested
    ]
    return [*embedded, _audit(plan, tested)]


def pairs_path(plan: RunStages) -> Path:
    """Where the pairs are that the audit found."""
    return plan.out / "leakage" / PAIRS


def _embeddings(plan: RunStages, data: DataConfig) -> Path:
    return plan.out / "leakage" / "test" / data.name


def _rows(plan: RunStages, data: DataConfig) -> Manifest:
    """Give the images of a test set, whatever they are tested on."""
    return plan.manifest(plan.manifest_path(data.name)).splits(data.test_splits)


def _samples(manifest: Manifest, folder: Path) -> Samples:
    from meddel_fast.embed import Embeddings

    return Samples(manifest.ids, Embeddings.load(folder).array, manifest.column("sha256"))


def _audit(plan: RunStages, tested: list[DataConfig]) -> Stage:
    folder = pairs_path(plan).parent

    def inputs() -> dict[str, Any]:
        digest = plan.records.digest
        return {
            "pool": [plan.pool_fingerprint(), digest(plan.embeddings)],
            "tests": [
                [d.name, _rows(plan, d).fingerprint, digest(_embeddings(plan, d))] for d in tested
            ],
            "centre": plan.config.encoder.centre,
            "threshold": plan.config.leakage.threshold,
        }

    def work(progress: Progress) -> None:
        tests = {d.name: _samples(_rows(plan, d), _embeddings(plan, d)) for d in tested}
        found = audit(
            _samples(plan.manifest(plan.pool_path), plan.embeddings),
            tests,
            threshold=plan.config.leakage.threshold,
            centre=plan.config.encoder.centre,
            threads=plan.config.threads,
        )
        found.save(folder)
        progress(len(tests), len(tests))

    return Stage("leakage/audit", (folder / PAIRS, folder / SUMMARY), inputs, work, unit="")


def clean(whole: RunStages, plan: RunStages) -> Stage:
    """Make the pool and its embeddings that `plan` works on: `whole`'s, less what leaked."""

    def inputs() -> dict[str, Any]:
        digest = whole.records.digest
        return {
            "pool": whole.pool_fingerprint(),
            "embeddings": digest(whole.embeddings),
            "pairs": digest(pairs_path(whole)),
        }

    def work(progress: Progress) -> None:
        from meddel_fast.embed import Embeddings

        pool = whole.manifest(whole.pool_path)
        touched = Leakage.load(pairs_path(whole).parent).pool_rows
        left = np.setdiff1d(np.arange(len(pool)), touched)
        if len(left) == 0:
            raise ConfigError(
                f"[leakage] threshold must be higher than {whole.config.leakage.threshold} for "
                "this encoder: every image of the pool is like one of a test set"
            )
        rows = pool.take(left)
        rows.save(plan.pool_path)
        Embeddings.load(whole.embeddings).take(left, rows, plan.embeddings)
        progress(len(left), len(left))

    outputs = (plan.pool_path, plan.embeddings)
    return Stage("leakage/clean", outputs, inputs, work, unit="")
