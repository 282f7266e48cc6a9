"""The config of a run so small that it takes seconds; a test says only what is its own."""

from __future__ import annotations

import json
from typing import Any


def made(name: str = "made", **options: Any) -> dict[str, Any]:
    """A data set of made frames; `options` that are None are left to the defaults."""
    frames = {"videos": 6, "frames": 10, "size": 48, "val_videos": 1, "test_videos": 1, **options}
    return {"name": name, "made": {key: v for key, v in frames.items() if v is not None}}


BASE: dict[str, Any] = {
    "run": {"name": "tiny", "out": "run", "ratios": [1.0, 0.25], "seeds": [0, 1], "repeats": 1},
    "data": [made()],
    "pretrain": {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 16,
        "layers": 1,
        "heads": 2,
        "decoder_hidden_size": 16,
        "decoder_layers": 1,
        "decoder_heads": 2,
        "steps": 8,
        "warmup_steps": 2,
        "batch_size": 8,
        "precision": "fp32",
    },
    "downstream": {
        "encoder": "frozen",
        "steps": 6,
        "batch_size": 8,
        "head_hidden": 8,
        "precision": "fp32",
    },
}


def tiny(**tables: Any) -> str:
    """The config as TOML. What is given replaces tables or, in a table, keys; None leaves out."""
    text = ""
    for name in {**BASE, **tables}:
        base, table = BASE.get(name, {}), tables.get(name, {})
        if isinstance(base, list):
            text += "".join(_table(f"[[{name}]]", each) for each in table or base)
        elif table is not None:
            text += _table(f"[{name}]", {**base, **table})
    return text


def _table(head: str, keys: dict[str, Any]) -> str:
    lines = [f"{key} = {_value(v)}\n" for key, v in keys.items() if v is not None]
    return f"{head}\n{''.join(lines)}\n"


def _value(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    keys = (f"{k if k.isidentifier() else json.dumps(k)} = {_value(v)}" for k, v in value.items())
    return f"{{{', '.join(keys)}}}"
