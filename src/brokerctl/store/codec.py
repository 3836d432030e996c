"""A slot's current token from its payload: all that a warm hand-out parses of the store."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import DamagedError
from brokerctl.model import (
    Failure,
    Grant,
    GrantKey,
    Intent,
    Queued,
    Slot,
    Stored,
    Token,
    TokenKey,
    Value,
)
from brokerctl.secret import Secret
from brokerctl.store import Queue, ToolCredential
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    KEPT,
    KIND_NAMES,
    OUTCOME,
    QUEUE,
    TOKEN,
    FirstFormat,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parse = Callable[[Any], Any]

WRONG = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_UNKNOWN = "unknown"  # the field that keeps what this version does not know


def as_text(found: object) -> str:
    """Return a text, or raise TypeError for anything else."""
    if type(found) is not str:
        raise TypeError("not a text")
    return found


def as_number(found: object) -> float:
    """Return a number, or raise TypeError for anything else, a truth value too."""
    if type(found) not in {int, float}:
        raise TypeError("not a number")
    return found  # type: ignore[return-value]  # int or float, as just checked


def as_count(found: object) -> int:
    """Return a whole number that is not negative, or raise TypeError."""
    if type(found) is not int or found < 0:
        raise TypeError("not a count")
    return found


def as_flag(found: object) -> bool:
    """Return a truth value, or raise TypeError for anything else."""
    if type(found) is not bool:
        raise TypeError("not a flag")
    return found


def as_secret(found: object) -> Secret:
    """Return a text as a secret."""
    return Secret(as_text(found))


def maybe(parse: Parse) -> Parse:
    """Make a parser that lets null through."""
    return lambda found: None if found is None else parse(found)


def many(parse: Parse) -> Parse:
    """Make a parser of lists, as tuples."""

    def parse_many(found: object) -> tuple[Any, ...]:
        if type(found) is not list:
            raise TypeError("not a list")
        return tuple(map(parse, found))

    return parse_many


def value_of(cls: type[Value], fields: dict[str, Parse]) -> Parse:
    """Make a parser of objects, as values; a member that is unknown is kept beside the others."""

    def parse_value(found: object) -> Value:
        if type(found) is not dict:
            raise TypeError("not an object")
        if found.keys() <= fields.keys():
            return cls(**{name: fields[name](item) for name, item in found.items()})
        known = {name: fields[name](item) for name, item in found.items() if name in fields}
        return cls(
            **known, **_keep_unknown(cls, {name: found[name] for name in found.keys() - fields})
        )

    return parse_value


def _keep_unknown(cls: type[Value], unknown: dict[str, Any]) -> dict[str, Any]:
    """Return the field that keeps these members, as JSON.

    Security: what a later version keeps may be secret; the members of a key are not.
    """
    jsonlite.dumps([[[[unknown]]]])  # RecursionError: so deep that it could not be written back
    text = jsonlite.dumps(unknown, sort=True)
    return {_UNKNOWN: Secret(text) if issubclass(cls, Stored) else text}


def _has_unknown(value: object) -> bool:
    """Return whether a value, or one in it, has members that this version does not know."""
    if isinstance(value, tuple):
        return any(map(_has_unknown, value))
    if not isinstance(value, Value):
        return False
    fields = value.as_dict()
    return fields.get(_UNKNOWN) is not None or any(map(_has_unknown, fields.values()))


maybe_text, texts = maybe(as_text), many(as_text)
as_token = value_of(
    Token,
    {
        "value": as_secret,
        "fingerprint": as_text,
        "token_type": as_text,
        "scopes": texts,
        "issued_at": as_number,
        "expires_at": maybe(as_number),
        "generation": as_count,
        "status": as_text,
        "session": maybe_text,
        "is_assumed": as_flag,
        "size": maybe(as_count),
        **dict.fromkeys(("issued_type", "act", "details", "claims"), maybe_text),
    },
)


def parse_current(data: bytes) -> Token | None:
    """Parse a slot's current token alone, for the warm road; or raise DamagedError."""
    try:
        found = jsonlite.loads(data)["current"]
        token: Token | None = None if found is None else as_token(found)
    except WRONG:
        raise not_readable(TOKEN) from None
    if token is not None and token.unknown is not None and type(data) is FirstFormat:
        raise not_readable(TOKEN)
    return token


