"""Bazel's protocol, and what its set-up writes."""

from __future__ import annotations

import pytest

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, MalformedError
from brokerctl.helpers.bazel import Bazel
from brokerctl.helpers.bazel.setup import BazelSetup
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.setups import Part
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

WANTED = CredentialRequest(action="get", url="https://cache.example.com/x")
PLACE = SetupFile("/home/alice/.bazelrc")


def part(*hosts: str, script: str = "/opt/b/brokerctl-bazel") -> Part:
    """Return what a set-up is made of, with one profile."""
    return Part("bazel", (PROFILE.replace(hosts=hosts),), script, {"HOME": "/home/alice"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"https://cache.example.com"',
        b'{"uri":null}',
        b'{"uri":["https://cache.example.com"]}',
        b'{"url":"https://cache.example.com"}',
        b'{"uri":"https://a.example","uri":"https://b.example"}',
        b'{"uri":"https://a.example"}{"uri":"https://b.example"}',
        b'{"uri":"\xff"}',
        b'{"uri":"https://a.example\n"}',
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    """Security: of two readings of one request, none is taken."""
    with pytest.raises(MalformedError):
        Bazel().read(["get"], data, {})


@pytest.mark.parametrize("words", [[], ["list"], ["get", "x"], ["GET"], ["--help"]])
def test_other_words_are_no_request_and_wait_for_nothing(words: list[str]) -> None:
    """The specification has one command."""
    assert Bazel.traits.stdin_for(words) == "nothing"
    with pytest.raises(MalformedError):
        Bazel().read(words, b"", {})


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("https://cache.example.com/a?b=c", "https://cache.example.com/a?b=c"),
        ("grpcs://cache.example.com:8443/p.S/M", "https://cache.example.com:8443/p.S/M"),
        ("grpc://cache.example.com/p.S", "grpc://cache.example.com/p.S"),
    ],
)
def test_what_is_asked_for(uri: str, url: str) -> None:
    """GRPC over TLS is the same host and port; without TLS it is left as what nobody has."""
    data = jsonlite.dumps({"uri": uri, "later": {"x": 1}}).encode()
    assert Bazel().read(["get"], data, {}) == CredentialRequest(action="get", url=url)


def test_the_answer_is_the_specification_s() -> None:
    """Each value is a list, and the time has no fraction, on which Bazel fails."""
    said = credential(Bazel(), WANTED, ANSWER, PROFILE)
    assert jsonlite.loads(said.stdout) == {
        "headers": {"Authorization": [f"Bearer {TOKEN}"]},
        "expires": "2026-11-23T23:29:51Z",
    }
    assert said.stdout.endswith(b"}\n")


def test_a_token_without_an_end_has_no_expiry() -> None:
    """The tool then keeps it for as long as it is told to."""
    said = credential(Bazel(), WANTED, ANSWER.replace(expires_at=None), PROFILE)
    assert "expires" not in jsonlite.loads(said.stdout)


def test_it_is_asked_again_when_there_would_be_another() -> None:
    """Not before, and never after the end."""
    early = ANSWER.replace(renew_at=1795476000.2)
    said = jsonlite.loads(credential(Bazel(), WANTED, early, PROFILE).stdout)
    assert said["expires"] == "2026-11-23T23:20:01Z"


def test_a_line_for_each_host() -> None:
    """Once, without port, and none for what Bazel has no pattern for."""
    hosts = (
        "https://b.example.com:8443",
        "https://b.example.com",
        "https://*.a.example.com",
        "https://c.example.com/team",
        "http://127.0.0.1:8080",
        "https://[::1]:8443",
        "https://localhost:8443",
    )
    ours = part(*hosts)
    said = "bazel has no pattern for https://[::1]:8443 and https://localhost:8443, so not for that"
    assert BazelSetup().advice(ours) == said
    assert BazelSetup().lines(ours) == [
        "common --credential_helper=*.a.example.com=/opt/b/brokerctl-bazel",
        "common --credential_helper=127.0.0.1=/opt/b/brokerctl-bazel",
        "common --credential_helper=b.example.com=/opt/b/brokerctl-bazel",
        "common --credential_helper=c.example.com=/opt/b/brokerctl-bazel",
    ]


def test_what_has_a_pattern_needs_no_word() -> None:
    """`install` says nothing then."""
    assert BazelSetup().advice(part("https://a.example")) is None


def test_a_path_with_a_space_is_in_quotes() -> None:
    """The file is split into words as a shell does."""
    lines = BazelSetup().lines(part("https://a.example", script="/a b/brokerctl-bazel"))
    assert lines == ['common "--credential_helper=a.example=/a b/brokerctl-bazel"']


@pytest.mark.parametrize("script", ["/a'b/x", '/a"b/x', "/a\\b/x", "/a%workspace%b/x", "/a\nb"])
def test_a_path_that_bazel_would_read_otherwise(script: str) -> None:
    """It is refused before anything is written."""
    with pytest.raises(UsageError, match="can't run"):
        BazelSetup().lines(part("https://a.example", script=script))


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("https://localhost:8443",),
        ("https://[::1]",),
        ("https://[::ffff:192.0.2.1]",),
        ("https://cache",),
    ],
)
def test_nothing_to_ask_for(hosts: tuple[str, ...]) -> None:
    """Said, before anything is written."""
    with pytest.raises(UsageError, match="nothing to ask for"):
        BazelSetup().lines(part(*hosts))


@pytest.mark.parametrize("text", ["", "build --jobs=2\n", "# x\n\nbuild --jobs=2", "x\r\n"])
def test_put_in_and_taken_out(text: str) -> None:
    """Byte for byte as before, and twice is once."""
    setup, ours = BazelSetup(), part("https://a.example")
    put = setup.put(PLACE, text, ours)
    assert setup.put(PLACE, put, ours) == put
    assert setup.take(PLACE, put) == text
    assert setup.take(PLACE, text) is None
    assert setup.path({"HOME": "/home/alice"}) == PLACE.path
