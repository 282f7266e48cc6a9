"""Shares of the budget by class, for every selector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_selectors import blobs, check_consistent, given, of_rows, same

from meddel_fast.selectors import METHODS, SELECTORS, Selection, check_options, select
from meddel_fast.selectors.targets import divide

N = 40
methods = pytest.mark.parametrize("name", list(SELECTORS))
pytestmark = pytest.mark.filterwarnings("ignore:retrieve. kept")
# 20 of "a", 12 of "b", 5 of "c", and 3 without a class.
CLASSES = np.random.default_rng(4).permutation(["a"] * 20 + ["b"] * 12 + ["c"] * 5 + [""] * 3)


def kept(found: Selection, classes: np.ndarray = CLASSES) -> dict[str, int]:
    names, counts = np.unique(classes[found.indices], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


@methods
@pytest.mark.parametrize(
    ("target", "budget", "expected"),
    [
        ("uniform", 12, {"a": 4, "b": 4, "c": 4}),
        ("uniform", 11, {"a": 4, "b": 4, "c": 3}),  # the last places go to larger classes
        ("given", 20, {"a": 10, "b": 6, "c": 3, "": 1}),  # (5 / 2.5 and 3 / 1.5: the first)
        ({"a": 0.25, "b": 0.25, "c": 0.5}, 8, {"a": 2, "b": 2, "c": 4}),
        ({"c": 0.5}, 10, {"c": 5, "a": 3, "b": 2}),  # the rest as the pool has it
        ({"b": 1}, 6, {"b": 6}),
    ],
    ids=str,
)
def test_shares_are_met(name: str, target: Any, budget: int, expected: dict[str, int]) -> None:
    x, more = blobs(), given(name, N)
    found = select(name, x, budget, classes=CLASSES, target=target, **more)
    assert len(found) == len(np.unique(found.order)) == budget
    assert kept(found) == expected
    assert found.settings["target"] == target
    assert found.settings["target_missed"] == {}
    assert found.settings["classes"] == 3
    one = select(name, x, budget, classes=CLASSES, target=target, threads=1, **more)
    assert same(found, one)


@methods
def test_each_class_is_chosen_from_by_itself(name: str) -> None:
    x, more = blobs(), given(name, N)
    found = select(name, x, 12, classes=CLASSES, **more)
    for one in "abc":
        rows = np.flatnonzero(one == CLASSES)
        alone = select(name, x[rows], 4, **of_rows(name, more, rows))
        assert [i for i in found.order if CLASSES[i] == one] == rows[alone.order].tolist()
    assert not found.mask[CLASSES == ""].any()


@methods
def test_what_cannot_be_met_is_told(name: str) -> None:
    x, more = blobs(), given(name, N)
    with pytest.warns(UserWarning, match=rf"^{name}: target is not met, 8 of 38 .* 'c' lacks 7, "):
        ladder = select(name, x, [9, 30, 38], classes=CLASSES, **more)
    assert [s.settings["target_missed"] for s in ladder] == [{}, {"c": 5}, {"c": 7, "b": 1}]
    for found, count in zip(ladder, (9, 30, 38), strict=True):
        assert len(found) == len(np.unique(found.order)) == count
    assert kept(ladder[0]) == {"a": 3, "b": 3, "c": 3}
    assert kept(ladder[1]) == {"a": 13, "b": 12, "c": 5}
    assert kept(ladder[2]) == {"a": 20, "b": 12, "c": 5, "": 1}
    if METHODS[name].nested:
        assert set(ladder[0].indices) < set(ladder[1].indices) < set(ladder[2].indices)


@methods
def test_all_at_once(name: str) -> None:
    x, more = blobs(), given(name, N)
    exclude = np.zeros(N, dtype=bool)
    exclude[np.flatnonzero(CLASSES == "c")[:3]] = True  # two are left
    first = np.flatnonzero(CLASSES == "b")[:3]
    with pytest.warns(UserWarning, match="1 of 9 places went to other classes: 'c' lacks 1$"):
        found = select(
            name, x, 9, classes=CLASSES, exclude=exclude, selected=first, memory="40MB", **more
        )
    assert kept(found) == {"a": 4, "b": 3, "c": 2}
    assert found.order[:3].tolist() == first.tolist()
    assert not found.mask[exclude].any()


def test_selected_samples_may_be_more_than_a_class_is_due() -> None:
    first = np.flatnonzero(CLASSES == "b")[:6]
    with pytest.warns(UserWarning, match="2 of 12 .* lacks 1, .* lacks 1$"):
        found = select("kcenter", blobs(), 12, classes=CLASSES, selected=first)
    assert kept(found) == {"a": 3, "b": 6, "c": 3}
    assert found.settings["target_missed"] == {"a": 1, "c": 1}


def test_groups_come_first_and_what_that_costs_is_told() -> None:
    groups = np.where(CLASSES == "", np.arange(N), -1)  # three patients, without a class
    with pytest.warns(UserWarning, match="3 of 12 places"):
        found = select("random", blobs(), 12, classes=CLASSES, groups=groups)
    assert kept(found)[""] == found.settings["replaced"] == 3
    assert sum(found.settings["target_missed"].values()) == 3


def test_classes_may_be_numbers() -> None:
    numbers = np.where(CLASSES == "", -7, np.searchsorted(["", "a", "b", "c"], CLASSES))
    for target, other in (("uniform",) * 2, ({3: 0.5}, {"c": 0.5}), ({"1": 1}, {"a": 1})):
        ours = select("kcenter", blobs(), 8, classes=numbers, target=target)
        theirs = select("kcenter", blobs(), 8, classes=CLASSES, target=other)
        assert ours.order.tolist() == theirs.order.tolist()


def test_what_has_no_class_shares_in_the_rest() -> None:
    """The rest, 4 of 8, is shared by 29 without a class and one of "a"."""
    classes = np.array(["b"] * 10 + [""] * 29 + ["a"])
    found = select("random", blobs(), 8, classes=classes, target={"b": 0.5})
    assert kept(found, classes) == {"b": 4, "": 4}


def test_without_any_class_the_target_is_that_of_no_class() -> None:
    found = select("kcenter", blobs(), 8, classes=[""] * N)
    assert found.order.tolist() == select("kcenter", blobs(), 8).order.tolist()
    assert found.settings["classes"] == 0


def test_a_class_that_is_excluded_whole_is_missed() -> None:
    with pytest.warns(UserWarning, match="4 of 8 .*'c' lacks 4$"):
        found = select("random", blobs(), 8, classes=CLASSES, exclude=CLASSES == "c",
                       target={"c": 0.5, "a": 0.5})  # fmt: skip
    assert found.settings["target_missed"] == {"c": 4}
    assert kept(select("random", blobs(), 8, classes=CLASSES, exclude=CLASSES == "c")) == {
        "a": 4, "b": 4,
    }  # fmt: skip


def test_selections_with_a_target_are_saved_and_loaded(tmp_path: Any) -> None:
    found = select("random", blobs(), 8, classes=CLASSES, target={"c": 0.5, "a": 0.25})
    found.save(tmp_path / "s.parquet")
    assert same(Selection.load(tmp_path / "s.parquet"), found)


def restated_seats(
    share: list[float], sizes: list[int], held: list[int], count: int, most: list[int]
) -> list[int]:
    """Webster's rule, a place at a time."""
    seats = list(held)
    while sum(seats) < count:
        open_ = [c for c in range(len(share)) if seats[c] < most[c]]
        best = max(
            open_, key=lambda c: (share[c] / (seats[c] + 0.5), sizes[c] / (seats[c] + 0.5), -c)
        )
        seats[best] += 1
    return seats


