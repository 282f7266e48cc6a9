"""What the probe of a run learns from and asks about: classes of the pool, classes of test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from meddel_fast.benchmark.config import DataConfig, RunConfig
from meddel_fast.benchmark.probe.deals import deal_draws
from meddel_fast.benchmark.probe.labels import Labels, read_labels
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from meddel_fast.benchmark.stages.run_folder import RunFolder
    from meddel_fast.images.manifest import Manifest

POOL = "pool"  # what tables call the pool's own samples that are held out


class Asked(NamedTuple):
    """The classes of the pool's images, then of those of a test set."""

    name: str
    data: DataConfig | None
    """The test set; None where a share of the pool is held out."""
    labels: Labels
    tested: NDArray[np.bool_] | None


def test_sets(config: RunConfig, task: str) -> list[DataConfig]:
    """List the sets whose test split is asked about."""
    if task == "classification" and not config.probe.asks_split:
        return []
    return [d for d in config.data if "test" in d.use]


def tested_rows(run: RunFolder, data: DataConfig) -> Manifest:
    """Give the images of a set's test splits."""
    return run.manifest(run.manifest_path(data.name)).splits(data.test_splits)


def asked(run: RunFolder, pool: Manifest) -> list[Asked]:
    """Give the classes that are learnt and asked about.

    Raises
    ------
    ConfigError
        There are no two classes, or nothing could be asked about.
    """
    probe = run.config.probe
    told, groups = read_labels(pool, probe.by), pool.column("group")
    if probe.by == "folder":  # the first part of an id is the name of its set
        told = [label.partition("/")[2] for label in told]
    if not probe.asks_split:
        return [_asked(run, Asked(POOL, None, _labels(run, POOL, told, groups), None))]
    found = []
    for data in test_sets(run.config, "classification"):
        rows = tested_rows(run, data)
        more = [group and f"{data.name}/{group}" for group in rows.column("group")]
        theirs = more if probe.by == "sequence" else read_labels(rows, probe.by)
        labels = _labels(run, data.name, told + theirs, groups + more)
        tested = np.arange(len(labels)) >= len(pool)
        found.append(_asked(run, Asked(data.name, data, labels, tested)))
    return found


def check(run: RunFolder, parts: Sequence[Manifest]) -> None:
    """Refuse a probe that has nothing to learn or to ask, before any work.

    Parameters
    ----------
    run
        The run.
    parts
        The rows of each set of the pool.
    """
    from meddel_fast.images.manifest import Manifest

    if "probe" not in run.config.measures:
        return
    pool = Manifest.concat(parts, POOL)
    if "classification" in run.config.probe.tasks:
        asked(run, pool)
    if "segmentation" in run.config.probe.tasks:
        if not any(pool.mask_paths()):
            raise ConfigError(
                f"[probe] segmentation: none of the {len(pool)} images of the pool has a mask"
            )
        for data in test_sets(run.config, "segmentation"):
            run.with_masks(data, data.test_splits)


def _labels(run: RunFolder, name: str, labels: list[str], groups: list[str]) -> Labels:
    try:
        return Labels.of(labels, groups)
    except ValueError as error:
        raise ConfigError(f'[probe] by = "{run.config.probe.by}", {name}: {error}') from None


def _asked(run: RunFolder, one: Asked) -> Asked:
    probe = run.config.probe
    try:
        deal_draws(one.labels, 1, share=probe.held_out, seed=0, tested=one.tested)
    except ValueError as error:
        raise ConfigError(f'[probe] by = "{probe.by}", {one.name}: {error}') from None
    return one
