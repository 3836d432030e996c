"""What rules are compared with: the facts of one request, and whether a rule's conditions hold.

What costs something is read only where a rule asks, after everything else in that rule holds. A
fact that is not known is None, and no condition holds for it: neither `true` nor `false`.
"""

from __future__ import annotations

from brokerctl.config.rules import (
    AGE,
    CONDITIONS,
    DENY,
    DIGEST,
    FLAG,
    GIVEN,
    NUMBER,
    PATH,
    PATTERN,
    TIME,
    WORD,
    matches,
)
from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from brokerctl.config.rules import Rule
    from brokerctl.model import Decision, Profile, TokenRequest

    class Job(Protocol):
        """What a decision has to know of an `identity.Job`."""

        @property
        def fork(self) -> str | None:
            """How the job is seen to be a fork's; None: it is not."""


_DAY_S, _DAY_MIN, _MIN_S = 86400, 24 * 60, 60
_DAYS = ("thu", "fri", "sat", "sun", "mon", "tue", "wed")  # 1 January 1970 was a Thursday
# What a record says in no other field of the request, so that it can be decided again from there.
NOTED = frozenset(
    (
        "time",
        "days",
        "purpose",
        "fork",
        "method",
        "path",
        *(name for name, one in CONDITIONS.items() if one.costs),
    )
)


class Facts:
    """The facts by the names of `config.rules.CONDITIONS`, each found when it is first asked for.

    `noted` has those that were asked for and stand in no other field of a record.
    """

    __slots__ = ("_known", "_read", "noted")

    def __init__(self, known: dict[str, Any], read: Callable[[str], Any] = lambda _: None) -> None:
        """`read` finds what is not among `known`; it may raise what a request raises."""
        self._known = known
        self._read = read
        self.noted: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - what the condition's kind says
        """Return a fact, None where it is not known."""
        known = self._known
        if name not in known:
            known[name] = self._read(name)
        if name in NOTED:
            self.noted[name] = known[name]
        return known[name]


def known_facts(
    profile: Profile | None, request: TokenRequest, limits: Decision, job: Job | None, now: float
) -> dict[str, Any]:
    """Return the facts that cost nothing; `limits` is what the profile's own limits leave.

    `profile` is None for what a tool had us keep.
    """
    requester = request.requester
    minutes = int(now // _MIN_S)
    own = None if profile is None else profile.purpose
    return {
        "profile": None if profile is None else profile.name,
        "subject": request.subject or (None if profile is None else profile.subject),
        "tool": requester.tool,
        "agent": requester.agent,
        "session": requester.session is not None,
        "purpose": request.purpose or own,
        "uid": requester.uid,
        "host": None if request.url is None else host_of(request.url),
        "scope": limits.scopes,
        "resource": limits.resource,
        "method": None if request.sent is None else request.sent[0],
        "path": None if request.sent is None else readings_of(request.sent[1]),
        "time": minutes % _DAY_MIN,
        "days": _DAYS[int(now // _DAY_S) % len(_DAYS)],
        "exe": requester.exe,
        "parent": tuple(one for parent in requester.parents for one in parent if one),
        "fork": None if job is None else job.fork is not None,
    }


def host_of(url: str) -> str | None:
    """Return the canonical `host[:port]` of a URL; None where it is spelled in no plain way."""
    from brokerctl.config.hosts import parse_url  # noqa: PLC0415 - most requests name no URL

    try:
        return parse_url(url).origin.partition("://")[2]
    except UsageError:
        return None


def find_mismatch(rule: Rule, facts: Callable[[str], Any]) -> str | None:
    """Return the first condition of a rule that does not hold; None where all of them do."""
    for name, wanted in rule.when.items():
        if not holds(name, wanted, facts(name), is_strict=rule.effect != DENY):
            return name
    return None


def holds(name: str, wanted: Any, fact: Any, *, is_strict: bool = True) -> bool:  # noqa: ANN401 - what the condition's kind says
    """Return whether one condition holds for a fact; None and an empty list match nothing.

    Security: of a path that servers read in two ways both must match, and where that denies, one.
    """
    if fact is None:
        return False
    kind = CONDITIONS[name].kind
    if kind == PATH and not isinstance(fact, str):
        found = [_COMPARE[kind](wanted, one) for one in fact]
        return all(found) if is_strict else any(found)
    return _COMPARE[kind](wanted, fact)


def readings_of(path: str) -> str | tuple[str, str]:
    """Return a path decoded once; where a slash in it is escaped, both ways to read that."""
    from urllib.parse import unquote  # noqa: PLC0415 - a gateway asks, and nobody else

    if "%2f" not in path.lower():
        return unquote(path)
    kept = "/".join(unquote(one).replace("/", "%2F") for one in path.split("/"))
    return kept, unquote(path)


def _has_item(wanted: list[Any], fact: object) -> bool:
    return fact in wanted


def _is_matched(wanted: Any, fact: str | tuple[str, ...]) -> bool:  # noqa: ANN401 - a list, or true
    if wanted is True:
        return True
    facts = (fact,) if isinstance(fact, str) else fact
    return any(matches(item, one) for item in wanted for one in facts)


def _is_in_spans(wanted: list[list[int]], fact: int) -> bool:
    return any(_is_within(span, fact) for span in wanted)


def _is_within(span: list[int], minute: int) -> bool:
    """Return whether a minute lies in a half-open span, which may pass midnight."""
    begin, end = span
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    FLAG: lambda wanted, fact: fact is wanted,
    PATTERN: _is_matched,
    GIVEN: _is_matched,
    AGE: lambda wanted, fact: 0 <= fact <= wanted,
    TIME: _is_in_spans,
    PATH: lambda wanted, fact: any(_is_below(fact, item) for item in wanted),
    NUMBER: _has_item,
    DIGEST: _has_item,
    WORD: _has_item,
}
