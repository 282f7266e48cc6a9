"""What every selector can be asked beyond a budget: one body of tests for all methods."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from test_selectors import blobs, check_consistent, given, of_rows, same

from meddel_fast import Prepared, _core, selectors
from meddel_fast.selectors import METHODS, SELECTORS, Selection, check_options, select
from meddel_fast.selectors.groups import quotas

N = 40
pytestmark = pytest.mark.filterwarnings("ignore:retrieve. kept")
methods = pytest.mark.parametrize("name", list(SELECTORS))
GROUPS = np.array([f"video {i}" for i in np.random.default_rng(2).integers(0, 6, N)])


def excluded() -> np.ndarray:
    mask = np.zeros(N, dtype=bool)
    mask[[0, 2, 13, 14, 39]] = True
    return mask


@methods
def test_excluded_samples_are_as_good_as_absent(name: str) -> None:
    x, mask, more = blobs(), excluded(), given(name, N)
    left = np.flatnonzero(~mask)
    inner = of_rows(name, more, left)
    for budget in (1, 0.3, len(left)):
        found = select(name, x, budget, exclude=mask, **more)
        alone = select(name, x[left], budget, **inner)
        check_consistent(found, N, len(alone))
        assert np.array_equal(found.order, left[alone.order])
        assert np.array_equal(found.reason == "excluded", mask)
        assert found.counts()["excluded"] == 5
        for field in ("scores", "reason", "similarity", "distance"):
            theirs = getattr(alone, field)
            assert np.array_equal(getattr(found, field)[left], theirs, equal_nan=theirs.dtype != "O"
                                  and theirs.dtype.kind == "f")  # fmt: skip
        repeats = alone.duplicate_of >= 0
        assert np.array_equal(found.duplicate_of[left][repeats], left[alone.duplicate_of[repeats]])
        theirs = alone.cluster
        if name in ("facility", "craig", "coverage"):  # the samples that represent others
            theirs = np.where(theirs >= 0, left[theirs], -1)
        assert np.array_equal(found.cluster[left], theirs)
        assert np.all(found.cluster[mask] == -1)
        assert np.all(found.scores[mask] == -np.inf)
        assert found.settings["excluded"] == 5


@methods
def test_a_prepared_set_may_be_selected_from(name: str) -> None:
    x, more = blobs(), given(name, N)
    prepared = Prepared(x)
    groups = {"groups": GROUPS, "group_rule": "split"}
    for options in ({}, {"exclude": excluded()}, groups, {"memory": "40MB"}):
        for _ in range(2):
            found = select(name, prepared, 12, **options, **more)
            assert same(found, select(name, x, 12, **options, **more))


@methods
def test_selected_samples_are_extended(name: str) -> None:
    x, more = blobs(), given(name, N)
    before = np.array([9, 31, 4])
    ladder = select(name, x, [3, 4, 17, N], selected=before, **more)
    for found, count in zip(ladder, (3, 4, 17, N), strict=True):
        check_consistent(found, N, count)
        assert found.order[:3].tolist() == before.tolist()
        assert np.all(found.scores[before] == np.inf)
        assert found.settings["selected"] == 3
    nothing = select(name, x, 11, selected=np.zeros(0, dtype=int), **more)
    assert same(nothing, select(name, x, 11, **more))


@pytest.mark.parametrize(
    "name", ["kcenter", "facility", "craig", "coverage", "graphcut", "herding", "d2"]
)
def test_greedy_methods_go_on_where_they_ended(name: str) -> None:
    x = blobs()
    whole = select(name, x, 20)
    first = select(name, x, 8)
    rest = select(name, x, 20, selected=first.order)
    assert np.array_equal(rest.order, whole.order)
    if name in ("kcenter", "craig"):
        assert np.array_equal(rest.distance, whole.distance, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [("semdedup", {}), ("d4", {"dedup": 0.9}), *(
        ("meddel", {"rule": rule, "epsilon": 2.0}) for rule in ("semdedup", "greedy", "components")
    )],
)  # fmt: skip
def test_what_repeats_a_selected_sample_is_dropped_first(
    name: str, options: dict[str, Any]
) -> None:
    x = blobs(d=12)
    x[30:33] = x[[20, 21, 22]]  # and rows 2, 5 and 9 are one: five copies to drop
    for ours, theirs in (([20, 21, 22], [30, 31, 32]), ([30, 31, 32], [20, 21, 22])):
        found = select(name, x, 35, selected=ours, clusters=1, **options)
        assert set(theirs) <= set(np.flatnonzero(~found.mask))
        repeats = found.reason[theirs] == "duplicate"
        assert repeats.all()
        assert found.duplicate_of[theirs].tolist() == ours


def test_selected_samples_are_never_disruptive() -> None:
    x, options = blobs(), {"disruptive_fraction": 0.2, "deviations": 0}
    outcasts = np.flatnonzero(select("meddel", x, 5, **options).reason == "disruptive")
    found = select("meddel", x, 12, selected=outcasts[:3], **options)
    assert found.order[:3].tolist() == outcasts[:3].tolist()
    assert found.settings["disruptive"] == len(outcasts) - 3


@methods
@pytest.mark.parametrize("rule", ["cover", "split"])
def test_every_group_keeps_one(name: str, rule: str) -> None:
    x, more = blobs(), given(name, N)
    ladder = select(name, x, [6, 9, 25, N], groups=GROUPS, group_rule=rule, **more)
    for found, count in zip(ladder, (6, 9, 25, N), strict=True):
        assert len(found) == len(np.unique(found.order)) == count
        assert set(GROUPS[found.indices]) == set(GROUPS)
        assert found.settings["groups"] == 6
        assert found.settings["group_rule"] == rule


@methods
def test_cover_exchanges_as_few_as_it_can(name: str) -> None:
    x, more = blobs(), given(name, N)
    plain = select(name, x, 7, **more)
    covered = select(name, x, 7, groups=GROUPS, **more)
    missing = sorted(set(GROUPS) - set(GROUPS[plain.indices]))
    assert covered.settings["replaced"] == len(missing)
    came = np.setdiff1d(covered.indices, plain.indices)
    assert sorted(GROUPS[came]) == missing
    for i in came:  # the best of its group, the lowest index among equals
        mates = np.flatnonzero(GROUPS[i] == GROUPS)
        assert i == mates[np.argmax(plain.scores[mates])]
    stay = [i for i in plain.order if i in covered.indices]
    assert covered.order[: len(stay)].tolist() == stay
    gone = [i for i in plain.order[::-1] if i not in covered.indices]
    held = [GROUPS[i] for i in plain.order]
    spare: list[int] = []  # the least wanted that could go
    for i in plain.order[::-1]:
        if len(spare) < len(missing) and held.count(GROUPS[i]) > 1:
            held.remove(GROUPS[i])
            spare.append(i)
    assert gone == spare


@methods
def test_split_is_each_group_by_itself(name: str) -> None:
    x, more = blobs(), given(name, N)
    groups = np.where(GROUPS == "video 0", "", GROUPS)  # these have no group
    found = select(name, x, 20, groups=groups, group_rule="split", **more)
    names, sizes = np.unique(groups, return_counts=True)
    shares = quotas(sizes, (names != "").astype(np.int64), 20)
    labels: set[int] = set()
    for group, share in zip(names, shares, strict=True):
        rows = np.flatnonzero(groups == group)
        if share == 0:
            assert not found.mask[rows].any()
            continue
        inner = of_rows(name, more, rows)
        alone = select(name, x[rows], int(share), **inner)
        assert [i for i in found.order if groups[i] == group] == rows[alone.order].tolist()
        assert np.array_equal(found.reason[rows], alone.reason)
        assert np.array_equal(found.distance[rows], alone.distance, equal_nan=True)
        own = found.cluster[rows][alone.cluster >= 0]
        assert np.all(found.cluster[rows][alone.cluster < 0] == -1)
        if name in ("facility", "craig", "coverage"):
            assert np.array_equal(own, rows[alone.cluster[alone.cluster >= 0]])
        elif len(own):
            assert len(set(own - alone.cluster[alone.cluster >= 0])) == 1
            assert not labels & set(own)  # no two groups share a cluster
            labels |= set(own)


@methods
def test_all_at_once(name: str) -> None:
    x, mask, more = blobs(), excluded(), given(name, N)
    if METHODS[name].weights:
        more = more | {"weights": np.random.default_rng(0).uniform(0.1, 9, N)}
    for rule in ("cover", "split"):
        found = select(
            name, x, [9, 20], exclude=mask, selected=[5, 6], groups=GROUPS, group_rule=rule, **more
        )
        for selection in found:
            assert not (selection.mask & mask).any()
            assert selection.order[:2].tolist() == [5, 6]
            assert set(GROUPS[~mask]) == set(GROUPS[selection.indices])
            assert np.array_equal(selection.reason == "excluded", mask)
            assert np.all(selection.duplicate_of < N)
        assert [len(s) for s in found] == [9, 20]


@methods
def test_equal_weights_change_nothing(name: str) -> None:
    x, more = blobs(), given(name, N)
    ones = np.ones(N)
    if not METHODS[name].weights:
        with pytest.raises(ValueError, match=f"weights must be None for {name}"):
            select(name, x, 9, weights=ones, **more)
        return
    assert np.array_equal(
        select(name, x, 9, weights=ones, **more).order, select(name, x, 9, **more).order
    )


def test_the_heaviest_of_duplicates_stays() -> None:
    x = np.float32([[1, 0], [1, 0.001], [0, 1], [0.001, 1]])
    for name in ("semdedup", "meddel", "d4"):
        weights = [1, 2, 5, 4]
        assert set(select(name, x, 2, clusters=1, weights=weights).indices) == {1, 2}
        weights = [2, 1, 4, 5]
        assert set(select(name, x, 2, clusters=1, weights=weights).indices) == {0, 3}


def test_kept_and_lost_medoids() -> None:
    """A kept sample that gives way to a missing group stands for nothing any more."""
    x, groups = blobs(), np.r_[np.zeros(N - 3, dtype=int), [1, 2, 3]]
    mask = excluded()
    mask[-3:] = False
    for budget in (4, 12):
        for exclude in (None, mask):
            found = select("facility", x, budget, groups=groups, exclude=exclude)
            assert found.settings["replaced"]
            assert set(found.cluster) <= {-1, *found.indices}


def test_webster_gives_what_is_due() -> None:
    assert quotas(np.array([70, 15, 15]), np.array([1, 1, 1]), 10).tolist() == [7, 2, 1]
    assert quotas(np.array([90, 9, 1]), np.array([1, 1, 1]), 3).tolist() == [1, 1, 1]
    assert quotas(np.array([13, 14]), np.array([0, 0]), 5).tolist() == [2, 3]  # 13 / 2.5 < 14 / 2.5
    assert quotas(np.array([2, 50]), np.array([1, 1]), 52).tolist() == [2, 50]
    last = np.zeros(4, dtype=np.int64)
    for count in range(4, 101):  # a larger budget takes nothing away
        now = quotas(np.array([47, 30, 20, 3]), np.ones(4, dtype=np.int64), count)
        assert now.sum() == count
        assert np.all(now >= last)
        last = now


@methods
def test_signatures_and_docstrings_say_all(name: str) -> None:
    function = SELECTORS[name]
    parameters = list(inspect.signature(function).parameters)
    assert parameters[:2] == ["x", "budget"]
    common = ["exclude", "groups", "group_rule", "classes", "target"]
    assert parameters[-10:] == [*common, "weights", "selected", "memory", "group", "checkpoint"]
    text = inspect.getdoc(function) or ""
    head = text[text.index("Parameters\n") : text.index("Returns\n")]
    for parameter in parameters:
        assert parameter in head
    assert function is getattr(selectors, name)


def test_selections_with_exclusions_are_saved_and_loaded(tmp_path: Any) -> None:
    found = select("semdedup", blobs(), 9, exclude=excluded(), selected=[5], groups=GROUPS)
    found.save(tmp_path / "s.parquet")
    assert same(Selection.load(tmp_path / "s.parquet"), found)


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (TypeError, r"exclude must be a bool array.*, got int64", {"exclude": np.zeros(N, int)}),
        (TypeError, r"exclude.*\(40,\), got bool of shape \(3,\)", {"exclude": np.ones(3, bool)}),
        (TypeError, "exclude.*got bool", {"exclude": np.zeros(N + 1, bool)}),
        (ValueError, "exclude must leave", {"exclude": np.ones(N, bool)}),
        (ValueError, "budget.*1 to 2 .*less 38 excluded", {"exclude": np.arange(N) > 1}),
        (ValueError, "selected must be rows of x, 0 to 39", {"selected": [40]}),
        (ValueError, "selected must be rows of x, 0 to 39", {"selected": [41]}),
        (ValueError, "selected must be rows of x, 0 to 39, got -1..3", {"selected": [3, -1]}),
        (TypeError, "selected must be a 1-d int", {"selected": [0.5]}),
        (ValueError, "each sample once", {"selected": [3, 3]}),
        (ValueError, "not be excluded, got 2", {"selected": [1, 2, 0], "exclude": excluded()}),
        (ValueError, "at least the 4 selected.*got 3", {"selected": [1, 2, 3, 4]}),
        (TypeError, r"groups must be int or str of shape \(40,\)", {"groups": [1, 2]}),
        (TypeError, r"groups must be.* of shape \(41,\)", {"groups": np.ones(N + 1, int)}),
        (TypeError, "groups must be int or str.*float64", {"groups": np.ones(N)}),
        (ValueError, "one sample of each of 6 groups, which takes 6, got 3", {"groups": GROUPS}),
        (
            ValueError,
            "beside the 2 selected samples",
            {"groups": np.arange(N) // 15, "selected": [0, 1]},
        ),
        (ValueError, "group_rule must be.*'each'", {"group_rule": "each", "groups": GROUPS}),
        (ValueError, "weights must be above 0.*got 0", {"weights": np.zeros(N)}),
        (ValueError, "weights must be above 0.*got -1", {"weights": np.full(N, -1.0)}),
        (ValueError, "finite, got inf for sample 0", {"weights": np.full(N, np.inf)}),
        (TypeError, r"weights must be numbers of shape \(40,\)", {"weights": [1.0]}),
        (TypeError, "no option epsilon; it has seed, threads, exclude", {"epsilon": 1}),
    ],
)  # fmt: skip
def test_refusals(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=text):
        select("random", blobs(), 3, **options)


@pytest.mark.parametrize(
    ("error", "text", "name", "options"),
    [
        (TypeError, r"score must be numbers of shape \(40,\), got float64", "d2", {"score": [1.0]}),
        (ValueError, "score must be finite", "loss", {"score": np.full(N, np.inf)}),
        (TypeError, "strata must be int or str", "stratified", {"strata": np.ones(N)}),
        (ValueError, "clusters must be None", "moderate", {"labels": GROUPS, "clusters": 3}),
        (ValueError, "clusters must be None", "ccs", {"score": np.ones(N), "clusters": 3}),
        (ValueError, "neighbors must be from 1 to 39", "facility", {"neighbors": 40}),
        (ValueError, "greedy must be one of", "facility", {"greedy": "eager"}),
        (ValueError, "hops must be from 1 to 2, got 3", "coverage", {"hops": 3}),
        (ValueError, "kernel must be one of", "coverage", {"kernel": "gaussian"}),
        (TypeError, "labels must be int or str", "coverage", {"labels": np.ones(N)}),
        (ValueError, "dedup must be from 0 to 1", "d4", {"dedup": 1.5}),
        (ValueError, "dedup must be from 0 to 1", "d4", {"dedup": -0.1}),
        (ValueError, "cutoff must be from 0 to 1", "ccs", {"cutoff": -0.1}),
        (ValueError, "nearest must be at least 1", "density", {"nearest": 0}),
        (ValueError, "temperature", "density", {"temperature": 0}),
        (ValueError, "trade_off", "graphcut", {"trade_off": -1}),
        (ValueError, "forward", "d2", {"forward": -1}),
        (ValueError, "reverse", "d2", {"reverse": -1}),
        (ValueError, "strata must be at least 1", "ccs", {"strata": 0}),
        (ValueError, "keep must be one of 'high', 'low'", "loss", {"score": np.ones(N), "keep": 1}),
    ],
)
def test_own_options_are_checked(
    error: type[Exception], text: str, name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(error, match=text):
        select(name, blobs(), 3, **options)


def test_budgets_of_numpy_are_plain_numbers(tmp_path: Any) -> None:
    ladder = select("random", blobs(), np.array([3, 9]))
    assert [type(s.settings["budget"]) for s in ladder] == [int, int]
    one = select("random", blobs(), np.int64(9))
    assert same(one, ladder[1])
    one.save(tmp_path / "s.parquet")


def test_an_excluded_start_gives_way_to_the_next() -> None:
    mask = np.arange(N) < 4
    found = select("kcenter", blobs(), 5, exclude=mask, start=2)
    assert found.order[0] == 4
    assert found.settings["start"] == 2
    last = select("kcenter", blobs(), 2, exclude=~mask, start=30)
    assert last.order[0] == 3
    assert last.settings["excluded"] == N - 4


def test_every_instruction_set_chooses_the_same(isa: str) -> None:
    x = blobs()
    for name in SELECTORS:
        more = given(name, N) | ({"neighbors": 5} if "neighbors" in METHODS[name].own else {})
        found = select(name, x, [4, 20], selected=[3], **more)
        _core.use_isa("scalar")
        plain = select(name, x, [4, 20], selected=[3], threads=1, **more)
        _core.use_isa(isa)
        assert all(same(a, b) for a, b in zip(found, plain, strict=True)), name


@pytest.mark.parametrize("name", SELECTORS)
def test_every_option_of_a_method_is_checked_before_any_work(name: str) -> None:
    method = METHODS[name]
    assert set(method.own) == {*method.checks, *method.per_sample, *method.positions}
    needed = given(name, N) | ({"mode": "cluster"} if name == "retrieve" else {})
    for option in (*method.checks, *method.positions):
        with pytest.raises((TypeError, ValueError), match=f"^{option} must be"):
            check_options(name, needed | {option: object()})
    for option in ("clusters", "neighbors"):
        if option in method.checks:
            check_options(name, needed | {option: 10**6})
            with pytest.raises(ValueError, match=f"{option} must be from 1 to "):
                check_options(name, needed | {option: 10**6}, n=1000)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"memory": "lots"}, "memory must be bytes"),
        ({"group_rule": "some"}, "group_rule must be one of"),
        ({"group_rule": "split"}, "group_rule has no effect without groups"),
    ],
)
def test_common_options_are_checked_without_samples(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_options("kcenter", options)
    with pytest.raises(ValueError, match=text):
        select("kcenter", blobs(), 5, **options)


@pytest.mark.parametrize("name", ["meddel", "stratified", "moderate", "ccs"])
def test_an_option_beside_one_that_takes_its_place_is_refused(name: str) -> None:
    for first, others in METHODS[name].instead.items():
        value = 0.1 if first == "epsilon" else [1] * N
        for other in others:
            with pytest.raises(ValueError, match=f"{other} must be None where {first} is given"):
                select(name, blobs(), 5, **{first: value, other: 1})


def test_missing_names_are_no_name() -> None:
    for name, option in (("stratified", "strata"), ("moderate", "labels"), ("random", "groups")):
        with pytest.raises(
            TypeError, match=f"{option} must be int or str .* got None for sample 0"
        ):
            select(name, blobs(), 5, **{option: [None] * N})
        names = np.array(["a", "b"] * (N // 2), dtype=object)
        names[3] = float("nan")
        with pytest.raises(TypeError, match=f"{option} must be int or str .* got nan for sample 3"):
            select(name, blobs(), 5, **{option: names})
