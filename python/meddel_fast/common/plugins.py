"""Plug-ins: what other installed packages offer in the entry-point groups of this one.

Nothing is looked for before a name is asked for that is none of ours, or a list of all. A name that
we have already, and one that two packages offer, is refused; a plug-in that cannot be loaded keeps
none of the others from work. All of it is told with the package and its version.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

KINDS = ("selector", "reader", "encoder")
"""Of plug-ins; those of a kind are in the group ``meddel_fast.<kind>s``."""


class PluginError(RuntimeError):
    """A plug-in that cannot be used; the message names its package and version."""


@dataclass(frozen=True)
class Plugin:
    """What an installed package offers.

    Attributes
    ----------
    kind, name
        One of :data:`KINDS`, and what users call it by.
    package, version
        Who offers it.
    refused
        Why it cannot be used under this name; empty where it can.
    """

    kind: str
    name: str
    package: str
    version: str
    refused: str = ""
    _entry: EntryPoint | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"the {self.kind} {self.name!r} of {self.package} {self.version}"

    @property
    def origin(self) -> dict[str, str]:
        """Return what results tell of it."""
        return {"package": self.package, "version": self.version}

    def load(self) -> Any:
        """Import what the package offers.

        Raises
        ------
        PluginError
            It is refused, or its import fails.
        """
        if self.refused or self._entry is None:
            raise self.error(self.refused)
        try:
            return self._entry.load()
        except (Exception, SystemExit) as error:
            raise self.error(f"cannot be loaded: {type(error).__name__}: {error}") from error

    def error(self, why: str) -> PluginError:
        """Make the error that says why the plug-in cannot be used."""
        return PluginError(f"{self} {why}")


@cache
def _entries(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"meddel_fast.{kind}s"))


def plugins(kind: str, ours: Collection[str] = ()) -> list[Plugin]:
    """List the plug-ins of a kind by name, those that are refused too; none of them is loaded.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    ours
        Names that are taken.
    """
    found = [_plugin(kind, entry) for entry in _entries(kind)]
    listed = [replace(one, refused=_why_refused(one, found, ours)) for one in found]
    return sorted(listed, key=lambda one: (one.name, one.package))


def find_plugin(kind: str, name: str) -> Plugin | None:
    """Return the plug-in of a name that is none of ours; None where there is none.

    Raises
    ------
    PluginError
        Two packages offer one.
    """
    found = next((one for one in plugins(kind) if one.name == name), None)
    if found is not None and found.refused:
        raise found.error(found.refused)
    return found


def _plugin(kind: str, entry: EntryPoint) -> Plugin:
    package = entry.dist.metadata["Name"] if entry.dist else "an unknown package"
    version = entry.dist.version if entry.dist else "of no version"
    return Plugin(kind, entry.name, str(package), str(version), _entry=entry)


def _why_refused(plugin: Plugin, all_found: list[Plugin], ours: Collection[str]) -> str:
    if plugin.name in ours:
        return "is refused: meddel-fast has one of this name itself"
    twins = [p for p in all_found if p.name == plugin.name and p is not plugin]
    if twins:
        others = ", ".join(f"{p.package} {p.version}" for p in twins)
        return f"is refused: {others} has one of this name too; remove one of the packages"
    return ""
