"""The probe: what is held out, what is learnt, how it is scored, against brute force and others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from meddel_fast.benchmark.probe.choose import FULL, RANDOM, Chooser
from meddel_fast.benchmark.probe.classification import FLOOR, classify
from meddel_fast.benchmark.probe.classifiers import linear, nearest, network
from meddel_fast.benchmark.probe.deals import deal_draws
from meddel_fast.benchmark.probe.labels import Labels, read_column
from meddel_fast.benchmark.probe.measures import mean_samples, recall_samples
from meddel_fast.benchmark.probe.probe import probe_classes
from meddel_fast.benchmark.probe.table import as_text, join, tables
from meddel_fast.benchmark.probe_settings import ProbeConfig
from meddel_fast.benchmark.scores.bootstrap import DRAWS, image_weights
from meddel_fast.common.errors import ConfigError
from meddel_fast.selectors import select

# Classes of very different size, each a narrow cloud: a random handful misses the small ones.
SIZES = [160, 80, 40, 20, 12, 8, 6, 6, 5, 5]


def clouds(seed: int = 0) -> tuple[np.ndarray, Labels]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(SIZES), 12))
    of = np.repeat(np.arange(len(SIZES)), SIZES)
    x = centres[of] + 0.1 * rng.normal(size=(len(of), 12))
    names = [f"c{c:02d}" for c in of]
    return x.astype(np.float32), Labels.of(names, names)


# Labels


def test_labels_are_numbered_and_an_empty_one_is_none() -> None:
    labels = Labels.of(["b", "", "a", "b"], ["v", "", "w", "v"])
    assert (labels.names, labels.classes.tolist()) == (["a", "b"], [1, -1, 0, 1])
    part = labels.take(np.array([3, 1]))
    assert (part.classes.tolist(), part.groups) == ([1, -1], ["v", ""])


@pytest.mark.parametrize(
    ("labels", "groups", "told"),
    [
        (["a", "a", ""], None, "two classes or more, got 1: 2 of 3 samples have a label"),
        (["", ""], None, "got 0: 0 of 2 samples"),
        (["a", "b"], ["v"], "groups must be one for each of 2, got 1"),
    ],
)
def test_labels_that_teach_nothing_are_refused(labels: Any, groups: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Labels.of(labels, groups)


def test_a_value_a_sample_is_read_from_text_npy_and_csv(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("u\nv\n")
    np.save(tmp_path / "a.npy", np.array([3, 4]))
    (tmp_path / "a.csv").write_text("file,sequence\nx.jpg,7\ny.jpg,\n")
    assert read_column(str(tmp_path / "a.txt"), 2) == ["u", "v"]
    assert read_column(str(tmp_path / "a.npy"), 2) == ["3", "4"]
    assert read_column(f"{tmp_path}/a.csv:sequence", 2) == ["7", ""]
    np.save(tmp_path / "gap.npy", np.array([1.0, np.nan]))
    assert read_column(str(tmp_path / "gap.npy"), 2) == ["1.0", ""]
    with pytest.raises(ValueError, match="no column 'patient', but file, sequence"):
        read_column(f"{tmp_path}/a.csv:patient", 2)
    with pytest.raises(ValueError, match="has 2 values, there are 5 embeddings"):
        read_column(str(tmp_path / "a.txt"), 5)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_column(str(tmp_path / "none.txt"), 2)


# What is held out


def test_a_share_of_each_class_is_held_out_anew_in_each_draw() -> None:
    _, labels = clouds()
    deals = deal_draws(labels, 3, share=0.2, seed=4)
    for deal in deals:
        assert not set(deal.pool) & set(deal.test)
        assert len(deal.pool) + len(deal.test) == len(labels)
        held = np.bincount(labels.classes[deal.test], minlength=len(SIZES))
        assert held.tolist() == [max(1, round(0.2 * size)) for size in SIZES]
    assert len({deal.test.tobytes() for deal in deals}) == 3
    again = deal_draws(labels, 3, share=0.2, seed=4)
    assert all(np.array_equal(a.test, b.test) for a, b in zip(deals, again, strict=True))


def test_what_is_held_out_is_not_what_random_keeps() -> None:
    """They draw different numbers: of the same ones, nothing held out would have been kept."""
    labels = Labels.of(["a", "b"] * 500)
    (deal,) = deal_draws(labels, 1, share=0.5, seed=0)
    kept = select("random", np.ones((1000, 1), np.float32), 0.5, seed=0).indices
    assert 200 < len(set(kept) & set(deal.test)) < 300


def test_whole_groups_are_held_out_where_classes_have_several() -> None:
    groups = [f"v{i // 5}" for i in range(100)]
    labels = Labels.of(["a" if i < 50 else "b" for i in range(100)], groups)
    for deal in deal_draws(labels, 5, share=0.2, seed=0):
        assert len(deal.test) == 20
        assert not {groups[i] for i in deal.pool} & {groups[i] for i in deal.test}


def test_a_class_of_one_sample_is_in_the_pool_and_never_asked_about() -> None:
    labels = Labels.of(["a"] * 10 + ["b"] * 10 + ["alone"])
    for deal in deal_draws(labels, 5, share=0.3, seed=0):
        assert 20 in deal.pool
        assert set(labels.classes[deal.test]) == {labels.names.index("a"), labels.names.index("b")}
    with pytest.raises(ValueError, match=r"no class has two samples.*3 classes of 1 sample"):
        deal_draws(Labels.of(["a", "b", "c"]), 1, share=0.2, seed=0)


def test_a_class_that_is_held_out_as_a_whole_is_not_asked_about() -> None:
    groups = [f"v{i // 5}" for i in range(20)]
    labels = Labels.of(["rare" if i == 0 else "ab"[i // 10] for i in range(20)], groups)
    deals = deal_draws(labels, 8, share=0.2, seed=0)
    assert any(0 not in deal.pool for deal in deals)  # goes with its video, which is of a
    for deal in deals:
        assert set(labels.classes[deal.test]) <= set(labels.classes[deal.pool])


def test_of_a_split_what_has_a_class_is_asked_about_and_the_pool_is_the_rest() -> None:
    labels = Labels.of(["a", "b", "", "a", "", "c"])
    tested = np.array([False, False, False, True, True, True])
    first, second = deal_draws(labels, 2, share=0.2, seed=0, tested=tested)
    assert first is second
    assert (first.pool.tolist(), first.test.tolist()) == ([0, 1, 2], [3, 5])
    with pytest.raises(ValueError, match="no test sample has a class that the pool has"):
        deal_draws(labels, 1, share=0.2, seed=0, tested=np.array([0, 0, 0, 0, 0, 1], bool))


# What learns


def test_nearest_is_exact_and_votes() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(30, 6)).astype(np.float32)
    classes = rng.integers(0, 4, 40)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, y)]
    order = np.argsort(-(unit[1] @ unit[0].T), axis=1)
    assert np.array_equal(nearest(x, classes, y, 1, None), classes[order[:, 0]])
    three = nearest(x, classes, y, 3, None)
    for row, answer in zip(order, three, strict=True):
        votes = np.bincount(classes[row[:3]], minlength=4)
        assert votes[answer] == votes.max()


@pytest.mark.parametrize("features", [5, 60])
def test_the_linear_model_is_that_of_scikit_learn(features: int) -> None:
    """With fewer samples than features it is solved in the samples' directions: the same model."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, features)).astype(np.float32)
    y = rng.normal(size=(400, features)).astype(np.float32)
    classes = np.array([2, 5, 9])[rng.integers(0, 3, 30)]
    theirs = LogisticRegression(C=1 / (0.01 * 30), tol=1e-10, max_iter=5000).fit(x, classes)
    chances = np.sort(theirs.predict_proba(y), axis=1)
    clear = chances[:, -1] - chances[:, -2] > 1e-3
    assert clear.mean() > 0.95
    answers = linear(x, classes, y, 0.01, 1000)
    assert np.array_equal(answers[clear], theirs.predict(y)[clear])
    assert set(linear(x, np.full(30, 5), y, 0.01, 10)) == {5}


