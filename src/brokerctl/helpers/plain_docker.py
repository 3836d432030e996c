"""Passwords in plain text in docker's and podman's files: read, and cut out again. Pure text.

Only what the tool would get back is a credential here: the store's place of an entry is the one
that the tool's own request for that registry leads to (`docker.offer`).
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from brokerctl.helpers import Wanted
from brokerctl.helpers.docker import HUB, HUB_NAMES, IDENTITY, offer
from brokerctl.helpers.jsontext import cut_members, find_members, put_members, value_names
from brokerctl.helpers.keeping import place_of
from brokerctl.helpers.plain import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.helpers.jsontext import Member

_SECTION, _HELPERS, _STORE = "auths", "credHelpers", "credsStore"
_OURS = "brokerctl"
_FIELDS = frozenset(("auth", "identitytoken"))
_CONTROL = frozenset("\n\r\0")
_MAX_CHARS = 65536  # of a user or a secret: far more than any has, and far less than an entry may


def read_auths(data: bytes) -> list[Found]:
    """Read the entries of `auths`; ValueError if the file is not JSON.

    Where one stands is counted in characters of `decode`'s text.
    """
    text = _decoded(data)
    members = find_members(text, _SECTION)
    times = Counter(_server(one.key) for one in members if _is_plain(one.key))
    find_helper = _read_helpers(text)
    return [_read_entry(one, times[_server(one.key)], find_helper(one.key)) for one in members]


def hand_over(data: bytes, found: list[Found]) -> bytes:
    """Return the file without these entries, and with brokerctl as the helper of their hosts.

    All else stays byte for byte.
    """
    unasked, data = find_unasked(data, found), cut_auths(data, found)
    if not unasked:
        return data
    text = _decoded(data)
    names = [*value_names(text, _HELPERS, _OURS), *unasked]
    return _encoded(put_members(text, _HELPERS, names, _OURS))


def cut_auths(data: bytes, found: list[Found]) -> bytes:
    """Return the file without these entries; all else stays byte for byte."""
    return _encoded(cut_members(_decoded(data), _SECTION, {one.start for one in found}))


def is_also_in(other: bytes, data: bytes, found: list[Found]) -> bool:
    """Say whether any of these entries of a file stands, spelled alike, in another file too."""
    text, sought = _decoded(data), _decoded(other)
    return any(text[one.start : one.end] in sought for one in found)


def find_unasked(data: bytes, found: Iterable[Found]) -> list[str]:
    """Return the registries among these for which nothing in the file says to ask brokerctl."""
    find_helper = _read_helpers(_decoded(data))
    keys = [one.wanted.form or "" for one in found if one.wanted]
    return [_name(key) for key in keys if find_helper(key) != _OURS]


def _read_helpers(text: str) -> Callable[[str], Any]:
    """Return what says which helper the tool asks for a registry, instead of reading `auths`."""
    store = json.loads(text).get(_STORE) or None
    helpers = {_server(one.key): one.value for one in find_members(text, _HELPERS)}
    return lambda key: helpers.get(_server(key), store) or None


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _read_entry(one: Member, times: int, helper: Any) -> Found:  # noqa: ANN401 - JSON has any type
    left = Found(one.start, one.end, _shown(one.key))
    if not _is_plain(one.key):
        return left._replace(why="it is not a plain host")
    if times > 1:  # in two spellings, or twice: which of them counts differs between the tools
        return left._replace(why="its host is in the file more than once")
    if helper is not None and helper != _OURS:
        return left._replace(why="another helper is asked for its host, and not this file")
    try:
        username, secret = _read_credential(one.value)
    except ValueError as error:
        return left._replace(why=str(error))
    wanted = offer(one.key, username, secret)
    if not isinstance(wanted, Wanted):
        return left._replace(why="it is nothing to keep")
    return left._replace(shown=f"{username} at {left.shown}", wanted=wanted)


def _is_plain(key: str) -> bool:
    """Say whether the tool's request for this host, which has no scheme, means the same place."""
    if not all("!" <= char <= "~" for char in key):
        return False
    whole, bare = (offer(address, "-", "-") for address in (key, _server(key)))
    if not isinstance(whole, Wanted) or not isinstance(bare, Wanted):
        return False
    is_same = (whole.url, whole.otherwise) == (bare.url, bare.otherwise)
    return is_same and place_of(whole) is not None


def _read_credential(entry: Any) -> tuple[str, str]:  # noqa: ANN401 - as above
    """Return a user and a secret; ValueError says why they are none.

    Beside an identity token docker writes the user's name and no password. To a helper it gives
    the token alone, as that of the user `<token>`.
    """
    fields = _filled(entry)
    username, password = _read_auth(fields["auth"]) if "auth" in fields else (IDENTITY, "")
    token = fields.get("identitytoken")
    if token is None:
        if not username or not password:
            raise ValueError("it is not a user and a password")
        if username == IDENTITY:
            raise ValueError("its user would make an identity token of it")
        return _checked(username), _checked(password)
    if password not in {"", token}:
        raise ValueError("it has a password and an identity token")
    return IDENTITY, _checked(token)


def _filled(entry: Any) -> dict[str, str]:  # noqa: ANN401 - as above
    """Return what an entry has that we know to give back; ValueError if it has more or nothing."""
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - of the text, no type
    fields = {key: value for key, value in entry.items() if value is not None and value != ""}
    if not fields:
        raise ValueError("it has no password")
    if "registrytoken" in fields:
        raise ValueError("it has a registry's own token")
    if fields.keys() - _FIELDS or not all(isinstance(value, str) for value in fields.values()):
        raise ValueError("it is not a password alone")
    return fields


def _read_auth(text: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        raise ValueError("its 'auth' is not base64 of a user and a password") from None
    return username, password


def _checked(text: str) -> str:
    if len(text) > _MAX_CHARS:
        raise ValueError("it is too long")
    if not _CONTROL.isdisjoint(text):
        raise ValueError("it holds the end of a line")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8") from None
    return text


def _shown(key: str) -> str:
    """Return an entry's key without what could be a password in it."""
    _, at, host = key.rpartition("@")
    return f"****@{host}" if at else key


def _server(key: str) -> str:
    """Return an entry's host and port; Hub has more than one name."""
    host = (key.partition("://")[2] or key).partition("/")[0]
    return HUB_NAMES[1] if host in HUB_NAMES else host


def _name(key: str) -> str:
    """Return the name by which the tool looks for a helper of an entry's host."""
    return key if key in {HUB, *HUB_NAMES} else _server(key)
