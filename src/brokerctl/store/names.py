"""Names of entries: keyed BLAKE2b-256 over netstrings of every input that changes the entry.

Nobody without the name key learns from a folder who logs in where. A netstring says how long it
is, so no two lists of inputs have the same bytes; absent is `-`, empty is `0:,`, and a list is one
netstring of its items' netstrings.
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.sodium import keyed_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import GrantKey, TokenKey

_VERSION = b"11:brokerctl/1,"
_NAME_CHARS = 64
_HEX = frozenset("0123456789abcdef")


def netstring(part: str | bytes | None) -> bytes:
    """Return `LENGTH:BYTES,`, or `-` for what is absent; UsageError for what is not text."""
    if part is None:
        return b"-"
    if isinstance(part, str):
        try:
            part = part.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{part!a} is not text") from None
    return b"%d:%b," % (len(part), part)


def netstring_list(parts: tuple[str, ...]) -> bytes:
    """Return one netstring of the sorted, unique items' netstrings."""
    return netstring(b"".join(map(netstring, sorted(set(parts)))))


def grant_name(name_key: bytes, key: GrantKey) -> str:
    """Return the name of a grant's entry, lock and folder: 64 hex characters."""
    return _hash(name_key, b"grant", key, key)


def token_name(name_key: bytes, key: TokenKey) -> str:
    """Return the name of a slot in its grant's folder: 64 hex characters."""
    return _hash(name_key, b"token", key.grant, key)


def plain_name(name_key: bytes, kind: str, *parts: str | bytes | None) -> str:
    """Return the name of a plan, secret, metadata or session entry: 64 hex characters."""
    return keyed_hash(name_key, _VERSION + b"".join(map(netstring, (kind, *parts)))).hex()


def _hash(name_key: bytes, kind: bytes, grant: GrantKey, key: GrantKey | TokenKey) -> str:
    """Hash in the contract's order; what a slot shares with its grant is taken from the grant."""
    data = _VERSION + b"".join(
        (
            netstring(kind),
            netstring(grant.issuer),
            netstring(grant.client_id),
            netstring(grant.subject),
            netstring(key.actor),
            netstring(grant.job),
            netstring_list(key.scopes),
            netstring_list(key.resource),
            netstring_list(key.audience),
            netstring(key.details),
            netstring(key.extra),
            netstring(key.thumbprint),
        )
    )
    return keyed_hash(name_key, data).hex()


def is_name(text: str) -> bool:
    """Say whether a text is the name of an entry: a keyed hash in hex."""
    return len(text) == _NAME_CHARS and _HEX.issuperset(text)
