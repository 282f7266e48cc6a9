"""The extension's stub says what the extension takes: pybind11 writes each signature's types into
its docstring, which no other tool compares."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import meddel_fast
from meddel_fast import _core

STUB = Path(meddel_fast.__file__).with_name("_core.pyi")
KINDS = {  # of the stub's names and of pybind11's
    "NDArray": "array", "_Array": "array", "_Int": "array", "_Float": "array", "ndarray": "array",
    "_Matrix": "array", "Annotated": "array",
    "int": "int", "SupportsInt": "int", "float": "float", "SupportsFloat": "float", "bool": "bool",
    "str": "str", "list": "list", "Sequence": "list", "None": "None", "object": "object",
    "Any": "object", "Callable": "callable", "handle": "object", "tuple": "tuple", "_Part": "tuple",
}  # fmt: skip


def kinds(annotation: str) -> set[str]:
    """What a type may be, arguments of generic types left out: 'int | None' -> {int, None}."""
    bare = annotation
    while "[" in bare:
        bare = re.sub(r"\[[^\[\]]*\]", "", bare)
    names = [part.strip().rsplit(".", 1)[-1] for part in bare.split("|")]
    return {KINDS[name] for name in names if name != "SupportsIndex"}


def split(arguments: str) -> list[str]:
    """Arguments, split at the commas outside brackets."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def told(function: object) -> list[set[str]]:
    """The kinds of a bound function's arguments."""
    match = re.match(r"\w+\((.*)\) -> ", inspect.getdoc(function) or "")
    assert match is not None, function
    return [kinds(part.split(":", 1)[1].split("=")[0]) for part in split(match[1])]


def stubbed() -> dict[str, list[set[str]]]:
    tree = ast.parse(STUB.read_text())
    return {
        node.name: [
            kinds(ast.unparse(a.annotation)) if a.annotation else set()
            for a in node.args.posonlyargs
        ]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def test_stub_names_what_the_extension_has() -> None:
    functions = {n for n in vars(_core) if callable(getattr(_core, n)) and not n.startswith("__")}
    told = [n for n in ast.parse(STUB.read_text()).body if isinstance(n, ast.ClassDef)]
    classes = {n.name: n for n in told if not n.name.startswith("_")}
    assert set(stubbed()) | set(classes) == functions
    for name, node in classes.items():
        methods = {n.name for n in node.body if isinstance(n, ast.FunctionDef)} - {"__init__"}
        assert methods == {n for n in vars(getattr(_core, name)) if not n.startswith("_")}


@pytest.mark.parametrize("name", sorted(stubbed()))
def test_stub_has_the_extension_s_signature(name: str) -> None:
    bound = told(getattr(_core, name))
    assert len(stubbed()[name]) == len(bound)
    for stub, real in zip(stubbed()[name], bound, strict=True):
        assert real in (stub, {"object"})  # a py::object tells nothing


def test_the_package_s_stub_names_what_the_package_gives() -> None:
    """``__init__.pyi`` stands beside a door that looks names up: nothing else holds it to that."""
    tree = ast.parse(Path(meddel_fast.__file__).with_suffix(".pyi").read_text())
    told = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign))
    assert sorted(told) == sorted(meddel_fast.__all__)
    for name in told:
        assert getattr(meddel_fast, name) is not None
