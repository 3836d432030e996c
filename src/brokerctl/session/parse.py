"""The written grammar of `exec`: reads a command line without Typer, or says that it is not ours.

`exec [-p PROFILE]… [--env N=P]… [--file N=P]… [--scope S]… [--ttl D] [--min-ttl D] [--purpose T]
[--revoke|--keep] [--mask|--no-mask] [--clean-env] -- CMD…`. Anything else, wrong lines included,
goes to the full program, which explains it.
"""

from __future__ import annotations

from brokerctl.errors import UsageError, not_in_this_version
from brokerctl.hot import parse_duration, split_scopes
from brokerctl.session import Ask

_LISTS = ("--profile", "--env", "--file", "--scope")
_SINGLES = ("--ttl", "--min-ttl", "--purpose")
_FLAGS = ("--revoke", "--keep", "--clean-env", "--mask", "--no-mask")
_OPPOSITES = (("--revoke", "--keep"), ("--mask", "--no-mask"))
_SHORT = {"-p": "--profile"}
_LATER = ("--socket", "--gateway", "--agent", "--aws")


def parse_exec(words: list[str]) -> Ask | None:
    """Read the words after `exec`; None for anything outside the grammar.

    Raises UsageError for an option whose room does not exist yet: never accepted and ignored.
    """
    given = _read(words)
    if given is None or any(no in given and yes in given for yes, no in _OPPOSITES):
        return None
    ttl_s = _seconds(given, "--ttl")
    min_ttl_s = _seconds(given, "--min-ttl")
    if ttl_s == -1 or min_ttl_s == -1:
        return None
    try:
        env, files = parse_pairs("--env", given), parse_pairs("--file", given)
    except UsageError:
        return None
    return Ask(
        command=tuple(given["--"]),
        profiles=tuple(given.get("--profile", ())),
        env=env,
        files=files,
        scopes=split_scopes(given["--scope"]) if "--scope" in given else None,
        ttl_s=ttl_s,
        min_ttl_s=min_ttl_s,
        purpose=given["--purpose"][0] if "--purpose" in given else None,
        is_own=True if "--revoke" in given else False if "--keep" in given else None,
        is_clean="--clean-env" in given,
        is_masked=True if "--mask" in given else False if "--no-mask" in given else None,
    )


def _read(words: list[str]) -> dict[str, list[str]] | None:
    """Sort words by option up to `--`; what follows is the command, under `--` itself."""
    given: dict[str, list[str]] = {}
    position = 0
    while position < len(words):
        name, equals, value = words[position].partition("=")
        name = _SHORT.get(name, name) if not equals else name
        position += 1
        if name == "--" and not equals:
            given["--"] = words[position:]
            return given if given["--"] and given["--"][0] else None
        if name in _FLAGS and not equals:
            given[name] = []
            continue
        if name in _LATER:
            raise not_in_this_version(f"'exec {name}'")
        if name not in _LISTS and name not in _SINGLES:
            return None
        if not equals:
            value = words[position] if position < len(words) else ""
            position += 1
        if (
            not value
            or (value.startswith("-") and not equals)
            or (name in _SINGLES and name in given)
        ):
            return None
        given.setdefault(name, []).append(value)
    return None


def _seconds(given: dict[str, list[str]], name: str) -> float | None:
    """Return an option's seconds, None if it was not given, -1 if it is no duration."""
    if name not in given:
        return None
    seconds = parse_duration(given[name][0])
    return -1 if seconds is None else seconds


def parse_pairs(option: str, given: dict[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """Split each `NAME=PROFILE` of an option; raises UsageError."""
    pairs = []
    for text in given.get(option, ()):
        name, equals, profile = text.partition("=")
        if not equals or not name or not profile:
            raise UsageError(f"'{text}' is not NAME=PROFILE", hint=f"write {option} NAME=PROFILE")
        pairs.append((name, profile))
    return tuple(pairs)
