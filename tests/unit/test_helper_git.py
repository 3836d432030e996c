"""git's protocol, attribute by attribute: what is a request, and what is answered."""

from __future__ import annotations

import pytest

from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.custody import place_of
from brokerctl.helpers.git import Git, find_schemes, parse_request
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

HTTPS = b"protocol=https\nhost=git.example.com\n"
MALFORMED = {
    "carriage return": b"protocol=https\r\nhost=a.example\n",
    "carriage return in a host": b"protocol=https\nhost=a.example\rhost=b.example\n",
    "NUL": b"protocol=https\nhost=a.example\0.evil.example\n",
    "two hosts": HTTPS + b"host=evil.example\n",
    "two protocols": b"protocol=https\nprotocol=http\nhost=a.example\n",
    "two paths": HTTPS + b"path=a\npath=b\n",
    "two users": HTTPS + b"username=a\nusername=b\n",
    "no sign": b"protocol=https\nhost\n",
    "no key": b"protocol=https\n=a.example\n",
    "not UTF-8": b"protocol=https\nhost=\xff\xfe\n",
    "half a surrogate": b"protocol=https\nhost=\xed\xa0\x80\n",
    "a line of 65,535 bytes": HTTPS + b"path=" + b"a" * (65535 - 5) + b"\n",
}
NOTHING = {
    "empty": b"",
    "an empty line first": b"\n" + HTTPS,
    "no host": b"protocol=https\n",
    "an empty host": b"protocol=https\nhost=\n",
    "no protocol": b"host=git.example.com\n",
    "no host and no path": b"protocol=smtp\nhost=\n",
    "a protocol that is none": b"protocol=a b\nhost=git.example.com\n",
    "a protocol with a mark": b"protocol=ssh://\nhost=git.example.com\n",
    "a host with a path": b"protocol=smtp\nhost=mail.example.com/x\n",
    "a host with a user": b"protocol=smtp\nhost=a@mail.example.com\n",
    "upper case": b"protocol=HTTPS\nhost=git.example.com\n",
    "a url instead": b"url=https://git.example.com/\n",
}


def wanted(data: bytes, *words: str) -> CredentialRequest:
    """Return what a request asks for."""
    found = Git().read(list(words or ("get",)), data, {})
    assert found.reply is None
    return found


@pytest.mark.parametrize("name", MALFORMED)
def test_what_git_never_sends_is_refused(name: str) -> None:
    """Security: of two readings of one request, none is taken."""
    with pytest.raises(MalformedError):
        Git().read(["get"], MALFORMED[name], {})


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_no_web_request_is_answered_with_nothing(name: str) -> None:
    """A missing host is never any host (CVE-2020-11008)."""
    assert Git().read(["get"], NOTHING[name], {}).reply == HelperReply()


@pytest.mark.parametrize(
    ("data", "url"),
    [
        (b"protocol=smtp\nhost=mail.example.com:25\n", "smtp://mail.example.com:25"),
        (b"protocol=imaps\nhost=mail.example.com\n", "imaps://mail.example.com"),
        (b"protocol=cert\nhost=\npath=/a b.pem\n", "cert:////a%20b.pem"),
        (b"protocol=cert\npath=a.pem\n", "cert:///a.pem"),
        (b"protocol=ssh\nhost=git.example.com\n", "ssh://git.example.com"),
    ],
)
def test_another_protocol_is_nobody_s_but_git_s_own(data: bytes, url: str) -> None:
    """Security: no profile is ever asked for it, whatever is stored, wanted or refused."""
    more = data + b"username=\npassword=x\n"
    for word in ("get", "erase", "store"):
        found = wanted(more, word)
        assert (found.action, found.url, found.is_foreign) == (word, url, True)
        place = place_of(found)
        assert place is not None
        assert place.scheme == url.partition(":")[0]


@pytest.mark.parametrize("operation", ["fill", "approve", "", "GET"])
def test_other_operations_do_nothing(operation: str) -> None:
    """New operations are to be ignored."""
    assert Git().read([operation], HTTPS + b"username=a\npassword=b\n", {}).reply == HelperReply()


def test_options_may_stand_before_the_operation() -> None:
    """Git puts the operation behind whatever the configuration says."""
    assert wanted(HTTPS, "--odd", "get").url == "https://git.example.com"


