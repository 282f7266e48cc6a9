"""Tasks: boxes, classes and their scores, against other ways to get them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from frames import blob_frames
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from meddel_fast.benchmark.config import Task
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.downstream import evaluate as segment
from meddel_fast.training.methods import METHODS
from meddel_fast.training.settings import (
    ClassificationConfig,
    DownstreamConfig,
    LocalisationConfig,
    Method,
)
from meddel_fast.training.tasks import TASKS
from meddel_fast.training.tasks.answers import Answers
from meddel_fast.training.tasks.boxes import (
    FilledBoxes,
    box_iou,
    boxes_of_mask,
    label_parts,
    likeliest_box,
    read_boxes,
)
from meddel_fast.training.tasks.classification import class_scores, linear_probe, nearest

TRAIN_IMAGES = 44  # of 60
CLASSES = ClassificationConfig(image_size=32, neighbours=5, precision="fp32")
BOXES = LocalisationConfig(
    image_size=32,
    head_hidden=32,
    steps=60,
    batch_size=8,
    learning_rate=5e-3,
    encoder="frozen",
    precision="fp32",
)


def changed(
    manifest: Manifest, change: Callable[[int, dict[str, Any]], dict[str, Any]]
) -> Manifest:
    rows = [row | change(i, row) for i, row in enumerate(manifest.table.to_pylist())]
    return Manifest.from_rows(manifest.name, manifest.root, rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Discs, labelled as large or small by their masks."""
    torch.set_num_threads(1)
    blobs = blob_frames(tmp_path_factory.mktemp("blobs"), n=60)
    masks = [Image.open(path) for path in blobs.mask_paths() if path]
    areas = [np.asarray(mask).astype(bool).mean() for mask in masks]
    middle = np.median(areas)
    return changed(blobs, lambda i, _: {"label": "large" if areas[i] > middle else "small"})


def test_the_settings_know_the_tasks_and_methods() -> None:
    assert tuple(TASKS) == get_args(Task)
    assert tuple(METHODS) == get_args(Method)
    for task in TASKS.values():
        assert task.primary == task.scores[0]
        task.settings()


