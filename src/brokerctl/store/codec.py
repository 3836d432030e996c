"""Entries from their payloads and back: each kind's fields, and what a later version adds to them.

The one thing that a warm hand-out reads, a slot's current token, is in `token_codec`.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.model import GrantKey, TokenKey, Value
from brokerctl.secret import Secret
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    KEPT,
    LEASE,
    OUTCOME,
    QUESTION,
    QUEUE,
    TOKEN,
    FirstFormat,
)
from brokerctl.store.token_codec import (
    UNKNOWN_FIELD,
    WRONG,
    as_count,
    as_flag,
    as_number,
    as_secret,
    as_text,
    as_token,
    many,
    maybe,
    maybe_text,
    not_readable,
    texts,
    value_of,
)
from brokerctl.store.values import (
    ApprovalQuestion,
    Failure,
    Grant,
    Intent,
    Lease,
    LimitCount,
    Moment,
    Queue,
    Queued,
    Slot,
    ToolCredential,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.store.token_codec import Parse

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
_grant_members = value_of(
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
        "issued": maybe(_slot),
        "ends_at": maybe(as_number),
        "authenticated_at": maybe(as_number),
        "acr": maybe_text,
        **dict.fromkeys(("id_token", "dpop_key", "registration"), maybe(as_secret)),
    },
)


def _grant(found: object) -> Any:  # noqa: ANN401 - a parser, as those made by `value_of`
    """Parse a grant; `dead_at` was a member that nobody read, and older versions wrote it."""
    if isinstance(found, dict) and "dead_at" in found:
        found = {name: item for name, item in found.items() if name != "dead_at"}
    return _grant_members(found)


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
        "with_token": maybe_text,
        **dict.fromkeys(("with_grant", "is_exchanged"), as_flag),
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
_count = value_of(
    LimitCount,
    {
        **dict.fromkeys(("rule", "layer"), as_text),
        **dict.fromkeys(("uses", "most", "per_s"), maybe(as_count)),
        "used": as_count,
        "recent": many(value_of(Moment, {"at": as_number, "count": as_count})),
    },
)
_lease = value_of(
    Lease,
    {
        **dict.fromkeys(("id", "profile", "question", "about"), as_text),
        **dict.fromkeys(("given_at", "ends_at"), as_number),
        "counts": many(_count),
        "session": maybe_text,
    },
)
_question = value_of(
    ApprovalQuestion,
    {
        **dict.fromkeys(("id", "profile", "about", "by", "why"), as_text),
        **dict.fromkeys(("asked_at", "ends_at"), as_number),
        **dict.fromkeys(("answer", "lease", "lease_name", "session_lease_name"), maybe_text),
        "counts": many(_count),
    },
)
_PARSERS = {
    GRANT: _grant,
    TOKEN: _slot,
    INTENT: _intent,
    OUTCOME: _failure,
    QUEUE: _queue,
    KEPT: _kept,
    LEASE: _lease,
    QUESTION: _question,
}


def _has_unknown(value: object) -> bool:
    """Return whether a value, or one in it, has members that this version does not know."""
    if isinstance(value, tuple):
        return any(map(_has_unknown, value))
    if not isinstance(value, Value):
        return False
    fields = value.as_dict()
    return fields.get(UNKNOWN_FIELD) is not None or any(map(_has_unknown, fields.values()))


def render(value: Value) -> bytes:
    """Render a value as JSON. Security: secrets are in the clear here, to be sealed at once."""
    return jsonlite.dumps(_plain(value)).encode()


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Value):
        fields = value.as_dict()
        unknown = fields.pop(UNKNOWN_FIELD, None)
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
