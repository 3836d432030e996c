"""Where a token may go: the spellings of URLs, and which profile a URL belongs to."""

from __future__ import annotations

import pytest

from brokerctl.config.hosts import (
    covers,
    find_profile,
    find_profiles,
    is_loopback,
    match_profile,
    parse_issuer,
    parse_pattern,
    parse_url,
)
from brokerctl.errors import UsageError
from brokerctl.model import Profile

EVIL = [
    "https://github.com\t.evil.com/",
    "https://github.com\n.evil.com/",
    " https://github.com",
    "https://github.com ",
    "https:/github.com",
    "https:github.com",
    "//github.com",
    "github.com",
    "ssh://github.com",
    "file:///etc/passwd",
    "javascript://github.com",
    "https://",
    "https:///path",
    "https://user@github.com",
    "https://user:pass@github.com",
    "https://github.com@evil.com",
    "https://github.com%40evil.com",
    "https://github.com\\@evil.com",
    "https://github.com\\.evil.com",
    "https://git%68ub.com",
    "https://github.com.",
    "https://github..com",
    "https://.github.com",
    "https://-github.com",
    "https://github-.com",
    "https://git~hub.com",
    "https://a_.1",
    "https://_.0x1",
    "https://*.github.com",
    "https://\uff47ithub.com",
    "https://github\u3002com",
    "https://github.com\u00ad",
    "https://fa\u00df.de",
    "https://github.com:",
    "https://github.com:0",
    "https://github.com:0443",
    "https://github.com:65536",
    "https://github.com:+443",
    "https://github.com:4 43",
    "https://github.com:\u0664\u0664\u0663",
    "https://github.com:443:443",
    "https://127.1",
    "https://127.0.0.01",
    "https://0177.0.0.1",
    "https://2130706433",
    "https://0x7f.0.0.1",
    "https://0x7f000001",
    "https://127.0.0.0x1",
    "https://1.2.3.256",
    "https://1.2.3.4.5",
    "https://a.1",
    "https://[::1",
    "https://::1]",
    "https://[0:0:0:0:0:0:0:1]",
    "https://[::0001]",
    "https://[fe80::1%25eth0]",
    "https://[::1]x",
    "https://[::1]:",
    "https://[::ffff:7f00:1]",
    "https://[v1.x]",
    "https://[]",
    "http://github.com",
    "http://localhost.evil.com",
    "http://a.localhost",
    "http://128.0.0.1",
    "http://[::2]",
    "http://[::ffff:127.0.0.1]",
    "https://" + "a" * 64 + ".com",
    "https://" + "a." * 130 + "com",
]


@pytest.mark.parametrize("text", EVIL)
def test_an_evil_spelling_is_refused(text: str) -> None:
    """What isn't spelled in the plain way is not a URL for a token."""
    with pytest.raises(UsageError):
        parse_url(text)
    if "*" not in text:
        with pytest.raises(UsageError):
            parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://GitHub.com/Path", "https://github.com"),
        ("HTTPS://github.com:443", "https://github.com"),
        ("https://github.com:8443?x=@evil.com", "https://github.com:8443"),
        ("https://github.com#@evil.com", "https://github.com"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example"),
        ("https://git_hub.com", "https://git_hub.com"),
        ("https://My_Registry:5000/v2/", "https://my_registry:5000"),
        ("https://_a_.b_c.example_", "https://_a_.b_c.example_"),
        ("https://1_0.0.0.1_", "https://1_0.0.0.1_"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.9.9.9:80/", "http://127.9.9.9"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_plain_spelling_is_read(text: str, origin: str) -> None:
    """Case, default ports and what follows the authority don't change the origin."""
    assert parse_url(text).origin == origin


@pytest.mark.parametrize(
    "text",
    [
        "https://*.com",
        "https://*",
        "https://*.1.2.3",
        "https://a.*.com",
        "https://*a.example.com",
        "https://**.example.com",
        "https://*.*.example.com",
        "https://example.com/?q",
        "https://example.com/#f",
        "https://example.com/%2e",
        "https://example.com/a/../b",
        "https://example.com/a//b",
        "http://*.example.com",
    ],
)
def test_a_pattern_is_stricter(text: str) -> None:
    """A wildcard is one whole leftmost label below a real domain; a prefix is a plain path."""
    with pytest.raises(UsageError):
        parse_pattern(text)


def profiles(**hosts: str) -> dict[str, Profile]:
    """Make profiles by name, each with its hosts separated by spaces."""
    return {
        name: Profile(
            name=name,
            issuer="https://i.example.com",
            flow="code",
            client_id="c",
            hosts=tuple(parse_pattern(host) for host in text.split()),
        )
        for name, text in hosts.items()
    }


MANY = profiles(
    host="https://git.example.com",
    wild="https://*.example.com",
    team="https://git.example.com/team/",
    sub="https://git.example.com/team/sub",
    port="https://git.example.com:8443",
    local="http://localhost:8080 https://api.local.test",
)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://git.example.com", "host"),
        ("https://GIT.example.com:443/x", "host"),
        ("https://git.example.com/team", "team"),
        ("https://git.example.com/team/repo.git", "team"),
        ("https://git.example.com/team/sub/x?y", "sub"),
        ("https://git.example.com/teams", "host"),
        ("https://git.example.com/team/../other", "host"),
        ("https://git.example.com/team/%2e%2e/other", "host"),
        ("https://git.example.com/team/%2E./other", "host"),
        ("https://git.example.com/team/..;x/other", "host"),
        ("https://git.example.com/team/%252e%252e/other", "host"),
        ("https://git.example.com:8443/team", "port"),
        ("https://api.example.com", "wild"),
        ("https://a.b.example.com", None),
        ("https://example.com", None),
        ("https://evilexample.com", None),
        ("https://git.example.com.evil.com", None),
        ("https://git.example.com:8444", None),
        ("http://localhost:8080/x", "local"),
        ("http://localhost:8081/x", None),
        ("http://127.0.0.1:8080", None),
        ("https://localhost:8080", None),
    ],
)
def test_the_longest_match_wins(url: str, name: str | None) -> None:
    """Exact scheme, host and port; prefixes end at segments; an exact host beats a wildcard."""
    found = find_profile(url, MANY)
    assert (found.name if found else None) == name
    if name is None:
        with pytest.raises(UsageError):
            match_profile(url, MANY)
    else:
        assert match_profile(url, MANY) == name


