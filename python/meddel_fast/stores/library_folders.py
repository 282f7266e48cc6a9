"""Folders that Zarr and Lance write, opened by these libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meddel_fast.common.extras import needs

_ZARR = ("zarr.json", ".zarray", ".zgroup")
_LANCE = "_versions"


def open_library_folder(folder: Path) -> Any | None:
    """Return the array, group or data set that a folder holds; None if it is of neither library.

    Raises
    ------
    ModuleNotFoundError
        The library is missing; told with what to install.
    ValueError
        The library cannot read it.
    """
    if not any((folder / name).exists() for name in (*_ZARR, _LANCE)):
        return None
    with needs("vectors"):
        if (folder / _LANCE).exists():
            import lance

            opens: Any = lance.dataset
        else:
            import zarr

            opens = zarr.open
    try:
        return opens(str(folder)) if (folder / _LANCE).exists() else opens(str(folder), mode="r")
    except Exception as error:  # each library has its own
        why = str(error).partition("\n")[0]
        raise ValueError(f"{folder} cannot be read: {why}") from error
