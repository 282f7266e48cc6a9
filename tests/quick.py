"""``make quick``: lint, types and tests of what was touched since the main branch, in 100 seconds.

Tests come in this order: those that were touched themselves, those that name a touched module,
those of the rooms (folders) that touched modules lie in. What time did not suffice for, and files
of `long_files`, which take minutes, are left out, and it is said which.

pytest's processes load this file as a plugin, which skips what begins too late.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from long_files import LONG

ROOT = Path(__file__).resolve().parents[1]
TESTS, PACKAGE = ROOT / "tests", ROOT / "python" / "meddel_fast"
SECONDS = 100.0
UNTIL = "MEDDEL_QUICK_UNTIL"
LATE = "left out, no time"
# Rooms of tests for what lies outside the package.
BESIDE = {"kernels": ("kernels", "screen"), "csrc": ("native", "screen", "ops")}
PAGES = ("docs/", "README.md", "CONTRIBUTING.md", "mkdocs.yml")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if time.time() > float(os.environ[UNTIL]):
        pytest.skip(LATE)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    late = [r for r in terminalreporter.stats.get("skipped", []) if LATE in str(r.longrepr)]
    for path, count in Counter(r.nodeid.partition("::")[0] for r in late).items():
        terminalreporter.write_line(f"{LATE}: {path} ({count} tests)")


def git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.split("\0" if "-z" in words else None)


def touched() -> list[str]:
    """Files that differ from where this branch left the main one, or are new."""
    base = git("merge-base", "HEAD", "origin/main") or git("merge-base", "HEAD", "main") or ["HEAD"]
    new = git("ls-files", "-z", "--others", "--exclude-standard")
    return sorted({p for p in (*git("diff", "-z", "--name-only", base[0]), *new) if p})


def rooms(paths: Iterable[str]) -> list[str]:
    """Folders of tests for what was touched, in the order of the paths."""
    found: list[str] = []
    for path in paths:
        top, *rest = Path(path).parts
        if top in BESIDE:
            found += BESIDE[top]
        elif path.startswith(("python/meddel_fast/", "tests/")):
            found += [p for p in rest[1 if top == "python" else 0 :][:1] if "." not in p]
    return list(dict.fromkeys(found))


def names(paths: Iterable[str]) -> list[str]:
    """What tests import of what was touched: modules of the package, helpers of the tests."""
    found = []
    for path in map(Path, paths):
        if path.suffix == ".py" and path.parts[0] in ("python", "kernels", "tests"):
            parts = list(path.with_suffix("").parts)
            if parts[0] == "tests":
                parts = parts[-1:]
            else:
                parts = parts[1:] if parts[0] == "python" else ["meddel_fast", *parts]
            found.append(".".join(parts).removesuffix(".__init__"))
    return [name for name in found if name not in ("meddel_fast", "conftest")]


def choose(paths: list[str]) -> tuple[list[str], list[str]]:
    """Give the test files to run, first those that tell most, and long ones that are left out."""
    every = sorted(p.relative_to(ROOT).as_posix() for p in TESTS.rglob("test_*.py"))
    own = [p for p in every if p in paths]
    modules = "|".join(map(re.escape, names(paths))) or "(?!)"
    naming = re.compile(rf"\b({modules})\b")
    near = [p for p in every if naming.search((ROOT / p).read_text(encoding="utf-8"))]
    if any(p.startswith(PAGES) for p in paths):
        near += [p for p in every if p.endswith("test_docs.py")]
    of_room = [p for room in rooms(paths) for p in every if p.startswith(f"tests/{room}/")]
    chosen = list(dict.fromkeys([*own, *near, *of_room]))
    left = [p for p in chosen if Path(p).stem in LONG and p not in own]
    return [p for p in chosen if p not in left], left


def run(*command: str) -> bool:
    return subprocess.run(command, cwd=ROOT).returncode == 0


def main() -> int:
    until = time.time() + SECONDS
    tools = Path(sys.executable).parent
    paths = [p for p in touched() if (ROOT / p).is_file()]
    good = run(f"{tools}/ruff", "check", "-q", ".")
    good &= run(f"{tools}/ruff", "format", "-q", "--check", ".")
    if native := [p for p in paths if re.match(r"(csrc|tests/native)/.*\.(c|cc|cpp|cu|h|inl)$", p)]:
        good &= run(f"{tools}/clang-format", "--dry-run", "-Werror", *native)
    typed = [p for p in paths if re.match(r"python/meddel_fast/.*\.pyi?$", p)]
    types = subprocess.Popen([f"{tools}/mypy", *typed], cwd=ROOT) if typed else None
    chosen, left = choose(paths)
    if chosen:
        os.environ |= {UNTIL: str(until), "OMP_NUM_THREADS": "1"}
        os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "quick", "-n", "2")
        good &= run(*pytest_, "--dist", "loadfile", "--no-loadscope-reorder", *chosen)
    else:
        print("no tests: nothing that they name was touched")
    for path in left:
        print(f"left out, takes long: {path}")
    if types is not None:
        try:
            good &= types.wait(max(1.0, until - time.time())) == 0
        except subprocess.TimeoutExpired:
            types.kill()
            print("left out, no time: mypy")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
