"""Settings: frozen dataclasses that pydantic holds to their types and bounds.

A class of settings is written as ::

    @one_line
    @dataclass(frozen=True, config=CONFIG)  # pydantic's
    class CostConfig:
        cpu_watts: NotNegativeNumber = 65.0

What does not fit is refused with a :class:`ConfigError`, in one line that names the setting. True
is no number and 1.5 no whole one; 1 becomes the number 1.0, a list a tuple, a string a path, a
number of numpy's the one of Python that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, TypeVar

import numpy as np

from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs

with needs("benchmark"):
    from pydantic import (
        AfterValidator,
        BeforeValidator,
        ConfigDict,
        Field,
        TypeAdapter,
        ValidationError,
        ValidatorFunctionWrapHandler,
        WrapValidator,
    )

T = TypeVar("T")

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

# Where pydantic's words are not those of TOML.
_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "path_type": "a path (string)",
    "tuple_type": "a list",
    "dict_type": "a table",
    "too_short": "a list of at least {min_length}",
    "greater_than_equal": "{ge:g} or greater",
}


def _of_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


OF_PYTHON = BeforeValidator(_of_python)

Flag = Annotated[bool, Field(strict=True), OF_PYTHON]
Whole = Annotated[int, Field(strict=True), OF_PYTHON]
Positive = Annotated[int, Field(strict=True, gt=0), OF_PYTHON]
NotNegative = Annotated[int, Field(strict=True, ge=0), OF_PYTHON]
Number = Annotated[float, Field(strict=True), OF_PYTHON]
PositiveNumber = Annotated[float, Field(strict=True, gt=0), OF_PYTHON]
NotNegativeNumber = Annotated[float, Field(strict=True, ge=0), OF_PYTHON]


def one_line(cls: type[T]) -> type[T]:
    """Make a class of settings say what it refuses as a ConfigError of one line."""
    plain = cls.__init__

    @wraps(plain)
    def init(self: T, *args: Any, **kwargs: Any) -> None:
        try:
            plain(self, *args, **kwargs)
        except ValidationError as error:
            raise ConfigError(_told(error, cls, "")) from None

    cls.__init__ = init  # type: ignore[assignment]
    return cls


def must(be: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """Refuse a value of the right type for which something does not hold; it must `be` so."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(be)
        return value

    return AfterValidator(check)


def wanted(text: str) -> WrapValidator:
    """Say `text` for all that is wrong with a value: its type, its bounds, what must hold."""

    def check(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise ValueError(text) from None

    return WrapValidator(check)


def each_once(values: tuple[Any, ...]) -> bool:
    """Whether no value is there twice."""
    return len(set(values)) == len(values)


def _is_name(text: str) -> bool:
    return text.replace("-", "").replace("_", "").replace(".", "").isalnum()


Between = Annotated[
    float,
    Field(strict=True, gt=0, lt=1),
    OF_PYTHON,
    wanted("a number between 0 and 1, both excluded"),
]
BelowOne = Annotated[float, Field(strict=True, ge=0, lt=1), OF_PYTHON, wanted("a number in [0, 1)")]
Name = Annotated[str, must("letters, digits, '-', '_' and '.' only", _is_name)]
Each = Annotated[
    tuple[T, ...],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    must("given, each once", each_once),
]


def known_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse a table with a key that is not `known`."""
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(f"{where}: {_unknown(unknown[0], known)}")


def _unknown(key: str, known: Iterable[str]) -> str:
    known = list(known)
    return f"unknown key '{key}'; known keys: {', '.join(known)}{did_you_mean(key, known)}"


def from_table(cls: type[T], table: Any, where: str, **given: Any) -> T:
    """Make settings from a TOML table.

    Parameters
    ----------
    cls
        A class of settings.
    table
        Its values by key, as TOML gives them.
    where
        What the messages of errors begin with.
    **given
        Fields that are not read from the table and may not be in it.

    Raises
    ------
    ConfigError
        An unknown or missing key, a wrong type, a value out of range.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, got {table!r}")
    known_keys(table, [name for name in _names(cls) if name not in given], where)
    try:
        return TypeAdapter(cls).validate_python({**table, **given})
    except ValidationError as error:
        raise ConfigError(_told(error, cls, where)) from None


def _names(cls: Any) -> list[str]:
    return [field.name for field in fields(cls)]


def _told(error: ValidationError, cls: type[Any], where: str) -> str:
    """Say in one line what is wrong first."""
    first = error.errors(include_url=False)[0]
    key = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in first["loc"]).lstrip(".")
    start = f"{where}: " if where else ""
    if first["type"] == "unexpected_keyword_argument":
        return start + _unknown(key, _names(cls))
    if first["type"] == "missing":
        return f"{start}missing key '{key}'"
    about = first.get("ctx", {})
    raised = about.get("error")
    if isinstance(raised, ConfigError):  # of `__post_init__`, whole
        return f"{where} {raised}".strip()
    ours = _WORDS.get(first["type"], "").format(**about)
    text = raised or ours or first["msg"].removeprefix("Input should be ")
    return f"{where} {key} must be {text}, got {first['input']!r}".strip()
