"""One sealed entry: `BKR2 | kind u8 | key id u32 | nonce 24 | ciphertext`.

`BKR1` is the same with fewer fields; it is read for ever and written no more. A reader keeps the
members that it does not know, so a field needs no new format; a higher one is refused by its name.

Security: everything before the ciphertext and the entry's name are associated data, so that an
entry can't be read as another kind, under another name, or as of another key or format.
"""

from __future__ import annotations

from brokerctl import sodium
from brokerctl.errors import DamagedError, StoreError, UsageError
from brokerctl.sodium import keyed_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from brokerctl.model import GrantKey, TokenKey

    class SealKeys(Protocol):
        """What the envelope needs of a key ring."""

        @property
        def seal_id(self) -> int:
            """The id of the key that seals new entries."""

        def seal_key(self, key_id: int, /) -> bytes:
            """Return the key of this id, or raise DamagedError."""


GRANT, TOKEN, INTENT, PLAN, SECRET, METADATA, OUTCOME, SESSION, QUEUE, KEPT, JOB = range(1, 12)
LEASE, QUESTION = 12, 13
KIND_NAMES = {
    GRANT: "grant",
    TOKEN: "token",
    INTENT: "intent",
    PLAN: "plan",
    SECRET: "secret",
    METADATA: "metadata",
    OUTCOME: "outcome",
    SESSION: "session",
    QUEUE: "queue",
    KEPT: "kept",
    JOB: "job",
    LEASE: "lease",
    QUESTION: "question",
}

MAGIC, FIRST = b"BKR2", b"BKR1"
_FAMILY = MAGIC[:3]
_KIND_AT = len(MAGIC)
_KEY_AT = _KIND_AT + 1
_NONCE_AT = _KEY_AT + 4
HEADER_BYTES = _NONCE_AT + sodium.NONCE_BYTES
_VERSION = b"11:brokerctl/1,"
_NAME_CHARS = 64
_HEX = frozenset("0123456789abcdef")


class FirstFormat(bytes):
    """What a `BKR1` entry held: nobody has ever written a member into one that we don't know."""

    __slots__ = ()


class NewerKeyError(StoreError):
    """Sealed by a key that our copy of the ring is too old to have: nothing is damaged."""


def seal(ring: SealKeys, kind: int, name: str, plaintext: bytes) -> bytes:
    """Seal one entry under the current key, bound to its kind and name."""
    nonce = sodium.random_bytes(sodium.NONCE_BYTES)
    key_id = ring.seal_id
    head = MAGIC + bytes((kind,)) + key_id.to_bytes(4, "big") + nonce
    return head + sodium.seal(ring.seal_key(key_id), nonce, plaintext, head + name.encode())


def open_entry(ring: SealKeys, kind: int, name: str, data: bytes) -> bytes:
    """Open what `seal` made of this kind and name, or raise DamagedError.

    StoreError, of which nothing is to be set aside: a format or a key newer than ours.
    """
    what = f"{KIND_NAMES.get(kind, 'entry')} {name}"
    _check_format(what, kind, data)
    head, nonce = data[:HEADER_BYTES], data[_NONCE_AT:HEADER_BYTES]
    key = _find_key(ring, what, entry_key_id(data))
    try:
        payload = sodium.open_sealed(key, nonce, data[HEADER_BYTES:], head + name.encode())
    except sodium.OpenError:
        raise DamagedError(f"{what} was altered, swapped or sealed by another key") from None
    return FirstFormat(payload) if is_first_format(data) else payload


def is_first_format(data: bytes) -> bool:
    """Return whether a sealed entry has the format before this one."""
    return data.startswith(FIRST)


def entry_key_id(data: bytes) -> int:
    """Return the id of the key that an entry names; not yet verified."""
    return int.from_bytes(data[_KEY_AT:_NONCE_AT], "big")


def _check_format(what: str, kind: int, data: bytes) -> None:
    magic = data[: len(MAGIC)]
    is_read = magic in {MAGIC, FIRST}
    if not is_read and magic[:-1] == _FAMILY and magic[-1:].isdigit():
        raise StoreError(
            f"{what} has format {magic.decode()} and this brokerctl reads {MAGIC.decode()}",
            hint="use the version of brokerctl that wrote it",
        )
    if not is_read and not _FAMILY.startswith(magic):
        raise DamagedError(f"{what} is not an entry")
    if len(data) < HEADER_BYTES + sodium.TAG_BYTES:
        raise DamagedError(f"{what} was cut short")
    if data[_KIND_AT] != kind:
        raise DamagedError(f"{what} is an entry of another kind")


def _find_key(ring: SealKeys, what: str, key_id: int) -> bytes:
    try:
        return ring.seal_key(key_id)
    except DamagedError:
        if key_id > ring.seal_id:
            raise NewerKeyError(
                f"{what} was sealed by key {key_id}, which this key ring does not have",
                hint="try again, or run 'brokerctl store check'",
            ) from None
        raise DamagedError(f"{what} was sealed by another key ({key_id})") from None


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
    """Hash in the contract's order; what a slot shares with its grant is taken from the grant.

    What older versions had no field for is appended where there is any. So is every member that
    this version does not know, by its name: a later one's entry has the same name here and there.
    """
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
            b"" if grant.source is None else netstring(grant.source),
            b"" if key.unknown is None else _netstrings_of(key.unknown),
        )
    )
    return keyed_hash(name_key, data).hex()


def _netstrings_of(members: str) -> bytes:
    """Return the netstrings of each member's name and of its value, as sorted JSON."""
    from brokerctl import jsonlite  # noqa: PLC0415 - no key of this version has any

    found = jsonlite.loads(members.encode())
    parts = ((name, jsonlite.dumps(found[name], sort=True)) for name in sorted(found))
    return b"".join(netstring(part) for pair in parts for part in pair)


def is_name(text: str) -> bool:
    """Return whether a text is the name of an entry: a keyed hash in hex."""
    return len(text) == _NAME_CHARS and _HEX.issuperset(text)