def test_the_network_learns_what_no_line_can_and_repeats_itself() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 2)).astype(np.float32)
    classes = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    options: dict[str, Any] = {"hidden": 32, "steps": 150, "learning_rate": 1e-2, "seed": 1}
    answers = network(x[:300], classes[:300], x[300:], **options)
    assert (answers == classes[300:]).mean() > 0.9
    assert (linear(x[:300], classes[:300], x[300:], 1e-3, 100) == classes[300:]).mean() < 0.75
    assert np.array_equal(answers, network(x[:300], classes[:300], x[300:], **options))


# Draws of all selections


def test_the_draws_are_those_of_a_loop_by_hand() -> None:
    x, labels = clouds()
    deals = deal_draws(labels, 3, share=0.2, seed=7)
    chooser = Chooser(["kcenter", "meddel"], [1.0, 0.1, 0.05], {"meddel": {"clusters": 3}}, 7)
    found = classify(x, labels, deals, chooser, ProbeConfig(probes=("knn",)))
    assert [*found.right["knn"]] == [
        (FULL, 1.0),
        *((s, r) for r in (0.1, 0.05) for s in (RANDOM, "kcenter", "meddel")),
        (FLOOR, 0.0),
    ]
    for draw, deal in enumerate(deals):
        mean = x[deal.pool].mean(axis=0, dtype=np.float64)
        pool, test = ((x[r] - mean).astype(np.float32) for r in (deal.pool, deal.test))
        truth = labels.classes[deal.test]
        assert np.array_equal(np.flatnonzero(found.tested[draw]), deal.test)
        for name, options in (("random", {}), ("kcenter", {}), ("meddel", {"clusters": 3})):
            rows = select(name, pool, 0.05, seed=7 + draw, **options).indices
            unit = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in (pool[rows], test)]
            answers = labels.classes[deal.pool][rows][(unit[1] @ unit[0].T).argmax(axis=1)]
            right = found.right["knn"][name, 0.05][draw]
            assert np.array_equal(right[deal.test], answers == truth)
            assert not right[deal.pool].any()
        assert np.array_equal(found.right["knn"][FLOOR, 0.0][draw, deal.test], truth == 0)
    assert found.kept["kcenter", 0.05] == round(0.05 * len(deals[0].pool))


