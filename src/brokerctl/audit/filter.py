"""Which records are asked for: by profile, event, time, requester, and of one session.

The records of a session are those that name it, and what was written of its tokens, questions and
leases by others: a revocation is recorded with the process that revoked.
"""

from __future__ import annotations

from brokerctl.jsonlite import dumps, loads
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NUMBERS = ("uid", "pid")
_WORDS = ("exe", "tool", "session", "ci")
NO_MATCH = object()
# What others record of a session's things, and the field that names the thing.
_LINKED = {
    "token.revoked": "fingerprint",
    "token.not_delivered": "fingerprint",
    "question.answered": "question",
    "lease.given": "question",
    "lease.ended": "lease",
    "log.repeated": "of",
}
_LINKING = ("fingerprint", "question", "lease", "seq")


class RecordFilter(Value):
    """The conditions for a record; None: no condition. Times are as in the log: RFC 3339, UTC."""

    profile: str | None = None
    event: str | None = None  # whole, or its beginning up to a dot: `token`
    since: str | None = None
    until: str | None = None
    requester: str | None = None  # uid, pid, exe, its last part, tool, session or CI job
    session: str | None = None  # the beginning of its id


ANY = RecordFilter()


class RecordMatcher:
    """Matches the lines of a log, which it must be given in their order."""

    def __init__(self, match: RecordFilter) -> None:
        self._match = match
        self._links: set[tuple[str, object]] = set()
        session = match.session
        self._session = None if session is None else dumps(session)[:-1].encode("ascii")
        names = (dumps(name) for name in _LINKED if session is not None)
        self._others = tuple(name.encode("ascii") for name in names)
        profile = match.profile
        self._profile = None if profile is None else dumps(profile).encode("ascii")

    def find(self, line: bytes) -> Any:  # noqa: ANN401 - a JSON object, None, or NO_MATCH
        """Return a matching line's fields, None for one that is damaged, else NO_MATCH."""
        if not line or not self._may_match(line):
            return NO_MATCH
        try:
            fields = loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return None if self._session is None or self._session in line else NO_MATCH
        is_meant = self._is_of_session(fields) and _is_match(self._match, fields)
        return fields if is_meant else NO_MATCH

    def _may_match(self, line: bytes) -> bool:
        """Look for bytes that a matching line must hold: other lines need not be parsed."""
        if self._session is None:
            return self._profile is None or self._profile in line
        return self._session in line or any(name in line for name in self._others)

    def _is_of_session(self, fields: dict[str, Any]) -> bool:
        start = self._match.session
        if start is None:
            return True
        requester = fields.get("requester")
        named = [fields.get("session")]
        named += [requester.get("session")] if isinstance(requester, dict) else []
        if not any(isinstance(one, str) and one.startswith(start) for one in named):
            key = _LINKED.get(str(fields.get("event")))
            if key is None or (_kind(key), fields.get(key)) not in self._links:
                return False
        self._links |= {
            (name, fields[name]) for name in _LINKING if isinstance(fields.get(name), str | int)
        }
        return True


def _kind(key: str) -> str:
    return "seq" if key == "of" else key


def _is_match(match: RecordFilter, fields: dict[str, Any]) -> bool:
    event, when = fields.get("event"), fields.get("time")
    requester = fields.get("requester")
    requester = requester if isinstance(requester, dict) else {}
    if match.profile is not None and fields.get("profile") != match.profile:
        return False
    if match.event is not None and not _is_event(match.event, event):
        return False
    if (match.since or match.until) and not _is_within(match, when):
        return False
    return match.requester is None or _is_requester(match.requester, requester)


def _is_event(wanted: str, event: object) -> bool:
    return isinstance(event, str) and (event == wanted or event.startswith(f"{wanted}."))


def _is_within(match: RecordFilter, when: object) -> bool:
    """Compare times as text: in the log all have one form and one length."""
    return (
        isinstance(when, str)
        and (match.since is None or when >= match.since)
        and (match.until is None or when < match.until)
    )


def _is_requester(wanted: str, requester: dict[str, Any]) -> bool:
    name, colon, value = wanted.partition(":")
    names = (name,) if colon and name in {*_NUMBERS, *_WORDS} else (*_NUMBERS, *_WORDS)
    value = value if len(names) == 1 else wanted
    texts = [_text(requester.get(name)) for name in names]
    return any(
        text is not None and (text == value or ("/" in text and text.endswith(f"/{value}")))
        for text in texts
    )


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None
