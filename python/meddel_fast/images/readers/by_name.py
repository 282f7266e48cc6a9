"""Readers by name: the usual layouts, and those that other packages offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.plugins import find_plugin, plugins

if TYPE_CHECKING:
    from meddel_fast.images.readers.tree import Layout

READERS = ("pairs", "classes", "plain")
"""Ours: images and their masks in folders, wherever these lie; a folder a class; images alone."""


def find_reader(name: str) -> Layout:
    """Return the reader of a name.

    Raises
    ------
    ValueError
        There is none; the message lists those that there are.
    meddel_fast.common.plugins.PluginError
        A package offers one that cannot be used; the message names the package.
    """
    if name in READERS:
        from meddel_fast.images.readers.classes import Classes, Plain
        from meddel_fast.images.readers.pairs import Pairs

        layouts: dict[str, Layout] = {"pairs": Pairs(), "classes": Classes(), "plain": Plain()}
        return layouts[name]
    plugin = find_plugin("reader", name)
    if plugin is None:
        known = [*READERS, *(one.name for one in plugins("reader", READERS) if not one.refused)]
        near = did_you_mean(name, known)
        raise ValueError(f"reader must be one of {', '.join(known)}, got {name!r}{near}")
    found = plugin.load()
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise plugin.error(f"cannot be made: {type(error).__name__}: {error}") from error
    if not callable(getattr(found, "find", None)):
        raise plugin.error(
            "must be an object, or the class of one, with a method find(tree), got "
            f"{type(found).__name__}"
        )
    layout: Layout = found
    return layout
