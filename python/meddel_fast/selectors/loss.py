"""Selection by a score that comes from elsewhere, such as a model's loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from meddel_fast.selectors.options import choice
from meddel_fast.selectors.plan import Choice, Task, ranked
from meddel_fast.selectors.selector import selector


@selector(
    paper="Loshchilov & Hutter 2016",
    cost="O(n log n), and the score's own",
    good_for="what a model cannot do yet: MAE errors, losses, uncertainties",
    weights="Multiply the score.",
    per_sample={"score": "fiu"},
    checks={"keep": choice("high", "low")},
    processes=True,
)
def loss(task: Task, *, score: Any, keep: str = "high") -> Iterator[Choice]:
    """Keep the samples with the highest scores, or the lowest.

    :func:`meddel_fast.training.reconstruction.reconstruction_errors` gives the error of a masked
    autoencoder for each image.

    Parameters
    ----------
    score : float, shape (n,)
        A loss, an error.
    keep
        "high" or "low".

    Returns
    -------
    Selection
        ``scores`` are the score (times the weights), negated when the lowest are kept.
    """
    values = task.weighted(score.astype(np.float64))
    yield from ranked(task, values if keep == "high" else -values, {"keep": keep})