def test_the_longest_line_that_git_sends() -> None:
    """One byte below git's limit is read."""
    line = b"path=" + b"a" * (65534 - 5)
    assert (wanted(HTTPS + line + b"\n").url or "").endswith("aaa")


@pytest.mark.parametrize(
    ("path", "escaped"),
    [
        ("my repo.git", "my%20repo.git"),
        ("a?b#c", "a%3Fb%23c"),
        ("é%2e", "%C3%A9%252e"),
        ("..", ".."),
    ],
)
def test_a_path_is_escaped_again(path: str, escaped: str) -> None:
    """Git sends it unescaped, and what was a name must not become a query."""
    assert wanted(HTTPS + f"path={path}\n".encode()).url == f"https://git.example.com/{escaped}"


@pytest.mark.parametrize("host", ["ours/@evil.example", "ours.example?x", "ours.example#"])
def test_a_host_that_is_more_than_a_host(host: str) -> None:
    """Security: an unescaped slash would end the host that is compared, and not the one asked."""
    assert Git().read(["get"], f"protocol=https\nhost={host}\n".encode(), {}).reply == HelperReply()


def test_lists_are_kept_in_order_and_cleared() -> None:
    """An empty value clears what came before."""
    data = b"wwwauth[]=Basic\nwwwauth[]=\nwwwauth[]=Bearer x\nwwwauth[]=Digest\n"
    assert parse_request(data)[1] == {"wwwauth[]": ("Bearer x", "Digest")}


@pytest.mark.parametrize(
    ("username", "of_profile", "match", "expected"),
    [
        (None, None, "exact", "oauth2"),
        (None, "robot", "exact", "robot"),
        ("alice", "robot", "exact", "alice"),
        ("alice", "robot", "any", "robot"),
        ("alice", None, "any", "alice"),
        (None, None, "any", "oauth2"),
    ],
)
def test_the_user_is_the_asked_the_profile_s_or_any(
    username: str | None, of_profile: str | None, match: str, expected: str
) -> None:
    """Git gets back the user that it asked for, but where the profile's goes with every token."""
    asked = wanted(HTTPS + (f"username={username}\n".encode() if username else b""))
    profile = PROFILE.replace(username=of_profile, username_match=match)
    said = credential(Git(), asked, ANSWER, profile).stdout
    assert said.decode() == (
        f"username={expected}\npassword={TOKEN}\npassword_expiry_utc=1795476591\n"
    )


def test_a_token_without_an_end_has_no_expiry() -> None:
    """Git would read an empty one as over."""
    said = credential(Git(), wanted(HTTPS), ANSWER.replace(expires_at=None), PROFILE).stdout
    assert b"expiry" not in said


BEARER = HTTPS + b"capability[]=authtype\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b'wwwauth[]=Bearer realm="x"\n', "bearer"),
        (b"wwwauth[]=bearer\n", "bearer"),
        (b"", "password"),
        (b"wwwauth[]=Bearer\nwwwauth[]=Basic realm=x\n", "password"),
        (b"wwwauth[]=Negotiate\n", "password"),
    ],
)
def test_bearer_only_where_git_can_and_the_server_wants_nothing_else(
    lines: bytes, expected: str
) -> None:
    """Forges that offer Basic take a token as its password, and some of them nothing else."""
    said = credential(Git(), wanted(BEARER + lines), ANSWER, PROFILE).stdout
    is_bearer = expected == "bearer"
    assert said.startswith(b"capability[]=authtype\nauthtype=Bearer\n") == is_bearer
    assert (b"ephemeral=1\n" in said) == is_bearer
    old = credential(Git(), wanted(HTTPS + lines), ANSWER, PROFILE).stdout
    assert old.startswith(b"username=")


def test_capabilities() -> None:
    """Git 2.46 and later ask for them."""
    said = Git().read(["capability"], b"", {}).reply
    assert said == HelperReply(stdout=b"version 0\ncapability authtype\n")


@pytest.mark.parametrize(
    "lines", [f"username=a\npassword={TOKEN}\n", f"authtype=Bearer\ncredential={TOKEN}\n"]
)
def test_a_refused_password_is_a_secret(lines: str) -> None:
    """Security: it is in no repr of the request, in whichever form it comes back."""
    asked = wanted(HTTPS + lines.encode(), "erase")
    assert asked.action == "erase"
    assert asked.rejected is not None
    assert asked.rejected.reveal() == TOKEN
    assert TOKEN not in repr(asked)


