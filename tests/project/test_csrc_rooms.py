"""The rooms of csrc: includes go down only, and only csrc itself knows Python (*bindings.*)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SOURCES = [p for p in sorted(CSRC.rglob("*")) if p.suffix in {".h", ".cpp", ".inl", ".cu", ".cuh"}]
# A room -> what it may include. "" is csrc itself: Python's modules.
MAY_INCLUDE = {
    "": {"", "ops", "cuda", "screen", "base", "cpu"},
    "ops": {"ops", "screen", "base", "cpu"},
    "cuda": {"cuda", "base"},
    "screen": {"screen", "base", "cpu"},
    "base": {"base", "cpu"},
    "cpu": {"cpu"},
}
# Leaf code: inline code of other headers, compiled for a newer CPU, could run on an older one.
LEAF_HEADERS = {"immintrin.h", "arm_neon.h", "cstddef", "cstdint"}


def room(path: Path) -> str:
    """The folder of csrc that a file lies in; "" for csrc itself."""
    return path.relative_to(CSRC).parent.as_posix().replace(".", "")


def includes(path: Path) -> list[tuple[str, str]]:
    """What a file includes: (delimiter, name)."""
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.MULTILINE)


def test_rooms_are_those_that_are_named() -> None:
    assert {room(path) for path in SOURCES} == set(MAY_INCLUDE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CSRC)))
def test_includes_go_down(path: Path) -> None:
    for delimiter, name in includes(path):
        if delimiter == "<":
            assert name.split("/")[0] not in {"pybind11", "Python.h"} or room(path) == "", name
            continue
        included = CSRC / name
        assert included.is_file(), f"{name} is not named from csrc on"
        assert room(included) in MAY_INCLUDE[room(path)], name


def test_leaf_code_includes_intrinsics_alone() -> None:
    leaves = [path for path in SOURCES if room(path) == "cpu" and not path.stem.startswith("isa")]
    assert {name for p in leaves for kind, name in includes(p) if kind == "<"} == LEAF_HEADERS
