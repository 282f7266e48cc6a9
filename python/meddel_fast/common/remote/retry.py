"""Requests that are made again: after longer and longer pauses, within a limit, and told.

One way for all stores, in the place of the libraries' own: theirs add up (s3fs tries 25 times), say
nothing, and differ.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from meddel_fast.common.remote.errors import RemoteError, can_pass, explained, told
from meddel_fast.common.urls import shown

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_PATIENCE = "MEDDEL_REMOTE_PATIENCE"
_DEFAULT = 60.0  # seconds after which no request is made again
_FIRST, _LONGEST = 0.2, 10.0  # seconds: the bounds of the pauses


def patience() -> float:
    """Return for how long a request that failed is made again: MEDDEL_REMOTE_PATIENCE, or 60 s.

    Raises
    ------
    ValueError
        The variable holds no number of seconds.
    """
    text = os.environ.get(_PATIENCE, "")
    try:
        seconds = float(text) if text else _DEFAULT
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise ValueError(f"{_PATIENCE} must be seconds, from 0 to 86400, got {text!r}")
    return seconds


def attempt(place: str, doing: str, request: Callable[[], T]) -> T:
    """Return what a request returns; make it again when what went wrong may pass.

    The pauses double from 0.2 s to 10 s, each shortened by chance so that many workers do not come
    back at once. Each new try is logged as a warning.

    Parameters
    ----------
    place
        The URL that it is about, for messages.
    doing
        ``"read"``, ``"written"``, ``"listed"`` or ``"removed"``.
    request
        What asks once. It must be harmless to ask twice.

    Raises
    ------
    RemoteError
        It cannot be done, or could not within :func:`patience`.
    RemoteChangedError
        The object is another one than was wanted.
    """
    limit, tries, failing = patience(), 0, 0.0
    while True:
        tries += 1
        try:
            return request()
        except Exception as error:
            if not can_pass(error):
                raise explained(place, doing, error) from None
            reason = told(error)
        failing = failing or time.monotonic()
        spent = time.monotonic() - failing
        pause = min(_LONGEST, _FIRST * 2 ** min(tries - 1, 16)) * random.uniform(0.5, 1.0)
        if spent + pause > limit:
            raise RemoteError(
                f"{shown(place)} could not be {doing} in {tries} tries over {spent:.0f} s: {reason}"
                f" (MEDDEL_REMOTE_PATIENCE={limit:g} is how many seconds are tried)"
            )
        _LOG.warning(
            "%s could not be %s: %s; again in %.1f s (try %d, %.0f of %g s)",
            shown(place), doing, reason, pause, tries, spent, limit,
        )  # fmt: skip
        time.sleep(pause)
