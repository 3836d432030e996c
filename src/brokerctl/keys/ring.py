"""The key ring: every key that seals, names, chains or fingerprints, in one sealed file.

What wraps the ring is 32 bytes that a keeper of this room keeps. Seal and log keys carry an id, so
that older ones stay for reading when newer ones are in use; the name key and the fingerprint key
never change, because names on disk and fingerprints in the log are made with them. The file is
`BKRK | version u8 | id of the wrapping key 16 | nonce 24 | ciphertext`; everything before the
ciphertext and the file's name are associated data.
"""

from __future__ import annotations

from brokerctl import jsonlite, sodium
from brokerctl.errors import DamagedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "ring"
WRAP_ID_BYTES = 16
MAX_BYTES = 256 * 1024
MAGIC = b"BKRK"
# Of the whole store: the first write of a new format raises it, and an older program stops here.
VERSION, FIRST_VERSION = 2, 1
_HEADER_BYTES = len(MAGIC) + 1 + WRAP_ID_BYTES
ASSOCIATED_NAME = b"keys/ring"
KINDS = ("seal", "name", "log", "fingerprint")
SINGLE = ("name", "fingerprint")
_MAX_ID = 2**32 - 1
_HEX_CHARS = 2 * sodium.KEY_BYTES
_FINGERPRINT_BYTES = 16
_CHARS = 43  # of a wrapping key as text
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_READABLE = (FIRST_VERSION, VERSION)
_SPARE_BITS = 6 * _CHARS - 8 * sodium.KEY_BYTES


class KeyRing:
    """The keys in use and the older ones for reading; printing it shows ids alone.

    `version` is the file's; `unknown` has the members of a later version, which are written back.
    """

    __slots__ = ("_current", "_keys", "unknown", "version")

    def __init__(
        self,
        current: dict[str, int],
        keys: dict[str, dict[int, bytes]],
        version: int = VERSION,
        unknown: dict[str, Any] | None = None,
    ) -> None:
        self._current = current
        self._keys = keys
        self.version = version
        self.unknown = unknown or {}

    @property
    def seal_id(self) -> int:
        """The id of the key that seals new entries."""
        return self._current["seal"]

    @property
    def log_id(self) -> int:
        """The id of the key that chains new records."""
        return self._current["log"]

    @property
    def seal_ids(self) -> tuple[int, ...]:
        """Every seal key that the ring holds, oldest first."""
        return tuple(sorted(self._keys["seal"]))

    @property
    def log_ids(self) -> tuple[int, ...]:
        """Every log key that the ring holds, oldest first."""
        return tuple(sorted(self._keys["log"]))

    @property
    def name_key(self) -> bytes:
        """The key of the keyed hashes that name entries."""
        return self._keys["name"][self._current["name"]]

    def seal_key(self, key_id: int) -> bytes:
        """Return the seal key of this id; DamagedError if the ring has none."""
        return self._key("seal", key_id)

    def log_key(self, key_id: int) -> bytes:
        """Return the log key of this id; DamagedError if the ring has none."""
        return self._key("log", key_id)

    def fingerprint(self, value: str) -> str:
        """Return a token's keyed fingerprint: 32 hex characters, the same in every record."""
        key = self._keys["fingerprint"][self._current["fingerprint"]]
        return sodium.keyed_hash(key, value.encode())[:_FINGERPRINT_BYTES].hex()

    def _key(self, kind: str, key_id: int) -> bytes:
        key = self._keys[kind].get(key_id)
        if key is None:
            raise DamagedError(f"the key ring has no {kind} key {key_id}")
        return key

    def changed(
        self,
        current: dict[str, int] | None = None,
        keys: dict[str, dict[int, bytes]] | None = None,
        version: int | None = None,
    ) -> KeyRing:
        """Return a ring with these parts in place of its own; what it does not know stays."""
        return KeyRing(
            current or self._current, keys or self._keys, version or self.version, self.unknown
        )

    def parts(self) -> tuple[dict[str, int], dict[str, dict[int, bytes]]]:
        """Return copies of the ids in use and of all keys. Security: these are the keys."""
        return dict(self._current), {kind: dict(keys) for kind, keys in self._keys.items()}

    def __eq__(self, other: object) -> bool:
        from brokerctl.secret import same_bytes  # type: ignore[attr-defined]  # noqa: PLC0415 - from C

        if not isinstance(other, KeyRing):
            return NotImplemented
        return same_bytes(render_ring(self), render_ring(other))

    __hash__ = None  # type: ignore[assignment]  # nothing looks rings up

    def __repr__(self) -> str:
        return f"KeyRing(seal {self.seal_ids}, log {self.log_ids})"


