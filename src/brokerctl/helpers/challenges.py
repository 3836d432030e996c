"""What a server's `WWW-Authenticate` offers, read as RFC 9110 writes it (section 11.6.1)."""

from __future__ import annotations

_SPACE = " \t"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_TOKEN = _LETTERS.union("!#$%&'*+-.^_`|~")  # RFC 9110, section 5.6.2
_TOKEN68 = _LETTERS.union("-._~+/")  # and `=` behind it (11.2)


def find_schemes(header: str) -> list[str]:
    """Return the schemes of a `WWW-Authenticate` field, in lower case (RFC 9110, section 11.6.1).

    A challenge that is none by that grammar is left out: it is the server's, and not the request's.
    """
    found: list[str] = []
    for part in _split_list(header):
        name, equals, _ = part.partition("=")
        if equals and _is_token(name.rstrip(_SPACE)):
            if not _is_parameter(part) and found:
                found[-1] = ""  # of the challenge before it
            continue
        scheme, _, rest = part.partition(" ")
        rest = rest.strip(_SPACE)
        is_right = not rest or _is_parameter(rest) or _is_token(rest.rstrip("="), _TOKEN68)
        found.append(scheme.lower() if _is_token(scheme) and is_right else "")
    return [scheme for scheme in found if scheme]


def _split_list(header: str) -> list[str]:
    """Split at the commas that stand in no quoted string; empty elements are none (5.6.1)."""
    parts, begin, is_quoted, at = [], 0, False, 0
    while at < len(header):
        char = header[at]
        if is_quoted and char == "\\":
            at += 1
        elif char == '"':
            is_quoted = not is_quoted
        elif char == "," and not is_quoted:
            parts.append(header[begin:at])
            begin = at + 1
        at += 1
    return [part for one in (*parts, header[begin:]) if (part := one.strip(_SPACE))]


def _is_parameter(text: str) -> bool:
    """Say whether this is `name=token` or `name="quoted"`, with spaces round the sign (11.2)."""
    name, equals, value = text.partition("=")
    value = value.lstrip(_SPACE)
    if not equals or not _is_token(name.rstrip(_SPACE)):
        return False
    if value[:1] != '"':
        return _is_token(value)
    inner = value[1:-1].replace("\\\\", "").replace('\\"', "")
    return len(value) > 1 and value[-1] == '"' and '"' not in inner and inner[-1:] != "\\"


def _is_token(text: str, chars: frozenset[str] = _TOKEN) -> bool:
    return bool(text) and chars.issuperset(text)
