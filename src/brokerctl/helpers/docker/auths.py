"""Passwords in plain text in docker's and podman's files: read, and cut out again. Pure text.

An entry counts as a credential only if the tool would get it back from us: it is stored under the
place to which the tool's own request for that registry leads (`helpers.docker.offer`).
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from brokerctl.config.hosts import is_loopback
from brokerctl.helpers.custody import place_of, url_of
from brokerctl.helpers.docker import HUB, HUB_NAMES, IDENTITY, OWN_KEYS, offer
from brokerctl.helpers.docker.setup import asked_names
from brokerctl.helpers.edit.json_text import (
    add_members,
    cut_members,
    find_members,
    find_value,
    put_members,
    take_members,
    value_names,
)
from brokerctl.helpers.git.credential_lines import PlainCredential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.helpers.edit.json_text import Member
    from brokerctl.store.values import ToolCredential

_SECTION, _HELPERS, _STORE = "auths", "credHelpers", "credsStore"
_OURS = "brokerctl"
ANY_NAME = "*"
_HUB_ALIAS = "registry-1.docker.io"  # podman asks for it by Hub's name
_FIELDS = frozenset(("auth", "identitytoken"))
_CONTROL = frozenset("\n\r\0")
_MAX_CHARS = 65536  # of a user or a secret: more than any has, less than an entry may hold


def read_auths(data: bytes) -> list[PlainCredential]:
    """Read the entries of `auths`; ValueError if the file is not JSON.

    Positions are counted in characters of the decoded text.
    """
    text = _decoded(data)
    members = find_members(text, _SECTION)
    times = Counter(_server(one.key).lower() for one in members if not one.key.endswith(OWN_KEYS))
    other = _read_others(text)
    found = []
    for one in members:
        left = _left(one, text, times[_server(one.key).lower()], is_other=other(one.key))
        found.append(left if left.why else _read_entry(one, left))
    return found


def hand_over(data: bytes, found: list[PlainCredential]) -> bytes:
    """Return the file without these entries, and with brokerctl as the helper of their hosts.

    Everything else stays byte for byte.
    """
    unasked, data = find_unasked(data, found), cut_auths(data, found)
    if not unasked:
        return data
    text = _decoded(data)
    names = [*value_names(text, _HELPERS, _OURS), *unasked]
    return _encoded(put_members(text, _HELPERS, names, _OURS))


def cut_auths(data: bytes, found: list[PlainCredential]) -> bytes:
    """Return the file without these entries; all else stays byte for byte."""
    return _encoded(cut_members(_decoded(data), _SECTION, {one.start for one in found}))


def put_auths(
    data: bytes, kept: list[ToolCredential], hosts: Iterable[str]
) -> tuple[bytes, dict[int, str]]:
    """Return the file with these in plain text, and why some are left out, by index in `kept`.

    The file no longer names brokerctl as the helper of these registries: for a registry that has a
    helper the tools do not read the entry. The registries of `hosts` are profiles': their helper
    stays.
    """
    filling = _Filling(data, hosts)
    why = {at: reason for at, one in enumerate(kept) if (reason := filling.add(one))}
    return filling.render(), why


class _Filling:
    """A file into which entries are put: its content, its helpers, and the new entries so far."""

    def __init__(self, data: bytes, hosts: Iterable[str]) -> None:
        self._text, self._asked = _decoded(data), read_asked(data)
        has_any = bool(self._text.strip())
        members = find_members(self._text, _SECTION) if has_any else []
        self._there = {_place(one.key): one for one in members}
        self._is_other = _read_others(self._text) if has_any else lambda _: False
        self._profiles = {name for host in hosts for name in asked_names(host)} & self._asked
        self._values: dict[str, str] = {}
        self._gone: set[str] = set()

    def add(self, one: ToolCredential) -> str:
        """Put one in and return "", or return why it can't be put in."""
        key = _key_of(one)
        if key is None:
            return "docker has no name for its place"
        found = self._there.get(_place(key))
        reason = self._why_not(key, one) or _why_not_in(one, found)
        if not reason:
            self._gone |= self._asked.intersection(asked_names(url_of(one)))
            if found is None:
                self._values[key] = _rendered(one)
        return reason

    def _why_not(self, key: str, one: ToolCredential) -> str:
        if self._profiles.intersection(asked_names(url_of(one))):
            return "a profile has its host, and the tool asks brokerctl for that"
        if ANY_NAME in self._asked or self._is_other(key):
            return "another helper is asked for its host, and not this file"
        if key in self._values:
            return "a newer one goes there, and the file has one for a host"
        return ""

    def render(self) -> bytes:
        """Return the file, which no longer names brokerctl for the registries that were put in."""
        text, left = add_members(self._text, _SECTION, self._values), self._asked - self._gone
        if self._gone:
            bare = take_members(text, _HELPERS, _OURS)
            text = text if bare is None else bare
            if left:
                text = put_members(text, _HELPERS, left, _OURS)
        return _encoded(text)


def _place(key: str) -> str:
    """Return the form of a key that is equal for all keys that docker takes for the same."""
    return key if key.endswith(OWN_KEYS) else _server(key).lower()


