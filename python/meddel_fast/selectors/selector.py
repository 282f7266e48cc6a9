"""What may be asked of every selector beyond a budget, done in one place for all of them.

:func:`selector` makes the public function of a plan (see :mod:`~meddel_fast.selectors.plan`): it
checks the input, hands the plan the samples that may be kept, and puts its choices back among all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast, overload

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_budget, check_index_vector, check_names, to_numpy
from meddel_fast.common.floating_point import exactly
from meddel_fast.selectors.base import check_rows
from meddel_fast.selectors.choice_check import check_choice
from meddel_fast.selectors.groups import check_groups, cover, split_seats
from meddel_fast.selectors.method import HOW, PER_SAMPLE, SHARED, Method, PerSample, Plan
from meddel_fast.selectors.options import Check
from meddel_fast.selectors.plan import Choice, Task, among
from meddel_fast.selectors.selection import Selection, make_selection
from meddel_fast.selectors.targets import check_classes, tell_missed
from meddel_fast.sharded.spread import Spread

_COMMON = """\
seed
    Of whatever the method draws, k-means included.
threads
    Number of threads; None for all cores.
exclude : bool, shape (n,), optional
    True for samples that must not be kept. The method never sees them, and a share is one of the
    others: the result is that of the other rows alone.
groups : int or str, shape (n,), optional
    Patient or video of each sample; a negative number or an empty string stands for none.
group_rule : {"cover", "split"}
    "cover": at least one of each group is kept. The best-scored sample of each missing group
    replaces the least wanted one of those whose group keeps another. "split": the method works on
    each group by itself, with a part of the budget in proportion to the group's size (Webster's
    rule) and at least 1; scores compare inside a group only.
classes : int or str, shape (n,), optional
    Class, site, scanner, video or cluster of each sample, for `target`; a negative number or an
    empty string stands for none. The method works on each class by itself, with its part of the
    budget; scores compare inside a class only.
target : {"uniform", "given"} or dict
    Parts of the budget: as much of each class ("uniform"), in proportion to their sizes ("given"),
    or by class shares that sum to 1 at most, the rest for the classes that are not named. Places
    are given by Webster's rule. Those that a class has no samples for go to the others, and are
    told: ``settings["target_missed"]``, and a warning.
weights : float, shape (n,), optional
    Preference for each sample, above 0. {weights}
selected : int, shape (m,), optional
    Samples kept already, which the method extends. They count towards the budget, come first in
    ``order`` and have an infinite score.
memory : int or str, optional
    Work on the rows part by part within so many bytes, or a text such as "1GB" (see
    :mod:`meddel_fast.ops`). By default the budget of a store, and none for an array.
group : optional
    {group}
