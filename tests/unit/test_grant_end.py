"""When a login ends by its issuer's word: read from the answer, kept, and said in good time."""

from __future__ import annotations

import pytest

from brokerctl import jsonlite
from brokerctl.broker.answers import ends_soon, find_end
from brokerctl.oauth.message import HttpResponse
from brokerctl.oauth.tokens import TokenAnswer, parse_token_response
from brokerctl.secret import Secret
from brokerctl.store.values import Grant, Slot
from tests.store_room import NOW, TOKEN_KEY, make_grant, make_token

DAY = 86400.0


def parse(**members: object) -> TokenAnswer:
    """Return the answer that a token endpoint's members make."""
    body = {"access_token": "a", "token_type": "Bearer", "expires_in": 60, **members}
    response = HttpResponse(status=200, body=jsonlite.dumps(body).encode(), sent_at=NOW)
    return parse_token_response(response)


def answer(seconds: int | None, refresh_token: str | None = "r1") -> TokenAnswer:
    """Return an answer with a refresh token that lives so long."""
    return TokenAnswer(
        access_token=Secret("a"),
        token_type="Bearer",
        expires_in=60,
        scopes=(),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        sent_at=NOW,
        refresh_expires_in=seconds,
    )


@pytest.mark.parametrize(
    ("members", "seconds"),
    [
        ({}, None),
        ({"refresh_token_expires_in": 15_811_200}, 15_811_200),  # GitHub: six months
        ({"refresh_expires_in": 1800}, 1800),  # Keycloak
        ({"refresh_expires_in": 0}, None),  # Keycloak's way to say that there is no end
        ({"refresh_token_expires_in": "1800"}, 1800),
        ({"refresh_token_expires_in": 1800.7}, 1800),
        ({"refresh_token_expires_in": 94_608_000}, 94_608_000),  # more than a year
        ({"refresh_token_expires_in": 1e300}, 100 * 365 * 86400),
        ({"refresh_token_expires_in": -5}, None),
        ({"refresh_token_expires_in": True}, None),
        ({"refresh_token_expires_in": "soon"}, None),
        ({"refresh_token_expires_in": {}}, None),
        ({"refresh_token_expires_in": None, "refresh_expires_in": 9}, 9),
    ],
)
def test_what_an_issuer_says_of_its_refresh_token(
    members: dict[str, object], seconds: int | None
) -> None:
    """By either name; what is odd says nothing, and the answer is an answer all the same."""
    assert parse(**members).refresh_expires_in == seconds


@pytest.mark.parametrize(
    ("told", "refresh_token", "before", "end"),
    [
        (600, "r1", None, NOW + 600),
        (600, "r2", NOW + 5, NOW + 600),
        (600, None, NOW + 5, NOW + 600),  # said of the one that goes on
        (None, "r1", NOW + 5, NOW + 5),
        (None, None, NOW + 5, NOW + 5),
        (None, "r2", NOW + 5, None),  # a new one, of which nothing is known
    ],
)
def test_whose_end_it_is(
    told: int | None, refresh_token: str | None, before: float | None, end: float | None
) -> None:
    """That of the refresh token that is kept."""
    old = make_grant("r1").replace(ends_at=before)
    assert find_end(answer(told, refresh_token), old) == end


def test_the_end_of_a_first_login() -> None:
    """There is nothing before it."""
    assert find_end(answer(600)) == NOW + 600
    assert find_end(answer(None)) is None


def grant(ends_at: float | None, issued_at: float | None = None) -> Grant:
    """Return a grant that was redeemed last at that time."""
    issued = make_token(issued_at=NOW if issued_at is None else issued_at)
    slot = Slot(key=TOKEN_KEY, profile="p", current=issued)
    return make_grant().replace(ends_at=ends_at, issued=slot, obtained_at=NOW - 30 * DAY)


@pytest.mark.parametrize(
    ("passed", "old", "new", "is_soon"),
    [
        (DAY, 3 * DAY, 3 * DAY, True),  # the end stays
        (DAY, 3 * DAY, 3 * DAY + 2, True),  # to the second or two
        (DAY, 3 * DAY, 3 * DAY - 2, True),
        (DAY, 3 * DAY, 4 * DAY, False),  # it moves on with use
        (3600.0, 1800.0, 5400.0, False),  # a session of half an hour, in use
        (3600.0, 3600.0 + 1800, 3600.0 + 1800, True),  # whose longest life is near
        (DAY, 9 * DAY, 9 * DAY, False),  # more than a week is left
        (DAY, 8 * DAY, 8 * DAY, True),  # to the second a week
        (5.0, 3 * DAY, 3 * DAY + 1, False),  # too early to tell
        (5.0, 3 * DAY, 3 * DAY, True),  # the issuer said nothing new
        (DAY, None, 3 * DAY, False),
        (DAY, 3 * DAY, None, False),
    ],
)
def test_what_is_warned_of(
    passed: float, old: float | None, new: float | None, *, is_soon: bool
) -> None:
    """An end that is near and that use does not put off."""
    before = grant(None if old is None else NOW + old)
    after = grant(None if new is None else NOW + new)
    assert ends_soon(before, after, NOW + passed) is is_soon


@pytest.mark.parametrize(
    ("moved", "is_soon"), [(0.0, True), (-1.0, True), (1500.0, False), (3600.0, False)]
)
def test_without_its_last_token_an_end_that_moves_is_none(moved: float, *, is_soon: bool) -> None:
    """That token was revoked, as each `exec` does: nobody knows when the last answer came.

    It would be taken for an end that stands nearly still: the login is long ago.
    """
    before = grant(NOW + 1800).replace(issued=None)
    assert ends_soon(before, grant(NOW + 1800 + moved), NOW + 60) is is_soon
