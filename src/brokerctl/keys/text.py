"""A wrapping key as text: base64url of 32 bytes, one spelling only (RFC 4648, section 5)."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from brokerctl.sodium import KEY_BYTES, random_bytes

_CHARS = 43
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = {ord("-"): "+", ord("_"): "/"}


def render_key(key: bytes) -> str:
    """Render a key as 43 characters, without padding."""
    return b2a_base64(key, newline=False).decode().translate({43: "-", 47: "_", 61: None})


def parse_key(text: str) -> bytes:
    """Parse `render_key`'s form, padded or not; the ValueError shows nothing of the text."""
    if len(text) == _CHARS + 1 and text[-1] == "=":
        text = text[:-1]
    if len(text) != _CHARS or text.strip(_ALPHABET):
        raise ValueError(f"not base64url of {KEY_BYTES} bytes")
    try:
        key = a2b_base64(text.translate(_TO_STANDARD) + "=", strict_mode=True)
    except ValueError:
        raise ValueError(f"not base64url of {KEY_BYTES} bytes") from None
    if render_key(key) != text:  # the last character carries two bits that must be zero
        raise ValueError(f"not base64url of {KEY_BYTES} bytes")
    return key


def new_key_text() -> str:
    """Make a new wrapping key as text: what `brokerctl store key` prints for BROKERCTL_KEY."""
    return render_key(random_bytes(KEY_BYTES))