checkpoint : optional
    {checkpoint}"""

_GROUP = """\
Processes that share the work (:func:`meddel_fast.cluster.join_group`); each calls this with the
    same set, or with :class:`meddel_fast.stores.store.LocalRows` and, of what holds a value for
    each sample, the values of these. ``selected`` and other options name rows of the whole set,
    and are the same for all. Each gets the whole selection, of all rows."""


_ALONE = "Must be None: one process works on it alone."

_CHECKPOINT = """\
A folder, or a URL, where the operations that the method calls leave what they have done. After a
    death the same call goes on from there, see :mod:`meddel_fast.ops`; when all has ended well it
    is removed."""


class Selector(Protocol):
    """The public function of a method; a list of budgets gives a list of selections."""

    method: Method

    @overload
    def __call__(self, x: Any, budget: int | float, **options: Any) -> Selection: ...
    @overload
    def __call__(
        self, x: Any, budget: Sequence[int | float], **options: Any
    ) -> list[Selection]: ...


def selector(
    *,
    paper: str,
    cost: str,
    good_for: str,
    exact: str = "yes",
    nested: bool = True,
    weights: str = "",
    per_sample: dict[str, PerSample] | None = None,
    positions: tuple[str, ...] = (),
    checks: dict[str, Check] | None = None,
    instead: dict[str, tuple[str, ...]] | None = None,
    processes: bool = False,
    sets: tuple[str, ...] = (),
    adds: tuple[str, ...] = (),
    only: dict[str, tuple[str, str | None]] | None = None,
) -> Callable[[Plan], Selector]:
    """Make the public function of a plan, see :class:`Method` for what to say of it."""

    def decorate(plan: Plan) -> Selector:
        method = Method(
            plan.__name__, plan, paper, cost, exact, nested, good_for, weights,
            per_sample or {}, positions, checks or {}, instead or {}, processes, sets, adds,
            only or {},
        )  # fmt: skip
        return make_selector(method)

    return decorate


def make_selector(method: Method) -> Selector:
    """Make the public function of a method."""

    @exactly
    def select(x: Any, budget: Any, **options: Any) -> Selection | list[Selection]:
        if isinstance(budget, np.ndarray | np.generic):
            budget = budget.tolist()  # plain numbers, which settings can be saved with
        several = isinstance(budget, Sequence) and not isinstance(budget, str)
        found = _run(method, x, list(budget) if several else [budget], options)
        return found if several else found[0]

    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(n, keyword, default=v) for n, v in SHARED.items()]
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = [inspect.Parameter(n, either) for n in ("x", "budget")]
    function = cast(Any, select)
    function.__name__ = function.__qualname__ = method.name
    function.__module__ = method.plan.__module__
    function.__doc__ = _documented(method)
    function.__signature__ = inspect.Signature([*first, *method.own.values(), *shared])
    function.method = method
    return cast(Selector, function)


def _documented(method: Method) -> str:
    """Add the shared parameters to a plan's docstring."""
    text = inspect.getdoc(method.plan) or ""
    head, mark, tail = text.partition("Returns\n-------\n")
    body, _, own = head.partition("Parameters\n----------\n")
    said = method.weights or "This method takes none."
    before = (
        "x : shape (n, d)\n    The embeddings, as all that :mod:`meddel_fast.ops` takes.\n"
        "budget\n    Count (int) or share (float) to keep, or a list of them for a list of results."
    )
    after = (
        _COMMON.replace("{weights}", said)
        .replace("{group}", _GROUP if method.processes else _ALONE)
        .replace("{checkpoint}", _CHECKPOINT if method.processes else _ALONE)
    )
    parts = [part for part in (before, own.strip(), after) if part]
    return f"{body}Parameters\n----------\n" + "\n".join(parts) + f"\n\n{mark}{tail}"


def _run(method: Method, x: Any, budgets: list[Any], options: dict[str, Any]) -> list[Selection]:
    """Check everything, let the plan choose, and put its choices back among all samples."""
    method.check_options(options)
    shared = SHARED | {k: v for k, v in options.items() if k in SHARED}
    rows = check_rows(x, *(shared[name] for name in HOW))
    n = len(rows)
    if isinstance(rows, Spread):
        parts = [name for name, kinds in method.per_sample.items() if isinstance(kinds, str)]
        each = {k: rows.whole(k, options.get(k)) for k in (*PER_SAMPLE, *parts)}
        options = options | {k: v for k, v in each.items() if v is not None}
        shared |= {k: v for k, v in options.items() if k in SHARED}
    pool = _check_exclude(shared["exclude"], n)
    counts = [check_budget(budget, len(pool), excluded=n - len(pool)) for budget in budgets]
    task = Task(
        rows if len(pool) == n else rows[pool],
        counts,
        _check_selected(shared["selected"], pool, n, counts),
        _check_weights(method, shared["weights"], pool, n),
        int(shared["seed"]),
        shared["threads"],
    )
    own = method.check_options(options, n, len(pool))
    groups = check_groups(shared["groups"], pool, n, task.selected, counts)
    classes = check_classes(shared["classes"], shared["target"], pool, n)
    for name in method.per_sample:
        if own.get(name) is not None:
            own[name] = _check_per_sample(name, own[name], rows, method.per_sample[name])[pool]
    named = {k: v for k, v in own.items() if k in method.positions}
    own |= {k: min(int(np.searchsorted(pool, v)), task.n - 1) for k, v in named.items()}
    choices = _choices(method, task, own)
    if classes is not None:
        choices = _split(method, task, own, classes.code, classes.seats(task.selected, counts))
    elif groups is not None and shared["group_rule"] == "split":
        seats = split_seats(groups, task.selected, counts)
        choices = _split(method, task, own, groups.code, seats)
    found, missed = [], list[dict[str, int]]()
    for budget, count, choice in zip(budgets, counts, choices, strict=True):
        order, about = np.concatenate([task.selected, choice.order]), dict[str, Any]()
        if groups is not None:
            about |= {"groups": groups.number, "group_rule": shared["group_rule"]}
            if shared["group_rule"] == "cover":
                order, about["replaced"] = cover(order, choice.scores, groups, len(task.selected))
        if classes is not None:
            missed.append(classes.missed(order))
            about |= {"classes": classes.number, "target": classes.target}
            about["target_missed"] = missed[-1]
        if len(task.selected):
            about["selected"] = len(task.selected)
        if method.plugin is not None:
            about["plugin"] = method.plugin.origin
        settings = {"budget": budget, "count": count, **choice.settings, **named, **about}
        found.append(_placed(method.name, choice, order, task, pool, n, settings))
    tell_missed(method.name, missed, counts)
    if isinstance(rows, Spread) and rows.checkpoint is not None:
        rows.checkpoint.clear()
    return found


