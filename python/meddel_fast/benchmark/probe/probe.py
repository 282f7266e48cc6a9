"""A probe from its samples to its scores: of classes, and of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.probe.choose import Chooser
from meddel_fast.benchmark.probe.classification import FLOOR, about, classify
from meddel_fast.benchmark.probe.deals import deal_draws
from meddel_fast.benchmark.probe.labels import Labels
from meddel_fast.benchmark.probe.measures import mean_samples, recall_samples
from meddel_fast.benchmark.probe.table import Scores
from meddel_fast.benchmark.probe_settings import ProbeConfig
from meddel_fast.benchmark.scores.bootstrap import resample
from meddel_fast.benchmark.scores.other_scores import by_image
from meddel_fast.common.files import Progress

if TYPE_CHECKING:
    from meddel_fast.benchmark.probe.segmentation import Images
    from meddel_fast.training.settings import DownstreamConfig

Found = tuple[list[Scores], list[dict[str, Any]]]
"""Scores, and what they were counted on, for people."""


def probe_classes(
    x: NDArray[Any],
    labels: Labels,
    chooser: Chooser,
    config: ProbeConfig,
    *,
    name: str,
    tested: NDArray[np.bool_] | None = None,
    centre: bool = True,
    progress: Progress | None = None,
) -> Found:
    """Learn classes from what the selectors keep.

    Parameters
    ----------
    x : shape (n, d)
        Features of all samples.
    labels
        Their classes and groups.
    chooser
        The selectors.
    config
        Probes and draws.
    name
        What tables call the data.
    tested : shape (n,)
        Samples that are kept for testing; else a share of each class is, anew in each draw.
    centre
        Whether the mean of the pool is taken away.
    progress
        Called as ``progress(done, total)``.

    Raises
    ------
    ValueError
        Nothing can be asked about, or nothing learnt.
    """
    deals = deal_draws(
        labels, config.draws, share=config.held_out, seed=chooser.seed, tested=tested
    )
    found = classify(x, labels, deals, chooser, config, centre=centre, progress=progress)
    scores = []
    for probe, right in found.right.items():
        samples = {
            "accuracy": mean_samples(right, found.tested, labels.groups, name),
            "macro_recall": recall_samples(
                right, found.tested, labels.classes, labels.groups, name
            ),
        }
        scores += [
            Scores(probe, "classification", name, metric, FLOOR, each, found.kept)
            for metric, each in samples.items()
        ]
    how = "split" if tested is not None else "held out"
    told = {"task": "classification", "dataset": name, "test": how}
    return scores, [told | about(labels, deals, found)]


def probe_masks(
    x: NDArray[Any],
    images: Images,
    chooser: Chooser,
    config: DownstreamConfig,
    *,
    draws: int,
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> Found:
    """Learn masks from what the selectors keep; see `segmentation.segment`."""
    from meddel_fast.benchmark.probe import segmentation as masks

    found = masks.segment(
        x, images, chooser, config, draws=draws, device=device, offline=offline, progress=progress
    )
    runs = [(draw, 0) for draw in range(draws)]
    scores, told = [], []
    for name, counts in found.counts.items():
        test = images.tests[name]
        groups = test.column("group")
        counted = np.asarray(next(iter(counts.values())).any(axis=(2, 3)))
        each = {key: by_image(one) for key, one in counts.items()}
        samples = {"miou": resample(counts, runs, name, groups=groups)}
        for metric in ("image_iou", "image_dice"):
            values = {key: one[metric] for key, one in each.items()}
            samples[metric] = mean_samples(values, counted, groups, name)
        scores += [
            Scores("mlp", "segmentation", name, metric, masks.FLOOR, each, found.kept)
            for metric, each in samples.items()
        ]
        told.append({
            "task": "segmentation", "dataset": name, "test": "split", "samples": len(images.pool),
            "masks": found.masks, "pool": len(images.pool), "tested": len(test), "draws": draws,
        })  # fmt: skip
    return scores, told
