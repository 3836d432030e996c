"""The command line of keyring: whose password is asked for, in which form, and what is refused."""

from __future__ import annotations

import json

import pytest

from brokerctl.helpers import HelperReply, MalformedError
from brokerctl.helpers.keyring import Keyring, find_url
from brokerctl.helpers.outcomes import Malformed
from brokerctl.keyring_backend import SILENCE
from brokerctl.platform.commands import NO_KEYRING
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

URL = "https://pypi.example.com/simple/"
NOTHING = HelperReply(exit_code=1)
MALFORMED = (
    (),
    ("get",),
    ("get", URL),
    ("--mode=creds", "get"),
    ("get", URL, "alice", "bob"),
    ("put", URL, "alice"),
    ("--mode", "creds"),
    ("get", URL, "--mode"),
    ("get", URL, "--mode", "secret"),
    ("--output=xml", "get", URL, "alice"),
    ("--mode=creds", "--mode=password", "get", URL, "alice"),
    ("-b", "keyring.backends.null.Keyring", "get", URL, "alice"),
    ("get", URL, "ali\nce"),
    ("get", f"{URL}\r", "alice"),
    ("get", "https://pypi\udcff.example.com", "alice"),
)


def said(*words: str, **of_profile: str | None) -> str:
    """Return what is answered to a command line, by a profile with this user, or how it matches."""
    asked = Keyring().read(list(words), b"", {})
    assert asked.reply is None, asked
    answer = credential(Keyring(), asked, ANSWER, PROFILE.replace(**of_profile))
    assert answer.exit_code == 0
    return answer.stdout.decode()


def wanted(*words: str) -> tuple[str | None, str | None]:
    """Return the URL and the user that are asked for."""
    asked = Keyring().read(list(words), b"", {})
    assert asked.reply is None, asked
    return asked.url, asked.username


@pytest.mark.parametrize("words", MALFORMED)
def test_what_no_tool_says_is_refused(words: tuple[str, ...]) -> None:
    """As argparse refuses it, with exit code 2."""
    with pytest.raises(MalformedError):
        Keyring().read(list(words), b"", {})
    assert Keyring().answer(Malformed()) == HelperReply(exit_code=2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("get", URL, "alice"), f"{TOKEN}\n"),
        (("get", URL, "--mode", "creds"), f"oauth2\n{TOKEN}\n"),
        (("get", URL, "alice", "--mode=creds"), f"alice\n{TOKEN}\n"),
        (("--mode=creds", "get", "--", URL), f"oauth2\n{TOKEN}\n"),
        (("--mode=password", "--output=plain", "get", URL, "-x-"), None),
        (("--mode=password", "--output=plain", "get", "--", URL, "-x-"), f"{TOKEN}\n"),
    ],
)
def test_plain_answers(words: tuple[str, ...], expected: str | None) -> None:
    """A line for each value, as uv and pip 23 read them, with the options wherever they stand."""
    if expected is None:
        with pytest.raises(MalformedError):
            Keyring().read(list(words), b"", {})
    else:
        assert said(*words) == expected


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (("--mode=creds", "--output=json", "get", URL), {"username": "oauth2", "password": TOKEN}),
        (
            ("--mode=creds", "--output=json", "get", URL, "__token__"),
            {"username": "__token__", "password": TOKEN},
        ),
        (
            ("get", "--output", "json", URL, "a b", "--mode", "creds"),
            {"username": "a b", "password": TOKEN},
        ),
        (("--output=json", "get", URL, "alice"), {"password": TOKEN}),
    ],
)
def test_json_answers(words: tuple[str, ...], fields: dict[str, str]) -> None:
    """One object with keyring's own names, as pip 26 reads it."""
    assert json.loads(said(*words)) == fields


