"""A head for masks, trained on the selected images that have one: tokens of a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.probe.choose import Chooser
from meddel_fast.benchmark.results import NOTHING
from meddel_fast.benchmark.scores.floors import TITLES, nothing_of
from meddel_fast.benchmark.scores.statistics import Key
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.shared_images import check_apart
from meddel_fast.training.device import choose as choose_device
from meddel_fast.training.device import deterministic
from meddel_fast.training.downstream import HeadRun
from meddel_fast.training.encoders.vit import fingerprint, load_encoder
from meddel_fast.training.settings import DownstreamConfig

FLOOR = TITLES[NOTHING]


@dataclass(frozen=True)
class Confusions:
    """What came of all heads.

    Attributes
    ----------
    counts
        Test set -> selection -> counts of each draw and image, int64 (k, m, 2, 2); with `FLOOR` at
        ratio 0, for which no pixel is lesion.
    kept
        Selection -> images kept.
    masks
        Images of the pool that have a mask.
    """

    counts: dict[str, dict[Key, NDArray[np.int64]]]
    kept: dict[Key, float]
    masks: int


@dataclass(frozen=True)
class Images:
    """What heads are trained and tested on.

    Attributes
    ----------
    encoder
        Folder of the encoder, or its name on the hub.
    pool
        The images that selectors see, with masks or without.
    tests
        By name: images that all have masks, none of them in the pool.
    """

    encoder: StrPath
    pool: Manifest
    tests: Mapping[str, Manifest]


def segment(
    x: NDArray[Any],
    images: Images,
    chooser: Chooser,
    config: DownstreamConfig,
    *,
    draws: int,
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> Confusions:
    """Select, train a head and test it, draw by draw.

    Parameters
    ----------
    x : shape (n, d)
        Embeddings of the pool's n images, as the selectors see them.
    images
        Encoder, pool and test.
    chooser
        The selectors.
    config
        The head; the encoder is frozen, whatever is said there.
    draws
        How often is selected, with the head's weights and order drawn anew.
    device, offline
        As of :func:`meddel_fast.training.downstream.evaluate`.
    progress
        Called as ``progress(done, total)`` after each head.

    Raises
    ------
    ValueError
        A selection has no image with a mask; a test image is in the pool.
    """
    config = replace(config, encoder="frozen")
    pool = np.arange(len(images.pool))
    places = [i for i, path in enumerate(images.pool.mask_paths()) if path]
    masked = images.pool.take(places)
    for test in images.tests.values():
        check_apart(masked, test)
    of_masked = np.full(len(pool), -1)
    of_masked[places] = np.arange(len(places))
    compute = choose_device(device, config.precision)
    encoder = load_encoder(images.encoder, compute, image_size=config.image_size, offline=offline)
    key = fingerprint(images.encoder, encoder)
    counts: dict[str, dict[Key, list[NDArray[np.int64]]]] = {
        name: {one: [] for one in chooser.keys} for name in images.tests
    }
    kept: dict[Key, float] = {}
    done = 0
    for draw in range(draws):
        for one, rows in chooser.choose(x, pool, len(pool), draw).items():
            used = of_masked[rows]
            used = used[used >= 0]
            if len(used) == 0:
                raise ValueError(
                    f"{one[0]} at {one[1]:g}, draw {draw}: none of the {len(rows)} images kept has "
                    f"a mask, {len(places)} of {len(pool)} in the pool have one: the ratio must be "
                    "larger"
                )
            seed = chooser.seed + draw
            head = HeadRun(encoder, key, config, compute, seed, lambda work: None)
            with deterministic():
                head.train(masked, used)
                for name, test in images.tests.items():
                    counts[name][one].append(head.test(test).confusions)
            kept[one] = len(rows)
            done += 1
            if progress is not None:
                progress(done, draws * len(chooser.keys))
    found = {
        name: {one: np.stack(parts) for one, parts in of_set.items()}
        for name, of_set in counts.items()
    }
    for of_set in found.values():
        of_set[FLOOR, 0.0] = nothing_of(next(iter(of_set.values())))
    return Confusions(found, kept, len(places))
