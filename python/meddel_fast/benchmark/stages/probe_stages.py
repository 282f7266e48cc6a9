"""The stages of the probe: small models learn from what was kept, on the pool's own embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.benchmark.config import DataConfig, RunConfig
from meddel_fast.benchmark.probe.choose import Chooser
from meddel_fast.benchmark.probe.labels import Labels, read_labels
from meddel_fast.benchmark.stages.leak_stages import Sets
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Stage, settings
from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import Progress, read_json

if TYPE_CHECKING:
    from meddel_fast.benchmark.probe.table import Scores
    from meddel_fast.images.manifest import Manifest

POOL = "pool"  # what tables call the pool's own samples that are held out


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
        tests = {d.name: _tested(run, d).fingerprint for d in _test_sets(config, task)}
        found = {
            "pool": run.pool_fingerprint(),
            "embeddings": digest(run.embeddings),
            "centre": config.encoder.centre,
            "tests": tests,
            "ratios": config.ratios,
            "selectors": config.selectors,
            "options": config.selector_options,
            "seed": config.seed,
            "probe": settings(config.probe, without=("tasks",)),
        }
        if task == "segmentation":
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


def _test_sets(config: RunConfig, task: str) -> list[DataConfig]:
    """List the sets whose test split is asked about."""
    if task == "classification" and not config.probe.asks_split:
        return []
    return [d for d in config.data if "test" in d.use]


def _tested(run: RunStages, data: DataConfig) -> Manifest:
    return run.manifest(run.manifest_path(data.name)).splits(data.test_splits)


def _classify(
    run: RunStages, chooser: Chooser, progress: Progress
) -> tuple[list[Scores], list[dict[str, Any]]]:
    from meddel_fast.benchmark.probe.probe import probe_classes
    from meddel_fast.training.embed import Embeddings

    config, probe = run.config, run.config.probe
    pool = run.manifest(run.pool_path)
    x = np.asarray(Embeddings.load(run.embeddings).array)
    told, groups = read_labels(pool, probe.by), pool.column("group")
    centre = config.encoder.centre
    if not probe.asks_split:
        labels = _labels(probe.by, POOL, told, groups)
        return probe_classes(x, labels, chooser, probe, name=POOL, centre=centre, progress=progress)
    scores: list[Scores] = []
    about: list[dict[str, Any]] = []
    # what leaked was embedded with the pool before it was taken out
    whole = RunStages(config, run.records, "pool") if config.leakage.exclude else run
    sets = Sets(whole, _test_sets(config, "classification"))
    for data in sets.sets:
        rows = _tested(run, data)
        y = np.asarray(sets.samples(data, data.test_splits).embeddings)
        labels = _labels(
            probe.by,
            data.name,
            told + read_labels(rows, probe.by),
            groups + [g and f"{data.name}/{g}" for g in rows.column("group")],
        )
        tested = np.arange(len(labels)) >= len(pool)
        found = probe_classes(
            np.concatenate([x, y]), labels, chooser, probe, name=data.name, tested=tested,
            centre=centre, progress=progress,
        )  # fmt: skip
        scores += found[0]
        about += found[1]
    return scores, about


def _labels(by: str, name: str, labels: list[str], groups: list[str]) -> Labels:
    try:
        return Labels.of(labels, groups)
    except ValueError as error:
        raise ConfigError(f'[probe] by = "{by}", {name}: {error}') from None


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
    tests = {d.name: run.with_masks(d, d.test_splits) for d in _test_sets(config, "segmentation")}
    return probe_masks(
        x, Images(encoder, pool, tests), chooser, config.downstream,
        draws=config.probe.head_draws, device=config.device,
        offline=own or Path(encoder).is_dir(), progress=progress,
    )  # fmt: skip
