"""Every code block of the documentation runs as it stands: python in one namespace a page, bash in
the same folder; blocks with a title become files there. Blocks marked text are shown only, but the
commands in them are held to the command line."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meddel_fast.selectors import METHODS, SELECTORS

ROOT = Path(__file__).resolve().parents[2]
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


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNING = [p for p in PAGES if {"python", "bash"} & {b.language for b in blocks(p)}]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    """One page, in an empty folder, in a process of its own."""
    script = ["import subprocess"]
    for block in blocks(page):
        if block.title:
            script.append(f"open({block.title!r}, 'w').write({block.code!r})")
        elif block.language == "python":
            filler = "\n" * (block.line - 1)  # so that a traceback names the page's own line
            code = f"exec(compile({filler + block.code!r}, {name_of(page)!r}, 'exec'), globals())"
            script.append(code)
        elif block.language == "bash":
            script.append(f"subprocess.run({block.code!r}, shell=True, check=True)")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", "\n".join(script)],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_name_a_language(page: Path) -> None:
    """A block that nobody runs says so."""
    unknown = [(b.line, b.language) for b in blocks(page) if b.language not in LANGUAGES]
    assert not unknown
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.code)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_repository_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def commands(page: Path) -> list[str]:
    """What a page writes after ``meddel-fast``, in its blocks and in its sentences."""
    text = page.read_text(encoding="utf-8")
    shown = "\n".join(b.code for b in blocks(page) if b.language in {"bash", "text"})
    shown = shown.replace("\\\n", " ")  # one command over several lines
    found = re.findall(r"^(?:meddel-fast|torchrun .*-m meddel_fast) (.+)$", shown, re.MULTILINE)
    prose = re.sub(r"^```.*\n(?:.*\n)*?^```$", "", text, flags=re.MULTILINE)
    return found + [line.replace("\n", " ") for line in re.findall(r"`meddel-fast ([^`]+)`", prose)]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name_of)
def test_commands_exist(page: Path) -> None:
    """Each command that is shown, and each of its options, is there."""
    pytest.importorskip("typer")
    from typer.main import get_command

    from meddel_fast.cli import app

    for line in commands(page):
        command: Any = get_command(app)
        words = shlex.split(re.sub(r"[\[\]]", " ", line), comments=True)
        while words and getattr(command, "commands", None) and not words[0].startswith("-"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {"--help"}.union(*(p.opts + p.secondary_opts for p in command.params))
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_page_has_a_place() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {
        p.relative_to(ROOT / "docs").as_posix() for p in PAGES if p.is_relative_to(ROOT / "docs")
    }
    assert set(re.findall(r": (\S+\.md)$", nav, re.MULTILINE)) == pages


def test_every_method_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "selectors.md").read_text(encoding="utf-8")
    assert re.findall(r"^::: meddel_fast\.selectors\.(\w+)\.\1$", text, re.MULTILINE) == list(
        SELECTORS
    )


def test_every_method_is_in_the_tables() -> None:
    text = (ROOT / "docs" / "selectors.md").read_text(encoding="utf-8")
    methods, weights = text.split("**`weights`**")
    assert re.findall(r"^\| `(\w+)` \|", methods, flags=re.MULTILINE) == list(METHODS)
    rows = re.findall(r"^\| (`.*`) \| (.*) \|", weights, flags=re.MULTILINE)
    told = {name: said for names, said in rows for name in re.findall(r"`(\w+)`", names)}
    assert told.keys() == METHODS.keys()
    for name, said in told.items():
        assert said.startswith("refused") == (not METHODS[name].weights)


def test_blocks_are_found() -> None:
    assert [b.language for b in blocks(ROOT / "README.md")].count("python") == 3
