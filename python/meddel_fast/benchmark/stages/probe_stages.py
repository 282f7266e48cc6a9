"""The stages of the probe: small models learn from what was kept, on the pool's own embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.benchmark.probe.choose import Chooser
from meddel_fast.benchmark.stages.leak_stages import Sets
from meddel_fast.benchmark.stages.probe_rows import asked, test_sets, tested_rows
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Stage, settings
from meddel_fast.common.atomic import write_json
from meddel_fast.common.files import Progress, read_json

if TYPE_CHECKING:
    from meddel_fast.benchmark.probe.table import Scores


def stages(run: RunStages) -> list[Stage]:
    """List a stage for each task of the probe; none where nothing is probed."""
    if "probe" not in run.config.measures:
        return []
    return [_stage(run, task) for task in run.config.probe.tasks]


def path_of(run: RunStages, task: str) -> Path:
    """Where the scores of a task are."""
    return run.out / "probe" / f"{task}.json"


def digests(run: RunStages) -> list[str]:
    """Give the hashes of what the stages made."""
    return [run.records.digest(path_of(run, one.label)) for one in stages(run)]


def write(run: RunStages, folder: Path) -> None:
    """Write ``probe.json`` and its tables; nothing where nothing is probed."""
    from meddel_fast.benchmark.probe.table import join, write_tables

    if found := [read_json(path_of(run, one.label)) for one in stages(run)]:
        write_tables(folder, join(found))


def _stage(run: RunStages, task: str) -> Stage:
    path, config = path_of(run, task), run.config

    def inputs() -> dict[str, Any]:
        digest = run.records.digest
        tests = {d.name: tested_rows(run, d).fingerprint for d in test_sets(config, task)}
        found = {
            "pool": run.pool_fingerprint(),
            "embeddings": digest(run.embeddings),
            "centre": config.encoder.centre,
            "tests": tests,
            "ratios": config.ratios,
            "selectors": config.selectors,
            "options": config.selector_options,
            "seed": config.seed,
        }
        if task == "classification":
            found["probe"] = settings(config.probe, without=("tasks", "head_draws"))
        else:
            found["draws"] = config.probe.head_draws
            found["head"] = settings(config.downstream)
            found["encoder"] = _encoder_key(run)
        return found

    def work(progress: Progress) -> None:
        from meddel_fast.benchmark.probe.table import tables

        run.use_threads()
        chooser = Chooser(
            config.selectors, config.ratios, _options(run, progress), config.seed, config.threads
        )
        probe = _classify if task == "classification" else _segment
        scores, about = probe(run, chooser, progress)
        write_json(path, tables(scores, about))

    return Stage(f"probe/{task}", (path,), inputs, work, unit="")


def _encoder_key(run: RunStages) -> Any:
    from meddel_fast.training.embed import Embeddings

    return Embeddings.load(run.embeddings).index["encoder_sha256"]


def _options(run: RunStages, progress: Progress) -> dict[str, dict[str, Any]]:
    """Give the selectors' options, with the losses of the MAE where one asks for them."""
    found = {name: dict(options) for name, options in run.config.selector_options.items()}
    for name in run.config.selectors:
        if found.get(name, {}).get("score") == "mae":
            found[name]["score"] = run.mae_losses(progress)
    return found


def _classify(
    run: RunStages, chooser: Chooser, progress: Progress
) -> tuple[list[Scores], list[dict[str, Any]]]:
    from meddel_fast.benchmark.probe.probe import probe_classes
    from meddel_fast.training.embed import Embeddings

    config = run.config
    pool = run.manifest(run.pool_path)
    x = np.asarray(Embeddings.load(run.embeddings).array)
    # what leaked was embedded with the pool before it was taken out
    whole = RunStages(config, run.records, "pool") if config.leakage.exclude else run
    sets = Sets(whole, test_sets(config, "classification"))
    scores: list[Scores] = []
    about: list[dict[str, Any]] = []
    for one in asked(run, pool):
        parts = [x]
        if one.data is not None:
            parts.append(np.asarray(sets.samples(one.data, one.data.test_splits).embeddings))
        found = probe_classes(
            np.concatenate(parts), one.labels, chooser, config.probe, name=one.name,
            tested=one.tested, centre=config.encoder.centre, progress=progress,
        )  # fmt: skip
        scores += found[0]
        about += found[1]
    return scores, about


def _segment(
    run: RunStages, chooser: Chooser, progress: Progress
) -> tuple[list[Scores], list[dict[str, Any]]]:
    from meddel_fast.benchmark.probe.probe import probe_masks
    from meddel_fast.benchmark.probe.segmentation import Images
    from meddel_fast.training.embed import Embeddings

    config = run.config
    embeddings = Embeddings.load(run.embeddings)
    x = embeddings.centred if config.encoder.centre else embeddings.array
    own = not config.encoder.path
    encoder = str(run.embedding_model) if own else config.encoder.path
    pool = run.manifest(run.pool_path)
    tests = {d.name: run.with_masks(d, d.test_splits) for d in test_sets(config, "segmentation")}
    return probe_masks(
        x, Images(encoder, pool, tests), chooser, config.downstream,
        draws=config.probe.head_draws, device=config.device,
        offline=own or Path(encoder).is_dir(), progress=progress,
    )  # fmt: skip
