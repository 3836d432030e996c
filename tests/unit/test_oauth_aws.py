"""What STS says in XML, and what is made of it: nothing in it is trusted."""

from __future__ import annotations

import pytest

from brokerctl.errors import IssuerError, OAuthError
from brokerctl.oauth.flows.aws_web_identity import parse_answer
from brokerctl.secret import Secret
from tests.flows import STS_VALUE, answer, sts_answer, sts_error

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize("ends", ["1970-01-12T14:46:40Z", "1970-01-12T14:46:40.999999Z"])
def test_the_end_is_a_time_in_utc(ends: str) -> None:
    """With parts of a second, as moto writes it, or without; none is said to live longer."""
    found = parse_answer(sts_answer(Expiration=ends), "sts")
    assert (found.access_token, found.expires_in) == (Secret(STS_VALUE), 3600)


@pytest.mark.parametrize(
    "ends", ["", "soon", "1970-13-12T14:46:40Z", "1970-01-12T14:46:40", "1970-01-12T14:46:40+01:00"]
)
def test_an_end_that_is_none(ends: str) -> None:
    """Nothing is guessed: AWS always says when credentials end."""
    with pytest.raises(IssuerError, match="without usable credentials"):
        parse_answer(sts_answer(Expiration=ends), "sts")


def test_credentials_that_are_over() -> None:
    """They count as over, and are not stored."""
    assert parse_answer(sts_answer(Expiration="1970-01-01T00:00:00Z"), "sts").expires_in == 0


@pytest.mark.parametrize("word", ["", "a b c d", 'a"bcde', "a\\bcde", "caf\xe9s", "a&#10;bcde"])
def test_words_that_no_credential_has(word: str) -> None:
    """What could end a line, a word of a shell or a string of JSON."""
    with pytest.raises(IssuerError, match="without usable credentials"):
        parse_answer(sts_answer(SecretAccessKey=word), "sts")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<a>",
        BOMB.encode() + sts_answer().body,
        sts_answer().body.replace(b"<Credentials>", b"<!-- x --><Credentials>"),
        (BOMB + sts_answer().body.decode()).encode("utf-16"),
        sts_answer().body + b" " * (1 << 20),
        b"<a>" * 5000,
        b"\xff" + sts_answer().body,
    ],
)
def test_xml_that_is_not_parsed(body: bytes) -> None:
    """Entities come from declarations, so none is read; nor what is too long or not UTF-8."""
    with pytest.raises(IssuerError, match="not answer in XML"):
        parse_answer(answer(body), "sts")


def test_a_word_that_is_there_twice() -> None:
    """Which of them is meant, nobody knows."""
    twice = sts_answer().body.replace(b"</SessionToken>", b"</SessionToken><SessionToken/>")
    with pytest.raises(IssuerError, match="without usable credentials"):
        parse_answer(answer(twice), "sts")


def test_an_error_is_its_code() -> None:
    """What STS says besides may hold anything, and is not repeated."""
    with pytest.raises(OAuthError) as caught:
        parse_answer(sts_error("AccessDenied", "token s3cret"), "sts")
    error = caught.value
    assert (error.error, error.description) == ("AccessDenied", None)
    assert "trust policy" in (error.hint or "")


@pytest.mark.parametrize("code", ["", "a b", "x" * 200, "a\x1b[2J", "web.identity", "a.b.c"])
def test_a_code_that_is_none(code: str) -> None:
    """Nor is what only looks like one, nor one that repeats the web identity."""
    sent = sts_error(code).replace(secrets=(Secret("web.identity.token"), Secret("web.identity")))
    with pytest.raises(IssuerError) as caught:
        parse_answer(sent, "sts")
    assert not isinstance(caught.value, OAuthError)
    assert "identity" not in caught.value.message


def test_a_server_error_is_the_server_s() -> None:
    """Whatever code it names: one more try, then the next call."""
    with pytest.raises(IssuerError, match="answered 503"):
        parse_answer(sts_error("InternalFailure", status=503), "sts")
