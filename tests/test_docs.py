"""Every code block of the documentation runs as it stands: python in one namespace a page, bash in
the same folder, toml blocks with a title become files there. Blocks marked text are shown only."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = {"python", "bash", "toml", "text"}


class Block(NamedTuple):
    language: str
    title: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)^```$", text, flags=re.MULTILINE):
        language, _, rest = match[1].partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        line = text[: match.start()].count("\n") + 2
        found.append(Block(language, title[1] if title else "", match[2], line))
    return found


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNING = [p for p in PAGES if {"python", "bash"} & {b.language for b in blocks(p)}]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    """One page, in an empty folder, in a process of its own."""
    script = ["import subprocess"]
    for block in blocks(page):
        if block.language == "python":
            filler = "\n" * (block.line - 1)  # so that a traceback names the page's own line
            code = f"exec(compile({filler + block.code!r}, {name_of(page)!r}, 'exec'), globals())"
            script.append(code)
        elif block.language == "bash":
            script.append(f"subprocess.run({block.code!r}, shell=True, check=True)")
        elif block.language == "toml" and block.title:
            script.append(f"open({block.title!r}, 'w').write({block.code!r})")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", "\n".join(script)],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_name_a_language(page: Path) -> None:
    """A block that nobody runs says so."""
    unknown = [(b.line, b.language) for b in blocks(page) if b.language not in LANGUAGES | {""}]
    assert not unknown
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.code)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_blocks_are_found() -> None:
    assert [b.language for b in blocks(ROOT / "README.md")].count("python") == 3