def test_a_method_that_draws_nothing_selects_once_where_the_pool_stays() -> None:
    x, labels = clouds()
    tested = np.arange(len(labels)) % 5 == 0
    deals = deal_draws(labels, 4, share=0.2, seed=0, tested=tested)
    found = classify(x, labels, deals, Chooser(["kcenter"], [0.05]), ProbeConfig(probes=("knn",)))
    right = found.right["knn"]
    assert len({row.tobytes() for row in right["kcenter", 0.05]}) == 1
    assert len({row.tobytes() for row in right["random", 0.05]}) == 4


def test_options_of_a_value_a_sample_are_cut_to_the_pool() -> None:
    x, labels = clouds()
    score = np.arange(len(labels), dtype=float)
    chooser = Chooser(["loss"], [0.1], {"loss": {"score": score}})
    pool = np.arange(0, len(labels), 2)
    kept = chooser.choose(x[pool], pool, len(labels), 0)["loss", 0.1]
    assert kept.tolist() == [*range(len(pool) - len(kept), len(pool))]
    with pytest.raises(ConfigError, match="score must have one entry for each of the 342 samples"):
        Chooser(["loss"], [0.1], {"loss": {"score": [1.0]}}).choose(x[pool], pool, len(labels), 0)
    with pytest.raises(ConfigError, match="exclude names samples of the whole pool"):
        Chooser(["kcenter"], [0.1], {"kcenter": {"exclude": [0]}})


