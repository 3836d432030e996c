"""Which paths go on to an upstream: those that everybody on the way reads as the same one.

Refused is what could leave the profile's prefix, or is one path to us (and the policy) and another
to the server behind: dot segments in every spelling, empty segments, controls, backslashes, and
escapes of escapes. `%2F` goes on, since GitLab and npm need it in names, but not beside dots.
"""

from __future__ import annotations

from brokerctl.session.serve.http import RequestError

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HEX = frozenset("0123456789abcdefABCDEF")
_ESCAPE_CHARS = 3
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F
_DOTS = frozenset((".", ".."))
_AGAIN = ("%2e", "%2f", "%5c", "%00")  # what would be left of `%252e` and its like


def upstream_path(rest: str) -> tuple[str, str | None]:
    """Return path and query of what follows the profile in a target; RequestError (400).

    The path is "" or begins with a slash. Escapes of characters that need none are resolved and
    the others in capitals (RFC 3986, section 6.2.2), so that a rule sees what a server sees.
    """
    path, mark, query = rest.partition("?")
    if "#" in rest:
        raise RequestError(400, "a target has no fragment")
    if path:
        path = _checked(path)
    return path, query if mark else None


def _checked(path: str) -> str:
    decoded = _decoded(path)
    if any(char < _FIRST_PRINTABLE or char == _DELETE for char in decoded) or b"\\" in decoded:
        raise RequestError(400, "the path has a character that servers read in two ways")
    text = decoded.decode("latin-1")
    if any(again in text.lower() for again in _AGAIN):
        raise RequestError(400, "the path has an escape within an escape")
    segments = text.split("/")[1:]
    if any(segment.partition(";")[0] in _DOTS for segment in segments):
        raise RequestError(400, "the path has a segment of dots")
    if "" in segments[:-1]:
        raise RequestError(400, "the path has an empty segment")
    return _normal(path)


def _decoded(path: str) -> bytes:
    """Return the path with every escape resolved once; RequestError for a broken one."""
    first, *others = path.split("%")
    pieces = [first.encode("ascii")]
    for other in others:
        if len(other) < _ESCAPE_CHARS - 1 or not _HEX.issuperset(other[:2]):
            raise RequestError(400, "the path has a broken escape")
        pieces += [bytes([int(other[:2], 16)]), other[2:].encode("ascii")]
    return b"".join(pieces)


def _normal(path: str) -> str:
    first, *others = path.split("%")
    pieces = [first]
    for other in others:
        byte = int(other[:2], 16)
        pieces += [chr(byte) if byte in _UNRESERVED else f"%{other[:2].upper()}", other[2:]]
    return "".join(pieces)
