"""Errors with a meaning of their own. Needs nothing."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it."""