def _key_of(one: ToolCredential) -> str | None:
    """Return docker's key for a place; None if it has none."""
    url = url_of(one)
    if url.endswith(OWN_KEYS):
        return url
    names = asked_names(url)
    if not names or (one.protocol == "http" and not is_loopback(one.host)):
        return None
    return names[0]


def _why_not_in(one: ToolCredential, found: Member | None) -> str:
    """Return why a credential can't be put in (`found`: the entry of its host); "" if it can."""
    if one.expires_at is not None or one.refresh_token is not None:
        return "it has an end, for which the file has no place"
    if found is None:
        return ""
    try:
        is_same = _read_credential(found.value) == (one.username, one.secret.reveal())
    except ValueError:
        is_same = False
    return "" if is_same else "another password stands there"


def _rendered(one: ToolCredential) -> str:
    """Return an entry as docker writes it."""
    secret = one.secret.reveal()
    if one.username == IDENTITY:
        return json.dumps({"identitytoken": secret})
    auth = base64.b64encode(f"{one.username}:{secret}".encode()).decode()
    return json.dumps({"auth": auth})


def is_also_in(other: bytes, data: bytes, found: list[PlainCredential]) -> bool:
    """Return whether a secret of these entries also stands in another file."""
    entries = {one.start: one.value for one in find_members(_decoded(data), _SECTION)}
    values = (value for one in found for value in _filled(entries[one.start]).values())
    return any(value.encode("utf-8", "surrogateescape") in other for value in values)


def find_unasked(data: bytes, found: Iterable[PlainCredential]) -> list[str]:
    """Return the registries of these entries for which the file does not name brokerctl."""
    asked = value_names(_decoded(data), _HELPERS, _OURS)
    keys = [one.wanted.form or "" for one in found if one.wanted]
    return [name for key in keys for name in _names(key) if name not in asked]


def read_asked(data: bytes) -> set[str]:
    """Return the registries for which a file names brokerctl; ANY_NAME means all others."""
    text = _decoded(data)
    names = set(value_names(text, _HELPERS, _OURS)) if text.strip() else set()
    return names | ({ANY_NAME} if text.strip() and find_value(text, _STORE) == _OURS else set())


def _read_others(text: str) -> Callable[[str], bool]:
    """Return a test whether the tool asks another helper for a registry, and reads no `auths`.

    The tools compare these names exactly; the helper for all others is read by docker alone.
    """
    store = find_value(text, _STORE)
    helpers = {one.key: one.value for one in find_members(text, _HELPERS)}
    usual = store or _OURS
    return lambda key: any(helpers.get(name, usual) != _OURS for name in _names(key))


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _left(one: Member, text: str, times: int, *, is_other: bool) -> PlainCredential:
    """Return an entry with the reason why it is left in the file; "" if it can be moved."""
    why = ""
    if not _is_plain(one.key):
        why = "it is not a plain host"
    elif times > 1:  # in two spellings or with a path: but a helper has one answer
        why = "its host is in the file more than once"
    elif is_other:
        why = "another helper is asked for its host, and not this file"
    elif _has_twice(text[one.value_start : one.end]):
        why = "a field is in it twice"
    return PlainCredential(one.start, one.end, _shown(one.key), why=why)


def _has_twice(text: str) -> bool:
    """Return whether a name stands twice in an object, in any case: which counts is not defined."""
    names: list[str] = []
    json.loads(text, object_pairs_hook=lambda pairs: names.extend(name for name, _ in pairs))
    return len({name.lower() for name in names}) < len(names)


def _read_entry(one: Member, left: PlainCredential) -> PlainCredential:
    try:
        username, secret = _read_credential(one.value)
    except ValueError as error:
        return left._replace(why=str(error))
    wanted = offer(one.key, username, secret)
    if wanted.reply is not None:
        return left._replace(why="it is nothing to keep")
    return left._replace(shown=f"{username} at {left.shown}", wanted=wanted)


def _is_plain(key: str) -> bool:
    """Return whether the tool's request for this host, without a scheme, leads to its entry."""
    if not all("!" <= char <= "~" for char in key) or _server(key) == _HUB_ALIAS:
        return False
    whole, bare = (offer(address, "-", "-") for address in (key, _server(key)))
    if whole.reply is not None or bare.reply is not None:
        return False
    is_same = (whole.url, whole.otherwise) == (bare.url, bare.otherwise)
    return is_same and place_of(whole) is not None


def _read_credential(entry: Any) -> tuple[str, str]:  # noqa: ANN401 - JSON has any type
    """Return a user and a secret; ValueError with the reason if there are none.

    Next to an identity token docker writes the user's name and no password. It gives a helper the
    token alone, with the user `<token>`.
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
    """Return the fields of an entry; ValueError if it has none, or one that we can't give back."""
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
    """Return an entry's key without what may be a password."""
    _, at, host = key.rpartition("@")
    return f"****@{host}" if at else key


def _server(key: str) -> str:
    """Return an entry's host and port, the same for each of Hub's names."""
    host = (key.partition("://")[2] or key).partition("/")[0]
    return HUB_NAMES[1] if host in HUB_NAMES else host


def _names(key: str) -> tuple[str, ...]:
    """Return the names by which docker and podman look for a helper of an entry's host."""
    server = _server(key)
    return (HUB, HUB_NAMES[0]) if server == HUB_NAMES[1] else (server,)
