"""A slot's current token from its payload: all that a warm hand-out parses of the store."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import DamagedError
from brokerctl.model import StoredValue, Token, Value
from brokerctl.secret import Secret
from brokerctl.store.entry import KIND_NAMES, TOKEN, FirstFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parse = Callable[[Any], Any]

WRONG = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
UNKNOWN_FIELD = "unknown"  # the field that keeps what this version does not know


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

    Security: what a later version keeps may be secret; the members of a key are not. Of these an
    empty one is none, so that a key in which a later version has not filled it is the same key.
    """
    if issubclass(cls, StoredValue):
        return {UNKNOWN_FIELD: Secret(jsonlite.dumps_unread(unknown))}
    filled = {name: item for name, item in unknown.items() if item is not None and item != []}
    return {UNKNOWN_FIELD: jsonlite.dumps_unread(filled)} if filled else {}


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
