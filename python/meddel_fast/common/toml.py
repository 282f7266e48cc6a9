"""TOML as plain tables: from files, and from ``KEY=VALUE``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.files import why_no_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    with needs("benchmark"):
        import tomli as tomllib


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read the tables of a TOML file; an error names the file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config file not found: {path}{why_no_file(path)}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs; values are TOML, a bare word is a string.

    Raises
    ------
    ConfigError
        An assignment without ``=``, or a key given twice.
    """
    table: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"a setting must be KEY=VALUE, got '{text}'")
        if key.strip() in table:
            raise ConfigError(f"the setting '{key.strip()}' is given twice")
        try:
            table[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key.strip()] = value.strip()
    return table
