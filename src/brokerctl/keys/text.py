"""A wrapping key as text: base64url of 32 bytes, one spelling only (RFC 4648, section 5)."""

from __future__ import annotations

from brokerctl.sodium import KEY_BYTES, random_bytes

_CHARS = 43
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SPARE_BITS = 6 * _CHARS - 8 * KEY_BYTES


def render_key(key: bytes) -> str:
    """Render a key as 43 characters, without padding."""
    from base64 import urlsafe_b64encode  # noqa: PLC0415 - a warm hand-out reads keys alone

    return urlsafe_b64encode(key).decode().rstrip("=")


def parse_key(text: str) -> bytes:
    """Parse `render_key`'s form, padded or not; the ValueError shows nothing of the text."""
    if len(text) == _CHARS + 1 and text[-1] == "=":
        text = text[:-1]
    if len(text) != _CHARS or text.strip(_ALPHABET):
        raise ValueError(f"not base64url of {KEY_BYTES} bytes")
    number = 0
    for char in text:  # `binascii` would cost the warm road a thirtieth of a start
        number = number << 6 | _ALPHABET.index(char)
    if number % (1 << _SPARE_BITS):  # the last character carries two bits that must be zero
        raise ValueError(f"not base64url of {KEY_BYTES} bytes")
    return (number >> _SPARE_BITS).to_bytes(KEY_BYTES, "big")


def new_key_text() -> str:
    """Make a new wrapping key as text: what `brokerctl store key` prints for BROKERCTL_KEY."""
    return render_key(random_bytes(KEY_BYTES))
