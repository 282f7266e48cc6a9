"""The error of settings that cannot be used. Imports nothing."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it."""
