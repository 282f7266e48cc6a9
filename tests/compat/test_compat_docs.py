"""The recipes of docs/drop-in.md: what they import is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "drop-in.md").read_text()
RECIPES = re.findall(r"`from (meddel_fast\.compat\.\w+) import ([\w, ]+)`", PAGE)
NEEDS = {"anomalib": "torch", "patchcore": "torch", "torch_cluster": "torch", "sklearn": "sklearn"}


def test_all_modules_have_a_recipe() -> None:
    from meddel_fast import compat

    modules = {path.stem for path in Path(compat.__file__).parent.glob("[a-z]*.py")}
    assert {module.rpartition(".")[2] for module, _ in RECIPES} == modules


@pytest.mark.parametrize(("module", "names"), RECIPES)
def test_recipe(module: str, names: str) -> None:
    pytest.importorskip(NEEDS.get(module.rpartition(".")[2], "numpy"))
    made = importlib.import_module(module)
    for name in names.split(", "):
        assert callable(getattr(made, name))