# Boxes


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 1.0])
def test_parts_are_scipys(rng: np.random.Generator, share: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    for shape in ((1, 1), (1, 9), (9, 1), (17, 23), (40, 40)):
        mask = rng.random(shape) < share
        labels, wanted = label_parts(mask), ndimage.label(mask, np.ones((3, 3)))[0]
        assert ((labels > 0) == mask).all()
        pairs = set(zip(labels[mask].tolist(), wanted[mask].tolist(), strict=True))
        assert len(pairs) == labels.max(initial=0) == wanted.max(initial=0)
        found = {tuple(box) for box in boxes_of_mask(mask)}
        parts = ndimage.find_objects(wanted)
        assert found == {(x.start, y.start, x.stop, y.stop) for y, x in parts}


def test_parts_are_numbered_by_their_first_pixel() -> None:
    mask = np.array([[0, 0, 0, 1], [1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    assert label_parts(mask).tolist() == [[0, 0, 0, 1], [2, 0, 1, 0], [2, 0, 0, 0], [0, 2, 0, 0]]
    with pytest.raises(ValueError, match=r"mask must be a 2-d bool array, got shape \(3,\)"):
        label_parts([1, 0, 1])


def test_specks_are_no_boxes() -> None:
    mask = np.zeros((10, 10), bool)
    mask[1:4, 2:8] = mask[9, 9] = True
    assert boxes_of_mask(mask).tolist() == [[2, 1, 8, 4], [9, 9, 10, 10]]
    assert boxes_of_mask(mask, 0.02).tolist() == [[2, 1, 8, 4]]
    assert boxes_of_mask(mask, 0.01).shape == (2, 4)  # just as large is large enough
    assert boxes_of_mask(np.zeros((3, 3))).shape == (0, 4)


def test_likeliest_box_has_the_most_chance_not_the_most_pixels() -> None:
    chances = np.full((8, 8), 0.1, np.float32)
    chances[0:2, 0:3] = 0.6  # 6 pixels, 3.6
    chances[5:7, 5:7] = 0.95  # 4 pixels, 3.8
    assert likeliest_box(chances, 0.5).tolist() == [[5, 5, 7, 7]]
    assert likeliest_box(chances, 0.99).shape == (0, 4)
    chances[5:7, 5:7] = 0.1
    assert likeliest_box(chances, 0.5).tolist() == [[0, 0, 3, 2]]


def test_box_iou_counts_pixels(rng: np.random.Generator) -> None:
    corners = np.sort(rng.integers(0, 12, (20, 2, 2)), axis=1)
    corners[:, 1] += 1
    boxes = corners.reshape(20, 4).astype(float)
    masks = FilledBoxes([box[None] for box in boxes], 13)[np.arange(20)].astype(bool)
    wanted = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    np.testing.assert_allclose(box_iou(boxes, boxes), wanted)
    assert box_iou(np.empty((0, 4)), boxes).shape == (0, 20)


def test_boxes_are_read_and_wrong_ones_refused() -> None:
    got = read_boxes("[[0, 10, 50, 20], [99, 0, 100, 1]]", 100, 40, 20)
    np.testing.assert_allclose(got, [[0, 5, 10, 10], [19.8, 0, 20, 0.5]])
    assert read_boxes("[]", 100, 40, 20).shape == (0, 4)
    assert FilledBoxes([got], 20)[np.array([0])].sum() == 50 + 1  # a sliver fills a pixel
    for text in (
        "[[0, 0, 101, 1]]",
        "[[5, 0, 5, 1]]",
        "[[-1, 0, 5, 1]]",
        "[1, 2, 3]",
        "{",
        "[null]",
    ):
        with pytest.raises(ValueError, match=r"boxes must be a JSON list .* 100 x 40, got"):
            read_boxes(text, 100, 40, 20)


# Classes


def test_class_scores_are_scikit_learns(rng: np.random.Generator) -> None:
    for classes in (2, 5):
        truth = rng.integers(0, classes - 1, 80)  # the last class is only answered
        answer = np.where(rng.random(80) < 0.4, rng.integers(0, classes, 80), truth)
        confusion = np.zeros((classes + 1, classes + 1), np.int64)  # and one is in neither
        np.add.at(confusion, (truth, answer), 1)
        got = class_scores(confusion)
        assert got["accuracy"] == pytest.approx(accuracy_score(truth, answer))
        present = answer[np.isin(truth, truth)]
        recalls = [np.mean(present[truth == c] == c) for c in np.unique(truth)]
        assert got["balanced_accuracy"] == pytest.approx(np.mean(recalls))
        assert got["macro_f1"] == pytest.approx(f1_score(truth, answer, average="macro"))
    truth, answer = rng.integers(0, 3, (2, 60))
    confusion = np.zeros((3, 3), np.int64)
    np.add.at(confusion, (truth, answer), 1)
    wanted = balanced_accuracy_score(truth, answer)
    assert class_scores(confusion)["balanced_accuracy"] == pytest.approx(wanted)


@pytest.mark.parametrize("classes", [2, 4])
def test_linear_probe_is_scikit_learns(rng: np.random.Generator, classes: int) -> None:
    centres = rng.normal(size=(classes, 6))
    labels = np.minimum(rng.geometric(0.4, 300) - 1, classes - 1)  # of unequal sizes
    x = (centres[labels] * 1.5 + rng.normal(size=(300, 6))) * [1, 10, 0.1, 1, 1, 1] + 5
    y = rng.normal(size=(400, 6)) * 2 * [1, 10, 0.1, 1, 1, 1] + 5
    mean, scale = x.mean(axis=0), x.std(axis=0)
    l2 = 0.01
    # Balanced weights there are n / (c n_c), here 1 / (c n_c): the penalty differs by n. Of two
    # classes only one has weights there, twice as large as either's here: half the penalty.
    c = (2 if classes == 2 else 1) / (300 * l2)
    probe = LogisticRegression(C=c, class_weight="balanced", max_iter=1000, tol=1e-9)
    wanted = probe.fit((x - mean) / scale, labels).predict((y - mean) / scale)
    got = linear_probe(x.astype(np.float32), labels, y.astype(np.float32), l2, 500)
    assert np.mean(got == wanted) > 0.995  # but for queries on the border
    assert len(np.unique(got)) == classes


def test_neighbours_vote_as_counted_by_hand(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 5)).astype(np.float32)
    y = rng.normal(size=(30, 5)).astype(np.float32)
    labels = rng.integers(0, 3, 40)
    a, b = x - x.mean(axis=0), y - x.mean(axis=0)
    cosines = (b @ a.T) / np.outer(np.linalg.norm(b, axis=1), np.linalg.norm(a, axis=1))
    for k in (1, 4, 100):
        wanted = []
        for row in cosines:
            near = np.argsort(-row)[:k]
            votes = [
                (np.sum(labels[near] == c), row[near][labels[near] == c].sum()) for c in range(3)
            ]
            wanted.append(max(range(3), key=lambda c, v=votes: v[c]))
        assert nearest(x, labels, y, k).tolist() == wanted


def test_large_and_small_discs_are_told_apart(model: Path, train: Manifest, test: Manifest) -> None:
    task, seen = TASKS["classification"], list[tuple[int, int]]()
    got = task.evaluate(
        model, train, test, CLASSES, seed=0, progress=lambda d, t: seen.append((d, t))
    )
    assert got["balanced_accuracy"] > 0.7
    assert got["knn_balanced_accuracy"] > 0.6
    assert all(0 <= got[name] <= 1 for name in task.scores)
    assert got["classes"] == ["large", "small"]
    assert np.sum(got["confusion"]) == np.sum(got["knn_confusion"]) == got["images"] == 16
    assert (got["task"], got["train_images"]) == ("classification", 44)
    assert seen[-1] == (60, 60)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    json.dumps(got)
    again = task.evaluate(model, train, test, CLASSES, seed=7)
    assert not task.seeded
    assert again == got | {"seed": 7}


@pytest.mark.parametrize("name", list(TASKS))
def test_no_task_is_tested_on_what_it_is_trained_on(
    model: Path, train: Manifest, test: Manifest, name: str
) -> None:
    config = {"classification": CLASSES, "localisation": BOXES}.get(name)
    config = config or DownstreamConfig(image_size=32)
    for both in (train, train.take([3, 5])):
        with pytest.raises(ValueError, match=rf"{len(both)} of {len(both)} are in train, such as"):
            TASKS[name].evaluate(model, train, both, config, seed=0)


def test_class_that_only_the_test_set_has_is_missed(
    model: Path, train: Manifest, test: Manifest
) -> None:
    odd = changed(test, lambda i, row: {"label": "odd"} if i == 0 else {})
    got = TASKS["classification"].evaluate(model, train, odd, CLASSES, seed=0)
    assert got["classes"] == ["large", "odd", "small"]
    assert got["confusion"][1][1] == 0
    assert got["balanced_accuracy"] <= 2 / 3


def test_labels_are_wanted(model: Path, train: Manifest, test: Manifest) -> None:
    task = TASKS["classification"]
    bare = changed(test, lambda i, row: {"label": None if i % 2 else row["label"]})
    assert len(task.usable(bare, CLASSES)) == 8
    with pytest.raises(ValueError, match="test must have a label for every image"):
        task.evaluate(model, train, bare, CLASSES, seed=0)
    one = changed(train, lambda i, row: {"label": "large"})
    with pytest.raises(ValueError, match=r"train must have two classes or more"):
        task.evaluate(model, one, test, CLASSES, seed=0)
    lesion = replace(CLASSES, labels="lesion")  # every frame has a disc
    assert len(task.usable(bare, lesion)) == 16
    with pytest.raises(ValueError, match=r"two classes or more, got \['lesion'\] alone"):
        task.evaluate(model, train, bare, lesion, seed=0)


def test_lesions_are_told_by_their_masks(
    model: Path, train: Manifest, test: Manifest, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(empty)
    blank = {"mask": str(empty), "mask_sha256": sha256_file(empty), "label": None}
    some = [changed(m, lambda i, row: {} if i % 3 else blank) for m in (train, test)]
    got = TASKS["classification"].evaluate(model, *some, replace(CLASSES, labels="lesion"), seed=0)
    assert got["classes"] == ["lesion", "no lesion"]
    assert np.sum(got["confusion"], axis=1).tolist() == [10, 6]


# Places


def test_discs_are_boxed(model: Path, train: Manifest, test: Manifest) -> None:
    task, seen = TASKS["localisation"], list[tuple[int, int]]()
    got = task.evaluate(
        model, train, test, BOXES, seed=0, progress=lambda d, t: seen.append((d, t))
    )
    assert got["box_iou"] > 0.5
    assert got["box_hit_50"] > 0.5
    assert (got["images"], got["without_box"]) == (16, 0)
    assert seen[-1][0] == seen[-1][1]
    assert task.evaluate(model, train, test, BOXES, seed=0) == got
    # The same discs by boxes in the manifest, which count before masks, in pixels of the image.
    truth = {row["id"]: boxes_of_mask(np.asarray(Image.open(test.root / row["mask"])))
             for m in (train, test) for row in m.table.to_pylist()}  # fmt: skip
    told = [
        changed(m, lambda i, row: {"mask": None, "boxes": json.dumps(truth[row["id"]].tolist())})
        for m in (train, test)
    ]
    by_boxes = task.evaluate(model, *told, BOXES, seed=0)
    assert by_boxes["box_iou"] == pytest.approx(got["box_iou"], abs=0.1)
    with pytest.raises(ValueError, match="mask"):
        segment(model, *told, DownstreamConfig(image_size=32), seed=0)


def test_images_without_a_box_are_not_scored(model: Path, train: Manifest, test: Manifest) -> None:
    task, config = TASKS["localisation"], replace(BOXES, steps=5)
    some = changed(test, lambda i, row: {"boxes": "[]"} if i < 6 else {})
    got = task.evaluate(model, train, some, config, seed=0)
    assert (got["images"], got["without_box"]) == (10, 6)
    none = changed(test, lambda i, row: {"boxes": "[]"})
    with pytest.raises(ValueError, match="test must have an image with a box, got none in 16"):
        task.evaluate(model, train, none, config, seed=0)
    bare = changed(test, lambda i, row: {"mask": None} if i else {})
    assert len(task.usable(bare, config)) == 1
    with pytest.raises(ValueError, match="test must have boxes or a mask for every image"):
        task.evaluate(model, train, bare, config, seed=0)


def test_segmentation_is_the_benchmarks(model: Path, train: Manifest, test: Manifest) -> None:
    config = DownstreamConfig(
        image_size=32, head_hidden=8, steps=4, batch_size=8, encoder="frozen", precision="fp32"
    )
    got = TASKS["segmentation"].evaluate(model, train, test, config, seed=2)
    assert got == {"task": "segmentation", **segment(model, train, test, config, seed=2)}


# What is saved of each image


@pytest.mark.parametrize("name", list(TASKS))
def test_answers_come_to_the_scores_and_are_scored_again(
    model: Path, train: Manifest, test: Manifest, tmp_path: Path, name: str
) -> None:
    config = {
        "classification": CLASSES,
        "localisation": replace(BOXES, steps=20),
    }.get(name) or DownstreamConfig(
        image_size=32, head_hidden=8, steps=4, batch_size=8, encoder="frozen", precision="fp32"
    )
    task, path = TASKS[name], tmp_path / "answers.npz"
    if name == "localisation":  # two of which nothing counts
        test = changed(test, lambda i, row: {"boxes": "[]"} if i in (3, 4) else {})
    got = task.evaluate(model, train, test, config, seed=0, predictions=path)
    ids, counts = task.counts(path, got)
    assert ids == test.ids
    assert counts.shape[0] == len(test)
    for score, value in task.measure(counts.sum(axis=0)).items():
        assert float(value) == pytest.approx(got[score], rel=1e-8)
    assert set(task.measure(counts.sum(axis=0))) == set(task.scores)
    # the scores of any images are those of their own sums, many at a time
    some = np.stack([counts[:7].sum(axis=0), counts[7:].sum(axis=0)])
    for score, values in task.measure(some).items():
        alone = [task.measure(sums)[score] for sums in some]
        assert values.tolist() == [float(value) for value in alone]
    assert {k: got.get(k, 0) for k in task.rescore(path, test, got)} == task.rescore(
        path, test, got
    )
    with pytest.raises(ValueError, match="of other images than the manifest's test rows"):
        task.rescore(path, train, got)


def test_other_truth_is_named(model: Path, train: Manifest, test: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    task = TASKS["classification"]
    got = task.evaluate(model, train, test, CLASSES, seed=0, predictions=path)
    other = changed(test, lambda i, row: {"label": "small" if row["label"] == "large" else "large"})
    with pytest.raises(ValueError, match="saved classes are not those of the test images"):
        task.rescore(path, other, got)
    answers = Answers.load(path, 3)
    answers.rows[2, 2] = 7
    answers.save(path)
    with pytest.raises(ValueError, match="answers must be of 2 classes, got 7"):
        task.rescore(path, test, got)
    with pytest.raises(ValueError, match=r"holds no answers: wanted .* rows \(n, 5\) of float64"):
        Answers.load(path, 5)
    with pytest.raises(FileNotFoundError, match="no answers at"):
        Answers.load(tmp_path / "none.npz", 3)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="holds no answers"):
        Answers.load(path, 3)
