"""The code in docs/selectors.md runs as it stands, and its table names every method."""

from __future__ import annotations

import re
from pathlib import Path

from meddel_fast.selectors import METHODS

DOCS = Path(__file__).resolve().parents[1] / "docs" / "selectors.md"


def test_code_blocks_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    assert len(blocks) == 6
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), scope)


def test_tables_are_complete() -> None:
    text = DOCS.read_text()
    methods, weights = text.split("**`weights`**")
    assert re.findall(r"^\| `(\w+)` \|", methods, flags=re.MULTILINE) == list(METHODS)
    rows = re.findall(r"^\| (`.*`) \| (.*) \|", weights, flags=re.MULTILINE)
    told = {name: said for names, said in rows for name in re.findall(r"`(\w+)`", names)}
    assert told.keys() == METHODS.keys()
    for name, said in told.items():
        assert said.startswith("refused") == (not METHODS[name].weights)
