"""What a plan gave back, held to what it was asked for: plans may be of anybody."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from meddel_fast.common.plugins import PluginError
from meddel_fast.selectors.method import Method
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selection import REASONS

_ONE_EACH = {
    "scores": "f",
    "duplicate_of": "i",
    "similarity": "f",
    "distance": "f",
    "cluster": "i",
    "medoid": "i",
}
"""Fields of a choice with a value a sample, and their kind of type."""


def check_choice(method: Method, task: Task, count: int, choice: Any) -> Choice:
    """Return what a plan yields for a count, if it can be a selection. O(n).

    Parameters
    ----------
    method
        Whose plan it is; of a plug-in the message tells the package.
    task
        What the plan was given.
    count
        Samples to keep, those of ``task.selected`` among them.
    choice
        What it yielded.

    Raises
    ------
    PluginError
        A sample that is not there, or twice; too many or too few; an array of another shape.
    """
    wanted = count - len(task.selected)
    if not isinstance(choice, Choice):
        raise _wrong(method, f"must yield a Choice for each count, got {type(choice).__name__}")
    order = np.asarray(choice.order)
    if order.shape != (wanted,) or order.dtype.kind not in "iu":
        raise _wrong(
            method, f"must keep {wanted} samples, an int array, got {order.dtype} of {order.shape}"
        )
    if wanted and not 0 <= order.min() <= order.max() < task.n:
        raise _wrong(
            method, f"must keep samples from 0 to {task.n - 1}, got {order.min()} to {order.max()}"
        )
    kept = np.zeros(task.n, np.bool_)
    kept[task.selected] = True
    if kept[order].any():
        raise _wrong(method, "must not keep a sample again that is selected already")
    kept[order] = True
    if np.count_nonzero(kept) < count:
        raise _wrong(method, f"must keep {wanted} samples each once, got one twice")
    for name in (one.name for one in fields(choice) if one.name in _ONE_EACH):
        value = getattr(choice, name)
        if value is not None and (
            value.shape != (task.n,) or value.dtype.kind not in _ONE_EACH[name] + "iu"
        ):
            raise _wrong(
                method,
                f"must give {name} of shape ({task.n},), got {value.dtype} of {value.shape}",
            )
    if np.isnan(choice.scores).any():
        raise _wrong(method, "must give scores that are numbers, got NaN")
    if choice.reason is not None and not np.isin(choice.reason, REASONS).all():
        raise _wrong(method, f"must give reasons of {', '.join(REASONS)}")
    return choice


def _wrong(method: Method, what: str) -> PluginError:
    return PluginError(f"{method.plugin or method.name}: its plan {what}")