def _choices(method: Method, task: Task, own: dict[str, Any]) -> Iterator[Choice]:
    """Ask the plan, except where the samples selected already are all that is wanted."""
    more = [count for count in task.counts if count > len(task.selected)]
    given = Task(task.x, more, task.selected, task.weights, task.seed, task.threads)
    planned = iter(_planned(method, given, own) if more else ())
    for count in task.counts:
        if count > len(task.selected):
            yield check_choice(method, given, count, next(planned, None))
        else:
            yield Choice(np.zeros(0, dtype=np.int64), np.zeros(task.n), {})


def _planned(method: Method, task: Task, own: dict[str, Any]) -> Iterator[Choice]:
    """Ask the plan; what goes wrong in a plug-in beyond bad input is told with its package."""
    try:
        yield from method.plan(task, **own)
    except _OF_INPUT:
        raise
    except Exception as error:
        if method.plugin is None:
            raise
        raise method.plugin.error(f"failed: {type(error).__name__}: {error}") from error


def _split(
    method: Method,
    task: Task,
    own: dict[str, Any],
    code: NDArray[np.int64],
    seats: list[NDArray[np.int64]],
) -> Iterator[Choice]:
    """Choose among the samples of each code by itself, and join what was chosen.

    `seats` holds, for each count, how many of each code there is, by rising code.
    """
    sizes = np.unique(code, return_counts=True)[1]
    parts = np.split(np.argsort(code, kind="stable"), np.cumsum(sizes)[:-1])
    chosen = []
    for place, part in enumerate(parts):
        inside = np.isin(task.selected, part)
        sub = Task(
            task.x[part],
            [int(seat[place]) for seat in seats],
            np.searchsorted(part, task.selected[inside]),
            None if task.weights is None else task.weights[part],
            task.seed,
            task.threads,
        )
        options = dict(own)
        for name in method.per_sample:
            if own.get(name) is not None:
                options[name] = own[name][part]
        for name in method.positions:
            if name in own:
                options[name] = min(int(np.searchsorted(part, own[name])), len(part) - 1)
        try:
            chosen.append(list(_choices(method, sub, options)))
        except ValueError as error:
            where = f"in a part of {len(part)} samples, as the budget is split"
            raise ValueError(f"{error} ({where})") from None
    told = {k: v for k, v in own.items() if k not in (*method.per_sample, *method.sets)}
    for rung in range(len(task.counts)):
        now = [choices[rung] for choices in chosen]
        told |= {k: sum(choice.settings.get(k, 0) for choice in now) for k in method.adds}
        yield _joined(now, parts, task.n, dict(told))


_OF_INPUT = (ArithmeticError, MemoryError, OSError, RuntimeError, TypeError, ValueError)

_FIELDS: dict[str, tuple[Any, Any]] = {
    "scores": (np.float64, -np.inf),
    "reason": ("<U10", "budget"),
    "duplicate_of": (np.int64, -1),
    "similarity": (np.float64, np.nan),
    "distance": (np.float64, np.nan),
    "cluster": (np.int64, -1),
    "medoid": (np.int64, -1),
}
"""Type of each array of a choice, and what it holds where there is nothing to say."""


def _joined(
    choices: list[Choice], parts: list[NDArray[np.int64]], n: int, settings: dict[str, Any]
) -> Choice:
    """Put the choices of all groups into one, in turn by the share of a group's budget."""
    order = np.concatenate([part[c.order] for c, part in zip(choices, parts, strict=True)])
    turn = np.concatenate([(np.arange(len(c.order)) + 0.5) / len(c.order) for c in choices])
    fields: dict[str, Any] = {}
    for name, (dtype, nothing) in _FIELDS.items():
        clusters = 0
        for choice, part in zip(choices, parts, strict=True):
            value = getattr(choice, name)
            if value is None:
                continue
            field = fields.setdefault(name, np.full(n, nothing, dtype))
            if name in ("duplicate_of", "medoid"):
                value = np.where(value >= 0, part[value], -1)
            if name == "cluster":  # every group has clusters of its own
                value = np.where(value >= 0, value + clusters, -1)
                clusters = max(clusters, int(value.max()) + 1)
            field[part] = value
    return Choice(order[np.lexsort((order, turn))], settings=settings, **fields)