def test_a_tie_is_an_error_that_names_both() -> None:
    """Two profiles for one place: the person chooses, not the order of a file."""
    both = profiles(a="https://x.example.com/t", b="https://x.example.com https://x.example.com/t")
    with pytest.raises(UsageError, match="'a' and 'b'"):
        find_profile("https://x.example.com/t/1", both)


USERS = {
    "plain": {},
    "alice": {"username": "alice"},
    "label": {"subject": "bob"},
    "robot": {"username": "robot", "username_match": "exact"},
    "forge": {"username": "x-token", "username_match": "any"},
    "anyone": {"subject": "carol", "username_match": "any"},
}


@pytest.mark.parametrize(
    ("names", "username", "found"),
    [
        ("alice", "alice", "alice"),
        ("alice", "bob", ""),
        ("alice", None, "alice"),
        ("label", "bob", "label"),
        ("label", "alice", ""),
        ("robot", "alice", ""),
        ("plain", "alice", "plain"),
        ("forge", "alice", "forge"),
        ("forge", "x-token", "forge"),
        ("forge", "", "forge"),
        ("anyone", "alice", "anyone"),
        # Whose name it is comes before who takes any name, and two of these are a tie.
        ("alice forge", "alice", "alice"),
        ("alice forge", "bob", "forge"),
        ("alice forge", None, "alice forge"),
        ("plain alice", "alice", "alice"),
        ("plain alice", "bob", "plain"),
        ("plain forge", "bob", "forge plain"),
        ("forge anyone", "bob", "anyone forge"),
        ("forge anyone", "carol", "anyone"),
        ("alice robot", "bob", ""),
    ],
)
def test_a_username_chooses(names: str, username: str | None, found: str) -> None:
    """Security: one account's token answers for another name only where its profile says so."""
    of = profiles(**dict.fromkeys(names.split(), "https://a.example.com"))
    some = [profile.replace(**USERS[name]) for name, profile in of.items()]
    best = find_profiles("https://a.example.com/x", some, username)
    assert " ".join(sorted(profile.name for profile in best)) == found


def test_covers_is_for_one_profile() -> None:
    """A profile's tokens go to its own hosts alone."""
    assert covers(MANY["team"], "https://git.example.com/team/x")
    assert not covers(MANY["team"], "https://git.example.com/x")


def test_loopback_is_three_spellings() -> None:
    """Loopback is 127.0.0.0/8, [::1] and the literal localhost."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.255.0.9", "[::1]"]))
    assert not any(map(is_loopback, ["127.example.com", "localhost.com", "[::]", "0.0.0.0"]))


def test_an_issuer_stays_as_written() -> None:
    """No character of an issuer changes: it is compared as a string."""
    assert parse_issuer("https://A.example.com:443/x/") == "https://A.example.com:443/x/"


def test_an_error_shows_no_password() -> None:
    """A URL with credentials is refused without them in the message."""
    with pytest.raises(UsageError) as caught:
        parse_url("https://me:hunter2@example.com")
    assert "hunter2" not in caught.value.message


def test_a_long_password_in_a_url_is_not_shown() -> None:
    """What is cut off is the end of a message, never what tells that there is a password."""
    with pytest.raises(UsageError) as caught:
        parse_url(f"https://user:{'pass' * 100}@issuer.example/")
    assert "pass" not in caught.value.message
