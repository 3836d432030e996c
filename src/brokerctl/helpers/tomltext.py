"""Somebody else's TOML, read as a check of what is to be written into it."""

from __future__ import annotations

import tomllib
from typing import Any

from brokerctl.errors import UsageError


def parse_toml(path: str, text: str) -> dict[str, Any]:
    """Return what a file says; UsageError, naming it, for what is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="mend it first") from None


def read_toml(text: str) -> dict[str, Any] | None:
    """Return what a text says; None for what is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
