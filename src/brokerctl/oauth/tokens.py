"""Reads what a token endpoint says (RFC 6749, 5.1 and 5.2), trusting none of it.

What is wrong but harmless is read as absent, because refusing a whole answer to a refresh loses
the new refresh token in it; what is wrong and not harmless is an IssuerError.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64

from brokerctl import jsonlite
from brokerctl.errors import IssuerError, OAuthError
from brokerctl.model import Value
from brokerctl.secret import Secret
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.oauth.message import HttpResponse

MAX_TOKEN_CHARS = 65536
MAX_LIFETIME_S = 365 * 86400
MAX_SCOPES = 1000
OK, BAD_REQUEST, SERVER_ERROR = 200, 400, 500
_CODE_CHARS, _SUB_CHARS = 80, 255
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CODE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 5.2
_SCOPES = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6749, 3.3
_SECONDS = re.compile(r"[0-9]{1,10}")


class UnusableAnswerError(IssuerError):
    """A token response that no token can be taken from; `refresh_token` is the new one in it."""

    def __init__(self, message: str, refresh_token: Secret | None) -> None:
        super().__init__(message)
        self.refresh_token = refresh_token


class TokenAnswer(Value):
    """A token response that passed; nothing in it was verified but its shape."""

    access_token: Secret
    token_type: str  # Bearer, as the issuer wrote it
    expires_in: (
        int | None
    )  # seconds from `sent_at`; None: not said; 0: already over, not to be stored
    scopes: tuple[str, ...]  # granted, sorted; those asked for where the issuer says nothing
    refresh_token: Secret | None = None
    id_sub: str | None = None  # the ID token's `sub`, unverified but for the connection it came by
    sent_at: float = 0.0  # when the request was sent


def parse_token_response(
    response: HttpResponse, asked: tuple[str, ...] = (), *, host: str = "the issuer"
) -> TokenAnswer:
    """Return what was issued; OAuthError for an error response, IssuerError for anything else.

    UnusableAnswerError where the issuer has issued and we can't use it: its refresh token counts,
    because the one before may be dead by now.
    """
    body = parse_answer(response, "token endpoint", host)
    try:
        return _parse_issued(body, response, asked, host)
    except IssuerError as error:
        raise UnusableAnswerError(error.message, _find_refresh_token(body)) from error


def _parse_issued(
    body: dict[str, Any], response: HttpResponse, asked: tuple[str, ...], host: str
) -> TokenAnswer:
    issued = [body.get("access_token"), body.get("refresh_token")]
    found = tuple(Secret(value) for value in issued if isinstance(value, str) and value)
    response = response.replace(secrets=(*response.secrets, *found))
    token_type, sub = body.get("token_type"), find_unverified_sub(body.get("id_token"))
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        shown = safe(response.hide_sent(token_type), 40) if isinstance(token_type, str) else "none"
        raise IssuerError(f"{host} answered with a token of type {shown}, not Bearer")
    # Security: scopes and `sub` are shown and recorded.
    if response.holds_secret(f"{sub or ''} {body.get('scope') or ''}"):
        raise IssuerError(f"{host} answered with a secret among its scopes or as the person's name")
    return TokenAnswer(
        access_token=_token(body.get("access_token"), "access token", host),
        token_type=token_type,
        expires_in=parse_lifetime(body.get("expires_in")),
        scopes=_scopes(body.get("scope"), asked, host),
        refresh_token=_refresh_token(body.get("refresh_token"), host),
        id_sub=sub,
        sent_at=response.sent_at,
    )


def _find_refresh_token(body: dict[str, Any]) -> Secret | None:
    try:
        return _refresh_token(body.get("refresh_token"), "")
    except IssuerError:
        return None


def parse_answer(response: HttpResponse, what: str, host: str) -> dict[str, Any]:
    """Return the JSON object of a 200; an error in it is an OAuthError whatever the status.

    A refusal without an `error` in JSON is an IssuerError: some issuers answer 400 or 403 with an
    empty page, which says nothing about the grant and so must not end it.
    """
    try:
        body = jsonlite.loads(response.body)
    except ValueError:
        body = None
    if response.status >= SERVER_ERROR:
        raise _unexplained(response, what, host)
    if isinstance(body, dict) and "error" in body:
        raise parse_error(body, response.status, host, response.hide_sent)
    if response.status != OK:
        raise _unexplained(response, what, host)
    if not isinstance(body, dict):
        raise IssuerError(f"the {what} of {host} did not answer in JSON")
    return body


def parse_error(
    body: dict[str, Any], status: int, host: str, hide: Callable[[str], str] = str
) -> IssuerError:
    """Return the issuer's error (RFC 6749, 5.2); a code that is no code is not repeated.

    Security: `hide` stars out what an issuer repeats of the secrets that it was sent.
    """
    code, description = body.get("error"), body.get("error_description")
    code = hide(code) if isinstance(code, str) else ""
    if not _CODE.fullmatch(code) or len(code) > _CODE_CHARS:
        return IssuerError(f"{host} answered {status} with an unreadable error")
    if not isinstance(description, str) or not description:
        description = None
    shown = safe(hide(description)) if description else None
    return OAuthError(code, shown, status=status)


def _unexplained(response: HttpResponse, what: str, host: str) -> IssuerError:
    wait = response.retry_after_s()
    hint = f"the issuer asks to wait {wait} seconds" if wait else None
    if BAD_REQUEST <= response.status < SERVER_ERROR and hint is None:
        hint = "it gave no reason; check client_id and secret, or run 'brokerctl login' again"
    return IssuerError(f"the {what} of {host} answered {response.status}", hint=hint)


def safe_code(text: str) -> str:
    """Return an issuer's text as it may be shown."""
    return safe(text)


