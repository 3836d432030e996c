"""The option `--profile NAME`, for helpers whose tool does not name its server."""

from __future__ import annotations

from brokerctl.helpers import MalformedError

_LONG, _SHORT = "--profile", "-p"


def split_profile(words: list[str]) -> tuple[str | None, list[str]]:
    """Return the profile that the first words name, or None, and the other words."""
    if not words or not words[0].startswith("-"):
        return None, words
    option, equals, name = words[0].partition("=")
    rest = words[1:]
    if not equals and option in {_LONG, _SHORT} and rest:
        name, rest = rest[0], rest[1:]
    elif option != _LONG:
        name = ""
    if not name:
        raise MalformedError("its options are not '--profile NAME'")
    return name, rest


def read_profile(words: list[str]) -> str:
    """Return the profile; MalformedError for any other words."""
    name, rest = split_profile(words)
    if name is None or rest:
        raise MalformedError("it is not --profile NAME")
    return name
