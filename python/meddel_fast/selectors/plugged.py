"""Methods that other packages offer, made into selectors just as our own are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from meddel_fast.common.plugins import find_plugin
from meddel_fast.selectors.method import Method
from meddel_fast.selectors.selector import Selector, make_selector


@cache
def plugged(name: str) -> Selector | None:
    """Return the selector that an installed package offers under a name; None where none does.

    Of what the package offers the method alone is taken, with its plan: its function is made anew,
    so that input, budget and result are checked here, whatever it does itself.

    Raises
    ------
    PluginError
        It cannot be loaded, or is no selector of that name.
    """
    plugin = find_plugin("selector", name)
    if plugin is None:
        return None
    found = plugin.load()
    method = getattr(found, "method", None)
    if not isinstance(method, Method):
        raise plugin.error(
            "must be what @meddel_fast.selectors.selector.selector makes of a plan, got "
            f"{type(found).__name__}"
        )
    if method.name != name:
        raise plugin.error(f"must be a plan of the name {name}, got {method.name}")
    return make_selector(replace(method, plugin=plugin))
