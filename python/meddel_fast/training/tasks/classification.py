"""Classification of whole images by what a frozen encoder says of them.

Two classifiers look at the pooled features, neither with anything random in it: a linear probe
(multinomial logistic regression, every class of the same weight) and the nearest neighbours by
cosine. The encoder is never trained here, so that the scores speak of pre-training alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.outputs import check_output
from meddel_fast.images.shared_images import check_apart
from meddel_fast.training.settings import ClassificationConfig
from meddel_fast.training.tasks.answers import KIND, Answers
from meddel_fast.training.tasks.base import Floats, Task

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

Features = NDArray[np.float32]  # (n, d)
Classes = NDArray[np.int64]  # (n,)

_WIDTH = 3  # of a saved answer: the true class, that of the probe, that of the neighbours
_PREFIXES = ("", "knn_")  # of the scores of the two


def usable(manifest: Manifest, config: ClassificationConfig) -> Manifest:
    """Give the rows that have a label, or, for the labels "lesion", a mask."""
    if config.labels == "lesion":
        return manifest.with_masks()
    return manifest.take([i for i, label in enumerate(manifest.column("label")) if label])


def evaluate(
    encoder: StrPath,
    train: Manifest,
    test: Manifest,
    config: ClassificationConfig,
    *,
    seed: int,
    predictions: StrPath | None = None,
    device: str = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit the two classifiers on one set of images and score them on another.

    Parameters
    ----------
    encoder, predictions, device, offline
        As of :func:`meddel_fast.training.downstream.evaluate`.
    train, test
        Manifests whose usable rows all have a label (or a mask).
    config
        Labels, pooling, and the classifiers' settings.
    seed
        Changes nothing; it is noted in the result.
    progress
        Called as ``progress(images_done, images)``.

    Returns
    -------
    dict
        ``balanced_accuracy`` (mean recall of the classes that the test images have), ``accuracy``
        and ``macro_f1`` (mean over the classes in truth or answers) of the linear probe, and of
        the neighbours under the same names after ``knn_``. Further ``task``, ``classes`` (names),
        ``confusion`` and ``knn_confusion`` (counts (c, c), row = truth), ``images``,
        ``train_images``, ``seed``, ``precision``, ``settings``. A class that no training image has
        is never answered, and counts as missed.

    Raises
    ------
    ValueError
        A manifest is empty or has a row without a label; a test image is trained on; the training
        images have one class only.
    """
    from meddel_fast.training.device import choose

    if predictions is not None:
        check_output(predictions, KIND, [encoder])
    names, truth = _classes({"train": train, "test": test}, config)
    check_apart(train, test)
    if len(np.unique(truth["train"])) < 2:
        raise ValueError(f"train must have two classes or more, got {names} alone")
    embedded = partial(_features, encoder, config=config, device=device, offline=offline)
    total = len(train) + len(test)
    x = embedded(train, tick=lambda done: progress and progress(done, total))
    y = embedded(test, tick=lambda done: progress and progress(len(train) + done, total))
    answers = [
        linear_probe(x, truth["train"], y, config.l2, config.iterations),
        nearest(x, truth["train"], y, config.neighbours),
    ]
    rows = np.stack([truth["test"], *answers], axis=1)
    if predictions is not None:
        Answers(test.ids, rows.astype(np.float64)).save(predictions)
    return {
        "task": CLASSIFICATION.name,
        "classes": names,
        **_scores(rows, len(names)),
        "train_images": len(train),
        "seed": seed,
        "precision": choose(device, config.precision).precision,
        "settings": asdict(config),
    }


def _scores(rows: Classes, classes: int) -> dict[str, Any]:
    """Score both classifiers' answers, of rows as they are saved."""
    result: dict[str, Any] = {"images": len(rows)}
    for prefix, answer in zip(_PREFIXES, rows.T[1:], strict=True):
        confusion = np.zeros((classes, classes), np.int64)
        np.add.at(confusion, (rows[:, 0], answer), 1)
        result |= {prefix + name: value for name, value in class_scores(confusion).items()}
        result[prefix + "confusion"] = confusion.tolist()
    return result


