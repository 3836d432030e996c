"""The payloads of entries: the model's values as JSON and back, every type checked.

A missing field takes its default, an unknown one is refused: a newer writer has another format.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import DamagedError
from brokerctl.model import Failure, Grant, GrantKey, Intent, Queued, Slot, Token, TokenKey, Value
from brokerctl.secret import Secret
from brokerctl.store import Queue
from brokerctl.store.envelope import GRANT, INTENT, KIND_NAMES, OUTCOME, QUEUE, TOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parse = Callable[[Any], Any]

_WRONG = (ValueError, TypeError, KeyError, AttributeError)


def _text(found: object) -> str:
    if type(found) is not str:
        raise TypeError("not a text")
    return found


def _number(found: object) -> float:
    if type(found) not in {int, float}:
        raise TypeError("not a number")
    return found  # type: ignore[return-value]  # int or float, as just checked


def _count(found: object) -> int:
    if type(found) is not int or found < 0:
        raise TypeError("not a count")
    return found


def _secret(found: object) -> Secret:
    return Secret(_text(found))


def _maybe(parse: Parse) -> Parse:
    return lambda found: None if found is None else parse(found)


def _many(parse: Parse) -> Parse:
    def parse_many(found: object) -> tuple[Any, ...]:
        if type(found) is not list:
            raise TypeError("not a list")
        return tuple(map(parse, found))

    return parse_many


def _value(cls: type[Value], fields: dict[str, Parse]) -> Parse:
    def parse_value(found: object) -> Value:
        if type(found) is not dict:
            raise TypeError("not an object")
        return cls(**{name: fields[name](item) for name, item in found.items()})

    return parse_value


_maybe_text, _texts = _maybe(_text), _many(_text)
_narrowing: dict[str, Parse] = {
    "actor": _maybe_text,
    "scopes": _texts,
    "resource": _texts,
    "audience": _texts,
    "details": _maybe_text,
    "extra": _maybe_text,
    "thumbprint": _maybe_text,
}
_grant_key = _value(
    GrantKey,
    {
        **_narrowing,
        "issuer": _text,
        "client_id": _text,
        "subject": _maybe_text,
        "job": _maybe_text,
    },
)
_token = _value(
    Token,
    {
        "value": _secret,
        "fingerprint": _text,
        "token_type": _text,
        "scopes": _texts,
        "issued_at": _number,
        "expires_at": _maybe(_number),
        "generation": _count,
        "status": _text,
        "session": _maybe_text,
    },
)
_slot = _value(
    Slot,
    {
        "key": _value(TokenKey, {**_narrowing, "grant": _grant_key}),
        "profile": _text,
        "current": _maybe(_token),
        "superseded": _many(_token),
    },
)
_grant = _value(
    Grant,
    {
        "key": _grant_key,
        "profile": _text,
        "flow": _text,
        "generation": _count,
        "obtained_at": _number,
        "refresh_token": _maybe(_secret),
        "scopes": _texts,
        "sub": _maybe_text,
        "owner": _maybe_text,
        "dead_why": _maybe_text,
        "dead_at": _maybe(_number),
        "issued": _maybe(_slot),
    },
)
_failure = _value(
    Failure,
    {
        "attempt": _count,
        "serial": _count,
        "at": _number,
        "retry_at": _number,
        "exit_code": _count,
        "name": _text,
        "message": _text,
        "hint": _maybe_text,
    },
)
_intent = _value(
    Intent,
    {
        "kind": _text,
        "generation": _count,
        "at": _number,
        "fingerprint": _maybe_text,
        "pid": _count,
        "host": _text,
    },
)
_queued = _value(
    Queued,
    {
        "value": _secret,
        "fingerprint": _text,
        "token_type_hint": _text,
        "since": _number,
        "expires_at": _maybe(_number),
        "attempts": _count,
        "reason": _text,
    },
)
_queue = _value(Queue, {"key": _grant_key, "profile": _text, "items": _many(_queued)})
_PARSERS = {GRANT: _grant, TOKEN: _slot, INTENT: _intent, OUTCOME: _failure, QUEUE: _queue}


def render(value: Value) -> bytes:
    """Render a value as JSON. Security: secrets are in the clear here, to be sealed at once."""
    return jsonlite.dumps(_plain(value)).encode()


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Value):
        return {name: _plain(item) for name, item in value.as_dict().items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def parse(kind: int, data: bytes) -> Any:  # noqa: ANN401 - the kind says which value
    """Parse an opened entry into its value; the bytes themselves for a blob; or DamagedError."""
    parser = _PARSERS.get(kind)
    if parser is None:
        return data
    try:
        return parser(jsonlite.loads(data))
    except _WRONG:
        raise _not_readable(kind) from None


def parse_current(data: bytes) -> Token | None:
    """Parse a slot's current token alone, for the warm road; or raise DamagedError."""
    try:
        found = jsonlite.loads(data)["current"]
        return None if found is None else _token(found)
    except _WRONG:
        raise _not_readable(TOKEN) from None


def _not_readable(kind: int) -> DamagedError:
    return DamagedError(f"a {KIND_NAMES[kind]} entry holds what this brokerctl can't read")