def _placed(
    name: str,
    choice: Choice,
    order: NDArray[np.int64],
    task: Task,
    pool: NDArray[np.int64],
    n: int,
    settings: dict[str, Any],
) -> Selection:
    """Make the selection among all n samples of a choice among those of the pool."""
    fields = {key: getattr(choice, key) for key in _FIELDS if getattr(choice, key) is not None}
    fields["scores"] = fields["scores"].copy()
    fields["scores"][task.selected] = np.inf
    if "medoid" in fields:  # groups may have put others in the place of some
        fields["medoid"] = np.where(np.isin(fields["medoid"], order), fields["medoid"], -1)
    if len(pool) < n:
        fields.setdefault("reason", np.full(task.n, "budget"))
        for key, value in fields.items():
            dtype, nothing = _FIELDS[key]
            if key in ("duplicate_of", "medoid"):
                value = np.where(value >= 0, pool[value], -1)
            nothing = "excluded" if key == "reason" else nothing
            fields[key] = among(value.astype(dtype), pool, n, nothing)
        order = pool[order]
        settings["excluded"] = n - len(pool)
    if "medoid" in fields:
        fields["cluster"] = fields.pop("medoid")
    return make_selection(name, order, fields.pop("scores"), settings, **fields)


def _check_exclude(exclude: Any, n: int) -> NDArray[np.int64]:
    """Return the samples that may be kept."""
    if exclude is None:
        return np.arange(n)
    mask = to_numpy("exclude", exclude)
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise TypeError(f"exclude must be a bool array of shape ({n},), {_got(mask)}")
    if mask.all():
        raise ValueError(f"exclude must leave a sample to keep, got all {n} excluded")
    return np.flatnonzero(~mask)


def _check_selected(
    selected: Any, pool: NDArray[np.int64], n: int, counts: list[int]
) -> NDArray[np.int64]:
    """Return the samples kept already as places in the pool."""
    if selected is None:
        return np.zeros(0, dtype=np.int64)
    rows = check_index_vector("selected", selected, None)
    if len(rows) and not 0 <= rows.min() <= rows.max() < n:
        raise ValueError(
            f"selected must be rows of x, 0 to {n - 1}, got {rows.min()}..{rows.max()}"
        )
    if len(np.unique(rows)) < len(rows):
        raise ValueError("selected must hold each sample once, got one twice")
    lost = rows[~np.isin(rows, pool)]
    if len(lost):
        raise ValueError(f"selected must not be excluded, got {lost[0]} in both")
    if counts and min(counts) < len(rows):
        raise ValueError(
            f"budget must be at least the {len(rows)} selected samples, got {min(counts)}"
        )
    return np.searchsorted(pool, rows)


def _check_weights(
    method: Method, weights: Any, pool: NDArray[np.int64], n: int
) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    if not method.weights:
        raise ValueError(f"weights must be None for {method.name}, which has no use for them")
    values = _check_numbers("weights", weights, n, "fiu").astype(np.float64)[pool]
    if not values.min() > 0:
        raise ValueError(f"weights must be above 0 (exclude= leaves out), got {values.min():g}")
    return values


def _check_per_sample(name: str, value: Any, rows: Any, kinds: PerSample) -> Any:
    if isinstance(kinds, str):
        return _check_numbers(name, value, len(rows), kinds)
    return kinds(name, value, rows)


def _check_numbers(name: str, value: Any, n: int, kinds: str) -> NDArray[Any]:
    """Return one finite value a sample, of the kinds of type asked for."""
    array = to_numpy(name, value) if "f" in kinds else check_names(name, value)
    if array.shape != (n,) or array.dtype.kind not in kinds:
        what = "numbers" if "f" in kinds else "int or str"
        raise TypeError(f"{name} must be {what} of shape ({n},), {_got(array)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array))[0]
        raise ValueError(f"{name} must be finite, got {array[bad]} for sample {bad}")
    return array


def _got(array: NDArray[Any]) -> str:
    return f"got {array.dtype} of shape {array.shape}"
