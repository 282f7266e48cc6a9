"""The last stages of a run: the tables in ``score/``, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meddel_fast.benchmark.inside import INSIDE
from meddel_fast.benchmark.report import render
from meddel_fast.benchmark.results import UNTRAINED, predictions_path, repeated
from meddel_fast.benchmark.scores.cost import Embedder
from meddel_fast.benchmark.scores.score_tables import score_run
from meddel_fast.benchmark.sight import SIGHT
from meddel_fast.benchmark.stages import generalisation, probe_stages, task_stages
from meddel_fast.benchmark.stages.run_folder import tags
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Stage, settings
from meddel_fast.common.files import Progress
from meddel_fast.common.hashes import sha256_file, sha256_json


def score(run: RunStages) -> Stage:
    """Make the tables."""
    folder = run.out / "score"
    data = task_stages.segmented(run.config)
    scored, repeats = tags(run.config), range(run.config.repeats)
    trains = "pretrain" in run.config.measures
    names = [repeated(t, repeat) for repeat in repeats for t, _, _ in scored]
    tested = names + [repeated(UNTRAINED, repeat) for repeat in repeats]
    paths = [run.result(n, d, s) for n in tested for d in data for s in run.config.seeds]
    logs = [run.out / "pretrain" / name / "loss.csv" for name in names if trains]

    def chosen(repeat: int) -> list[Path]:
        found = [run.selected(t, s, repeat) for t, s, _ in scored]
        return [path for path in found if path is not None]

    def groups() -> dict[str, list[str]]:
        return {d.name: run.with_masks(d, d.test_splits).column("group") for d in data}

    def inputs() -> dict[str, Any]:
        digest = run.records.digest
        return {
            "results": [[digest(p), digest(predictions_path(p))] for p in paths],
            "beyond": [
                *task_stages.digests(run),
                *generalisation.digests(run),
                *probe_stages.digests(run),
            ],
            "selections": [digest(path) for r in repeats for path in chosen(r)],
            "training": [digest(p) for p in logs],
            "pool": run.pool_fingerprint(),
            "groups": sha256_json(groups()),
            "planted": {name: sha256_file(path) for name, path in run.truths().items()},
            "alpha": run.config.alpha,
            "alphas": run.config.alphas,
            "cost": settings(run.config.cost),
        }

    def work(progress: Progress) -> None:
        pool = run.manifest(run.pool_path)
        embedder = _embedder(run)
        score_run(run.config, scored, pool, run.truths(), groups(), embedder, run.selected)
        task_stages.write(run, folder)
        generalisation.write(run, folder)
        probe_stages.write(run, folder)
        progress(1, 1)

    return Stage("score", (folder,), inputs, work, unit="")


def _embedder(run: RunStages) -> Embedder:
    encoder = run.config.encoder
    if encoder.path:
        return Embedder("given", None)
    return Embedder("own" if encoder.steps else "full", run.embedding_model.parent)


def report(run: RunStages) -> Stage:
    """Write the page."""
    path = run.out / "report" / "report.html"

    def inputs() -> dict[str, Any]:
        score = run.records.digest(run.out / "score")
        audit = [run.leaked_pairs, *(run.leaked_pairs.parent / name for name in (SIGHT, INSIDE))]
        leakage = [run.records.digest(path) for path in audit]
        config = settings(run.config, without=("out", "threads", "device"))
        asked = run.config.quality.flawed != "ignore"
        told = {"flaws": run.records.digest(run.flaws)} if asked else {}
        return {"score": score, "leakage": leakage, "config": config} | told

    def work(progress: Progress) -> None:
        render(run.out)
        progress(1, 1)

    return Stage("report", (path,), inputs, work, unit="")
