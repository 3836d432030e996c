"""The terms of a session as its command line has them: agent, uses, rate, hosts, what is served."""

from __future__ import annotations

from itertools import compress

from brokerctl.errors import UsageError
from brokerctl.get import parse_duration
from brokerctl.policy.facts import host_of
from brokerctl.session import SERVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_MOST_USES = 1_000_000
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MOST_CHARS = 64


def parse_bounds(
    agent: str | None,
    uses: str | int | None,
    rate: str | None,
    hosts: Iterable[str] | None,
    *,
    is_on: tuple[bool, ...],
) -> dict[str, Any]:
    """Return the fields of ExecRequest; UsageError for a word that is none.

    `is_on` says of each of SERVED whether it is asked for.
    """
    return {
        "agent": None if agent is None else _agent(agent),
        "uses": None if uses is None else _number(uses, "--uses"),
        "rate": None if rate is None else _rate(rate),
        "hosts": tuple(dict.fromkeys(map(_host, hosts))) if hosts else None,
        "serves": tuple(compress(SERVED, is_on)),
    }


def _agent(name: str) -> str:
    if not name or len(name) > _MOST_CHARS or not _NAME_CHARS.issuperset(name):
        raise UsageError(f"no agent can be named '{name}'", hint="use letters, digits and '._-'")
    return name


def _number(text: str | int, option: str) -> int:
    digits = str(text)
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits) <= _MOST_USES:
        raise UsageError(f"'{text}' is no number from 1 to {_MOST_USES}", hint=f"as in {option} 20")
    return int(digits)


def _rate(text: str) -> tuple[int, int]:
    most, _, span = text.partition("/")
    seconds = parse_duration(span)
    if not seconds:
        raise UsageError(
            f"'{text}' is no rate", hint="write a number and a time, as in --rate 10/1m"
        )
    return _number(most, "--rate 10/1m"), int(seconds)


def _host(text: str) -> str:
    host = host_of(text if "://" in text else f"https://{text}")
    if host is None:
        raise UsageError(f"'{text}' is no host", hint="write --allow-host HOST or HOST:PORT")
    return host
