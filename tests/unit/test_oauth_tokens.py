"""What a token endpoint says, believed in part."""

from __future__ import annotations

import base64
import json

import pytest

from brokerctl.errors import IssuerError, OAuthError
from brokerctl.oauth.message import BrokenError, HttpRequest, post_form, should_retry
from brokerctl.oauth.tokens import MAX_LIFETIME_S, parse_lifetime, parse_token_response
from brokerctl.secret import Secret
from tests.flows import NOW, answer, issued


def test_a_plain_answer_is_read_whole() -> None:
    """Values, lifetime, scopes and the time of sending come out of a good answer."""
    got = parse_token_response(issued(refresh_token="rt-1", scope="b a"))
    assert got.access_token.reveal() == "at-1"
    assert got.refresh_token == Secret("rt-1")
    assert (got.expires_in, got.scopes, got.token_type) == (60, ("a", "b"), "Bearer")
    assert got.sent_at == NOW
    assert "at-1" not in repr(got)
    assert "rt-1" not in repr(got)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3600, 3600),
        ("3599", 3599),
        (12.7, 12),
        (0, 0),
        (-5, 0),
        (10**29, MAX_LIFETIME_S),
        (1e300, MAX_LIFETIME_S),
        (float("inf"), MAX_LIFETIME_S),
        (True, None),
        (None, None),
        ("", None),
        ("+5", None),
        (" 5", None),
        ("١٢", None),
        ([5], None),
    ],
)
def test_expires_in_is_a_number_or_not_said(value: object, expected: int | None) -> None:
    """`true` is no lifetime, nothing lasts longer than a year, and what is over is 0."""
    assert parse_lifetime(value) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\nb"},
        {"access_token": "ä"},
        {"access_token": "a" * 65537},
        {"access_token": ["a"]},
        {"token_type": "DPoP"},
        {"token_type": "N_A"},
        {"token_type": 1},
    ],
)
def test_an_answer_with_a_bad_field_is_refused(changes: dict[str, object]) -> None:
    """Wrong types, odd characters and other token types are the issuer's error, never stored."""
    with pytest.raises(IssuerError) as caught:
        parse_token_response(issued(**changes))
    assert not isinstance(caught.value, OAuthError)


@pytest.mark.parametrize(
    ("scope", "asked", "expected"),
    [
        (None, ("b", "a"), ("a", "b")),
        ("", ("a",), ()),
        ("a a", ("a", "b"), ("a",)),
        ("repo,gist", (), ("gist", "repo")),
        ("repo,gist", ("repo,gist",), ("repo,gist",)),
        (["b", "a c", 5], (), ("a", "b", "c")),
        ('a"b', ("a", "b"), ("a?b",)),
    ],
)
def test_scope_absent_means_as_asked(
    scope: object, asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """RFC 6749, 5.1; and GitHub's commas, unless the scope itself holds them."""
    assert parse_token_response(issued(scope=scope), asked).scopes == expected


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_an_error_in_json_is_the_issuers_word(status: int) -> None:
    """An `error` counts whatever the status: GitHub sends it with 200."""
    with pytest.raises(OAuthError) as caught:
        parse_token_response(answer({"error": "invalid_grant"}, status))
    assert (caught.value.error, caught.value.status) == ("invalid_grant", status)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"<html>", 403),
        (b"", 401),
        (b"[]", 400),
        (b'{"error":5}', 400),
        (b'{"error":""}', 400),
        (b'{"error":"a\\nb"}', 400),
        (b'{"error":"invalid_grant","error":"x"}', 400),
        (b'{"error":"invalid_grant"}', 503),
        (b'{"access_token":"a","token_type":"Bearer"}', 302),
        (b'{"access_token":"a","token_type":"Bearer"}', 400),
        (b"null", 200),
    ],
)
def test_a_refusal_without_a_reason_ends_no_grant(body: bytes, status: int) -> None:
    """Empty pages, HTML and 5xx are IssuerError and never `invalid_grant`."""
    with pytest.raises(IssuerError) as caught:
        parse_token_response(answer(body, status))
    assert not isinstance(caught.value, OAuthError)


def test_a_code_of_the_issuers_own_is_not_invalid_grant() -> None:
    """`invalid_code` is passed on as it is."""
    with pytest.raises(OAuthError) as caught:
        parse_token_response(answer({"error": "invalid_code"}, 400))
    assert caught.value.error == "invalid_code"


def test_the_issuers_text_is_escaped_and_cut() -> None:
    """A description can't draw on the terminal."""
    with pytest.raises(OAuthError) as caught:
        parse_token_response(
            answer({"error": "x", "error_description": "\x1b[2J" + "a" * 999}, 400)
        )
    assert caught.value.description is not None
    assert "\x1b" not in caught.value.description
    assert len(caught.value.description) <= 200


@pytest.mark.parametrize(("claims", "sub"), [({"sub": "al"}, "al"), ({"sub": 5}, None), ([], None)])
def test_the_sub_of_an_id_token_is_read(claims: object, sub: str | None) -> None:
    """Only a string of a sane length counts."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert parse_token_response(issued(id_token=f"e30.{part}.sig")).id_sub == sub


def test_only_server_errors_and_broken_connections_are_retried() -> None:
    """A time-out is not: the first try may still be under way."""
    assert should_retry(answer(b"", 503))
    assert should_retry(BrokenError("broke"))
    assert not should_retry(answer(b"", 429))
    assert not should_retry(answer(b"", 400))
    assert not should_retry(IssuerError("did not answer in time"))


def test_a_request_shows_neither_form_nor_header_nor_query() -> None:
    """Printing a request for a log says method and host."""
    url = "https://a.example/token?key=q-secret"
    made = post_form(url, [("client_secret", Secret("s-1"))], (("authorization", Secret("h-1")),))
    assert repr(made) == "HttpRequest(POST a.example)"
    assert made.body is not None
    assert made.body.reveal() == "client_secret=s-1"
    assert isinstance(made, HttpRequest)


@pytest.mark.parametrize("value", ["a b", "x" * 900_000])
def test_a_refresh_token_only_goes_into_a_form(value: str) -> None:
    """It may hold a blank (RFC 6749, A.17) and be as long as an answer can be."""
    assert parse_token_response(issued(refresh_token=value)).refresh_token == Secret(value)


def test_an_answer_shows_no_body() -> None:
    """Printing an answer says status and size."""
    assert "at-1" not in repr(issued())