def parse_lifetime(value: object) -> int | None:
    """Return seconds, at least 0 and at most a year; None where nothing usable was said.

    An integer, digits in a string or a decimal number (all three are seen in the field); `true`
    and anything else count as not said, which means a short assumed lifetime.
    """
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(0, min(int(value), MAX_LIFETIME_S))


def _token(value: object, what: str, host: str) -> Secret:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN_CHARS:
        raise IssuerError(f"{host} answered without a usable {what}")
    if not _TOKEN.fullmatch(value):
        raise IssuerError(f"{host} answered with characters in the {what} that no token has")
    return Secret(value)


def _refresh_token(value: object, host: str) -> Secret | None:
    return None if value is None or value == "" else _token(value, "refresh token", host)


def _scopes(value: object, asked: tuple[str, ...], host: str) -> tuple[str, ...]:
    if value is None:
        return tuple(sorted(set(asked)))  # RFC 6749, 5.1: absent means as asked
    if not isinstance(value, str) or len(value) > MAX_TOKEN_CHARS or not _SCOPES.fullmatch(value):
        raise IssuerError(f"{host} answered with a scope that is none")
    found = set(value.split(" ")) - {""}
    if len(found) == 1 and "," in value and not found <= set(asked):
        found = set(value.split(",")) - {""}  # GitHub separates with commas
    if len(found) > MAX_SCOPES:
        raise IssuerError(f"{host} answered with more than {MAX_SCOPES} scopes")
    return tuple(sorted(found))


def find_unverified_sub(id_token: object) -> str | None:
    """Return the `sub` of an ID token without looking at its signature, or None.

    The token came straight from the token endpoint over TLS, which OpenID Connect Core, 3.1.3.7
    lets stand for the signature; it is only compared with the one of an earlier login.
    """
    if not isinstance(id_token, str) or len(id_token) > MAX_TOKEN_CHARS:
        return None
    parts = id_token.split(".")
    if len(parts) != 3 or not parts[1].isascii():  # noqa: PLR2004 - a compact JWS has three
        return None
    text = parts[1].replace("-", "+").replace("_", "/")
    try:
        claims = jsonlite.loads(a2b_base64(text + "=" * (-len(text) % 4)))
    except (Base64Error, ValueError):
        return None
    sub = claims.get("sub") if isinstance(claims, dict) else None
    return sub if isinstance(sub, str) and 0 < len(sub) <= _SUB_CHARS else None
