"""Reads the answers of a token endpoint (RFC 6749, 5.1 and 5.2), and trusts none of them.

No token that an issuer gave is thrown away: a 2xx with a usable access token is an answer, however
odd the rest of it is. Where the access token can't be used, the refresh token is still read.
"""

from __future__ import annotations

import re

from brokerctl import jsonlite
from brokerctl.errors import IssuerError, OAuthError
from brokerctl.model import NOT_BEARER, Value
from brokerctl.oauth.message import SERVER_ERROR
from brokerctl.oauth.unverified_claims import (
    MAX_TOKEN_CHARS,
    find_unverified_sub,
    read_unverified_claims,
)
from brokerctl.secret import Secret
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.oauth.message import HttpResponse

MAX_LIFETIME_S, MAX_REFRESH_LIFETIME_S = 365 * 86400, 100 * 365 * 86400
MAX_SCOPES, MAX_SCOPE_CHARS = 1000, 512
OK, BAD_REQUEST = 200, 400
SUCCESS = range(200, 300)
_CODE_CHARS = 80
_TOKEN = re.compile(r"[\x21-\x7e]+")
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]+")  # RFC 6749, A.17: it only ever goes into a form
_CODE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 5.2
_NO_SCOPE = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")  # RFC 6749, 3.3
_SECONDS = re.compile(r"[0-9]{1,10}")
_MAX_DEPTH = 8
_ACT_CHARS = 1000
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


class UnusableAnswerError(IssuerError):
    """A token response whose access token can't be used; `refresh_token` is the new one in it.

    `issued`: what it holds all the same, to be ended; None where it holds no access token.
    """

    def __init__(
        self, message: str, refresh_token: Secret | None, issued: TokenAnswer | None = None
    ) -> None:
        super().__init__(message)
        self.refresh_token = refresh_token
        self.issued = issued


class TokenAnswer(Value):
    """A token response that was accepted; only its shape was checked."""

    access_token: Secret
    token_type: str  # Bearer, as the issuer wrote it
    expires_in: (
        int | None
    )  # seconds from `sent_at`; None: not said; 0: already over, not to be stored
    scopes: tuple[str, ...]  # granted, sorted; those asked for where the issuer says nothing
    refresh_token: Secret | None = None
    id_token: Secret | None = None
    id_sub: str | None = None  # the ID token's `sub`, unverified but for the connection it came by
    sent_at: float = 0.0  # when the request was sent
    refresh_expires_in: int | None = None  # of the refresh token, from `sent_at`; None: not said
    issued_type: str | None = None  # of an exchange (RFC 8693, section 2.2.1)
    act: str | None = None  # who acts for its subject, as the token says (section 4.1); JSON
    claims: str | None = None  # what was proven of this job, for which it was exchanged; JSON


def parse_token_response(
    response: HttpResponse,
    asked: tuple[str, ...] = (),
    *,
    host: str = "the issuer",
    nonce: Secret | None = None,
) -> TokenAnswer:
    """Return what was issued; OAuthError for an error response, IssuerError for anything else.

    UnusableAnswerError where the issuer has issued tokens that can't be used: the refresh token in
    it must be stored, because the earlier one may have ended. `nonce`: an ID token must repeat it.
    """
    body = read_members(response.body) if response.status in SUCCESS else None
    if body is None:
        body = parse_answer(response, "token endpoint", host)
    try:
        answer = _parse_issued(body, response, asked, host)
        _check_nonce(body.get("id_token"), nonce, host)
    except IssuerError as error:
        refresh_token = _find_refresh_token(body)
        if refresh_token is not None or not _is_said(body.get("error")):
            raise _unusable(error.message, body, response, refresh_token) from error
    else:
        return answer
    raise parse_error(body, response.status, host, response.hide_sent)


def parse_exchange_response(
    response: HttpResponse, asked: tuple[str, ...], requested: str | None, host: str
) -> TokenAnswer:
    """Return what was issued for another token (RFC 8693, section 2.2.1).

    Security: it must be of the type that was asked for. Where the issuer does not say it, as some
    don't, a bearer token is taken for an access token and for nothing else. `N_A` means that it is
    no token to be shown in a header.
    """
    body = read_members(response.body) if response.status in SUCCESS else None
    if body is None:
        body = parse_answer(response, "token endpoint", host)
    if "access_token" not in body and _is_said(body.get("error")):
        raise parse_error(body, response.status, host, response.hide_sent)
    issued = body.get("issued_token_type")
    is_none = str(body.get("token_type", "")).strip().upper() == NOT_BEARER
    if is_none:
        body = {**body, "token_type": None}
    try:
        answer = _parse_issued(body, response, asked, host)
    except IssuerError as error:
        raise _unusable(error.message, body, response) from error
    wanted = requested or ACCESS_TOKEN
    if issued is None and not is_none and wanted == ACCESS_TOKEN:
        issued = ACCESS_TOKEN
    if issued != wanted:
        shown = safe(response.hide_sent(issued), 80) if isinstance(issued, str) else "no type"
        raise _unusable(f"{host} issued {shown}, not {wanted}", body, response)
    if is_none and wanted == ACCESS_TOKEN:
        raise _unusable(f"{host} issued an access token that is {NOT_BEARER}", body, response)
    act = read_unverified_claims(answer.access_token.reveal()).get("act")
    return answer.replace(
        token_type=answer.token_type if wanted == ACCESS_TOKEN else NOT_BEARER,
        issued_type=wanted,
        act=_actor_text(act),
    )


