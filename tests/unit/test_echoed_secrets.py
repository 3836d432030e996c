"""What an issuer repeats of the secrets that it was sent reaches neither message nor record."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

from brokerctl import jsonlite
from brokerctl.errors import IssuerError, OAuthError
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.message import HttpRequest
from brokerctl.oauth.tokens import UnusableAnswerError, parse_token_response
from brokerctl.secret import Secret
from tests.flows import context, profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.oauth.message import HttpResponse

CLIENT_SECRET, REFRESH_TOKEN = "s3cret/of+client", "rt-of-a-person"


def answer(auth: str, body: dict[str, str]) -> HttpResponse:
    """Return the answer to a refresh."""
    ctx = context(profile(client_auth=auth), secret=CLIENT_SECRET)
    fields = [("refresh_token", Secret(REFRESH_TOKEN))]
    request = authenticated_form(ctx, "https://issuer.example.com/token", fields)
    data = jsonlite.dumps(body).encode()
    return request.answered(status=400, headers=(), body=data, sent_at=0, received_at=0)


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post", "none"])
@pytest.mark.parametrize("field", ["error", "error_description"])
def test_an_error_that_repeats_a_secret(auth: str, field: str) -> None:
    """As it was sent and as a form has it, whatever way the client authenticates."""
    basic = b64encode(f"cli:{quote_plus(CLIENT_SECRET)}".encode()).decode()
    told = f"no {CLIENT_SECRET} or {quote_plus(CLIENT_SECRET)} for {REFRESH_TOKEN}, Basic {basic}"
    text = told.partition(",")[0] if field == "error" else told
    with pytest.raises(IssuerError) as caught:
        parse_token_response(answer(auth, {"error": "invalid_grant", field: text}))
    error = caught.value
    assert isinstance(error, OAuthError)
    shown = f"{error.message} {error.error} {error.description}"
    assert "**** or ****" in shown
    for secret in (CLIENT_SECRET, quote_plus(CLIENT_SECRET), REFRESH_TOKEN):
        assert secret not in shown
    assert auth != "client_secret_basic" or basic not in shown


SUB = "eyJzdWIiOiJzM2NyZXQvb2YrY2xpZW50In0"  # {"sub":"s3cret/of+client"}


@pytest.mark.parametrize(
    "more",
    [
        {"scope": f"read {CLIENT_SECRET}"},
        {"scope": "a-long-access-token"},
        {"id_token": f"e30.{SUB}.x"},
    ],
)
def test_a_scope_or_a_sub_that_is_a_secret(more: dict[str, str]) -> None:
    """Both are shown and recorded; the refresh token beside them is kept all the same."""
    body = {"access_token": "a-long-access-token", "token_type": "Bearer", "refresh_token": "rt-2"}
    got = answer("client_secret_post", body | more).replace(status=200)
    with pytest.raises(UnusableAnswerError, match="a secret among its scopes") as caught:
        parse_token_response(got)
    assert caught.value.refresh_token == Secret("rt-2")


@pytest.mark.parametrize(
    "secret", ['a "quoted" secret', "a,secret,with,commas", "ä secret beyond ASCII"]
)
@pytest.mark.parametrize("form", [str, lambda text: [text], lambda text: f"read {text} write"])
def test_a_secret_of_odd_characters(secret: str, form: Callable[[str], object]) -> None:
    """It is looked for as the issuer wrote it, before its characters are replaced."""
    request = HttpRequest(method="POST", url="https://i.example/token", secrets=(Secret(secret),))
    body = {"access_token": "at", "refresh_token": "rt-2", "scope": form(secret)}
    data = jsonlite.dumps(body).encode()
    got = request.answered(status=200, headers=(), body=data, sent_at=0, received_at=0)
    with pytest.raises(UnusableAnswerError, match="a secret among its scopes") as caught:
        parse_token_response(got)
    assert caught.value.refresh_token == Secret("rt-2")


def test_a_short_secret_is_no_word_of_a_scope() -> None:
    """A weak secret that is a scope's name, too, makes no answer unusable."""
    body = {"access_token": "rea", "token_type": "Bearer", "scope": "read"}
    got = answer("none", body).replace(status=200)
    assert parse_token_response(got).scopes == ("read",)