def test_a_selection_without_a_class_is_refused_with_counts() -> None:
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    labels = Labels.of(["a"] * 3 + ["b"] * 3 + [""] * 194)
    deals = deal_draws(labels, 1, share=0.2, seed=0)
    chooser, config = Chooser(["random"], [0.01]), ProbeConfig(probes=("knn",))
    with pytest.raises(ValueError, match="none of the 2 samples kept has a class, 4 of 198 in the"):
        classify(x, labels, deals, chooser, config)


# Scores


def test_scores_are_those_of_scikit_learn_and_their_draws_those_of_a_loop() -> None:
    from sklearn.metrics import recall_score

    rng = np.random.default_rng(5)
    n, runs = 60, 3
    counted = rng.random((runs, n)) < 0.5
    classes, answers = rng.integers(0, 4, n), rng.integers(0, 4, (runs, n))
    groups = [f"g{i // 4}" if i < 40 else "" for i in range(n)]
    right = {("a", 0.1): (answers == classes) & counted}
    mean = mean_samples(right, counted, groups, "set")["a", 0.1]
    recall = recall_samples(right, counted, classes, groups, "set")["a", 0.1]
    for run in range(runs):
        rows = counted[run]
        assert mean.observed[run] == pytest.approx((answers[run] == classes)[rows].mean())
        wanted = recall_score(
            classes[rows], answers[run][rows], average="macro", labels=np.unique(classes[rows])
        )
        assert recall.observed[run] == pytest.approx(wanted)
    asked = np.flatnonzero(counted.any(axis=0))
    units = list(dict.fromkeys(groups[i] or f"alone {i}" for i in asked))
    assert mean.units == recall.units == len(units)
    _, weights = next(image_weights(len(units), "set"))
    for draw in (0, 17):
        times = np.array([
            weights[draw, units.index(groups[i] or f"alone {i}")] if i in asked else 0
            for i in range(n)
        ])  # fmt: skip
        for run in range(runs):
            w = times * counted[run]
            hit = w * (answers[run] == classes)
            assert mean.drawn[draw, run] == pytest.approx(hit.sum() / w.sum())
            each = [hit[classes == c].sum() / w[classes == c].sum() for c in range(4)
                    if w[classes == c].sum()]  # fmt: skip
            assert recall.drawn[draw, run] == pytest.approx(np.mean(each))
    assert mean.drawn.shape == (DRAWS, runs)


def test_a_class_that_is_one_group_counts_as_often_as_it_is_drawn() -> None:
    """Of classes of one size macro recall is the accuracy, in each draw of classes too."""
    of = np.repeat(np.arange(12), 5)
    groups = [f"sequence {c}" for c in of]
    counted = np.ones((3, len(of)), bool)
    right = {("a", 0.1): np.random.default_rng(0).random(counted.shape) < of / 12}
    mean = mean_samples(right, counted, groups, "set")["a", 0.1]
    recall = recall_samples(right, counted, of, groups, "set")["a", 0.1]
    np.testing.assert_allclose(recall.drawn, mean.drawn)


def test_of_fewer_than_five_groups_samples_are_drawn() -> None:
    counted = np.ones((2, 40), bool)
    found = mean_samples({("a", 0.1): counted}, counted, ["u", "v"] * 20, "set")
    assert found["a", 0.1].units == 40


def probed(selectors: list[str], draws: int, ratios: list[float]) -> dict[str, Any]:
    x, labels = clouds()
    config = ProbeConfig(draws=draws, probes=("knn",))
    # the one that keeps the largest class alone
    options = {"loss": {"score": -labels.classes.astype(float)}} if "loss" in selectors else {}
    return tables(
        *probe_classes(x, labels, Chooser(selectors, ratios, options), config, name="clouds")
    )


