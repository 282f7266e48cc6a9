"""Classifiers that are trained in a moment: nearest neighbours, a linear one, a small network.

Each learns from some samples, ``fit`` and its classes, and answers for others, ``ask``. Features
come standardised (or, for neighbours, centred) by the whole pool, so that a small selection changes
what is learnt and not the scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.common.extras import needs
from meddel_fast.training.tasks.classification import vote

Features = NDArray[np.float32]  # (n, d)
Classes = NDArray[np.int64]  # (n,)


def nearest(
    fit: Features, classes: Classes, ask: Features, neighbours: int, threads: Any
) -> Classes:
    """Let the nearest by cosine vote, exactly; ties of cosines go to the lower row."""
    found = ops.topk_similarity(ask, fit, k=min(neighbours, len(fit)), threads=threads)
    return vote(classes, found.indices, found.similarity)


def linear(fit: Features, classes: Classes, ask: Features, l2: float, iterations: int) -> Classes:
    """Fit a multinomial logistic regression and answer.

    The loss is the mean cross-entropy plus ``l2 / 2`` times the squared weights without the biases;
    it is convex, and minimised from zero by SciPy's L-BFGS in fp64. Of fewer samples than features
    the weights are sums of the samples, so that it is solved in the samples' own directions.
    """
    with needs("benchmark"):
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

    present, places = np.unique(classes, return_inverse=True)
    if len(present) == 1:
        return np.full(len(ask), present[0])
    x, y = fit.astype(np.float64), ask.astype(np.float64)
    if len(x) < x.shape[1]:
        basis = np.linalg.qr(x.T)[0]
        x, y = x @ basis, y @ basis
    n, d = x.shape
    rows = np.arange(n)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        matrix = flat.reshape(d + 1, -1)
        logits = x @ matrix[:d] + matrix[d]
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        total = chances.sum(axis=1)
        chances /= total[:, None]
        value = float(
            (np.log(total) - logits[rows, places]).mean() + l2 / 2 * (matrix[:d] ** 2).sum()
        )
        chances[rows, places] -= 1
        chances /= n
        slope = np.vstack([x.T @ chances + l2 * matrix[:d], chances.sum(axis=0)])
        return value, slope.ravel()

    start = np.zeros((d + 1) * len(present))
    options = {"maxiter": iterations, "gtol": 1e-6, "ftol": 1e-12}
    # NumPy's and SciPy's BLAS have threads of their own, which wait for each other by spinning:
    # on two cores they took four times as long as one thread.
    with threadpool_limits(1, "blas"):
        best = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    matrix = best.x.reshape(d + 1, -1)
    answers: Classes = present[(y @ matrix[:d] + matrix[d]).argmax(axis=1)]
    return answers


def network(
    fit: Features,
    classes: Classes,
    ask: Features,
    *,
    hidden: int,
    steps: int,
    learning_rate: float,
    seed: int,
) -> Classes:
    """Train an MLP of one hidden layer on all samples at once, by AdamW, and answer."""
    with needs("benchmark"):
        import torch
        from torch.nn import GELU, Linear, Sequential, functional

    from meddel_fast.training.device import Stream, deterministic, torch_seed
    from meddel_fast.training.optimise import cosine, make_optimizer

    present, places = np.unique(classes, return_inverse=True)
    x, targets = torch.from_numpy(fit), torch.from_numpy(places)
    with torch_seed(seed, Stream.HEAD):
        head = Sequential(Linear(x.shape[1], hidden), GELU(), Linear(hidden, len(present)))
    optimizer = make_optimizer(head.parameters(), learning_rate, _DECAY)
    with deterministic():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = cosine(step, steps, steps // 20, learning_rate)
            error = functional.cross_entropy(head(x), targets)
            optimizer.zero_grad(set_to_none=True)
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.inference_mode():
            answers: Classes = present[head(torch.from_numpy(ask)).argmax(dim=1).numpy()]
    return answers


_DECAY = 0.05  # of AdamW, as of the head for masks
