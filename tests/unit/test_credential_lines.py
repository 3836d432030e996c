"""Plain files of other tools: what is read as a credential, and that the rest stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.helpers.git.credential_lines import (
    PlainCredential,
    cut_out,
    read_git_credentials,
    read_netrc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

GIT = b"""\
https://alice:hunter2@git.example.com
# by hand

https://bob%40x:p%3Aw%2F@git.example.com:8443/team%20a/shop.git/
http://carol:x@10.0.0.1
https://nobody@git.example.com
ssh://dave:x@git.example.com
https://:empty@git.example.com
https://e:a%0Ab@git.example.com
https://f:x@git.example.com%2f.evil
https://g:%ff@git.example.com
"""
NETRC = b"""\
# machine commented login a password b
machine git.example.com login alice password hunter2
machine one.example
\tlogin "bob b"  # not a comment to curl
\tpassword "p\\"w"

machine two.example login carol account x password y
macdef init
machine macro.example login m password m

machine three.example login dave
default login e password f
machine four.example password z login frank
"""


def values(found: list[PlainCredential]) -> list[tuple[str | None, str | None, str]]:
    """Return URL, user and password of what can be kept."""
    return [
        (one.wanted.url, one.wanted.username, one.wanted.offered.reveal())
        for one in found
        if one.wanted and one.wanted.offered
    ]


MACRO = b"macdef init\nput secrets\n\n"


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (b"machine a login u password p\nmachine b login v password q\n" + MACRO, {"b"}),
        (b"machine a login u password p\n" + MACRO + b"machine b login v password q\n", {"a"}),
        (MACRO + b"machine a login u password p\n", set()),
        (b"machine a login u macdef x\nls\n\n password p\nmachine b login v password q", {"a"}),
        (b"machine a login u password p\ndefault login e password f\n" + MACRO, {"default"}),
    ],
)
def test_a_macro_stays_with_its_machine(data: bytes, left: set[str]) -> None:
    """Cut out, its machine would leave it to the one before, for which ftp would run it."""
    found = read_netrc(data)
    assert {one.shown.rpartition("@")[2] for one in found if one.why.startswith("a macro")} == left
    rest = cut_out(data, [one for one in found if one.wanted])
    assert b"macdef" in rest
    assert all(one.shown.rpartition("@")[2].encode() in rest for one in found if not one.wanted)


def test_git_credentials() -> None:
    """URLs with escaped parts, as git writes and reads them; the others are left with a reason."""
    found = read_git_credentials(GIT)
    assert values(found) == [
        ("https://git.example.com", "alice", "hunter2"),
        ("https://git.example.com:8443/team%20a/shop.git", "bob@x", "p:w/"),
        ("http://10.0.0.1", "carol", "x"),
        ("ssh://git.example.com", "dave", "x"),
        ("https://git.example.com", "", "empty"),
    ]
    assert [one.why != "" for one in found].count(True) == 5


def test_git_credentials_of_other_protocols() -> None:
    """As git's own store has them; a certificate's path keeps the slash that it was given with."""
    lines = b"""\
smtp://a%40b:p%20w@mail.example.com%3a25
cert://:pw@//home/a/c%20d.pem
cert://:pw@/c.pem
socks5h://u:pw@proxy_1%3a1080
"""
    assert values(read_git_credentials(lines)) == [
        ("smtp://mail.example.com:25", "a@b", "p w"),
        ("cert:////home/a/c%20d.pem", "", "pw"),
        ("cert:///c.pem", "", "pw"),
        ("socks5h://proxy_1:1080", "u", "pw"),
    ]
    for line in (b"smtp://u:pw@", b"sm+tp_://u:pw@h", b"HTTPS://u:pw@h", b"cert://u:pw@h%2fx"):
        assert not values(read_git_credentials(line)), line


def test_netrc() -> None:
    """Machines with a login and a password; quotes are curl's, comments and macros are none."""
    found = read_netrc(NETRC.replace(b"  # not a comment to curl", b""))
    assert values(found) == [
        ("https://git.example.com", "alice", "hunter2"),
        ("https://one.example", "bob b", 'p"w'),
        ("https://four.example", "frank", "z"),
    ]
    left = [one.shown for one in found if one.why]
    assert left == ["machine two.example", "machine three.example", "default"]


def test_what_follows_a_value_makes_it_doubtful() -> None:
    """Programs differ in what a comment is, so such a machine is left."""
    assert ("https://one.example", "bob b", 'p"w') not in values(read_netrc(NETRC))


@pytest.mark.parametrize(("read", "data"), [(read_git_credentials, GIT), (read_netrc, NETRC)])
def test_no_password_is_shown(read: Callable[[bytes], list[PlainCredential]], data: bytes) -> None:
    """Security: neither of what is kept nor of what is left."""
    for one in read(data):
        for secret in ("hunter2", "p:w", "p%3Aw", "empty", 'p"w'):
            assert secret not in one.shown + one.why
            assert secret not in repr(one)


def test_the_rest_stays_byte_for_byte() -> None:
    """Comments, empty lines, other lines, and the end of the last one."""
    moving = [one for one in read_git_credentials(GIT) if one.wanted]
    rest = cut_out(GIT, moving)
    assert rest.splitlines()[:2] == [b"# by hand", b""]
    assert b"hunter2" not in rest
    assert rest.count(b"\n") == GIT.count(b"\n") - len(moving)
    moving = [one for one in read_netrc(NETRC) if one.wanted]
    rest = cut_out(NETRC, moving)
    assert b"hunter2" not in rest
    assert rest.startswith(b"# machine commented login a password b\nmachine one.example\n")
    assert b"machine macro.example login m password m\n" in rest
    assert cut_out(b"https://a:b@c.example", read_git_credentials(b"https://a:b@c.example")) == b""


@given(
    st.binary() | st.text(alphabet='machine login password"\\#\n https://a:b@c%0').map(str.encode)
)
def test_any_bytes(data: bytes) -> None:
    """Whatever is in a file: no error, no overlap, nothing outside of it."""
    for read in (read_git_credentials, read_netrc):
        found, at = read(data), 0
        for one in found:
            assert at <= one.start < one.end <= len(data)
            at = one.end
        assert len(cut_out(data, found)) == len(data) - sum(one.end - one.start for one in found)