def test_effects_are_told_in_both_directions_and_from_the_floor() -> None:
    found = probed(["random", "kcenter", "loss"], 12, [1.0, 0.05])
    rows = {
        (d["selector"], d["against"]): d
        for d in found["differences"]
        if d["metric"] == "macro_recall" and d["ratio"] == 0.05
    }
    assert rows["kcenter", RANDOM]["verdict"] == "better"
    assert rows["kcenter", RANDOM]["all_low"] > 0
    assert rows["loss", RANDOM]["verdict"] == "worse"
    assert rows["loss", RANDOM]["all_high"] < 0
    assert rows["random", FLOOR]["verdict"] == "better"
    assert rows["random", FULL]["verdict"] == "worse"
    scores = {
        (r["selector"], r["ratio"]): r for r in found["rows"] if r["metric"] == "macro_recall"
    }
    shown = scores["kcenter", 0.05]["mean"] - scores["random", 0.05]["mean"]
    assert rows["kcenter", RANDOM]["difference"] == pytest.approx(shown)
    assert scores[FLOOR, 0.0]["kept"] == 0
    assert found["rule"]["repeats"] == 12
    (about,) = found["data"]
    assert (about["classes"], about["samples"], about["draws"]) == (len(SIZES), sum(SIZES), 12)


def test_one_draw_is_not_judged() -> None:
    found = probed(["random", "kcenter"], 1, [0.05])
    assert not found["rule"]["judged"]
    assert {d["verdict"] for d in found["differences"]} == {"not judged"}


def test_what_stays_below_the_floor_is_not_judged_against_random() -> None:
    """Classes that no feature tells apart: the majority's is the best answer."""
    rng = np.random.default_rng(0)
    labels = Labels.of(["a"] * 150 + ["b"] * 40)
    x = rng.normal(size=(190, 4)).astype(np.float32)
    chooser = Chooser(["kcenter"], [0.2])
    config = ProbeConfig(draws=4, probes=("knn",))
    found = tables(*probe_classes(x, labels, chooser, config, name="noise"))
    row = next(
        d for d in found["differences"] if d["against"] == RANDOM and d["metric"] == "accuracy"
    )
    assert (row["verdict"], row["why"]) == ("not judged", "neither clears the floor")


def test_the_text_has_each_selection_with_its_verdict() -> None:
    found = probed(["random", "kcenter"], 3, [1.0, 0.05])
    text = as_text(join([found]))
    lines = text.splitlines()
    assert lines[0] == "Nearest neighbours, clouds"
    assert [line.split()[0] for line in lines[2:]] == ["full", "random", "kcenter", "majority"]
    row = next(d for d in found["differences"] if d["against"] == RANDOM)
    assert f"{100 * row['difference']:+.1f}" in lines[4]
    assert lines[4].endswith(row["verdict"])


def test_classes_come_from_folders_groups_and_labels_of_a_manifest(tmp_path: Any) -> None:
    from meddel_fast.benchmark.probe.labels import read_labels
    from meddel_fast.images.manifest import Manifest

    blank = {"sha256": "", "bytes": 1, "width": 1, "height": 1, "mode": "L", "split": "train",
             "frame": -1, "status": "ok", "reason": ""}  # fmt: skip
    rows = [
        blank | {"id": name, "image": name, "group": group, "label": label}
        for name, group, label in (("a/x/1.jpg", "v1", "polyp"), ("b/2.jpg", "", None))
    ]
    manifest = Manifest.from_rows("set", tmp_path, [*rows, rows[0] | {"id": "c.jpg"}])
    assert read_labels(manifest, "folder") == ["a/x", "b", ""]
    assert read_labels(manifest, "sequence") == ["v1", "", "v1"]
    assert read_labels(manifest, "label") == ["polyp", "", "polyp"]
    assert read_labels(manifest, "lesion") == ["", "", ""]
