"""How a token looks where a program prints it other than as it is: the encodings that are masked.

Base64 (RFC 4648, sections 4 and 5) has three alignments, as the bytes before the token shift it,
and only its inner characters are the same whatever stands around them. What is compressed,
encrypted, reversed or broken over lines looks like nothing that can be known in advance.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

_LEAST_CHARS = 6  # of an encoded form: shorter ones would star out ordinary text
_GROUP = 3  # bytes that make four characters
_BEFORE = (0, 2, 3)  # characters that also depend on 0, 1 or 2 bytes before
_AFTER = (0, 1, 2)  # characters that depend on nothing after, of a last group of 0, 1 or 2 bytes


def forms_of(value: str) -> tuple[bytes, ...]:
    """Return every form of a secret that is masked, the longest first."""
    raw = value.encode("utf-8", "surrogateescape")
    found = {raw.hex().encode(), raw.hex().upper().encode(), *_escaped(value)}
    for encode in (b64encode, urlsafe_b64encode):
        found.update(_inner(encode(bytes(before) + raw), before, len(raw)) for before in range(3))
    kept = {form for form in found if len(form) >= _LEAST_CHARS} | {raw}
    return tuple(sorted((form for form in kept if form), key=lambda form: (-len(form), form)))


def _inner(encoded: bytes, before: int, length: int) -> bytes:
    """Return the characters that the bytes before and after have no part in."""
    whole, rest = divmod(before + length, _GROUP)
    return encoded[_BEFORE[before] : 4 * whole + _AFTER[rest]]


def _escaped(value: str) -> set[bytes]:
    """Return the token in a URL (RFC 3986, section 2.1) and in a JSON string (RFC 8259, 7)."""
    found = set()
    for safe in ("", "/", "/+=:@"):
        text = quote(value, safe=safe, errors="surrogateescape")
        found |= {text, _lower_hex(text)}
    json = value.replace("\\", "\\\\").replace('"', '\\"')
    found |= {json, json.replace("/", "\\/")}
    return {text.encode("utf-8", "surrogateescape") for text in found}


def _lower_hex(text: str) -> str:
    """Return the same with `%2f` for `%2F`."""
    first, *rest = text.split("%")
    return "%".join([first, *(piece[:2].lower() + piece[2:] for piece in rest)])
