"""The payloads of entries: the model's values as JSON and back, every type checked.

A missing field takes its default, an unknown one is refused: a newer writer has another format.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.model import Failure, Grant, GrantKey, Intent, Queued, Slot, TokenKey, Value
from brokerctl.secret import Secret
from brokerctl.store.current import (
    WRONG,
    as_count,
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
from brokerctl.store.envelope import GRANT, INTENT, KEPT, OUTCOME, QUEUE, TOKEN
from brokerctl.store.values import Kept, Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.store.current import Parse


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
    },
)
_queue = value_of(Queue, {"key": _grant_key, "profile": as_text, "items": many(_queued)})
_kept = value_of(
    Kept,
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
    except WRONG:
        raise not_readable(kind) from None
