"""Requests and answers in JSON of APIs that give tokens, and are no token endpoints of OAuth.

GitHub, Google's IAM Credentials and the package indexes: each says no in words of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from brokerctl import jsonlite
from brokerctl.errors import IssuerError, OAuthError
from brokerctl.oauth.message import JSON, SERVER_ERROR, HttpRequest, host_of
from brokerctl.oauth.tokens import (
    SUCCESS,
    TokenAnswer,
    UnusableAnswerError,
    parse_lifetime,
    read_access_token,
    read_members,
)
from brokerctl.secret import Secret
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.oauth.message import HttpResponse

    Headers = tuple[tuple[str, str | Secret], ...]

_CONTENT = ("content-type", "application/json")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}|[1-5][0-9]{2}", re.ASCII)
_HINTED_WAIT = "the issuer asks to wait {} seconds"


def post_json(
    url: str, body: dict[str, Any], *, bearer: Secret | None = None, headers: Headers = (JSON,)
) -> HttpRequest:
    """Make a POST of a JSON object, in which a Secret stands for its text."""
    hidden = [value for value in body.values() if isinstance(value, Secret)]
    plain = {
        name: value.reveal() if isinstance(value, Secret) else value for name, value in body.items()
    }
    if bearer is not None:
        hidden.append(bearer)
        headers = (*headers, ("authorization", Secret(f"Bearer {bearer.reveal()}")))
    return HttpRequest(
        method="POST",
        url=url,
        headers=(_CONTENT, *headers),
        body=Secret(jsonlite.dumps(plain)),
        secrets=tuple(hidden),
    )


def read_object(response: HttpResponse, url: str) -> dict[str, Any]:
    """Return the members of a 2xx answer; IssuerError for one that is no JSON object."""
    body = read_members(response.body)
    if body is None or body.keys() == {""}:
        raise IssuerError(f"{host_of(url)} did not answer in JSON")
    return body


def read_token(
    value: object,
    ends_at: float | None,
    response: HttpResponse,
    url: str,
    scopes: tuple[str, ...] = (),
) -> TokenAnswer:
    """Return the token of an answer and when it ends, which is unknown where nothing was said.

    UnusableAnswerError for what can't be a token.
    """
    try:
        token = read_access_token(value, host_of(url))
    except IssuerError as error:
        raise UnusableAnswerError(error.message, None) from error
    return TokenAnswer(
        access_token=token,
        token_type="Bearer",
        expires_in=None if ends_at is None else parse_lifetime(ends_at - response.sent_at),
        scopes=scopes,
        sent_at=response.sent_at,
    )


def is_success(response: HttpResponse) -> bool:
    """Return whether an answer's status says that a token was given."""
    return response.status in SUCCESS


def read_refusal(response: HttpResponse) -> dict[str, Any]:
    """Return the members of a refusal; {} where it is no JSON object, as a proxy's page is none."""
    try:
        body = jsonlite.loads(response.body)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def refusal(
    response: HttpResponse, url: str, code: object, text: object, hint: str | None = None
) -> IssuerError:
    """Return what a refusal means: OAuthError with the API's own word, if it is one.

    Security: what it repeats of our secrets is hidden, and an ill-formed word is not repeated.
    """
    if response.status >= SERVER_ERROR or not isinstance(text, str):
        error = IssuerError(f"{host_of(url)} answered {response.status}")
    else:
        word = response.hide_sent(code) if isinstance(code, str) else ""
        word = word if _CODE.fullmatch(word) else str(response.status)
        error = OAuthError(word, safe(response.hide_sent(text)), status=response.status)
    wait = response.retry_after_s()
    error.hint = _HINTED_WAIT.format(wait) if wait else hint
    return error


def parse_time(text: object) -> int | None:
    """Return the seconds since the epoch of a time in UTC; parts of a second are left out."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    try:
        return int(datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
