"""What a run comes to, told before it is run: its pool, and what is trained at each ratio.

The pool is counted where its manifest is there or its frames are made, else taken from the
registry. The three sets that the paper pre-trains on are held against the counts that it prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meddel_fast.arrays import check_budget
from meddel_fast.benchmark.config import SPLITS, DataConfig, RunConfig
from meddel_fast.benchmark.results import tag
from meddel_fast.common.columns import aligned

if TYPE_CHECKING:
    from meddel_fast.images.datadel.data_set import DataSet

PAPER_KEPT = {1.0: 88_282, 0.5: 43_484, 0.33: 28_352, 0.2: 16_789, 0.1: 9_055, 0.05: 4_461}
"""Images that the paper keeps, by the ratio that it calls them (its Table 2)."""


@dataclass(frozen=True)
class Pool:
    """What is known of a run's pool.

    Attributes
    ----------
    images
        Its size; None where that is not known before the data are read.
    parts
        Each set's name, with its images where they are known.
    videos
        Videos whose frames come on top of `images`, where the release has them.
    source
        Where `images` are from.
    is_papers
        Whether it is of the very sets that the paper pre-trains on, whole.
    """

    images: int | None
    parts: dict[str, int | None]
    videos: int
    source: str
    is_papers: bool


def pool_of(config: RunConfig) -> Pool:
    """Tell how large the pool of a run is, as far as that is known yet."""
    sets = [d for d in config.data if "pretrain" in d.use]
    parts = {d.name: _images(config, d) for d in sets}
    entries = [entry for d in sets if (entry := _entry(d)) is not None]
    whole = len(entries) == len(sets) and all({*d.pretrain_splits} == {*SPLITS} for d in sets)
    is_papers = whole and sorted(d.set for d in sets) == sorted(_paper_sets())
    there = config.out / "data" / "pretrain.parquet"
    if there.is_file():
        from meddel_fast.images.manifest import Manifest

        return Pool(len(Manifest.load(there)), parts, 0, "as the run has read them", is_papers)
    known = [n for n in parts.values() if n is not None]
    cleaned = config.leakage.exclude or config.quality.flawed == "exclude"
    images = sum(known) if len(known) == len(parts) and not cleaned else None
    videos = sum(part.videos or 0 for entry in entries for part in entry.parts)
    source = "by the registry" if entries else "as they are made"
    return Pool(images, parts, videos, source, is_papers)


def _entry(data: DataConfig) -> DataSet | None:
    from meddel_fast.images.datadel.registry import known_set

    return known_set(data.set) if data.set else None


def _paper_sets() -> list[str]:
    from meddel_fast.images.datadel.registry import data_sets

    return [key for key, entry in data_sets().items() if entry.division == "pre-training"]


def _images(config: RunConfig, data: DataConfig) -> int | None:
    """Images of a set that are pre-trained on; None where only reading the set tells."""
    if data.made is not None:
        from meddel_fast.images.made.frames import check_made

        frames = check_made({"seed": config.seed, **data.made})
        return sum(frames[split] for split in data.pretrain_splits)
    entry = _entry(data)
    if entry is None or data.path is None:
        return None
    # A download of a collection, such as PraNet's TrainDataset, that is all of one split.
    parts = [part for part in entry.parts if part.download == data.path.name]
    if len(parts) == 1 and {getattr(one, "split", "") for one in parts[0].layouts} <= {
        *data.pretrain_splits
    }:
        return parts[0].images
    return entry.images if {*data.pretrain_splits} == {*SPLITS} else None


def told(config: RunConfig, stages: Sequence[str]) -> list[str]:
    """Write what a run comes to, for the terminal.

    Parameters
    ----------
    config
        The settings.
    stages
        Names of the run's stages, of which trainings and heads are counted.
    """
    pool = pool_of(config)
    counts = {ratio: _trainings(stages, ratio) for ratio in sorted(config.ratios, reverse=True)}
    rows = [_row(config, pool, ratio, count) for ratio, count in counts.items() if count]
    heads = ["ratio", "kept", "share", "epochs", "steps", "warm-up", "trainings"]
    table = [heads, *rows]
    if pool.is_papers:
        table[0] += ["paper: kept", "share", "steps"]
        for row, ratio in zip(rows, (r for r, n in counts.items() if n), strict=True):
            row += _papers(config, ratio)
    return [*_pool_told(pool), *(["", *aligned(table, 0)] if rows else []), *_rest(config, stages)]


def _trainings(stages: Sequence[str], ratio: float) -> int:
    names = [name.partition("-repeat")[0] for name in stages if name.startswith("pretrain/")]
    return sum(name.endswith(tag("", ratio)) for name in names)


def _row(config: RunConfig, pool: Pool, ratio: float, trainings: int) -> list[str]:
    epochs = config.pretrain.epochs_at(ratio)
    kept = None if pool.images is None else check_budget(ratio, pool.images)
    cells = [f"{100 * ratio:g} %", "?", f"{100 * ratio:.1f} %"]
    cells.append("" if epochs is None else f"{epochs:g}")
    steps, warmup = "?", "at most a tenth"
    if kept is not None:
        settled = config.pretrain.at_ratio(ratio, kept)
        cells[1:3] = [f"{kept:,}", f"{100 * kept / (pool.images or 1):.1f} %"]
        cells[3] = cells[3] or f"{settled.steps * settled.batch_size / kept:.1f}"
        steps, warmup = f"{settled.steps:,}", f"{settled.warmup_steps:,}"
    elif not config.pretrain.epochs:
        steps, warmup = f"{config.pretrain.steps:,}", f"{config.pretrain.warmup_steps:,}"
    return [*cells, steps, warmup, str(trainings)]


def _papers(config: RunConfig, ratio: float) -> list[str]:
    """Say what the paper keeps at a ratio, and what its epochs then come to."""
    if ratio not in PAPER_KEPT:
        return ["", "", ""]
    kept = PAPER_KEPT[ratio]
    steps = config.pretrain.at_ratio(ratio, kept).steps
    return [f"{kept:,}", f"{100 * kept / PAPER_KEPT[1.0]:.1f} %", f"{steps:,}"]


def _pool_told(pool: Pool) -> list[str]:
    parts = ", ".join(f"{k} {'?' if n is None else f'{n:,}'}" for k, n in pool.parts.items())
    if pool.images is None:
        return [f"pool: its size is known when the data are read ({parts})"]
    lines = [f"pool: {pool.images:,} images {pool.source} ({parts})"]
    if pool.videos:
        lines.append(f"      and frames of {pool.videos} videos, if these lie there too")
    if pool.is_papers:
        frames = sum(entry.paper_frames or 0 for entry in _paper_entries())
        more = pool.images - PAPER_KEPT[1.0]
        lines += [
            f"      the paper's Table 1 has {frames:,}, its Table 2 calls {PAPER_KEPT[1.0]:,} of "
            "them 100 % and does not say which",
            f"      this pool has {abs(more):,} {'more' if more > 0 else 'fewer'} than these",
        ]
    return lines


def _paper_entries() -> list[DataSet]:
    from meddel_fast.images.datadel.registry import data_sets

    return [data_sets()[key] for key in _paper_sets()]


def _rest(config: RunConfig, stages: Sequence[str]) -> list[str]:
    """Count what the table does not have: other trainings, and heads."""
    own = [name for name in stages if name == "encoder"]
    across = [n for n in stages if n.startswith("generalisation/") and n.count("/pretrain/")]
    heads = [n for n in stages if n.startswith("evaluate/") or n.count("/evaluate/")]
    lines = [f"the encoder that embeds: {config.encoder.steps:,} steps"] if own else []
    if across and config.generalisation:
        share = 100 * config.generalisation.ratio
        epochs = config.pretrain.epochs_at(config.generalisation.ratio)
        long = f"{config.pretrain.steps:,} steps" if epochs is None else f"{epochs:g} epochs"
        lines.append(f"single sets: {len(across)} trainings on {share:g} % of one, {long} each")
    probe = config.probe
    draws = {"classification": probe.draws, "segmentation": probe.head_draws}
    below = [ratio for ratio in config.ratios if ratio < 1]
    each = len(below) * len({"random", *config.selectors}) + (len(below) < len(config.ratios))
    for task in (name.removeprefix("probe/") for name in stages if name.startswith("probe/")):
        lines.append(f"probe, {task}: {draws[task]} draws of {each} selections")
    if "pretrain" not in config.measures:
        return lines
    return [*lines, f"heads: {len(heads):,} are trained and tested"]