def test_the_user_is_the_asked_the_profile_s_or_any() -> None:
    """Without a user the profile's is the answer, and without that `oauth2`."""
    words = ("get", URL, "--mode", "creds")
    assert said(*words, username="robot") == f"robot\n{TOKEN}\n"
    asked = (*words[:2], "oauth2", *words[2:])
    assert said(*asked, username="robot") == f"oauth2\n{TOKEN}\n"
    assert said(*asked, username="robot", username_match="any") == f"robot\n{TOKEN}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((URL, "alice"), (URL, "alice")),
        ((URL, "oauth2"), (URL, None)),
        ((URL, "__token__"), (URL, None)),
        ((URL, ""), (URL, None)),
        (("https://alice@pypi.example.com/x", "alice"), ("https://pypi.example.com/x", "alice")),
        (("https://__token__@pypi.example.com/x", ""), ("https://pypi.example.com/x", None)),
        (("alice@127.0.0.1:8080", ""), ("http://127.0.0.1:8080", "alice")),
        (("127.0.0.1:8080", "a"), ("http://127.0.0.1:8080", "a")),
        (("[::1]:8080", "a"), ("http://[::1]:8080", "a")),
        (("localhost", "a"), ("http://localhost", "a")),
    ],
)
def test_a_service_is_a_url_or_a_host(
    words: tuple[str, str], expected: tuple[str | None, str | None]
) -> None:
    """A name that stands for a token is no account; a host on loopback means http."""
    assert wanted("get", *words) == expected


@pytest.mark.parametrize("service", ["pypi.example.com", "alice@pypi.example.com:8443", "[::2]:1"])
def test_a_host_alone_is_nobody_s(service: str) -> None:
    """Security: pip and uv ask for it after a URL in plain http, and send there what they get."""
    assert Keyring().read(["get", service, "alice"], b"", {}).reply == NOTHING


@pytest.mark.parametrize(
    "service",
    [
        "login",
        "poetry-repository-shop",
        "gnome keyring.example.com",
        "pypi.example.com/simple",
        "pypi.example.com?x",
        "pypi.example.com.",
        "py\u0440i.example.com",
        "a:b@pypi.example.com",
        "0x7f.1",
    ],
)
def test_what_is_no_plain_host_is_nobody_s(service: str) -> None:
    """Names of other programs' entries, and spellings that two parsers could read differently."""
    assert find_url(service) is None or "a:b@" in service
    asked = Keyring().read(["get", service, "alice"], b"", {})
    assert asked.reply == NOTHING or "@" in (asked.url or "")


@pytest.mark.parametrize(
    "service",
    ["https://a:b@pypi.example.com/", "https://a%40b@pypi.example.com/", "https://@pypi.example/"],
)
def test_a_password_or_an_escape_in_a_url_stays_where_it_is(service: str) -> None:
    """Security: whatever is no plain user is left in, and the strict parser refuses it."""
    assert wanted("get", service, "alice") == (service, "alice")


def test_two_users_are_nobody() -> None:
    """The URL says one, the tool another."""
    words = ["get", "https://alice@pypi.example.com/", "bob"]
    assert Keyring().read(words, b"", {}).reply == NOTHING


@pytest.mark.parametrize("operation", ["set", "del"])
def test_nothing_is_kept(operation: str) -> None:
    """Refused with a line for whoever tried."""
    answer = Keyring().read([operation, URL, "alice"], b"hunter2\n", {}).reply
    assert answer is not None
    assert (answer.stdout, answer.exit_code) == (b"", 1)
    assert answer.note == f"keyring {operation}: brokerctl keeps no passwords of others"


@pytest.mark.parametrize("word", ["--version", "--help", "--list-backends"])
def test_probes(word: str) -> None:
    """Who looks what this is finds a line."""
    answer = Keyring().read([word], b"", {}).reply
    assert answer is not None
    assert answer.exit_code == 0
    assert answer.stdout.count(b"\n") == 1


def test_brokerctl_never_asks_itself() -> None:
    """What is run for a secret of its own gets no answer, in either way."""
    assert Keyring().read(["get", URL, "alice"], b"", {NO_KEYRING: "1"}).reply == NOTHING
    assert SILENCE == NO_KEYRING