def render_ring(ring: KeyRing) -> bytes:
    """Render the ring as JSON. Security: these are the keys in the clear, to be sealed at once."""
    current, keys = ring.parts()
    kinds = {
        kind: {
            "current": current[kind],
            "keys": {str(key_id): key.hex() for key_id, key in sorted(keys[kind].items())},
        }
        for kind in KINDS
    }
    return jsonlite.dumps({**ring.unknown, "version": ring.version, **kinds}).encode()


def parse_ring(data: bytes) -> KeyRing:
    """Parse what `render_ring` made, or raise DamagedError."""
    try:
        found = jsonlite.loads(data)
        return _ring(found)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DamagedError("the key ring is not what it should be") from None


def _ring(found: dict[str, Any]) -> KeyRing:
    version, known = found["version"], {"version", *KINDS}
    unknown = {name: value for name, value in found.items() if name not in known}
    if (
        type(version) is not int
        or version not in _READABLE
        or (unknown and version == FIRST_VERSION)
    ):
        raise ValueError("not a ring of this version")
    keys = {kind: _parse_keys(kind, found[kind]) for kind in KINDS}
    current = {kind: found[kind]["current"] for kind in KINDS}
    if any(type(current[kind]) is not int or current[kind] not in keys[kind] for kind in KINDS):
        raise ValueError("a current key is missing")
    return KeyRing(current, keys, version, unknown)


def _parse_keys(kind: str, found: dict[str, Any]) -> dict[int, bytes]:
    keys = {}
    for text, value in found["keys"].items():
        key_id = int(text)
        if str(key_id) != text or not 0 < key_id <= _MAX_ID or not _is_hex(value):
            raise ValueError("not a key")
        keys[key_id] = bytes.fromhex(value)
    if set(found) != {"current", "keys"} or (kind in SINGLE and len(keys) != 1):
        raise ValueError("not a key table")
    return keys


def _is_hex(value: str) -> bool:
    return len(value) == _HEX_CHARS and value.isalnum()  # `fromhex` would skip blanks


def ring_wrap_id(data: bytes) -> str:
    """Return the id of the wrapping key that a ring file names; not yet verified."""
    if len(data) < _HEADER_BYTES + sodium.NONCE_BYTES or data[: len(MAGIC)] != MAGIC:
        raise DamagedError("keys/ring is not a key ring", hint="put keys/ back from a backup")
    version = data[len(MAGIC)]
    if version not in _READABLE:
        raise DamagedError(
            f"keys/ring has format {version} and this brokerctl reads {VERSION}",
            hint="use the version of brokerctl that wrote it",
        )
    return data[len(MAGIC) + 1 : _HEADER_BYTES].hex()


def open_sealed_ring(data: bytes, wrapping_key: bytes) -> KeyRing:
    """Open what `seal_ring` made; DamagedError under another key or if a bit was changed."""
    ring_wrap_id(data)
    end = _HEADER_BYTES + sodium.NONCE_BYTES
    head, nonce = data[:end], data[_HEADER_BYTES:end]
    try:
        plain = sodium.open_sealed(wrapping_key, nonce, data[end:], head + ASSOCIATED_NAME)
    except sodium.OpenError:
        raise DamagedError("keys/ring does not open: another key or altered") from None
    ring = parse_ring(plain)
    if ring.version != data[len(MAGIC)]:
        raise DamagedError("keys/ring says two versions of itself")
    return ring


def parse_key(text: str) -> bytes:
    """Parse a wrapping key: base64url of 32 bytes, padded or not, one spelling (RFC 4648, 5).

    The ValueError shows nothing of the text.
    """
    if len(text) == _CHARS + 1 and text[-1] == "=":
        text = text[:-1]
    if len(text) != _CHARS or text.strip(_ALPHABET):
        raise ValueError(f"not base64url of {sodium.KEY_BYTES} bytes")
    number = 0
    for char in text:  # `binascii` would cost the warm road a thirtieth of a start
        number = number << 6 | _ALPHABET.index(char)
    if number % (1 << _SPARE_BITS):  # the last character carries two bits that must be zero
        raise ValueError(f"not base64url of {sodium.KEY_BYTES} bytes")
    return (number >> _SPARE_BITS).to_bytes(sodium.KEY_BYTES, "big")
