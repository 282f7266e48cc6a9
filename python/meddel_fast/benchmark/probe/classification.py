"""Each selection of each draw learnt from by the probes, and asked for what was held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.probe.choose import Chooser
from meddel_fast.benchmark.probe.classifiers import Classes, Features, linear, nearest, network
from meddel_fast.benchmark.probe.deals import Deal, Rows
from meddel_fast.benchmark.probe.labels import Labels
from meddel_fast.benchmark.probe_settings import ProbeConfig
from meddel_fast.benchmark.scores.statistics import Key
from meddel_fast.common.files import Progress

FLOOR = "majority class"


@dataclass(frozen=True)
class Answers:
    """What came of all draws, k of them, over n samples.

    Attributes
    ----------
    tested : bool, shape (k, n)
        Which samples each draw asks about.
    right
        Probe -> selection -> which of them it was right about, bool (k, n); with `FLOOR` at
        ratio 0, the class that most samples of the pool have.
    kept
        Selection -> samples kept, the mean over the draws.
    pool
        Samples of the pool, the mean over the draws.
    """

    tested: NDArray[np.bool_]
    right: dict[str, dict[Key, NDArray[np.bool_]]]
    kept: dict[Key, float]
    pool: float


def classify(
    x: NDArray[Any],
    labels: Labels,
    deals: Sequence[Deal],
    chooser: Chooser,
    config: ProbeConfig,
    *,
    centre: bool = True,
    progress: Progress | None = None,
) -> Answers:
    """Select, learn and ask, draw by draw.

    Parameters
    ----------
    x : shape (n, d)
        Features of all samples.
    labels
        Their classes.
    deals
        The draws.
    chooser
        The selectors.
    config
        The probes.
    centre
        Whether selectors and neighbours see the features less the mean of the pool.
    progress
        Called as ``progress(done, total)`` after each selection of each draw.

    Raises
    ------
    ValueError
        A selection has no sample with a class: nothing can be learnt from it.
    """
    shape, keys = (len(deals), len(labels)), chooser.keys
    tested = np.zeros(shape, bool)
    floor = np.zeros(shape, bool)
    right: dict[str, dict[Key, NDArray[np.bool_]]] = {
        p: {key: np.zeros(shape, bool) for key in keys} for p in config.probes
    }
    kept = dict.fromkeys(keys, 0.0)
    learnt: dict[Any, Classes] = {}  # answers of draws with the same pool and selection
    before: Deal | None = None
    for draw, deal in enumerate(deals):
        if deal is not before:
            learnt.clear()
            features = _Features(x, deal, centre)
        before = deal
        tested[draw, deal.test] = True
        truth = labels.classes[deal.test]
        of_pool = labels.classes[deal.pool]
        floor[draw, deal.test] = truth == np.bincount(of_pool[of_pool >= 0]).argmax()
        chosen = chooser.choose(features.pool, deal.pool, len(labels), draw)
        for at, (key, rows) in enumerate(chosen.items()):
            kept[key] += len(rows) / len(deals)
            used = rows[of_pool[rows] >= 0]
            _check_learnable(key, draw, rows, used, of_pool)
            for name in config.probes:
                same = (name, used.tobytes(), draw if name == "mlp" else 0)
                if same not in learnt:
                    learnt[same] = features.answers(
                        name, used, of_pool[used], config, draw, chooser
                    )
                right[name][key][draw, deal.test] = learnt[same] == truth
            if progress is not None:
                progress(draw * len(keys) + at + 1, len(deals) * len(keys))
    for found in right.values():
        found[FLOOR, 0.0] = floor
    return Answers(tested, right, kept, float(np.mean([len(deal.pool) for deal in deals])))


class _Features:
    """The features of a draw, as selectors and probes see them."""

    def __init__(self, x: NDArray[Any], deal: Deal, centre: bool) -> None:
        pool = x[deal.pool]
        mean = pool.mean(axis=0, dtype=np.float64)
        shift = mean if centre else np.zeros_like(mean)
        self.pool: Features = (pool - shift).astype(np.float32)
        self.test: Features = (x[deal.test] - shift).astype(np.float32)
        centred = mean - shift
        scale = 1 / np.maximum(pool.std(axis=0, dtype=np.float64), 1e-6)
        self._standard: Callable[[Features], Features] = lambda part: (
            (part - centred) * scale
        ).astype(np.float32)

    def answers(
        self,
        name: str,
        rows: Rows,
        classes: Classes,
        config: ProbeConfig,
        draw: int,
        chooser: Chooser,
    ) -> Classes:
        """Answer for the test samples by what some of the pool teach."""
        if name == "knn":
            return nearest(self.pool[rows], classes, self.test, config.neighbours, chooser.threads)
        fit, ask = self._standard(self.pool[rows]), self._standard(self.test)
        if name == "linear":
            return linear(fit, classes, ask, config.l2, config.iterations)
        return network(
            fit,
            classes,
            ask,
            hidden=config.hidden,
            steps=config.steps,
            learning_rate=config.learning_rate,
            seed=chooser.seed + draw,
        )


def _check_learnable(
    key: Key, draw: int, rows: Rows, used: Rows, of_pool: NDArray[np.int64]
) -> None:
    if len(used) == 0:
        raise ValueError(
            f"{key[0]} at {key[1]:g}, draw {draw}: none of the {len(rows)} samples kept has a "
            f"class, {int((of_pool >= 0).sum())} of {len(of_pool)} in the pool have one: the "
            "ratio must be larger"
        )


def about(labels: Labels, deals: Sequence[Deal], answers: Answers) -> dict[str, Any]:
    """Count what was learnt from and asked about, for people."""
    classes = labels.classes
    sizes = np.bincount(classes[classes >= 0], minlength=len(labels.names))
    return {
        "samples": len(labels),
        "classes": len(labels.names),
        "without_class": int((classes < 0).sum()),
        "classes_of_one": int((sizes == 1).sum()),
        "pool": answers.pool,
        "tested": float(np.mean([len(deal.test) for deal in deals])),
        "draws": len(deals),
    }
