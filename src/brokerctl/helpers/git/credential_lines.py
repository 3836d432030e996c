"""Credentials in plain text in git's and netrc's files: read, and cut out again. Pure bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from brokerctl.helpers import STORE, CredentialRequest
from brokerctl.helpers.custody import place_of, url_of
from brokerctl.helpers.git import is_scheme, place_url
from brokerctl.secret import Secret

if TYPE_CHECKING:
    from brokerctl.store.values import ToolCredential

_SCHEMES = ("https", "http")
_MORE_THAN_A_HOST = frozenset("/?#@")
_CONTROL = frozenset("\n\r\0")
_NETRC_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
_MACRO_END = re.compile(rb"\n[ \t]*\n")
_ESCAPE = re.compile("%[0-9A-F]{2}")
_REST_OF_LINE = re.compile(rb"[ \t\r]*\n?")


class PlainCredential(NamedTuple):
    """One credential in a file: its position, and the request to keep it, or why it stays."""

    start: int
    end: int
    shown: str  # for people, without the password
    wanted: CredentialRequest | None = None
    why: str = ""


def read_git_credentials(data: bytes) -> list[PlainCredential]:
    """Read the lines of git-credential-store(1); other lines are returned with a reason."""
    found, start = [], 0
    for line in re.split(rb"(?<=\n)", data):
        end = start + len(line)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if text:
            found.append(_read_url(text, start, end))
        start = end
    return found


def _read_url(line: bytes, start: int, end: int) -> PlainCredential:
    left = PlainCredential(start, end, "a line", why="it is not a URL with a user and a password")
    try:
        scheme, mark, rest = line.decode().partition("://")
        stop = re.search(r"[/?#]|$", rest)
        authority = rest[: stop.start() if stop else None]
        user, at, host = authority.partition("@")
        name, colon, password = user.partition(":")
        if not (mark and at and colon):
            return left
        name, password, host = (unquote(one, errors="strict") for one in (name, password, host))
        path = rest[len(authority) :]
        # Git's own store writes a slash before the path: a second one belongs to the path.
        path = path.strip("/") if scheme in _SCHEMES else path.removeprefix("/").rstrip("/")
        path = unquote(path, errors="strict")
    except UnicodeDecodeError:
        return left
    return _found(start, end, scheme, name, password, host, path)


def _found(
    start: int, end: int, scheme: str, name: str, password: str, host: str, path: str
) -> PlainCredential:
    if any(not _CONTROL.isdisjoint(part) for part in (name, password, host, path)):
        return PlainCredential(start, end, "a line", why="it holds the end of a line")
    url = place_url(scheme, host, path)
    shown = url.replace("://", f"://{quote(name)}@", 1)
    is_web = scheme in _SCHEMES
    if not (is_web or is_scheme(scheme)) or not _MORE_THAN_A_HOST.isdisjoint(host):
        return PlainCredential(start, end, shown, why="it is not spelled in the plain way")
    if not host and (is_web or not path):
        return PlainCredential(start, end, shown, why="it is of no host")
    secret = Secret(password)
    wanted = CredentialRequest(
        action=STORE, url=url, username=name, offered=secret, is_foreign=not is_web
    )
    return PlainCredential(start, end, shown, wanted)


def read_netrc(data: bytes) -> list[PlainCredential]:
    """Read the machines of a .netrc, each with its user and password, as https hosts."""
    macros: list[int] = []
    words = _netrc_words(data, macros)
    starts = [at for at, (word, _, _) in enumerate(words) if word in {b"machine", b"default"}]
    found = []
    for first, last in zip(starts, [*starts[1:], len(words)], strict=False):  # none: one end more
        entry = words[first:last]
        rest = _REST_OF_LINE.match(data, entry[-1][2])
        end = rest.end() if rest else entry[-1][2]
        one = _read_machine([word for word, _, _ in entry], entry[0][1], end)
        after = words[last][1] if last < len(words) else len(data)
        if any(one.start < at < after for at in macros):  # the one before would get the macro
            one = one._replace(wanted=None, why="a macro belongs to it")
        found.append(one)
    return found


def _netrc_words(data: bytes, macros: list[int]) -> list[tuple[bytes, int, int]]:
    """Return words and positions without comments and macros; where those begin is in `macros`."""
    words, at = [], 0
    while match := _NETRC_WORD.search(data, at):
        at = match.end()
        word = match[2] if match[1] is None else re.sub(rb"\\(.)", rb"\1", match[1])
        if match[2] is not None and word.startswith(b"#") and _begins_a_line(data, match.start()):
            at = (data.find(b"\n", at) + 1) or len(data)
        elif word == b"macdef":
            macros.append(match.start())
            stop = _MACRO_END.search(data, at)
            at = stop.end() if stop else len(data)
        else:
            words.append((word, match.start(), at))
    return words


def _begins_a_line(data: bytes, at: int) -> bool:
    return not data[data.rfind(b"\n", 0, at) + 1 : at].strip()


def _read_machine(words: list[bytes], start: int, end: int) -> PlainCredential:
    try:
        texts = [word.decode() for word in words]
    except UnicodeDecodeError:
        return PlainCredential(start, end, "a machine", why="it is not UTF-8")
    if texts[0] == "default":
        return PlainCredential(start, end, "default", why="it is for any host")
    host = "".join(texts[1:2])
    keys, values = texts[2::2], texts[3::2]
    fields = dict(zip(keys, values, strict=False))
    if len(keys) != len(values) or len(fields) != len(keys):
        return PlainCredential(start, end, f"machine {host}", why="its words are not pairs")
    if not {"login", "password"} <= fields.keys() or fields.keys() - {"login", "password"}:
        return PlainCredential(
            start, end, f"machine {host}", why="it is not a login and a password alone"
        )
    return _found(start, end, "https", fields["login"], fields["password"], host, "")


def cut_out(data: bytes, found: list[PlainCredential]) -> bytes:
    """Return a file without these credentials."""
    for one in sorted(found, reverse=True):
        data = data[: one.start] + data[one.end :]
    return data


def put_lines(data: bytes, kept: list[ToolCredential]) -> tuple[bytes, dict[int, str]]:
    """Return the file of git's own store with these, and why some are left out, by their index.

    They go to the top, those without a path first: git takes the first line that matches, and a
    request without a path matches lines with any path.
    """
    there = [one.wanted for one in read_git_credentials(data) if one.wanted]
    lines: dict[int, str] = {}
    why: dict[int, str] = {}
    for at, one in enumerate(kept):
        reason, is_there = _why_not_in(one, there)
        if reason:
            why[at] = reason
        elif not is_there:
            lines[at] = _line(one)
    ordered = sorted(lines, key=lambda at: (bool(kept[at].path), at))
    return "".join(lines[at] for at in ordered).encode() + data, why


def _why_not_in(one: ToolCredential, there: list[CredentialRequest]) -> tuple[str, bool]:
    """Return why a credential can't be in the file, and whether it is in it already."""
    if one.expires_at is not None or one.refresh_token is not None:
        return "it has an end or a refresh token, for which git's file has no place", False
    path = one.path.removeprefix("/")
    if path != path.strip("/"):
        return "git's own store does not find a path that begins or ends with a slash", False
    for wanted in there:
        place = place_of(wanted)
        if place is None or wanted.username != one.username:
            continue
        if (place.scheme, place.host, place.port) == (one.protocol, one.host, one.port) and (
            place.path == one.path
        ):
            is_same = wanted.offered == one.secret
            return "" if is_same else "another password stands there", is_same
    return "", False


def _line(one: ToolCredential) -> str:
    """Return a credential as git's own store writes it (git-credential-store(1))."""
    host = url_of(one).partition("://")[2].partition("/")[0]
    parts = (quote(part, safe="") for part in (one.username, one.secret.reveal(), host))
    line = "{}://{}:{}@{}{}\n".format(one.protocol, *parts, one.path)
    return _ESCAPE.sub(lambda found: found[0].lower(), line)