def class_scores(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Score a confusion matrix.

    Parameters
    ----------
    confusion
        Counts (c, c): ``confusion[truth, answer]``, any of them above 0.

    Returns
    -------
    dict
        ``balanced_accuracy``, ``accuracy``, ``macro_f1``; see :func:`evaluate`.
    """
    right = np.diag(confusion).astype(float)
    true, answered = confusion.sum(axis=1), confusion.sum(axis=0)
    there, either = true > 0, true + answered > 0
    return {
        "balanced_accuracy": float(np.mean(right[there] / true[there])),
        "accuracy": float(right.sum() / confusion.sum()),
        "macro_f1": float(np.mean(2 * right[either] / (true + answered)[either])),
    }


def counts(path: Path, result: Mapping[str, Any]) -> tuple[list[str], Floats]:
    """Give by classifier and class whether an image is right, of the class, answered with it.

    Shape (images, 2 * 3 * classes).
    """
    found = Answers.load(path, _WIDTH)
    classes = np.arange(len(result["classes"]))
    true, *answers = (column[:, None] == classes for column in found.rows.T)
    parts = [part for one in answers for part in (one & true, true, one)]
    return found.ids, np.concatenate(parts, axis=1).astype(np.float64)


def measure(sums: Floats) -> dict[str, Floats]:
    """Score such sums as :func:`class_scores` does."""
    classes = sums.shape[-1] // (2 * 3)
    parts = sums.reshape(*sums.shape[:-1], 2, 3, classes)
    found: dict[str, Floats] = {}
    for at, prefix in enumerate(_PREFIXES):
        right, true, answered = np.moveaxis(parts[..., at, :, :], -2, 0)
        there, either = true > 0, true + answered > 0
        recall = right / np.where(there, true, 1.0)
        f1 = 2 * right / np.where(either, true + answered, 1.0)
        found |= {
            f"{prefix}balanced_accuracy": recall.sum(axis=-1) / there.sum(axis=-1),
            f"{prefix}accuracy": right.sum(axis=-1) / true.sum(axis=-1),
            f"{prefix}macro_f1": f1.sum(axis=-1) / either.sum(axis=-1),
        }
    return found


def rescore(path: Path, test: Manifest, result: Mapping[str, Any]) -> dict[str, Any]:
    """Score the saved answers again, by the manifest's labels, or the masks on disk."""
    found, names = Answers.load(path, _WIDTH), list(result.get("classes", []))
    if found.ids != test.ids:
        raise ValueError("the answers are of other images than the manifest's test rows")
    chosen = dict(result.get("settings", {}))
    keys = {name: chosen[name] for name in ("labels", "image_size") if name in chosen}
    labels = labels_of(test, ClassificationConfig(**keys))
    places = {name: i for i, name in enumerate(names)}
    rows = found.rows.astype(np.int64)
    if [places.get(label) for label in labels] != rows[:, 0].tolist():
        raise ValueError("the saved classes are not those of the test images")
    if rows.min(initial=0) < 0 or rows.max(initial=0) >= len(names):
        raise ValueError(f"the answers must be of {len(names)} classes, got {rows.max()}")
    return _scores(rows, len(names))


def linear_probe(x: Features, classes: Classes, y: Features, l2: float, iterations: int) -> Classes:
    """Fit a multinomial logistic regression on `x` and answer for `y`.

    The features are standardised by mean and deviation of `x`. The loss is the mean over the
    classes of their images' mean cross-entropy, plus ``l2 / 2`` times the squared weights without
    the biases; it is convex, and minimised from zero by L-BFGS in fp64 on the CPU.
    """
    with needs("benchmark"):
        import torch
        from torch.nn import functional

    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = 1 / np.maximum(deviation, 1e-6)
    inputs, queries = (torch.from_numpy((part - mean) * scale) for part in (x, y))
    present, places = np.unique(classes, return_inverse=True)
    counts = np.bincount(places)
    weights = torch.from_numpy(1 / (len(present) * counts))
    targets = torch.from_numpy(places)
    matrix = torch.zeros(x.shape[1], len(present), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(present), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [matrix, bias],
        max_iter=iterations,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> float:
        solver.zero_grad()
        logits = inputs @ matrix + bias
        error = functional.cross_entropy(logits, targets, weight=weights, reduction="sum")
        value = error + l2 / 2 * (matrix**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value  # type: ignore[return-value]

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        answers: Classes = present[(queries @ matrix + bias).argmax(dim=1).numpy()]
    return answers


def nearest(x: Features, classes: Classes, y: Features, neighbours: int) -> Classes:
    """Let the nearest of `x` :func:`vote` on each of `y`, by cosine of all less the mean of `x`."""
    mean = x.mean(axis=0, dtype=np.float64)
    x, y = ((part - mean).astype(np.float32) for part in (x, y))
    similarity, indices = ops.topk_similarity(y, x, k=min(neighbours, len(x)))
    return vote(classes, indices, similarity)


def vote(classes: Classes, indices: NDArray[np.int64], similarity: NDArray[np.float64]) -> Classes:
    """Answer for m samples by the classes of their k neighbours, the most similar one first.

    Equal votes go to the class with the larger sum of cosines, then to the lower class.
    """
    if indices.shape[1] == 1:
        return np.asarray(classes[indices[:, 0]])
    named = classes[indices]
    alike = named[:, :, None] == named[:, None, :]  # (m, k, k): no more than that for any classes
    votes = alike.sum(axis=1)
    sums = (alike * similarity[:, :, None]).sum(axis=1)
    best = np.lexsort((named, -sums, -votes), axis=1)[:, :1]
    answers: Classes = np.take_along_axis(named, best, axis=1)[:, 0]
    return answers


def _classes(
    manifests: dict[str, Manifest], config: ClassificationConfig
) -> tuple[list[str], dict[str, Classes]]:
    """Give the names of all classes, sorted, and each set's classes as numbers."""
    labels = {}
    for name, manifest in manifests.items():
        if len(manifest) == 0 or len(usable(manifest, config)) < len(manifest):
            wanted = "a mask" if config.labels == "lesion" else "a label"
            raise ValueError(f"{name} must have {wanted} for every image, and any image")
        labels[name] = labels_of(manifest, config)
    names = sorted({label for part in labels.values() for label in part})
    numbers = {label: i for i, label in enumerate(names)}
    return names, {
        name: np.array([numbers[label] for label in part]) for name, part in labels.items()
    }


def labels_of(manifest: Manifest, config: ClassificationConfig) -> list[str]:
    """Give the class of each image: its label, or with ``labels = "lesion"`` what its mask says."""
    if config.labels == "label":
        return manifest.column("label")
    from meddel_fast.training.loader import frames

    masks = frames(manifest, config.image_size, masks=True)
    size = config.batch_size
    chunks = (range(i, min(i + size, len(manifest))) for i in range(0, len(manifest), size))
    found = np.concatenate([(masks[np.array(rows)] == 1).any(axis=(1, 2)) for rows in chunks])
    return ["lesion" if lesion else "no lesion" for lesion in found]


def _features(
    encoder: StrPath,
    manifest: Manifest,
    *,
    config: ClassificationConfig,
    device: str,
    offline: bool,
    tick: Any,
) -> Features:
    from meddel_fast.training.embed import embed

    with tempfile.TemporaryDirectory() as folder:
        found = embed(
            manifest,
            encoder,
            Path(folder),
            image_size=config.image_size,
            batch_size=config.batch_size,
            pooling=config.pooling,
            device=device,
            precision=config.precision,
            offline=offline,
            progress=lambda done, total: tick(done),
        )
        return np.array(found.array)


CLASSIFICATION = Task(
    name="classification",
    settings=ClassificationConfig,
    wants='a label (a mask, with labels = "lesion")',
    usable=usable,
    evaluate=evaluate,
    scores=(
        *("balanced_accuracy", "accuracy", "macro_f1"),
        *("knn_balanced_accuracy", "knn_accuracy", "knn_macro_f1"),
    ),
    counts=counts,
    measure=measure,
    rescore=rescore,
    seeded=False,
)
