"""Defaults, and what may be given by position: changing them changes what a caller's code means."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import meddel_fast as mf
from meddel_fast import selectors
from meddel_fast.selectors import METHODS

OPERATIONS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "kcenter_greedy": (["x", "k"], {"metric": "euclidean", "start": 0, "distances": True}),
    "similar_pairs": (["x", "y"], {"threshold": 0.95}),
    "iter_similar_pairs": (["x", "y"], {"threshold": 0.95, "max_pairs": 10_000_000}),
    "redundancy": (["x"], {}),
    "topk_similarity": (["x", "y", "k"], {"k": 1}),
    "kmeans": (
        ["x", "k"],
        {"spherical": True, "max_iterations": 100, "tol": 0.0, "seed": 0, "init": "k-means++"},
    ),
    "deduplicate": (["x", "threshold"], {"threshold": 0.95, "rule": "semdedup"}),
}

CLUSTERED = {"max_iterations": 100}
OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "stratified": CLUSTERED,
    "kcenter": {"metric": "euclidean", "start": 0},
    "semdedup": {"keep": "far", **CLUSTERED},
    "meddel": {
        "disruptive_fraction": 0.1,
        "deviations": 2.5,
        "rule": "semdedup",
        "keep": "near",
        **CLUSTERED,
    },
    "prototypes": {"keep": "hard", **CLUSTERED},
    "d4": {"dedup": 0.75, "sweep": "far", "keep": "hard", **CLUSTERED},
    "density": {"keep": "hard", "temperature": 0.1, "nearest": 20, **CLUSTERED},
    "hierarchical": {
        "inside": "random",
        "resamplings": 10,
        "metric": "euclidean",
        "max_iterations": 10,
    },
    "moderate": CLUSTERED,
    "facility": {"greedy": "lazy", "epsilon": 0.1},
    "craig": {},
    "coverage": {"hops": 2, "kernel": "similarity"},
    "graphcut": {"trade_off": 0.5},
    "herding": {},
    "d2": {"forward": 1.0, "reverse": 1.0},
    "ccs": {"strata": 50, "cutoff": 0.0, **CLUSTERED},
    "loss": {"keep": "high"},
    "retrieve": {"mode": "sample", "strength": 1.0, "pick": "random", "min_seeds": 1, **CLUSTERED},
    "combine": {"objectives": (("diversity", 1.0), ("typicality", 0.5))},
}


def by_position_or_name(function: Callable[..., Any]) -> list[str]:
    """The parameters that are not by name alone; none is by position alone."""
    parameters = inspect.signature(function).parameters.values()
    assert all(p.kind is not p.POSITIONAL_ONLY for p in parameters)
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Those that are not None, which stands for a choice made at run time."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default not in (None, p.empty)}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_operations(name: str) -> None:
    function = getattr(mf, name)
    assert (by_position_or_name(function), defaults(function)) == OPERATIONS[name]


def test_selectors() -> None:
    assert {name: defaults(method.plan) for name, method in METHODS.items()} == OPTIONS
    for method in METHODS.values():
        assert by_position_or_name(method.plan) == ["task"]
    shared = {"seed": 0, "group_rule": "cover", "target": "uniform"}
    for name in METHODS:
        function = getattr(selectors, name)
        assert by_position_or_name(function) == ["x", "budget"]
        assert defaults(function) == {**OPTIONS[name], **shared}


def test_selection_by_name() -> None:
    assert by_position_or_name(selectors.select) == ["name", "x", "budget"]
    assert by_position_or_name(selectors.select_ladder) == ["name", "x", "budgets"]
