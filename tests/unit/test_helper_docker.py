"""docker's protocol, operation by operation: what is a request, and what is answered."""

from __future__ import annotations

import json

import pytest

from brokerctl import __version__
from brokerctl.errors import DeniedError, UsageError
from brokerctl.helpers import ALL, NOTHING, CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.docker import HUB, Docker, server_name
from brokerctl.helpers.outcomes import Users
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, check, credential, refusal

NO_SERVER = HelperReply(stdout=b"no credentials server URL\n", exit_code=1)
FIXED = (
    "credentials not found in native keychain",
    "no credentials server URL",
    "no credentials username",
)


def ask(address: str, operation: str = "get") -> CredentialRequest:
    """Return what a request asks for."""
    found = Docker().read([operation], address.encode(), {})
    assert found.reply is None
    return found


def offer(**changes: object) -> bytes:
    """Return what docker sends to be stored."""
    fields = {"ServerURL": "reg.example.com", "Username": "alice", "Secret": TOKEN, **changes}
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize(
    ("address", "url", "otherwise"),
    [
        ("reg.example.com", "https://reg.example.com", None),
        ("reg.example.com:5000", "https://reg.example.com:5000", None),
        (" reg.example.com\n", "https://reg.example.com", None),
        ("https://reg.example.com/v1/", "https://reg.example.com/v1/", None),
        ("http://reg.example.com", "http://reg.example.com", None),
        ("localhost:5000", "https://localhost:5000", "http://localhost:5000"),
        ("127.0.0.1", "https://127.0.0.1", "http://127.0.0.1"),
        ("[::1]:5000", "https://[::1]:5000", "http://[::1]:5000"),
        ("https://localhost:5000", "https://localhost:5000", None),
        ("localhost.evil.example", "https://localhost.evil.example", None),
        ("127.0.0.1.evil.example", "https://127.0.0.1.evil.example", None),
        ("127.1", "https://127.1", None),
        ("evil@localhost", "https://evil@localhost", None),
        ("docker.io", HUB, None),
        ("index.docker.io", HUB, None),
        (HUB, HUB, None),
        ("docker.io.evil.example", "https://docker.io.evil.example", None),
    ],
)
def test_how_an_address_is_read(address: str, url: str, otherwise: str | None) -> None:
    """Without a scheme it is https; only on loopback it may be http as well."""
    asked = ask(address)
    assert (asked.url, asked.otherwise) == (url, otherwise)
    assert ask(address, "erase").action == "forget"


@pytest.mark.parametrize("key", ["access-token", "refresh-token"])
def test_where_docker_keeps_its_own_login_is_nobody_s(key: str) -> None:
    """Security: a token answered there would be sent to Hub's login as a grant."""
    for operation in ("get", "erase"):
        assert ask(HUB + key, operation).is_foreign


@pytest.mark.parametrize("operation", ["get", "erase"])
@pytest.mark.parametrize("address", ["", "\n", " \n"])
def test_no_address(operation: str, address: str) -> None:
    """One of the three texts that docker compares."""
    assert Docker().read([operation], address.encode(), {}).reply == NO_SERVER


@pytest.mark.parametrize(
    "data", [b"a\nb", b"a\rb", b"a\r", b"\0", b"reg.example.com\0.evil", b"\xff\xfe"]
)
@pytest.mark.parametrize("operation", ["get", "erase"])
def test_what_docker_never_sends_is_refused(operation: str, data: bytes) -> None:
    """Security: of two readings of one request, none is taken."""
    with pytest.raises(MalformedError):
        Docker().read([operation], data, {})


@pytest.mark.parametrize("words", [[], ["GET"], ["get", "x"], ["--help"], ["unlock"], [""]])
def test_other_words_are_told_the_usage(words: list[str]) -> None:
    """On stdout, as every error of this protocol."""
    answer = Docker().read(words, b"reg.example.com", {}).reply
    assert answer is not None
    assert answer.exit_code == 1
    assert answer.stdout.startswith(b"usage: docker-credential-brokerctl get|")


def test_version() -> None:
    """In the form of docker's own helpers."""
    answer = Docker().read(["version"], b"", {}).reply
    expected = f"docker-credential-brokerctl (brokerctl) v{__version__}\n".encode()
    assert answer == HelperReply(stdout=expected)


