"""What is optional: an import that fails says which of the package's extras brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import in this block what the extra brings.

    Raises
    ------
    ModuleNotFoundError
        It is missing; told with what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        wanted = f"this needs {error.name}: pip install 'meddel-fast[{extra}]'"
        raise ModuleNotFoundError(wanted, name=error.name) from None