def not_readable(kind: int) -> DamagedError:
    """Make the error of an entry that opens and holds something else."""
    return DamagedError(f"a {KIND_NAMES[kind]} entry holds what this brokerctl can't read")


_narrowing: dict[str, Parse] = {
    "actor": maybe_text,
    "scopes": texts,
    "resource": texts,
    "audience": texts,
    "details": maybe_text,
    "extra": maybe_text,
    "thumbprint": maybe_text,
}
_grant_key = value_of(
    GrantKey,
    {
        **_narrowing,
        "issuer": as_text,
        "client_id": as_text,
        "subject": maybe_text,
        "job": maybe_text,
        "source": maybe_text,
    },
)
_slot = value_of(
    Slot,
    {
        "key": value_of(TokenKey, {**_narrowing, "grant": _grant_key}),
        "profile": as_text,
        "current": maybe(as_token),
        "superseded": many(as_token),
    },
)
_grant = value_of(
    Grant,
    {
        "key": _grant_key,
        "profile": as_text,
        "flow": as_text,
        "generation": as_count,
        "obtained_at": as_number,
        "refresh_token": maybe(as_secret),
        "scopes": texts,
        "sub": maybe_text,
        "owner": maybe_text,
        "dead_why": maybe_text,
        "dead_at": maybe(as_number),
        "issued": maybe(_slot),
        "ends_at": maybe(as_number),
        "authenticated_at": maybe(as_number),
        "acr": maybe_text,
        **dict.fromkeys(("id_token", "dpop_key", "registration"), maybe(as_secret)),
    },
)
_failure = value_of(
    Failure,
    {
        "attempt": as_count,
        "serial": as_count,
        "at": as_number,
        "retry_at": as_number,
        "exit_code": as_count,
        "name": as_text,
        "message": as_text,
        "hint": maybe_text,
    },
)
_intent = value_of(
    Intent,
    {
        "kind": as_text,
        "generation": as_count,
        "at": as_number,
        "fingerprint": maybe_text,
        "pid": as_count,
        "host": as_text,
        "key": maybe(_grant_key),
        "profile": as_text,
    },
)
_queued = value_of(
    Queued,
    {
        "value": as_secret,
        "fingerprint": as_text,
        "token_type_hint": as_text,
        "since": as_number,
        "expires_at": maybe(as_number),
        "attempts": as_count,
        "reason": as_text,
        "size": maybe(as_count),
    },
)
_queue = value_of(Queue, {"key": _grant_key, "profile": as_text, "items": many(_queued)})
_kept = value_of(
    ToolCredential,
    {
        **dict.fromkeys(("tool", "protocol", "host", "path", "username"), as_text),
        "port": as_count,
        "secret": as_secret,
        "kept_at": as_number,
        "expires_at": maybe(as_number),
        "refresh_token": maybe(as_secret),
        "ends_at": maybe(as_number),
    },
)
_PARSERS = {
    GRANT: _grant,
    TOKEN: _slot,
    INTENT: _intent,
    OUTCOME: _failure,
    QUEUE: _queue,
    KEPT: _kept,
}


def render(value: Value) -> bytes:
    """Render a value as JSON. Security: secrets are in the clear here, to be sealed at once."""
    return jsonlite.dumps(_plain(value)).encode()


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Value):
        fields = value.as_dict()
        unknown = fields.pop(_UNKNOWN, None)
        members = {name: _plain(item) for name, item in fields.items()}
        if unknown is not None:
            text = unknown.reveal() if isinstance(unknown, Secret) else unknown
            members |= jsonlite.loads(text.encode())
        return members
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def parse(kind: int, data: bytes) -> Any:  # noqa: ANN401 - the kind says which value
    """Parse an opened entry into its value; the bytes themselves for a blob; or DamagedError."""
    parser = _PARSERS.get(kind)
    if parser is None:
        return data
    try:
        value = parser(jsonlite.loads(data))
    except WRONG:
        raise not_readable(kind) from None
    if type(data) is FirstFormat and _has_unknown(value):
        raise not_readable(kind)
    return value
