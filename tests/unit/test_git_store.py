"""What git wants kept: the secret, until when, what renews it, and what is never kept."""

from __future__ import annotations

import pytest

from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError, Terms
from brokerctl.helpers.git import Git
from brokerctl.helpers.outcomes import OwnCredential
from brokerctl.secret import Secret
from brokerctl.store.values import ToolCredential

PLACE = b"protocol=https\nhost=git.example.com\n"
FULL = PLACE + b"username=alice\npassword=hunter2\n"
KEPT = ToolCredential(
    tool="git",
    protocol="https",
    host="git.example.com",
    port=443,
    path="",
    username="alice",
    secret=Secret("hunter2"),
    kept_at=1,
)


def offer(data: bytes, *words: str) -> CredentialRequest:
    """Return what is offered."""
    found = Git().read([*words, "store"], data, {})
    assert found.reply is None
    assert found.action == "store"
    return found


def test_a_user_and_a_password_are_offered() -> None:
    """With where they belong; the secret is in no repr."""
    found = offer(FULL + b"path=a b\n")
    assert (found.url, found.username) == ("https://git.example.com/a%20b", "alice")
    assert found.offered is not None
    assert found.offered.reveal() == "hunter2"
    assert "hunter2" not in repr(found)
    assert found.terms == Terms()


def test_an_empty_user_and_password_are_some() -> None:
    """As single sign-on has them (git-credential(1))."""
    found = offer(PLACE + b"username=\npassword=\n")
    assert (found.username, found.offered) == ("", Secret(""))


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"username=a\n",
        b"password=b\n",
        b"authtype=Bearer\ncredential=x\n",
        b"username=a\npassword=b\nephemeral=1\n",
        b"username=a\npassword=b\nephemeral=true\n",
    ],
)
def test_what_is_not_to_be_saved(lines: bytes) -> None:
    """No password, or an ephemeral one."""
    assert Git().read(["store"], PLACE + lines, {}).reply == HelperReply()


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        (b"9999999999", 9999999999.0),
        (b"0", None),
        (b"", None),
        (b"-1", None),
        (b"1e9", None),
        ("\u0661".encode(), None),
        (b"9" * 5000, None),
    ],
)
def test_an_end_is_seconds_or_none(expiry: bytes, expected: float | None) -> None:
    """What is no number is no end, as git itself reads it."""
    assert offer(FULL + b"password_expiry_utc=" + expiry + b"\n").terms.expires_at == expected


def test_a_refresh_token_is_a_secret() -> None:
    """It is for git's other helpers."""
    terms = offer(FULL + b"oauth_refresh_token=xyzzy\n").terms
    assert terms.refresh_token == Secret("xyzzy")
    assert "xyzzy" not in repr(terms)


@pytest.mark.parametrize(
    ("words", "lifetime_s"),
    [
        ([], None),
        (["--timeout=1"], 1),
        (["--timeout", "900"], 900),
        (["--timeout=1", "--timeout=2"], 2),
        (["--odd"], None),
    ],
)
def test_a_timeout_as_that_of_the_cache(words: list[str], lifetime_s: int | None) -> None:
    """Both spellings; the last counts."""
    assert offer(FULL, *words).terms.lifetime_s == lifetime_s


@pytest.mark.parametrize(
    "words", [["--timeout=0"], ["--timeout=-1"], ["--timeout=x"], ["--timeout="], ["--timeout"]]
)
def test_a_timeout_that_is_none_keeps_nothing(words: list[str]) -> None:
    """Security: what was to be kept for a while is not kept for ever."""
    with pytest.raises(MalformedError):
        Git().read([*words, "store"], FULL, {})


def given_back(one: ToolCredential) -> bytes:
    """Return what git is told of a kept one."""
    return Git().answer(OwnCredential(credential=one)).stdout


def test_a_kept_one_is_given_back_as_it_was() -> None:
    """With its end and its refresh token, where it has them."""
    assert given_back(KEPT) == b"username=alice\npassword=hunter2\n"
    more = KEPT.replace(expires_at=99.0, refresh_token=Secret("xyzzy"))
    lines = b"password_expiry_utc=99\noauth_refresh_token=xyzzy\n"
    assert given_back(more) == given_back(KEPT) + lines


@pytest.mark.parametrize(
    ("expires_at", "refresh_token", "ends_at", "is_over"),
    [
        (None, None, None, False),
        (100.0, None, None, False),
        (99.0, None, None, True),
        (99.0, "xyzzy", None, False),
        (None, None, 99.0, True),
        (None, "xyzzy", 99.0, True),
        (None, None, 99.5, False),
    ],
)
def test_when_it_is_over(
    expires_at: float | None, refresh_token: str | None, ends_at: float | None, *, is_over: bool
) -> None:
    """A refresh token outlives what it renews, and nothing outlives its timeout."""
    secret = None if refresh_token is None else Secret(refresh_token)
    one = KEPT.replace(expires_at=expires_at, refresh_token=secret, ends_at=ends_at)
    assert one.is_over(99.0) == is_over
