"""What installed packages require, by their metadata; read with the standard library alone.

Understood is what our own metadata hold: names with extras, lists of ``>=``, ``<=``, ``==``, ``<``
and ``>``, and markers that are comparisons joined by ``and``. Versions are compared by their
numbers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

_LINE = re.compile(r"([\w.-]+)\s*(?:\[([\w\s,.-]*)\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?$")
_BOUND = re.compile(r"\s*(>=|<=|==|>|<)\s*([\w.]+)\s*(?:,|$)")
_MARKER = re.compile(r"""\s*\(?\s*(\w+)\s*(==|!=|>=|<=|>|<)\s*['"]([^'"]*)['"]\s*\)?\s*$""")

_HOLDS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    "==": lambda have, want: have == want,
}

_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}


@dataclass(frozen=True)
class Requirement:
    """A package that another one needs: its name, extras, bounds, and for which extra it is."""

    name: str
    extras: tuple[str, ...]
    bounds: tuple[tuple[str, str], ...]
    extra: str

    @property
    def text(self) -> str:
        """Return it as pip takes it."""
        return self.name + ",".join(f"{sign}{number}" for sign, number in self.bounds)

    def allows(self, found: str) -> bool:
        """Tell whether a version is within the bounds."""
        return all(
            _HOLDS[sign](*_padded(_numbers(found), _numbers(number)))
            for sign, number in self.bounds
        )


def requirements(package: str) -> list[Requirement]:
    """Return what a package's metadata require here, for itself (extra ``""``) and for its extras.

    Raises
    ------
    PackageNotFoundError
        It is not installed.
    """
    return [found for line in requires(package) or () if (found := _parsed(line)) is not None]


def installed(package: str) -> str | None:
    """Return a package's version, by its metadata; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _parsed(line: str) -> Requirement | None:
    """Read a requirement; None if it is for another system or Python than this one."""
    match = _LINE.match(line.strip())
    if match is None or _BOUND.sub("", match[3]):
        raise ValueError(f"a package's requirement must be a name with bounds, got {line!r}")
    name, extras, bounds, marker = match.groups()
    extra = ""
    for part in re.split(r"\s+and\s+", marker.strip()) if marker else ():
        told = _MARKER.match(part)
        if told is None:
            raise ValueError(f"a package's requirement must have plain conditions, got {line!r}")
        variable, sign, value = told.groups()
        if variable == "extra":
            extra = value
        elif not _here(variable, sign, value):
            return None
    named = tuple(part.strip() for part in (extras or "").split(",") if part.strip())
    return Requirement(name, named, tuple(_BOUND.findall(bounds)), extra)


def _here(variable: str, sign: str, value: str) -> bool:
    """Tell whether a condition holds on this system."""
    ours = {
        "platform_system": _SYSTEMS.get(sys.platform, sys.platform),
        "sys_platform": sys.platform,
        "python_version": "{}.{}".format(*sys.version_info),
    }[variable]
    if variable == "python_version":
        return _HOLDS[sign](*_padded(_numbers(ours), _numbers(value)))
    return (ours == value) == (sign == "==")


def _numbers(text: str) -> tuple[int, ...]:
    """Return a version's numbers, without what marks it as of a state before or after."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z+*]", text)[0]))


def _padded(
    one: tuple[int, ...], other: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    length = max(len(one), len(other))
    return one + (0,) * (length - len(one)), other + (0,) * (length - len(other))
