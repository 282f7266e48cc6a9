"""Bootstrap, ranks, differences, sweeps, areas and costs: against loops, scipy, the literature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from meddel_fast.benchmark.scores import bootstrap, statistics
from meddel_fast.benchmark.scores.bootstrap import (
    Sample,
    average,
    combine,
    image_weights,
    miou_of_counts,
    resample,
    run_weights,
    whole_groups,
)
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.ranks import critical_difference, rank
from meddel_fast.benchmark.scores.statistics import (
    all_statistics,
    alpha_sweep,
    areas,
    differences,
    intervals,
    rank_rows,
    trapezoid,
    with_mean,
)

RUNS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def made_up_counts(
    rng: np.random.Generator, quality: float, runs: int = 4, images: int = 30
) -> np.ndarray:
    """Confusion matrices (runs, images, 2, 2) of 100 pixels an image."""
    polyp = rng.integers(5, 40, images)
    hit = rng.binomial(polyp, quality, (runs, images))
    false = rng.binomial(100 - polyp, 0.05, (runs, images))
    cells = [100 - polyp - false, false, polyp - hit, hit]
    return np.stack(np.broadcast_arrays(*cells), axis=-1).reshape(runs, images, 2, 2)


@pytest.fixture
def table(rng: np.random.Generator) -> dict[Any, dict[str, Sample]]:
    keys = [("full", 1.0)] + [(s, r) for r in (0.5, 0.1) for s in ("random", "kcenter", "meddel")]
    found: dict[Any, dict[str, Sample]] = {key: {} for key in keys}
    for name, images in (("a", 30), ("b", 20)):
        counts = {
            key: made_up_counts(rng, 0.5 + 0.05 * i, images=images) for i, key in enumerate(keys)
        }
        for key, sample in resample(counts, RUNS, name, draws=300).items():
            found[key][name] = sample
    return found


RETAINED = {("full", 1.0): 1.0} | {
    (s, r): r for r in (0.5, 0.1) for s in ("random", "kcenter", "meddel")
}


# Bootstrap


def test_miou_is_that_of_the_scores(rng: np.random.Generator) -> None:
    segmentation = pytest.importorskip("meddel_fast.training.segmentation")
    counts = rng.integers(0, 50, (200, 2, 2))
    counts[rng.random((200, 2, 2)) < 0.3] = 0  # 0 of 0 among them
    counts[:, 0, 0] += counts.sum(axis=(1, 2)) == 0
    wanted = [segmentation.iou_from_confusion(one)["miou"] for one in counts]
    assert miou_of_counts(counts.astype(float)).tolist() == wanted


def test_draws_equal_plain_loops(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"x": made_up_counts(rng, 0.6), "y": made_up_counts(rng, 0.7)}
    whole = resample(counts, RUNS, "a", draws=20)
    monkeypatch.setattr(bootstrap, "_BLOCK", 30 * 20)
    weights = np.concatenate([w for _, w in image_weights(30, "a", 20)])
    assert weights.shape == (20, 30)
    assert (weights.sum(axis=1) == 30).all()
    for key, sample in whole.items():
        for draw in range(20):
            for run in range(4):
                images = np.repeat(np.arange(30), weights[draw].astype(int))
                total = counts[key][run, images].sum(axis=0).astype(float)
                assert sample.drawn[draw, run] == miou_of_counts(total)
        everything = counts[key].sum(axis=1).astype(float)
        np.testing.assert_array_equal(sample.observed, miou_of_counts(everything))


def test_draws_do_not_depend_on_the_company_or_the_place(rng: np.random.Generator) -> None:
    counts = {"x": made_up_counts(rng, 0.6), "y": made_up_counts(rng, 0.7)}
    both, alone = resample(counts, RUNS, "a"), resample({"y": counts["y"]}, RUNS, "a")
    np.testing.assert_array_equal(both["y"].drawn, alone["y"].drawn)
    np.testing.assert_array_equal(both["y"].weights, both["x"].weights)
    other = resample(counts, RUNS, "b")
    assert (other["y"].drawn != both["y"].drawn).any()
    np.testing.assert_array_equal(other["y"].weights, both["y"].weights)  # the runs are shared
    assert (resample(counts, RUNS, "a", seed=1)["y"].drawn != both["y"].drawn).any()


def test_draws_are_these_on_every_machine() -> None:
    ((block, weights),) = image_weights(6, "a", draws=2)
    assert block == slice(0, 2)
    assert weights.tolist() == [[1, 2, 1, 0, 1, 1], [0, 0, 0, 4, 0, 2]]


def test_images_are_drawn_uniformly() -> None:
    weights = np.concatenate([w for _, w in image_weights(7, "a", draws=3000)])
    total = weights.sum(axis=0)
    assert stats.chisquare(total).pvalue > 1e-3
    assert np.var(weights[:, 0]) == pytest.approx(6 / 7, rel=0.1)  # of a binomial(7, 1/7)


def test_runs_are_drawn_in_nested_levels() -> None:
    weights = run_weights([(0, 0), (0, 1), (1, 0), (1, 1)], draws=4000)
    assert weights.sum(axis=1) == pytest.approx(1)
    first = weights[:, :2].sum(axis=1)  # share of repetition 0
    assert set(first) == {0.0, 0.5, 1.0}
    assert np.mean(first == 0.5) == pytest.approx(0.5, abs=0.03)
    assert np.mean(weights, axis=0) == pytest.approx(0.25, abs=0.02)
    assert run_weights([(0, 5)], draws=3).tolist() == [[1.0]] * 3
    ragged = run_weights([(0, 0), (1, 0), (1, 1)], draws=500)
    assert ragged.sum(axis=1) == pytest.approx(1)
    assert (ragged.max(axis=0) == 1).all()


def test_interval_covers_the_truth_as_often_as_it_says(rng: np.random.Generator) -> None:
    quality, images = 0.7, 40
    big = made_up_counts(rng, quality, runs=1, images=200_000)
    truth = float(miou_of_counts(big.sum(axis=(0, 1)).astype(float)))
    inside = 0
    for trial in range(300):
        counts = {"x": made_up_counts(rng, quality, runs=1, images=images)}
        low, high = resample(counts, [(0, 0)], "a", draws=300, seed=trial)["x"].interval()
        inside += low <= truth <= high
    assert 0.88 < inside / 300 < 0.985


def test_an_interval_has_all_of_the_repetitions_spread() -> None:
    for repeats in (8, 15):
        runs = tuple((r, 0) for r in range(repeats))
        scores = np.linspace(0.5, 0.6, repeats)
        drawn = np.tile(scores, (4000, 1))
        sample = Sample(scores, drawn, run_weights(runs, 4000), runs, 10)
        low, high = sample.interval(0.6827)  # one standard error to either side
        wanted = scores.std(ddof=1) / math.sqrt(repeats)
        assert (high - low) / 2 == pytest.approx(wanted, rel=0.03)


def test_one_draw_of_images_holds_for_all_runs(rng: np.random.Generator) -> None:
    # Eight heads that predict the same say no more of the images than one head does.
    one = made_up_counts(rng, 0.6, runs=1)
    single = resample({"x": one}, [(0, 0)], "a")["x"].interval()
    many = resample({"x": np.repeat(one, 8, axis=0)}, [(0, i) for i in range(8)], "a")["x"]
    assert many.interval() == pytest.approx(single, rel=1e-12)


def test_an_interval_ends_where_scores_do(rng: np.random.Generator) -> None:
    # Two repetitions of which one failed: widened for their number, draws leave [0, 1].
    bad, good = made_up_counts(rng, 0.01, runs=1), made_up_counts(rng, 1.0, runs=1)
    bad[..., 0, 1] += bad[..., 0, 0]
    bad[..., 0, 0] = 0
    good[..., 0, 0] += good[..., 0, 1]
    good[..., 0, 1] = 0
    counts = np.concatenate([bad, good])
    sample = resample({"x": counts}, [(0, 0), (1, 0)], "a")["x"]
    assert sample.interval() == (0, 1)
    weighed = sample.map(lambda miou: np.asarray(normdel(miou, 0.5, 1.0)))
    assert weighed.interval() == (0.5, normdel(1.0, 0.5, 1.0))
    assert average([weighed, weighed]).interval() == pytest.approx(weighed.interval())
    assert combine([sample, sample], [1, -1]).bounds == (-1, 1)


def test_pairs_cancel_what_images_have_in_common(rng: np.random.Generator) -> None:
    counts = made_up_counts(rng, 0.6)
    better = counts.copy()
    better[:, :, 1, 1] += 1  # in every image the same gain
    better[:, :, 0, 0] -= 1
    found = resample({"x": counts, "y": better}, RUNS, "a")
    low, high = combine([found["y"], found["x"]], [1, -1]).interval()
    alone = np.subtract(*found["x"].interval()[::-1])
    assert 0 < low < high
    assert high - low < 0.2 * alone


def test_images_of_a_group_are_drawn_together(rng: np.random.Generator) -> None:
    counts = made_up_counts(rng, 0.6, images=12)
    groups = ["v1", "v2", "v1", "", "", *["v3"] * 4, "v1", "v2", "v4"]
    units = whole_groups(counts, groups)
    members = [[0, 2, 9], [1, 10], [3], [4], [5, 6, 7, 8], [11]]
    wanted = np.stack([counts[:, m].sum(axis=1) for m in members], axis=1)
    np.testing.assert_array_equal(units, wanted)
    found = resample({"x": counts}, RUNS, "a", groups=groups)["x"]
    summed = resample({"x": wanted}, RUNS, "a")["x"]
    np.testing.assert_array_equal(found.drawn, summed.drawn)
    np.testing.assert_array_equal(found.observed, resample({"x": counts}, RUNS, "a")["x"].observed)
    assert bootstrap.MIN_GROUPS == 5
    few = ["v1"] * 4 + ["v2"] * 6 + ["", ""]  # four units
    np.testing.assert_array_equal(whole_groups(counts, few), counts)
    with pytest.raises(ValueError, match="groups must be one for each of 12 images, got 11"):
        resample({"x": counts}, RUNS, "a", groups=groups[1:])


def test_copies_of_a_frame_do_not_narrow_an_interval(rng: np.random.Generator) -> None:
    frames = made_up_counts(rng, 0.6, images=20)
    video = np.repeat(frames, 10, axis=1)
    groups = [f"v{i // 10}" for i in range(200)]
    alone = resample({"x": frames}, RUNS, "a")["x"].interval()
    together = resample({"x": video}, RUNS, "a", groups=groups)["x"].interval()
    assert together == pytest.approx(alone, rel=1e-12)
    apart = resample({"x": video}, RUNS, "a")["x"].interval()
    assert apart[1] - apart[0] < 0.6 * (alone[1] - alone[0])


def test_wrong_counts_are_refused(rng: np.random.Generator) -> None:
    counts = made_up_counts(rng, 0.6)
    with pytest.raises(ValueError, match=r"one shape \(4 runs, images, 2, 2\)"):
        resample({"x": counts, "y": counts[:, :-1]}, RUNS, "a")
    with pytest.raises(ValueError, match=r"one shape \(3 runs"):
        resample({"x": counts}, RUNS[:3], "a")
    with pytest.raises(ValueError, match="one shape"):
        resample({"x": counts[:, :0]}, RUNS, "a")


# Ranks


def test_critical_differences_are_the_tabled_ones() -> None:
    # Nemenyi at 5 %, table 5 (a) of Demšar, JMLR 7 (2006), for 2 to 10 methods
    tabled = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for k, q in enumerate(tabled, start=2):
        found = critical_difference(k, 14) / math.sqrt(k * (k + 1) / (6 * 14))
        assert found == pytest.approx(q, abs=0.001)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)  # its example


def test_friedman_is_scipys(rng: np.random.Generator) -> None:
    for round_to in (6, 1):  # without ties, and with
        scores = rng.random((9, 4)).round(round_to)
        found = rank(scores)
        wanted = stats.friedmanchisquare(*scores.T)
        assert found.friedman == pytest.approx(wanted.statistic)
        assert found.p_value == pytest.approx(wanted.pvalue)
        ranks = np.mean([stats.rankdata(-row) for row in scores], axis=0)
        assert found.ranks == pytest.approx(ranks)
        assert found.datasets == 9


def test_ranks_of_little() -> None:
    one = rank([[0.3, 0.5, 0.5]])
    assert one.ranks.tolist() == [3, 1.5, 1.5]
    assert (one.friedman, one.p_value, one.critical_difference) == (None, None, None)
    two = rank([[0.3, 0.5], [0.4, 0.2]])
    assert (two.friedman, two.critical_difference) == (
        None,
        pytest.approx(1.96 / math.sqrt(2), abs=1e-3),
    )
    tied = rank(np.ones((3, 3)))
    assert (tied.ranks.tolist(), tied.friedman) == ([2, 2, 2], None)
    for wrong in ([0.1, 0.2], [[0.1, math.nan]], np.empty((0, 3))):
        with pytest.raises(ValueError, match="scores must be finite"):
            rank(wrong)


# Tables


def test_intervals_hold_the_means(table: dict[Any, dict[str, Sample]]) -> None:
    found = intervals(table, RETAINED, 1.0)
    for key, sets in with_mean(table).items():
        assert list(found[key]) == ["a", "b", "mean"]
        for name, sample in sets.items():
            row = found[key][name]
            assert row["miou_low"] < sample.mean < row["miou_high"]
            assert row["normdel_low"] == pytest.approx(
                normdel(row["miou_low"], RETAINED[key]), abs=2e-3
            )  # nearly linear where the runs are close together
    assert with_mean(table)["full", 1.0]["mean"].mean == pytest.approx(
        np.mean([table["full", 1.0][n].mean for n in "ab"])
    )


def test_differences_are_paired_run_by_run(table: dict[Any, dict[str, Sample]]) -> None:
    rows = differences(table, RETAINED, 1.0)
    pairs = {(r["selector"], r["ratio"], r["against"]) for r in rows}
    assert pairs == {
        (s, r, "full") for r in (0.5, 0.1) for s in ("random", "kcenter", "meddel")
    } | {(s, r, "random") for r in (0.5, 0.1) for s in ("kcenter", "meddel")}
    assert len(rows) == 3 * len(pairs)
    assert all(tuple(r) == statistics.COLUMNS["differences"] for r in rows)
    (row,) = [
        r for r in rows
        if (r["selector"], r["ratio"], r["dataset"], r["against"]) == ("meddel", 0.1, "b", "random")
    ]  # fmt: skip
    ours, theirs = table["meddel", 0.1]["b"], table["random", 0.1]["b"]
    assert row["miou_difference"] == pytest.approx(np.mean(ours.observed - theirs.observed))
    assert row["miou_low"] < row["miou_difference"] < row["miou_high"]
    assert row["comparisons"] == 2
    gain = [
        normdel(float(a), 0.1) - normdel(float(b), 0.1)
        for a, b in zip(ours.observed, theirs.observed, strict=True)
    ]
    assert row["normdel_difference"] == pytest.approx(np.mean(gain))
    assert row["runs"] == 4


def test_alpha_sweep(table: dict[Any, dict[str, Sample]]) -> None:
    rows = alpha_sweep(table, RETAINED, [0.0, 1.0, 8.0])
    assert all(tuple(r) == statistics.COLUMNS["alphas"] for r in rows)
    found = {(r["alpha"], r["selector"], r["ratio"], r["dataset"]): r for r in rows}
    for (alpha, selector, ratio, name), row in found.items():
        if name != "mean":
            scores = normdel(
                table[selector, ratio][name].observed, RETAINED[selector, ratio], alpha
            )
            assert row["normdel_mean"] == pytest.approx(np.mean(scores))
        assert row["normdel_low"] <= row["normdel_mean"] <= row["normdel_high"]
    # without a price of data the best segmentation leads, with a high one the smallest share
    best = {a: next(k for k, r in found.items() if k[0] == a and k[3] == "mean" and r["rank"] == 1)
            for a in (0.0, 8.0)}  # fmt: skip
    top = max(table, key=lambda k: with_mean(table)[k]["mean"].mean)
    assert best[0.0][1:3] == top
    assert best[8.0][2] == 0.1
    assert found[8.0, "full", 1.0, "mean"]["rank"] == 7


def test_trapezoid_is_numpys() -> None:
    places, heights = np.array([0.05, 0.1, 0.33, 1.0]), np.array([0.6, 0.63, 0.61, 0.55])
    area = sum(
        (b - a) * (p + q) / 2
        for a, b, p, q in zip(places, places[1:], heights, heights[1:], strict=False)
    )
    weights = trapezoid(places)
    assert weights.sum() == pytest.approx(1)
    assert weights @ heights == pytest.approx(area / 0.95)


def test_areas(table: dict[Any, dict[str, Sample]]) -> None:
    rows = areas(table, RETAINED, [1.0])
    assert all(tuple(r) == statistics.COLUMNS["areas"] for r in rows)
    assert {r["selector"] for r in rows} == {"random", "kcenter", "meddel"}
    (row,) = [r for r in rows if (r["selector"], r["dataset"]) == ("kcenter", "a")]
    assert (row["from"], row["to"], row["points"]) == (0.1, 1.0, 3)
    heights = [
        np.mean(normdel(table[key]["a"].observed, key[1]))
        for key in (("kcenter", 0.1), ("kcenter", 0.5), ("full", 1.0))
    ]
    assert row["area"] == pytest.approx(trapezoid(np.array([0.1, 0.5, 1.0])) @ heights)
    assert row["low"] < row["area"] < row["high"]
    single = {key: sets for key, sets in table.items() if key == ("kcenter", 0.5)}
    assert areas(single, RETAINED, [1.0]) == []


def test_rank_rows(table: dict[Any, dict[str, Sample]]) -> None:
    rows = rank_rows(table)
    assert all(tuple(r) == statistics.COLUMNS["ranks"] for r in rows)
    found = {(r["ratio"], r["selector"]): r for r in rows}
    assert set(found) == {
        (r, s) for r in (0.5, 0.1, "all") for s in ("random", "kcenter", "meddel")
    }
    for ratio in (0.5, 0.1):
        scores = np.array([
            [table[s, ratio][n].mean for s in ("random", "kcenter", "meddel")] for n in ("a", "b")
        ])  # fmt: skip
        wanted = rank(scores)
        got = [found[ratio, s]["average_rank"] for s in ("random", "kcenter", "meddel")]
        assert got == wanted.ranks.tolist()
        assert found[ratio, "meddel"]["critical_difference"] == wanted.critical_difference
    partial = {key: sets for key, sets in table.items() if key != ("meddel", 0.1)}
    assert {r["selector"] for r in rank_rows(partial) if r["ratio"] == "all"} == {
        "random",
        "kcenter",
    }
    assert rank_rows({("full", 1.0): table["full", 1.0]}) == []


def test_average_and_json(table: dict[Any, dict[str, Sample]]) -> None:
    both = average(list(table["full", 1.0].values()))
    assert both.observed == pytest.approx(
        (table["full", 1.0]["a"].observed + table["full", 1.0]["b"].observed) / 2
    )
    found = all_statistics(table, RETAINED, 1.0, [1.0])
    assert set(found) == {"confidence", "draws", "rule", *statistics.COLUMNS}