@pytest.mark.parametrize(
    ("words", "how"),
    [(["get"], ALL), (["store"], ALL), (["erase"], ALL), (["list"], NOTHING), ([], NOTHING)],
)
def test_nothing_is_waited_for_where_nothing_is_sent(words: list[str], how: str) -> None:
    """People type `list` and `version`, at a terminal that never ends."""
    assert Docker.traits.stdin_for(words) == how


@pytest.mark.parametrize(("of_profile", "user"), [(None, "oauth2"), ("robot", "robot")])
def test_a_token_is_a_password(of_profile: str | None, user: str) -> None:
    """Of the profile's user, or of any; the address is the one that was asked for."""
    said = credential(Docker(), ask("docker.io"), ANSWER, PROFILE.replace(username=of_profile))
    expected = {"ServerURL": "docker.io", "Username": user, "Secret": TOKEN}
    assert json.loads(said.stdout) == expected
    assert said.stdout.endswith(b"}\n")


@pytest.mark.parametrize("username", ["<token>", "a:b"])
def test_a_token_is_never_an_identity_token(username: str) -> None:
    """Security: docker would spend it as a refresh token, or cut the password at the colon."""
    with pytest.raises(UsageError, match="username of 'forge'") as found:
        check(Docker(), ask("reg.example.com"), PROFILE.replace(username=username))
    assert TOKEN not in str(found.value)


def test_what_is_offered_is_a_secret() -> None:
    """Security: it is in no repr of the request; docker writes `<` as an escape."""
    data = offer(Username="<token>").replace(b"<", b"\\u003c")
    asked = Docker().read(["store"], data, {})
    assert asked.reply is None
    assert (asked.action, asked.url) == ("store", "https://reg.example.com")
    assert asked.offered is not None
    assert asked.offered.reveal() == TOKEN
    assert TOKEN not in repr(asked)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"reg.example.com",
        b"[]",
        b"{}",
        b'"x"',
        offer(Secret=None),
        offer(Secret=1),
        offer(ServerURL=["reg.example.com"]),
        offer(ServerURL="a\nb"),
        offer() + offer(),
        offer().replace(b'"Username"', b'"ServerURL"'),
        b"[" * 100_000,
    ],
)
def test_what_is_no_credential_is_refused(data: bytes) -> None:
    """A repeated key, a wrong type, more than one."""
    with pytest.raises(MalformedError) as found:
        Docker().read(["store"], data, {})
    assert TOKEN not in str(found.value)


def test_half_a_credential_has_its_own_text() -> None:
    """The other two texts that docker compares."""
    assert Docker().read(["store"], offer(ServerURL=""), {}).reply == NO_SERVER
    nobody = Docker().read(["store"], offer(Username=""), {}).reply
    assert nobody == HelperReply(stdout=b"no credentials username\n", exit_code=1)


@pytest.mark.parametrize("text", FIXED)
def test_a_denial_is_none_of_the_fixed_texts(text: str) -> None:
    """Whatever a rule gives as its reason, a denial is not taken for an absence."""
    said = refusal(Docker(), DeniedError(text)).stdout.decode().strip()
    assert said not in FIXED


def test_a_list_has_servers_as_docker_calls_them() -> None:
    """No `*.`, no path: docker asks for one server by its name."""
    hosts = {
        "https://reg.example.com": "a",
        "https://reg.example.com:5000": "b",
        "http://localhost:5000": "c",
        "https://*.example.com": "d",
        "https://forge.example.com/team": "e",
        "https://index.docker.io": "f",
        "https://docker.io": "g",
    }
    said = Docker().answer(Users(users=hosts)).stdout
    assert json.loads(said) == {
        "reg.example.com": "a",
        "reg.example.com:5000": "b",
        "localhost:5000": "c",
        HUB: "f",
    }
    assert Docker().answer(Users(users={})).stdout == b"{}\n"


@pytest.mark.parametrize(
    "host", ["https://reg.example.com", "http://[::1]:80", "https://index.docker.io/v1"]
)
def test_what_is_listed_can_be_asked_for(host: str) -> None:
    """A name that is listed leads back to the host that it was made of."""
    name = server_name(host)
    assert name is not None
    asked = ask(name)
    assert any(
        (url or "").startswith(host.removesuffix(":80")) for url in (asked.url, asked.otherwise)
    )