def _unusable(
    message: str,
    body: dict[str, Any],
    response: HttpResponse,
    refresh_token: Secret | None = None,
) -> UnusableAnswerError:
    """Return the error of an answer that can't be used, with the token that it holds.

    Security: a value that we sent ourselves is none that was issued, and must not be ended.
    """
    value = body.get("access_token")
    is_ours = isinstance(value, str) and response.hide_sent(value) != value
    # What no header can hold can still be ended: a revocation is a form.
    fits = isinstance(value, str) and len(value) <= MAX_TOKEN_CHARS
    token = None if is_ours or not fits else _refresh_token(value)
    issued = None
    if token is not None:
        issued = TokenAnswer(
            access_token=token,
            token_type=NOT_BEARER,
            expires_in=parse_lifetime(body.get("expires_in")),
            scopes=(),
            refresh_token=_refresh_token(body.get("refresh_token")),
            sent_at=response.sent_at,
            refresh_expires_in=_refresh_lifetime(body),
        )
    return UnusableAnswerError(message, refresh_token, issued)


def _actor_text(act: object) -> str | None:
    """Return the chain of actors as JSON, if it is one that can be shown and stored."""
    try:
        text = jsonlite.dumps(act, sort=True) if isinstance(act, dict) else ""
    except (ValueError, TypeError):
        return None
    return text if 0 < len(text) <= _ACT_CHARS else None


def _parse_issued(
    body: dict[str, Any], response: HttpResponse, asked: tuple[str, ...], host: str
) -> TokenAnswer:
    issued = [body.get("access_token"), body.get("refresh_token")]
    found = tuple(Secret(value) for value in issued if isinstance(value, str) and value)
    response = response.replace(secrets=(*response.secrets, *found))
    access_token = read_access_token(body.get("access_token"), host)
    token_type = _token_type(body.get("token_type"), response, host)
    scopes, sub = _scopes(body.get("scope"), asked), find_unverified_sub(body.get("id_token"))
    # Security: scopes and `sub` are shown and recorded.
    if response.holds_secret(" ".join((sub or "", *_words_of(body.get("scope")), *scopes))):
        raise IssuerError(f"{host} answered with a secret among its scopes or as the person's name")
    return TokenAnswer(
        access_token=access_token,
        token_type=token_type,
        expires_in=parse_lifetime(body.get("expires_in")),
        scopes=scopes,
        refresh_token=_refresh_token(body.get("refresh_token")),
        id_token=_id_token(body.get("id_token")),
        id_sub=sub,
        sent_at=response.sent_at,
        refresh_expires_in=_refresh_lifetime(body),
    )


def has_come(part: HttpResponse, *, needs_refresh_token: bool) -> bool:
    """Return whether the beginning of an answer issues a token.

    It must be JSON: a form does not show its end, so that a token in it may be cut.
    """
    if part.status not in SUCCESS or b"{" not in part.body[:16]:
        return False
    body = read_members(part.body) or {}
    if _refresh_token(body.get("refresh_token")) is not None:
        return True
    return not needs_refresh_token and isinstance(body.get("access_token"), str)


def _find_refresh_token(body: dict[str, Any]) -> Secret | None:
    """Return the refresh token of an answer; where it is wrapped, the only one that is in there.

    A wrapped one counts only beside an access token. One that stands alone, or beside a
    `grant_type`, comes from our own request, which error pages repeat with its secrets hidden: if
    it were stored, the grant would be lost.
    """
    found = None if "grant_type" in body else _refresh_token(body.get("refresh_token"))
    level: list[Any] = list(body.values())
    inner: set[str] = set()
    for _ in range(_MAX_DEPTH):
        dicts = [value for value in level if isinstance(value, dict)]
        issued = [value for value in dicts if "access_token" in value]
        tokens = (_refresh_token(value.get("refresh_token")) for value in issued)
        inner |= {token.reveal() for token in tokens if token is not None}
        level = [item for value in dicts for item in value.values()]
    return Secret(*inner) if found is None and len(inner) == 1 else found


def _is_said(error: object) -> bool:
    """Return whether an `error` member has a value: many answers hold an empty one."""
    return error not in (None, "", False, 0, (), [], {})


def read_members(data: bytes) -> dict[str, Any] | None:
    """Return the members of a 2xx answer's object, however odd; None where there is no object."""
    try:
        body = jsonlite.loads(data)
    except ValueError:
        from brokerctl.oauth.members import read  # noqa: PLC0415 - `json`, for an odd answer alone

        body = read(data)
    if isinstance(body, list) and len(body) == 1:
        return {"": body[0]}
    return body if isinstance(body, dict) else None


