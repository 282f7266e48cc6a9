"""The description of a method, with its options: its own, and those that every method has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from meddel_fast.arrays import check_choice, check_int, resolve_threads
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.plugins import Plugin
from meddel_fast.selectors.options import Check
from meddel_fast.selectors.plan import Choice
from meddel_fast.selectors.targets import check_target
from meddel_fast.sharded.checkpoint_terms import check_place
from meddel_fast.sharded.group import check_group
from meddel_fast.sharded.memory import check_memory

GROUP_RULES = ("cover", "split")

SHARED: dict[str, Any] = {
    "seed": 0,
    "threads": None,
    "exclude": None,
    "groups": None,
    "group_rule": "cover",
    "classes": None,
    "target": "uniform",
    "weights": None,
    "selected": None,
    "memory": None,
    "group": None,
    "checkpoint": None,
}
"""What every selector may be asked for beyond a budget, with the defaults."""

HOW = ("threads", "memory", "group", "checkpoint")
"""Those that change no selection."""

PER_SAMPLE = ("exclude", "groups", "classes", "weights")
"""Those that hold a value for each sample."""

Plan = Callable[..., Iterable[Choice]]

PerSample = str | Callable[[str, Any, Any], Any]
"""What an option of a value a sample may be: kinds of numpy type, or a check of the option's name,
its value and the rows. What the check returns is indexed by samples, of all processes' rows."""


@dataclass(frozen=True)
class Method:
    """A selector, and what there is to say of it.

    Attributes
    ----------
    name
        Key in :data:`~meddel_fast.selectors.SELECTORS`.
    plan
        The function that chooses.
    paper
        Where the method comes from.
    cost
        Operations, in n samples of d features, budget b, k clusters or neighbours.
    exact
        Whether the result is that of the method as published, or what it is exact up to.
    nested
        Whether a smaller budget keeps a subset of a larger one's.
    good_for
        When to take it.
    weights
        What `weights` do; empty where the method takes none.
    per_sample
        Options that hold a value for each sample, and what these may be.
    positions
        Options that name one sample.
    checks
        What the other options may be, see :mod:`~meddel_fast.selectors.options`.
    instead
        Options that take the place of others, which must not be given beside them.
    processes
        Whether the processes of a `group` can share its work.
    sets
        Options that hold rows of their own, as many as there are.
    adds
        Settings that add up where the budget is split.
    only
        Options without effect but where another has a certain value: which one, and that value
        (None: any that is given).
    plugin
        Who offers it, where it is none of ours.
    """

    name: str
    plan: Plan
    paper: str
    cost: str
    exact: str
    nested: bool
    good_for: str
    weights: str
    per_sample: dict[str, PerSample]
    positions: tuple[str, ...]
    checks: dict[str, Check]
    instead: dict[str, tuple[str, ...]]
    processes: bool = False
    sets: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    only: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    plugin: Plugin | None = None

    @property
    def own(self) -> dict[str, inspect.Parameter]:
        """Return the options that only this method has."""
        parameters = inspect.signature(self.plan).parameters
        return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}

    @property
    def needs(self) -> list[str]:
        """Return the options without a default."""
        return [name for name, p in self.own.items() if p.default is p.empty]

    def settled(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return all options that may change what is selected: those given, else the defaults.

        One whose place another takes is None. Of a plug-in, its package and version as well.
        """
        own = {name: None if p.default is p.empty else p.default for name, p in self.own.items()}
        shared = {name: default for name, default in SHARED.items() if name not in HOW}
        every = {**own, **shared, **options}
        for name, others in self.instead.items():
            if every[name] is not None:
                every |= dict.fromkeys(others)
        return every if self.plugin is None else {**every, "plugin": self.plugin.origin}

    def check_options(
        self, options: dict[str, Any], n: int | None = None, pool: int | None = None
    ) -> dict[str, Any]:
        """Return the options of this method alone, all that is known of them checked.

        Parameters
        ----------
        options
            By name; what a method needs must be there.
        n
            Number of samples, where that is known yet.
        pool
            Number of those that may be kept; n when not given.

        Raises
        ------
        TypeError, ValueError
            An option that is not there or lacking, out of range, or without effect beside another.
        """
        known = [*self.own, *SHARED]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise TypeError(
                f"{self.name}: no option {', '.join(unknown)}; it has {', '.join(known)}"
                + did_you_mean(unknown[0], known)
            )
        lacking = [name for name in self.needs if options.get(name) is None]
        if lacking:
            each = "" if set(lacking) <= set(self.sets) else ", one value for each sample"
            raise TypeError(f"{self.name}: needs {', '.join(lacking)}{each}")
        for name, others in self.instead.items():
            idle = [other for other in others if options.get(other) is not None]
            if options.get(name) is not None and idle:
                raise ValueError(
                    f"{idle[0]} must be None where {name} is given, which takes its place, "
                    f"got {options[idle[0]]!r}"
                )
        _check_shared(options)
        for name in ("group", "checkpoint"):
            if options.get(name) is not None and not self.processes:
                raise ValueError(
                    f"{name} must be None for {self.name}, which one process works on alone"
                )
        own = {k: v for k, v in options.items() if k in self.own}
        for name, value in own.items():
            if name in self.checks and not (value is None and self.own[name].default is None):
                own[name] = self.checks[name](name, value, n if pool is None else pool)
            elif name in self.positions:
                own[name] = check_int(name, value, 0, None if n is None else n - 1)
        self._check_idle(options)
        return own

    def _check_idle(self, options: dict[str, Any]) -> None:
        """Refuse options that have no effect beside what another is."""
        every = {name: p.default for name, p in self.own.items()} | options
        for name, (other, wanted) in self.only.items():
            idle = every[other] is None if wanted is None else every[other] != wanted
            if idle and every[name] not in (None, self.own[name].default):
                where = f"without {other}" if wanted is None else f"where {other} is not {wanted!r}"
                raise ValueError(f"{name} has no effect {where}, got {every[name]!r}")


def _check_shared(options: dict[str, Any]) -> None:
    """Refuse values of the common options that are wrong for any samples."""
    shared = SHARED | options
    check_int("seed", shared["seed"], 0)
    resolve_threads(shared["threads"])
    check_choice("group_rule", shared["group_rule"], GROUP_RULES)
    if shared["group_rule"] != SHARED["group_rule"] and shared["groups"] is None:
        raise ValueError(f"group_rule has no effect without groups, got {shared['group_rule']!r}")
    check_target(shared["target"])
    if shared["target"] != SHARED["target"] and shared["classes"] is None:
        raise ValueError(f"target has no effect without classes, got {shared['target']!r}")
    if shared["classes"] is not None and shared["group_rule"] == "split":
        raise ValueError("group_rule must be 'cover' beside classes, which split the budget too")
    if shared["memory"] is not None:
        check_memory(shared["memory"])
    check_group(shared["group"])
    if shared["checkpoint"] is not None:
        check_place(shared["checkpoint"])