@pytest.mark.parametrize("seed", range(20))
def test_places_are_webster_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 7))
    share, sizes = rng.integers(0, 4, k) / 2 + (rng.random(k) < 0.2), rng.integers(0, 30, k)
    share[0] += 1
    held = np.minimum(sizes, rng.integers(0, 3, k))
    counts = sorted(rng.integers(held.sum(), sizes.sum() + 1, 4).tolist())
    capped = divide(share, sizes, held, counts[::-1], sizes)[::-1]
    free = divide(share, sizes, np.zeros_like(held), counts)
    for i, count in enumerate(counts):
        given = (share.tolist(), sizes.tolist(), held.tolist(), count, sizes.tolist())
        assert capped[i].tolist() == restated_seats(*given)
        given = (share.tolist(), sizes.tolist(), [0] * k, count, [10**9] * k)
        assert free[i].tolist() == restated_seats(*given)
        assert i == 0 or np.all(capped[i] >= capped[i - 1])


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (TypeError, r"classes must be int or str of shape \(40,\)", {"classes": ["a"]}),
        (TypeError, "classes must be int or str.*float64", {"classes": np.ones(N)}),
        (ValueError, "target must be 'uniform', 'given' or .*, got 'even'", {"target": "even"}),
        (ValueError, "target must be 'uniform', .*, got {}", {"target": {}}),
        (ValueError, "target of 'a' must be from 0 to 1, got 2", {"target": {"a": 2}}),
        (TypeError, "target of 'a' must be a number", {"target": {"a": "half"}}),
        (ValueError, "target must sum to .*, got 1.2", {"target": {"a": 0.6, "b": 0.6}}),
        (ValueError, "target must name each class once", {"target": {1: 0.1, "1": 0.2}}),
        (ValueError, "target must sum to .*, got 0", {"target": {"a": 0}}),
        (ValueError, "target must name classes, got 'd'; there are 'a', 'b', 'c'",
         {"target": {"d": 0.5}}),
        (ValueError, "target must sum to 1 where it names every class, got 0.9",
         {"classes": ["a", "b"] * (N // 2), "target": {"a": 0.3, "b": 0.6}}),
        (ValueError, "group_rule must be 'cover' beside classes",
         {"groups": np.arange(N) // 20, "group_rule": "split"}),
    ],
)  # fmt: skip
def test_refusals(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=text):
        select("random", blobs(), 3, **({"classes": CLASSES} | options))


@pytest.mark.parametrize(
    ("name", "option"),
    [("facility", "neighbors"), ("coverage", "neighbors"), ("prototypes", "clusters")],
)
def test_an_option_too_large_for_a_class_says_so(name: str, option: str) -> None:
    text = rf"{option} must be from 1 to \d, got 8 \(in a part of 5 samples, as the budget is split"
    with pytest.raises(ValueError, match=text):
        select(name, blobs(), 9, classes=CLASSES, **{option: 8})


def test_a_target_without_classes_is_refused_without_samples() -> None:
    for options in ({"target": "given"}, {"target": {"a": 1}}):
        with pytest.raises(ValueError, match="target has no effect without classes"):
            check_options("kcenter", options)
    check_options("kcenter", {"classes": [1, 2], "target": {"1": 0.5}})
    check_consistent(select("kcenter", blobs(), 3, target="uniform"), N, 3)
