"""Files that texts name are there: maps of packages, the walk through the code, paths in the pages.

The rooms of CONTRIBUTING.md are those of the contract on imports.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "meddel_fast"
PACKAGES = sorted(p.parent for p in (*PACKAGE.rglob("__init__.py"), ROOT / "kernels/__init__.py"))
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOUR = ROOT / "docs" / "code-tour.md"


def docstring(package: Path) -> str:
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree) or ""


def beside(package: Path) -> set[str]:
    """The modules and packages in a folder, the extensions by their stubs."""
    modules = {p.stem for p in (*package.glob("*.py"), *package.glob("*.pyi"))}
    rooms = {p.parent.name for p in package.glob("*/__init__.py")}
    outside = {"kernels"} if package == PACKAGE else set()  # installed there, kept at the root
    return {m for m in modules | rooms | outside if not m.startswith("__")} - {"_version"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_maps_name_what_is_there(package: Path) -> None:
    """A package's docstring has a table: each file of the folder once, and no other."""
    first = re.compile(r"^((?:``\w+``(?:, )?)+)  ", re.MULTILINE)
    named = Counter(
        name for cell in first.findall(docstring(package)) for name in re.findall(r"\w+", cell)
    )
    assert named == Counter(beside(package))


def paths(page: Path) -> list[str]:
    """What a page has in backticks that looks like a file of this repository, or a folder in one.

    ``a/<name>.py`` stands for any name, ``a.{h,cpp}`` for both.
    """
    prose = re.sub(r"^```.*\n(?:.*\n)*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE)
    file = re.compile(r"[\w.<>*{,}/-]+\.(?:py|pyi|h|cpp|cu|cuh|inl|css|js|j2|toml|md|sh|{h,cpp})")
    tops = "|".join(p.name for top in (ROOT, PACKAGE) for p in top.iterdir() if p.is_dir())
    folder = re.compile(rf"(?:{tops})/(?:[\w.<>*-]+/)*")
    quoted = re.findall(r"`([^`\n]+)`", prose)
    return [path for path in quoted if file.fullmatch(path) or folder.fullmatch(path)]


def found(path: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", path)
    group = re.search(r"{(.*)}", pattern)
    each = [pattern.replace(group[0], end) for end in group[1].split(",")] if group else [pattern]
    return all(any(any(top.glob(one.rstrip("/"))) for top in (ROOT, PACKAGE)) for one in each)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_named_files_exist(page: Path) -> None:
    assert [path for path in paths(page) if not found(path)] == []


def test_the_tour_names_each_file_once() -> None:
    named = Counter(paths(TOUR))
    assert len(named) > 50
    assert [path for path, times in named.items() if times > 1] == []
    assert not [path for path in named if not found(path)]


def test_the_rooms_are_those_of_the_contract() -> None:
    layers = (ROOT / "pyproject.toml").read_text("utf-8").partition("\nlayers = [")[2]
    contract = [re.findall(r"\w+", row) for row in re.findall(r'"(.+)"', layers.partition("]")[0])]
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| room |")[2]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table.partition("\n\n")[0], re.MULTILINE)
    told = [re.findall(r"\w+", row) for row in rows]
    assert told == [[r for r in row if r[0] != "_"] for row in contract if row != ["__main__"]]


SOURCES = (
    "*.py",
    "*.pyi",
    "*.cpp",
    "*.h",
    "*.inl",
    "*.cu",
    "*.cuh",
    "*.c",
    "*.sh",
    "*.js",
    "*.css",
)


def test_a_long_file_says_why() -> None:
    """A file of more than 450 lines says in its first lines: longer than 450 lines because ..."""
    folders = ("bench", "csrc", "examples", "kernels", "python", "tests")
    files = [p for folder in folders for s in SOURCES for p in (ROOT / folder).rglob(s)]
    assert len(files) > 400
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > 450:
            assert "than 450 lines because" in "\n".join(lines[:15]), path