CHALLENGES = (
    ("", ""),
    (",, ,", ""),
    ("Basic", "basic"),
    ("BASIC", "basic"),
    ('Basic realm="x"', "basic"),
    ('basic realm="x", charset="UTF-8"', "basic"),
    ("Basic realm=x", "basic"),
    ('Basic realm = "x"', "basic"),
    ('Basic realm\t=\t"x" ,\tcharset="UTF-8"', "basic"),
    ("Bearer", "bearer"),
    ("Bearer,Basic", "bearer basic"),
    ('Bearer realm="x", Basic realm="y"', "bearer basic"),
    ('Basic realm="y", Bearer realm="x", scope="a b"', "basic bearer"),
    ('Bearer realm="a, Basic b"', "bearer"),
    ('Bearer realm="a\\", Basic b"', "bearer"),
    ('Bearer realm="a\\\\", Basic realm="b"', "bearer basic"),
    ('Bearer scope="Basic realm=x"', "bearer"),
    ('Bearer realm=""', "bearer"),
    ('Bearer realm="Gr\xfcn"', "bearer"),
    ("Negotiate", "negotiate"),
    ("Negotiate YII=, Basic", "negotiate basic"),
    ("Negotiate abc==, Bearer", "negotiate bearer"),
    ("NTLM TlRMTVNTUAACAAAA+/~==", "ntlm"),
    ('Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
     "newauth basic"),
    (", Basic , ,Bearer ,", "basic bearer"),
    ("X-Own!#$%&'*+.^_`|~9 a=b", "x-own!#$%&'*+.^_`|~9"),
    # What is no challenge is left out, and what stands beside it is not.
    ('Basic realm="x', ""),
    ('Bearer, Basic realm="x', "bearer"),
    ("Basic realm=My Forge", ""),
    ("Basic realm=My Forge, Bearer", "bearer"),
    ("Basic realm=@, Bearer", "bearer"),
    ('Basic realm="x", charset=, Bearer', "bearer"),
    ('Basic realm="x"y, Bearer', "bearer"),
    ("Basic one two, Bearer", "bearer"),
    ("Basic ==", ""),
    ("Bas\xedc", ""),
    ("Basic: realm=x", ""),
    ('"Basic"', ""),
    ('"Bearer, Basic"', ""),
    ('realm="x"', ""),
    ('realm="x", Bearer', "bearer"),
    ("=x, Bearer", "bearer"),
    ('Bearer "realm"=x', ""),
    ('Bearer realm="x\\"', ""),
    ("\x00Bearer", ""),
    ("Bearer\x0bBasic", ""),
)  # fmt: skip


@pytest.mark.parametrize(("header", "schemes"), CHALLENGES)
def test_a_challenge_is_read_as_rfc_9110_writes_it(header: str, schemes: str) -> None:
    """Case, quoted strings, token68, commas: and a bad one is none, beside others that are good."""
    assert find_schemes(header) == schemes.split()


@pytest.mark.parametrize(
    ("lines", "is_bearer"),
    [
        (b"wwwauth[]=BEARER realm=x\n", True),
        (b"wwwauth[]=Bearer realm=x, Basic realm=y\n", False),
        (b"wwwauth[]=Bearer\nwwwauth[]=basic realm=y\n", False),
        (b'wwwauth[]=Bearer\nwwwauth[]=Basic realm="Gr\xfcn"\n', False),
        (b'wwwauth[]=Bearer\nwwwauth[]=Digest realm="Gr\xfcn", Basic\n', False),
        (b"wwwauth[]=Bearer\nwwwauth[]=Basic realm=\xff\n", True),
        (b"wwwauth[]=Basic\nwwwauth[]=\nwwwauth[]=Bearer\n", True),
        (b'wwwauth[]=Digest, Bearer scope="Basic, x"\n', True),
    ],
)
def test_a_bearer_is_for_a_server_that_takes_nothing_else(lines: bytes, *, is_bearer: bool) -> None:
    """Several challenges of a line count, and what a realm holds does not."""
    assert wanted(b"capability[]=authtype\n" + HTTPS + lines).can_bearer is is_bearer