def parse_answer(response: HttpResponse, what: str, host: str) -> dict[str, Any]:
    """Return the members of a 2xx; an error in it is an OAuthError whatever the status.

    A refusal without an `error` in strict JSON is an IssuerError: some issuers answer 400 or 403
    with an empty page, which says nothing about the grant and so must not end it.
    """
    if response.status in SUCCESS:
        body = read_members(response.body)
        if body is None:
            raise IssuerError(f"the {what} of {host} did not answer in JSON")
        if not _is_said(body.get("error")):
            return body
        raise parse_error(body, response.status, host, response.hide_sent)
    try:
        refusal = jsonlite.loads(response.body)
    except ValueError:
        refusal = None
    if response.status < SERVER_ERROR and isinstance(refusal, dict) and "error" in refusal:
        raise parse_error(refusal, response.status, host, response.hide_sent)
    raise _unexplained(response, what, host)


def parse_error(
    body: dict[str, Any], status: int, host: str, hide: Callable[[str], str] = str
) -> IssuerError:
    """Return the issuer's error (RFC 6749, 5.2); an ill-formed code is not repeated.

    Security: `hide` replaces secrets that we sent and that the issuer repeats by stars.
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


def _refresh_lifetime(body: dict[str, Any]) -> int | None:
    """Return a refresh token's seconds, by either of the names that issuers have for it.

    None where nothing is said, and for 0, which is how Keycloak says that there is no end.
    """
    named = (body.get(name) for name in ("refresh_token_expires_in", "refresh_expires_in"))
    found = (parse_lifetime(value, MAX_REFRESH_LIFETIME_S) for value in named)
    return next((seconds for seconds in found if seconds), None)


def parse_lifetime(value: object, most: int = MAX_LIFETIME_S) -> int | None:
    """Return seconds, at least 0 and at most a year; None where nothing usable was said.

    An integer, digits in a string or a decimal number: issuers send all three. `true` and anything
    else count as no lifetime at all, for which a short one is assumed.
    """
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(max(0, min(value, most)))


def read_access_token(value: object, host: str) -> Secret:
    """Return an access token; IssuerError for what can be none."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN_CHARS:
        raise IssuerError(f"{host} answered without a usable access token")
    if not _TOKEN.fullmatch(value):
        raise IssuerError(f"{host} answered with characters in the access token that no token has")
    return Secret(value)


def _refresh_token(value: object) -> Secret | None:
    """Return a refresh token; None for a value that could not be sent back to the issuer."""
    if not isinstance(value, str) or not _REFRESH_TOKEN.fullmatch(value):
        return None
    return Secret(value)


def _token_type(value: object, response: HttpResponse, host: str) -> str:
    """Return Bearer as the issuer wrote it; where no type is named, Bearer is meant.

    Security: a type that we don't know must not be used (RFC 6749, 7.1).
    """
    if value is None or value == "":
        return "Bearer"
    if isinstance(value, str) and value.strip().lower() == "bearer":
        return value.strip()
    shown = safe(response.hide_sent(value), 40) if isinstance(value, str) else "none"
    raise IssuerError(f"{host} answered with a token of type {shown}, not Bearer")


def _scopes(value: object, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return what was granted, sorted.

    Security: in a word that can't be a scope, each odd character becomes `?`. So it equals no scope
    that was asked for, and no narrowed request is answered with it.
    """
    if not isinstance(value, str | list):
        return tuple(sorted(set(asked)))  # RFC 6749, 5.1: absent means as asked
    found = set(_words_of(value))
    if len(found) == 1 and not found <= set(asked):
        found = {part for word in found for part in word.split(",") if part}  # GitHub's commas
    words = {_NO_SCOPE.sub("?", word)[:MAX_SCOPE_CHARS] for word in found}
    first = words & set(asked)
    return tuple(sorted([*first, *sorted(words - first)][:MAX_SCOPES]))


def _words_of(scope: object) -> list[str]:
    words = scope if isinstance(scope, list) else [scope]
    return [part for word in words if isinstance(word, str) for part in word.split()]


def _check_nonce(id_token: object, nonce: Secret | None, host: str) -> None:
    """Raise IssuerError for an ID token that was made for another login.

    Security: OpenID Connect Core, 3.1.3.7 wants the nonce to be there. An ID token without one is
    accepted all the same: PKCE already ties the answer to this login, no access depends on the ID
    token, and its `sub` can only cause a refusal. But a nonce that is not ours shows that somebody
    exchanged one answer for another.
    """
    found = read_unverified_claims(id_token).get("nonce")
    if nonce is None or found is None:
        return
    if not isinstance(found, str) or Secret(found) != nonce:
        raise IssuerError(f"{host} answered with the ID token of another login")


def _id_token(value: object) -> Secret | None:
    """Return an ID token; None for what is none, which harms no login."""
    return Secret(value) if isinstance(value, str) and read_unverified_claims(value) else None
