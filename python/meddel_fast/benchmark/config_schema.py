"""The JSON schema of a run's TOML file, for editors, from the settings and their docstrings."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from meddel_fast.benchmark import config, config_file
from meddel_fast.common.extras import needs
from meddel_fast.training import settings

with needs("benchmark"):
    from pydantic import TypeAdapter


def file_schema() -> dict[str, Any]:
    """Give the schema of what `config_file.load_config` reads."""
    schema = TypeAdapter(config.RunConfig).json_schema()
    _describe(config.RunConfig, schema)
    for name, each in schema["$defs"].items():
        _describe(getattr(config, name, None) or getattr(settings, name), each)
    keys = schema.pop("properties")
    tables = {name: keys.pop(field) for name, field in config_file.TABLES.items() if field}
    tasks = {name: keys.pop(name) for name in config_file.TASKS}
    run = _table(keys, "The run as a whole.", required=["name"])  # `out` may come from --out
    tables |= {"run": run, "tasks": _table(tasks, "Tasks other than segmentation.")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of meddel-fast",
        **_table(tables, schema["description"], required=["run", "data"]),
        "$defs": schema["$defs"],
    }


def schema_text() -> str:
    """Give the schema as the text that is kept for editors."""
    return json.dumps(file_schema(), indent=2) + "\n"


def _table(properties: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
        **more,
    }


def _describe(cls: type[Any], schema: dict[str, Any]) -> None:
    """Fill the descriptions of a class and its fields from its docstring."""
    schema["description"], _ = _told(cls)
    told: dict[str, str] = {}
    for each in reversed(cls.__mro__[:-1]):
        told |= _told(each)[1]
    for name, field in schema["properties"].items():
        field["description"] = told[name]
        field.pop("title", None)
        if "default" in field and field["default"] is None:  # TOML has no null: the key is left out
            del field["default"]
            field |= next(each for each in field.pop("anyOf") if each != {"type": "null"})


def _told(cls: type[Any]) -> tuple[str, dict[str, str]]:
    """Split a docstring into what it says of the class, and of each attribute."""
    about, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes\n----------\n")
    found = re.findall(r"^(\w+)\n((?:    .*\n?)+)", attributes, re.MULTILINE)
    return _plain(about), {name: _plain(text) for name, text in found}


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())
