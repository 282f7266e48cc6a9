"""The plug-ins that are installed, of all kinds: listed, and tried."""

from __future__ import annotations

from typing import Any

from meddel_fast.common.plugins import KINDS, Plugin, PluginError, plugins


def offered() -> list[Plugin]:
    """List all plug-ins, those too that are refused; none of them is loaded."""
    ours = _ours()
    return [plugin for kind in KINDS for plugin in plugins(kind, ours[kind])]


def known(kind: str) -> list[str]:
    """List the names of a kind that may be asked for: ours, then those of plug-ins."""
    ours = _ours()[kind]
    return [*ours, *(one.name for one in plugins(kind, ours) if not one.refused)]


def _ours() -> dict[str, list[str]]:
    from meddel_fast.images.readers.by_name import READERS
    from meddel_fast.selectors import SELECTORS

    return {"selector": [*SELECTORS], "reader": [*READERS], "encoder": []}


def tried() -> list[tuple[Plugin, str]]:
    """Load all plug-ins; give each with what is wrong with it, empty where nothing is."""
    return [(plugin, _trouble(plugin)) for plugin in offered()]


def told(plugin: Plugin, trouble: str = "") -> dict[str, str]:
    """Return what ``info`` and ``doctor`` tell of a plug-in."""
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        **plugin.origin,
        "trouble": plugin.refused or trouble,
    }


def _trouble(plugin: Plugin) -> str:
    try:
        found: Any = _find(plugin)
    except (ImportError, PluginError) as error:
        return str(error).removeprefix(f"{plugin} ")
    return "" if found else "cannot be found"


def _find(plugin: Plugin) -> Any:
    if plugin.refused:
        raise plugin.error(plugin.refused)
    if plugin.kind == "selector":
        from meddel_fast.selectors.plugged import plugged

        return plugged(plugin.name)
    if plugin.kind == "reader":
        from meddel_fast.images.readers.by_name import find_reader

        return find_reader(plugin.name)
    from meddel_fast.training.encoders.plugged import find_maker

    return find_maker(plugin.name)
