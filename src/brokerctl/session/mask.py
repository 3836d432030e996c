"""Replaces tokens in a child's output by stars, in each encoding in which they are looked for.

Base64 (RFC 4648, sections 4 and 5) has three alignments, by the number of bytes before the token,
and only the inner characters do not depend on the bytes around it. A token that is compressed,
encrypted, reversed or wrapped over lines can't be recognized.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

_LEAST_CHARS = 6  # of an encoded form: a shorter one would match ordinary text
_GROUP = 3  # bytes that make four characters
_BEFORE = (0, 2, 3)  # first characters that depend on 0, 1 or 2 bytes before
_AFTER = (0, 1, 2)  # last characters that don't depend on bytes after, by bytes in the group
STARS = b"****"
_START_BYTES = 8  # of an unfinished form are searched first, then all is compared
SHOWN_BYTES = 3  # of a possible form are shown when no output follows


def forms_of(value: str) -> tuple[bytes, ...]:
    """Return every form of a secret that is masked, the longest first."""
    raw = value.encode("utf-8", "surrogateescape")
    found = {raw.hex().encode(), raw.hex().upper().encode(), *_escaped(value)}
    for encode in (b64encode, urlsafe_b64encode):
        found.update(_inner(encode(bytes(before) + raw), before, len(raw)) for before in range(3))
    kept = {form for form in found if len(form) >= _LEAST_CHARS} | {raw}
    return tuple(sorted((form for form in kept if form), key=lambda form: (-len(form), form)))


def _inner(encoded: bytes, before: int, length: int) -> bytes:
    """Return the characters that do not depend on the bytes before and after."""
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


class Forms:
    """The forms that are looked for, and what is computed of them once; it never changes."""

    __slots__ = ("beginnings", "longest", "starts", "whole")

    def __init__(self, forms: tuple[bytes, ...]) -> None:
        self.whole = forms
        self.longest = max(map(len, forms), default=0)
        self.starts = tuple({form[:_START_BYTES] for form in forms})
        # The beginnings of forms that are shorter than _START_BYTES, by their length.
        self.beginnings = tuple(
            frozenset(form[:size] for form in forms if len(form) > size)
            for size in range(1, _START_BYTES)
        )


class Masker:
    """Masks one stream: `feed` takes what was read, `rest` is for its end."""

    def __init__(self, forms: tuple[bytes, ...], *, keeps_length: bool = False) -> None:
        """`keeps_length`: as many stars as bytes, where a length was named before."""
        self._forms = Forms(forms)
        self._keeps_length = keeps_length
        self._held = b""  # held back: may be the beginning of a form
        self._shown = 0  # bytes of it that were shown already

    def replace(self, forms: Forms) -> None:
        """Look for these from the next `feed` on; another thread may call it at any moment."""
        self._forms = forms

    @property
    def is_holding(self) -> bool:
        """Return whether `settle` could show something."""
        return self._shown < min(len(self._held), SHOWN_BYTES)

    def feed(self, data: bytes) -> bytes:
        """Return what may be shown now."""
        if self._held:
            data = self._held + data
        found, keep = self._find(data)
        out, done = self._replaced(data, found, keep)
        self._shown = max(0, done - keep)
        self._held = data[keep:]
        return out

    def settle(self) -> bytes:
        """Return the few bytes that may be shown though a form may begin with them."""
        if self._find(self._held)[0]:
            return b""  # it is a whole secret, a very short one
        out = self._held[self._shown : SHOWN_BYTES]
        self._shown += len(out)
        return out

    def rest(self) -> bytes:
        """Return what was held back, at the end of the stream: no form can follow."""
        out, _ = self._replaced(self._held, self._find(self._held)[0], len(self._held))
        self._held, self._shown = b"", 0
        return out

    def _find(self, data: bytes) -> tuple[list[tuple[int, int]], int]:
        """Return where forms are, and where the first unfinished one at the end begins.

        That may lie within a form that was found: a form can begin with the end of another.
        """
        found, forms = [], self._forms
        for form in forms.whole:  # by the whole form: `find` is quicker for long strings
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + 1)
        return _merged(found) if found else found, _unfinished(forms, data)

    def _replaced(self, data: bytes, found: list[tuple[int, int]], keep: int) -> tuple[bytes, int]:
        """Return the data up to `keep` with stars for what was found, and where the rest begins.

        Bytes that were shown before are left out.
        """
        at = self._shown
        if not found:
            return data[at:keep], max(at, keep)
        pieces = []
        for start, end in found:
            if start >= keep:
                break  # held back: it may be the inside of a longer form
            if end > at:
                stars = b"*" * (end - max(at, start)) if self._keeps_length else STARS
                pieces += [data[at:start], stars]
                at = end
        pieces.append(data[at:keep])
        return b"".join(pieces), max(at, keep)


def _unfinished(forms: Forms, data: bytes) -> int:
    first = size = len(data)
    tail = max(0, size - forms.longest + 1)
    for start in forms.starts:
        at = data.find(start, tail)
        while 0 <= at < first:
            if _may_go_on(forms, data[at:]):
                first = at
            at = data.find(start, at + 1)
    return min(first, size - _short_beginning(forms, data))  # whichever begins first


def _may_go_on(forms: Forms, end: bytes) -> bool:
    return any(len(form) > len(end) and form.startswith(end) for form in forms.whole)


def _short_beginning(forms: Forms, data: bytes) -> int:
    """Return how many of the last bytes are the beginning of a form."""
    for length in range(min(len(forms.beginnings), len(data)), 0, -1):
        if data[-length:] in forms.beginnings[length - 1]:
            return length
    return 0


def _merged(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges in order, with those that touch merged."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
