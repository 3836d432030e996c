"""What askpass is asked: git's two prompts, letter by letter, and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.answers_without_token import answer_name
from brokerctl.helpers.askpass import Askpass
from brokerctl.helpers.outcomes import Malformed
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

PASSWORD = "Password for 'https://{}': "
STRANGERS = {
    "nothing": "",
    "ssh's password": "alice@git.example.com's password: ",
    "ssh's host key": "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
    "ssh's key": "Enter passphrase for key '/home/alice/.ssh/id': ",
    "sudo": "[sudo] password for alice: ",
    "a client certificate": "Password for 'cert:////home/alice/key.pem': ",
    "no quotes": "Password for https://git.example.com: ",
    "another quote": 'Password for "https://git.example.com": ',
    "another word": "Passphrase for 'https://git.example.com': ",
    "lower case": "password for 'https://git.example.com': ",
    "no space at the end": "Password for 'https://git.example.com':",
    "something before": "x Password for 'https://git.example.com': ",
    "something after": "Password for 'https://git.example.com': x",
    "no URL": "Password for '': ",
    "only the quote": "Password for '': "[:-3],
}
MORE_THAN_A_HOST = (
    "ours.example/team",
    "ours.example/@evil.example",
    "ours.example/x@evil.example",
    "ours.example?@evil.example",
    "ours.example#@evil.example",
    "alice@ours.example/",
    "ours.example\\@evil.example",
)


def wanted(prompt: str) -> CredentialRequest:
    """Return what a prompt asks for."""
    found = Askpass().read([prompt], b"", {})
    assert found.reply is None
    return found


@pytest.mark.parametrize("name", STRANGERS)
def test_another_prompt_is_no_request(name: str) -> None:
    """Or no URL that anybody's host is; never answered."""
    said: HelperReply | None = Askpass().answer(Malformed())
    with contextlib.suppress(MalformedError):
        said = Askpass().read([STRANGERS[name]], b"", {}).reply
    assert said == HelperReply(exit_code=1)


@pytest.mark.parametrize("words", [[], ["a", "b"], [PASSWORD.format("git.example.com")] * 2])
def test_one_word_is_a_prompt(words: list[str]) -> None:
    """As git gives it."""
    with pytest.raises(MalformedError):
        Askpass().read(words, b"", {})


@pytest.mark.parametrize("authority", MORE_THAN_A_HOST)
def test_more_than_a_host_is_no_request(authority: str) -> None:
    """Security: old versions of git put an unescaped slash there, which would end our host."""
    with pytest.raises(MalformedError):
        Askpass().read([PASSWORD.format(authority)], b"", {})


@pytest.mark.parametrize(
    ("authority", "url", "username"),
    [
        ("git.example.com", "https://git.example.com", None),
        ("git.example.com:8443", "https://git.example.com:8443", None),
        ("[::1]:8443", "https://[::1]:8443", None),
        ("alice@git.example.com", "https://git.example.com", "alice"),
        ("alice%40corp@git.example.com", "https://git.example.com", "alice@corp"),
        ("alice@corp@git.example.com", "https://git.example.com", "alice@corp"),
        ("ours.example@evil.example", "https://evil.example", "ours.example"),
        ("%C3%A9@git.example.com", "https://git.example.com", "é"),
        ("é@git.example.com", "https://git.example.com", "é"),
        ("a'b@git.example.com", "https://git.example.com", "a'b"),
        ("oauth2@git.example.com", "https://git.example.com", None),
    ],
)
def test_the_host_is_what_stands_last(authority: str, url: str, username: str | None) -> None:
    """However the user looks; our own answer to the first prompt is nobody's name."""
    asked = wanted(PASSWORD.format(authority))
    assert (asked.action, asked.url, asked.username) == ("get", url, username)


@pytest.mark.parametrize("user", ["", "a%", "a%4", "a%zz", "a%0a", "a%00", "a\nb", "%ff", "\x7f"])
def test_a_user_that_git_never_writes(user: str) -> None:
    """Half an escape or a control character is no name."""
    with pytest.raises(MalformedError):
        Askpass().read([PASSWORD.format(f"{user}@git.example.com")], b"", {})


@pytest.mark.parametrize(("username", "said"), [(None, b"oauth2\n"), ("robot", b"robot\n")])
def test_the_user_is_the_profile_s(username: str | None, said: bytes) -> None:
    """And no token is needed to say it."""
    asked = wanted("Username for 'https://git.example.com': ")
    assert (asked.action, asked.url) == ("name", "https://git.example.com")
    answer = answer_name(Askpass(), asked, PROFILE.replace(username=username))
    assert answer == HelperReply(stdout=said)


def test_a_user_is_asked_for_where_there_is_none() -> None:
    """Git asks only then."""
    with pytest.raises(MalformedError):
        Askpass().read(["Username for 'https://alice@git.example.com': "], b"", {})


def test_the_password_is_the_token() -> None:
    """On the first line, and there is no other."""
    asked = wanted(PASSWORD.format("oauth2@git.example.com"))
    assert credential(Askpass(), asked, ANSWER, PROFILE) == HelperReply(
        stdout=f"{TOKEN}\n".encode()
    )


def test_nobody_is_answered_for_another() -> None:
    """Security: a URL that names the usual user does not get a robot's token."""
    asked = wanted(PASSWORD.format("oauth2@git.example.com"))
    with pytest.raises(UsageError, match="not the user that the URL names"):
        credential(Askpass(), asked, ANSWER, PROFILE.replace(username="robot"))
    anyone = PROFILE.replace(username="robot", username_match="any")
    assert credential(Askpass(), asked, ANSWER, anyone) == HelperReply(stdout=f"{TOKEN}\n".encode())


@given(user=st.text(), host=st.sampled_from(["ours.example", "evil.example:8443", "[::1]"]))
def test_no_user_makes_another_host(user: str, host: str) -> None:
    """Security: whatever a URL has before its host, as git writes it: the host is that one."""
    with contextlib.suppress(MalformedError):
        assert wanted(PASSWORD.format(f"{user}@{host}")).url == f"https://{host}"


@given(prompt=st.text(alphabet="Pasword fUn'htp:/@%?# \\\0\n.\x7f") | st.text())
def test_any_prompt_is_a_request_or_none(prompt: str) -> None:
    """Whoever asks."""
    for text in (prompt, PASSWORD.format(prompt)):
        with contextlib.suppress(MalformedError):
            said = Askpass().read([text], b"", {})
            assert said.reply in {None, HelperReply(exit_code=1)}
