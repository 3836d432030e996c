"""URLs as git compares them with the sections of its configuration (its urlmatch.c)."""

from __future__ import annotations

from brokerctl.model import Value

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_SCHEME, _HOST = _PLAIN | {"+", "."}, _PLAIN | frozenset("._[:]*")
_PORTS = {"http": "80", "https": "443"}
_UNSAFE = frozenset(' <>"%{}|\\^`')
_RESERVED = frozenset(":/?#[]@!$&'()*+,;=")


class UrlPattern(Value):
    """A URL as git compares it (urlmatch.c)."""

    scheme: str
    user: str | None
    host: str
    port: str
    path: str  # with query and fragment


def normalize(url: str) -> UrlPattern | None:
    """Return a URL in git's normal form, whose host may hold `*`; None if it is not a URL."""
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme[:1].isalpha() or not _SCHEME.issuperset(scheme):
        return None
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority, rest = rest[:end], rest[end:]
    user, at_sign, place = authority.partition("@") if "@" in authority else ("", "", authority)
    host, port = place, ""
    if place.rpartition(":")[1] and not place.rpartition(":")[2].endswith("]"):
        host, _, port = place.rpartition(":")
    port = port.lstrip("0") or ("0" if port else "")
    if port == _PORTS.get(scheme.lower()):
        port = ""
    path = _normal_path(rest)
    name = _escaped(user.partition(":")[0]) if at_sign else None
    if not host or path is None or (at_sign and name is None) or not _is_port(port):
        return None
    if not _HOST.issuperset(host):
        return None
    return UrlPattern(scheme=scheme.lower(), user=name, host=host.lower(), port=port, path=path)


def _is_port(port: str) -> bool:
    return not port or (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16)


def _escaped(text: str) -> str | None:
    """Return a part of a URL, escaped as git does it; None if an escape is malformed."""
    data, found, at = text.encode("utf-8", "surrogateescape"), "", 0
    while at < len(data):
        byte, was_escaped = data[at], data[at : at + 1] == b"%"
        if was_escaped:
            try:
                byte = int(data[at + 1 : at + 3].decode("ascii"), 16)
            except ValueError:
                return None
            if at + 3 > len(data):
                return None
        char = chr(byte)
        must = not " " < char < "\x7f" or char in _UNSAFE or (was_escaped and char in _RESERVED)
        found += f"%{byte:02X}" if must else char
        at += 3 if was_escaped else 1
    return found


def _normal_path(rest: str) -> str | None:
    """Return the path without `.` and `..`, and the rest; None if it leaves the root."""
    end = min((at for at in map(rest.find, "?#") if at >= 0), default=len(rest))
    kept: list[str] = []
    for text in rest[:end].removeprefix("/").split("/"):
        segment = _escaped(text)
        if segment is None or (segment == ".." and not kept):
            return None
        if segment == "..":
            kept.pop()
        if segment not in {".", ".."}:
            kept.append(segment)
    tail = _escaped(rest[end:])
    return None if tail is None else "/" + "/".join(kept) + tail


def rank_of(url: UrlPattern, pattern: UrlPattern) -> tuple[int, int, bool] | None:
    """Return how well a section's URL matches: by host, then path, then user; None if not."""
    if (url.scheme, url.port) != (pattern.scheme, pattern.port):
        return None
    if pattern.user is not None and pattern.user != url.user:
        return None
    names, wanted = url.host.split("."), pattern.host.split(".")
    if len(names) != len(wanted):
        return None
    if any(two not in {"*", one} for one, two in zip(names, wanted, strict=True)):
        return None
    prefix = pattern.path.removesuffix("/")
    if url.path != prefix and not url.path.startswith(f"{prefix}/"):
        return None
    return len(pattern.host), len(prefix) + 1, pattern.user is not None
