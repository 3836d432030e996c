"""Sessions in a session: an `exec` inside one gets at most what that has, and ends with it.

The supervisor of the outer session keeps them, as it has configuration, store and key, which the
inner `exec` may not have. Each has an id of its own, so that its own tokens end with it, and a
layer of its own beside those of the session that it is in.
"""

from __future__ import annotations

import secrets
import threading

from brokerctl.errors import DeniedError, SessionEndedError, UsageError
from brokerctl.model import Value
from brokerctl.session.serve.desk import Narrowing, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.session.cleanup import SessionEnd
    from brokerctl.session.serve.desk import SessionDesk

PREFIX = "/in/"
_ID_BYTES = 16
_KEY_BYTES = 32
_MOST = 64  # sessions in one session at a time
_LISTS = ("scopes", "resource", "audience", "hosts")
_TEXT_CHARS = 200
_WAIT_S = 45.0


class Begun(Value):
    """An inner session: its key, which only who began it knows, its id and its desk."""

    key: str
    desk: SessionDesk
    entry: SessionEnd


class NestedSessions:
    """The sessions that run in one session, at any depth."""

    def __init__(self, desk: SessionDesk) -> None:
        self._desk = desk
        self._found: dict[str, Begun] = {}
        self._lock = threading.Lock()

    def find(self, path: str) -> tuple[SessionDesk, str]:
        """Return the desk that a path is for, and the path that it sees.

        SessionEndedError for a key that is none, or no more.
        """
        desk = self._desk
        while path.startswith(PREFIX):  # each session in one has put its own before it
            key, slash, rest = path.removeprefix(PREFIX).partition("/")
            with self._lock:
                begun = self._found.get(key)
            if begun is None:
                raise SessionEndedError("this session has ended")
            desk, path = begun.desk, f"{slash}{rest}" or "/"
        return desk, path

    def begin(self, outer: SessionDesk, body: dict[str, Any]) -> Begun:
        """Begin a session in one; UsageError for a profile that the outer one does not have."""
        names = tuple(dict.fromkeys(_texts(body, "profiles") or outer.terms.profiles))
        for name in names:
            if name not in outer.terms.profiles:
                raise unknown(name)
        session_id = secrets.token_hex(_ID_BYTES)
        narrowing = _narrowing(session_id, body)
        terms = outer.terms.replace(
            id=session_id,
            profiles=names,
            own=_own(outer, names, narrowing),
            agent=_agent(outer, _text(body, "agent")),
            purpose=_text(body, "purpose") or outer.terms.purpose,
            narrowings=(*outer.terms.narrowings, narrowing),
        )
        key = secrets.token_urlsafe(_KEY_BYTES)
        desk, entry = outer.inside(terms, command=_text(body, "command"))
        with self._lock:
            if len(self._found) >= _MOST:
                raise UsageError(f"there are {_MOST} sessions in this one")
            self._found[key] = begun = Begun(key=key, desk=desk, entry=entry)
        entry.begin()
        return begun

    def end(self, desk: SessionDesk) -> None:
        """End a session and its own tokens; the outermost ends with its `exec`."""
        if desk is self._desk:
            raise UsageError("a session ends with its command")
        with self._lock:
            ended = [one for one in self._found.values() if one.desk is desk]
            for one in ended:
                del self._found[one.key]
        for one in ended:
            if not one.desk.close(_WAIT_S):
                one.entry.leave_open()
            one.entry.end()

    def end_all(self) -> None:
        """End all of them, as the outermost session ends."""
        for one in list(self._found.values()):
            self.end(one.desk)


def _own(outer: SessionDesk, names: tuple[str, ...], narrowing: Narrowing) -> tuple[str, ...]:
    """Return whose tokens are its own: those of the outer session's, or all where it narrows."""
    asked = (narrowing.scopes, narrowing.resource, narrowing.audience, narrowing.max_ttl_s)
    if any(one is not None for one in asked):
        return tuple(name for name in names if outer.may_be_own(name))
    return tuple(name for name in names if name in outer.terms.own)


def _agent(outer: SessionDesk, name: str | None) -> str | None:
    """Return for which agent it is. Security: one agent can't have what rules give another."""
    if outer.terms.agent is not None and name not in {None, outer.terms.agent}:
        raise DeniedError(f"this session is agent '{outer.terms.agent}'s, and not another's")
    return outer.terms.agent or name


def _narrowing(session_id: str, body: dict[str, Any]) -> Narrowing:
    given: dict[str, Any] = {name: _texts(body, name) for name in _LISTS}
    for name in ("max_ttl_s", "uses"):
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                raise UsageError(f"'{name}' is no number above 0")
            given[name] = int(value) if name == "uses" else float(value)
    rate = body.get("rate")
    if rate is not None:
        try:
            most, span_s = map(int, rate)
        except (TypeError, ValueError) as error:
            raise UsageError("'rate' is no pair of numbers") from error
        given["rate"] = (most, span_s)
    return Narrowing(session=session_id, **given)


def _texts(body: dict[str, Any], name: str) -> tuple[str, ...] | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError(f"'{name}' is no list of texts")
    return tuple(value)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError(f"'{name}' is no text")
    return value[:_TEXT_CHARS]
