"""With numpy alone: what needs more says at once which extra brings it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest

import meddel_fast

PACKAGE = Path(meddel_fast.__file__).parent
# tomllib: since 3.11
ALWAYS = {*sys.stdlib_module_names, "tomllib", "numpy", "filelock", "meddel_fast"}
BROUGHT_BY = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "huggingface_hub": "transformers",
    "pillow_heif": "pillow-heif",
    "lance": "pylance",
}
# By the __init__ of these; of the last by its client(), in words that test_places.py holds.
ASKED_FIRST = ("kernels/", "cli/", "common/remote/")
DO_WITHOUT = ("benchmark/machine.py", "common/resources.py")  # tell or use what happens to be there

# Runs with everything blocked that is not ALWAYS.
BARE = f"""
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {ALWAYS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
"""


def extras() -> dict[str, set[str]]:
    """Each extra with the distributions that it names."""
    found: dict[str, set[str]] = {}
    for line in requires("meddel-fast") or ():
        match = re.match(r"([\w.-]+).*extra == ['\"](\w[\w-]*)", line)
        if match:
            found.setdefault(match[2], set()).add(match[1])
    return found


def imported(node: ast.AST) -> str | None:
    """The optional library that a statement, or a call of import_module, imports."""
    name = None
    if isinstance(node, ast.Import):
        name = node.names[0].name
    elif isinstance(node, ast.ImportFrom):
        name = node.module
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        text = node.args[0]  # with a name in braces, it begins with the package's own
        first = text.values[0] if isinstance(text, ast.JoinedStr) else text
        assert isinstance(first, ast.Constant)
        name = first.value
    top = (name or "").partition(".")[0]
    return top if top and top not in ALWAYS else None


def optional_imports(tree: ast.AST, extra: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Give each optional import with the extra of the ``with needs(extra)`` around it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        name = imported(node)
        if name is not None:
            yield name, extra
        inside = extra
        if isinstance(node, ast.With):
            asked = re.match(r"needs\('([\w-]+)'\)$", ast.unparse(node.items[0].context_expr))
            inside = asked[1] if asked else extra
        yield from optional_imports(node, inside)


def test_every_optional_import_names_an_extra_that_has_it() -> None:
    known, seen, wrong = extras(), set(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        gated = place.startswith(ASKED_FIRST) and path.name != "__init__.py"
        if gated or place in DO_WITHOUT:
            continue
        for name, extra in optional_imports(ast.parse(path.read_text(encoding="utf-8"))):
            seen.add(name)
            if extra is None or BROUGHT_BY.get(name, name) not in known[extra]:
                wrong.append((place, name, extra))
    assert wrong == []
    assert seen >= {"torch", "triton", "PIL", "pyarrow", "av", "pydicom", "sklearn", "typer"}


def test_all_is_all_that_a_user_may_want() -> None:
    known = extras()
    users = {
        "gpu",
        "benchmark",
        "video",
        "heif",
        "hashes",
        "dicom",
        "compat",
        "remote",
        "vectors",
        "ray",
    }
    assert "meddel-fast" in known["all"]
    line = next(
        r
        for r in requires("meddel-fast") or ()
        if r.startswith("meddel-fast[") and "'all'" in r.replace('"', "'")
    )
    assert set(re.findall(r"[\w-]+", line.partition("]")[0].partition("[")[2])) == users


def run_bare(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BARE + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_module_is_imported_or_says_what_it_needs() -> None:
    files = (path.relative_to(PACKAGE.parent) for path in sorted(PACKAGE.rglob("*.py")))
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    code = f"""
import importlib
for name in {names!r}:
    try:
        importlib.import_module(name)
    except (ImportError, SystemExit) as error:
        print(name, error)
    else:
        print(name, "-")
"""
    told = dict(line.split(" ", 1) for line in run_bare(code))
    assert set(told) == set(names)
    silent = {name for name, text in told.items() if text == "-"}
    for name in set(told) - silent:
        assert re.search(r"this needs [\w.]+: pip install 'meddel-fast\[\w+\]'$", told[name]), name
    bare = "ops reference selectors sharded stores index compat.faiss compat.apricot common.toml"
    assert silent >= {f"meddel_fast.{name}" for name in bare.split()}
    assert len(told) - len(silent) > 30


@pytest.mark.parametrize(
    ("call", "library", "extra"),
    [
        ("mf.kcenter_greedy(x, 3, device='cuda')", "torch", "gpu"),
        ("mf.selectors.random(x, 3).save('selection.parquet')", "pyarrow", "benchmark"),
        ("mf.selectors.Selection.load('selection.parquet')", "pyarrow", "benchmark"),
        ("mf.selectors.random(x, 3).subset([0] * 20)", "torch", "benchmark"),
        ("mf.open_store('rows.parquet')", "pyarrow", "benchmark"),
        ("from meddel_fast.cluster import join_group; join_group()", "torch", "benchmark"),
        ("from meddel_fast.benchmark.run import run; run(None)", "pydantic", "benchmark"),
        ("import meddel_fast.cli", "typer", "benchmark"),
        ("import meddel_fast.images.scan.folder", "PIL", "benchmark"),
        ("import meddel_fast.training.pretrain", "pyarrow", "benchmark"),
        ("import meddel_fast.kernels.rows", "torch", "gpu"),
        ("import meddel_fast.compat.sklearn", "sklearn", "compat"),
        ("import meddel_fast.compat.anomalib", "torch", "compat"),
    ],
)
def test_what_needs_more_says_so(tmp_path: Path, call: str, library: str, extra: str) -> None:
    (tmp_path / "rows.parquet").touch()
    code = f"""
import os
import numpy as np
import meddel_fast as mf
os.chdir({str(tmp_path)!r})
x = np.eye(20, dtype=np.float32)
try:
    {call}
except (ImportError, SystemExit) as error:
    print(error)
"""
    (said,) = run_bare(code)
    assert said.endswith(f"this needs {library}: pip install 'meddel-fast[{extra}]'")
