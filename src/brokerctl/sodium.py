"""libsodium through PyNaCl: the two primitives that everything at rest is composed of, and SHA-256.

XChaCha20-Poly1305 (IETF construction, 24-byte random nonces) seals; keyed BLAKE2b-256 names,
chains and fingerprints. Both are libsodium's, called through PyNaCl's compiled module, because
PyNaCl's public path imports what the warm road can't afford. The public path is the fallback, and
a contract test holds both to the same answers. No cryptography is written here.
"""

from __future__ import annotations

from brokerctl.platform.system import os

try:
    from nacl._sodium import ffi as _ffi
    from nacl._sodium import lib as _lib
except ImportError:  # pragma: no cover - another layout of PyNaCl: its public path, below
    _lib = None

KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16
HASH_BYTES = 32
_PERSON = b"brokerctl/1"


class OpenError(ValueError):
    """Authentication failed: another key, altered bytes, or other associated data."""


def random_bytes(count: int) -> bytes:
    """Return bytes of the kernel's random generator."""
    return os.urandom(count)


def _ready() -> None:
    if _lib is not None and _lib.sodium_init() < 0:  # pragma: no cover - no entropy source at all
        raise OSError("libsodium could not be started")


_ready()


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt and authenticate; the answer is 16 bytes longer than the plaintext."""
    _check(key, nonce)
    if _lib is None:  # pragma: no cover - as above
        from nacl import bindings  # noqa: PLC0415 - the public path, only where the fast one is missing

        return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            plaintext, associated, nonce, key
        )
    out = _ffi.new("unsigned char[]", len(plaintext) + TAG_BYTES)
    length = _ffi.new("unsigned long long *")
    if _lib.crypto_aead_xchacha20poly1305_ietf_encrypt(
        out, length, plaintext, len(plaintext), associated, len(associated), _ffi.NULL, nonce, key
    ):  # pragma: no cover - libsodium has no failing case here
        raise OSError("libsodium could not seal")
    return bytes(_ffi.buffer(out, length[0]))


def open_sealed(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Decrypt what `seal` made, or raise OpenError."""
    _check(key, nonce)
    if len(ciphertext) < TAG_BYTES:
        raise OpenError("cut short")
    if _lib is None:  # pragma: no cover - as above
        return _open_public(key, nonce, ciphertext, associated)
    out = _ffi.new("unsigned char[]", max(1, len(ciphertext) - TAG_BYTES))
    length = _ffi.new("unsigned long long *")
    if _lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
        out, length, _ffi.NULL, ciphertext, len(ciphertext), associated, len(associated), nonce, key
    ):
        raise OpenError("wrong key or altered")
    return bytes(_ffi.buffer(out, length[0]))


def _open_public(
    key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes
) -> bytes:  # pragma: no cover - as above
    from nacl import bindings, exceptions  # noqa: PLC0415 - as above

    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, associated, nonce, key
        )
    except exceptions.CryptoError:
        raise OpenError("wrong key or altered") from None


def keyed_hash(key: bytes, data: bytes) -> bytes:
    """Return keyed BLAKE2b-256 with our personalisation (RFC 7693, section 2.9)."""
    if len(key) != KEY_BYTES:
        raise ValueError("a hash key has 32 bytes")
    if _lib is None:  # pragma: no cover - as above
        from hashlib import blake2b  # noqa: PLC0415 - as above

        return blake2b(data, digest_size=HASH_BYTES, key=key, person=_PERSON).digest()
    out = _ffi.new("unsigned char[]", HASH_BYTES)
    if _lib.crypto_generichash_blake2b_salt_personal(
        out, HASH_BYTES, data, len(data), key, KEY_BYTES, bytes(16), _PERSON.ljust(16, b"\0")
    ):  # pragma: no cover - libsodium fails on wrong lengths alone
        raise OSError("libsodium could not hash")
    return bytes(_ffi.buffer(out, HASH_BYTES))


def sha256(data: bytes) -> bytes:
    """Return SHA-256, which others have tools for: a digest that people compare with their own."""
    if _lib is None:  # pragma: no cover - as above
        from hashlib import sha256 as public  # noqa: PLC0415 - as above

        return public(data).digest()
    out = _ffi.new("unsigned char[]", HASH_BYTES)
    if _lib.crypto_hash_sha256(out, data, len(data)):  # pragma: no cover - it can't fail
        raise OSError("libsodium could not hash")
    return bytes(_ffi.buffer(out, HASH_BYTES))


def _check(key: bytes, nonce: bytes) -> None:
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("a key has 32 bytes and a nonce 24")
