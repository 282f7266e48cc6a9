"""A name that nothing has, and the one that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'kcenter'?"``, for the end of a message; empty if nothing is near.

    Case does not count, and the nearest by difflib's ratio (at least 0.6) is named.
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(str(given).lower(), by_lower, n=1)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""
