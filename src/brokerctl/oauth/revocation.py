"""Revocation (RFC 7009, or as an API has it): asks the issuer to end a token, reports its answer.

Also introspection (RFC 7662), which proves the end: does the issuer still call the token active?
"""

from __future__ import annotations

from brokerctl.errors import IssuerError, OAuthError
from brokerctl.model import LOCAL_ONLY, REVOKED, UNKNOWN, Value
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.message import JSON, SERVER_ERROR, TOO_MANY, HttpRequest, host_of
from brokerctl.oauth.steps import Send
from brokerctl.oauth.tokens import parse_answer, read_members
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse

    Revoking = Generator[Send, HttpResponse, "Revocation"]

DONE = (200, 204)
UNAUTHORIZED = 401
REFUSED = (400, 401, 403)


class Revocation(Value):
    """What became of one token: `revoked` is the issuer's word, proven only by introspection."""

    outcome: str  # revoked | local_only | unknown
    reason: str = ""
    retry_after_s: int | None = None


def revoke(ctx: FlowContext, token: Secret, hint: str) -> Revoking:
    """Yield the request, to the profile's own issuer alone; `hint` is RFC 7009's token type.

    `unknown` is worth another try (no answer, 5xx, a wrong secret, an answer that is not an
    issuer's); `local_only` is not: there is no endpoint, or the issuer does not do it for this
    client or this kind of token.
    """
    url = ctx.metadata.revocation_endpoint
    if url is None:
        return Revocation(outcome=LOCAL_ONLY, reason="the issuer has no revocation endpoint")
    fields: list[tuple[str, str | Secret]] = [
        ("token", token),
        ("token_type_hint", hint),
    ]
    try:
        response = yield Send(request=authenticated_form(ctx, url, fields))
    except IssuerError as error:
        return Revocation(outcome=UNKNOWN, reason=error.message)
    return parse_revocation(response, host_of(url), is_public=ctx.profile.client_auth == "none")


def revoke_as_holder(ctx: FlowContext, token: Secret, hint: str) -> Revoking:  # noqa: ARG001 - as above
    """Yield a DELETE that the token itself allows, as GitHub and crates.io have it.

    Security: a token that opens nothing gets 401, which counts as revoked where the answer is the
    API's own, in JSON. Any other answer may be a proxy's, and is worth another try.
    """
    url = ctx.metadata.revocation_endpoint
    if url is None:
        return Revocation(outcome=LOCAL_ONLY, reason="the issuer has no revocation endpoint")
    bearer = Secret(f"Bearer {token.reveal()}")
    headers: tuple[tuple[str, str | Secret], ...] = (JSON, ("authorization", bearer))
    request = HttpRequest(method="DELETE", url=url, headers=headers, secrets=(token,))
    try:
        response = yield Send(request=request)
    except IssuerError as error:
        return Revocation(outcome=UNKNOWN, reason=error.message)
    if response.status in DONE:
        return Revocation(outcome=REVOKED)
    reason = f"{host_of(url)} answered {response.status}"
    if response.status == UNAUTHORIZED and read_members(response.body):
        return Revocation(outcome=REVOKED, reason=f"{reason}: the token opens nothing any more")
    wait = response.retry_after_s()
    return Revocation(outcome=UNKNOWN, reason=reason, retry_after_s=wait)


# By FlowTraits.revoked_by: who asks for a token's end, the client or whoever holds the token.
REVOKERS: dict[str, Callable[[FlowContext, Secret, str], Revoking]] = {
    "client": revoke,
    "holder": revoke_as_holder,
}


def parse_revocation(response: HttpResponse, host: str, *, is_public: bool) -> Revocation:
    """Return what an answer of the revocation endpoint means; never raises."""
    code = _find_code(response, host)
    # Security: some issuers say no with a 200 (RFC 7009, 2.2 has no such answer).
    if response.status in DONE and code is None:
        return Revocation(outcome=REVOKED)
    wait = response.retry_after_s()
    # Without an error code (RFC 6749, 5.2) the answer may be a redirect, or a proxy's 403, and not
    # the issuer's. A refresh token is not given up for that; only a public client, which has no
    # secret to be wrong, takes a bare 400, 401 or 403 for the issuer's refusal.
    is_vague = code is None and not (is_public and response.status in REFUSED)
    if response.status >= SERVER_ERROR or response.status == TOO_MANY or is_vague:
        reason = f"{host} answered {response.status}"
        return Revocation(outcome=UNKNOWN, reason=reason, retry_after_s=wait)
    said = f"{response.status} {code}" if code else str(response.status)
    if not is_public and (response.status == UNAUTHORIZED or code == "invalid_client"):
        return Revocation(outcome=UNKNOWN, reason=f"{host} refused the client: {said}")
    if code == "unsupported_token_type":
        reason = f"{host} can't revoke tokens of this kind"
    else:
        reason = f"{host} refused: {said}"
    return Revocation(outcome=LOCAL_ONLY, reason=reason)


def _find_code(response: HttpResponse, host: str) -> str | None:
    try:
        parse_answer(response, "revocation endpoint", host)
    except OAuthError as error:
        return error.error
    except IssuerError:
        return None
    return None


def introspect(
    ctx: FlowContext, token: Secret, hint: str | None = None
) -> Generator[Send, HttpResponse, bool | None]:
    """Yield the request; returns active or not, or None where the issuer does not tell."""
    url = ctx.metadata.introspection_endpoint
    if url is None:
        return None
    fields: list[tuple[str, str | Secret]] = [("token", token)]
    if hint is not None:
        fields.append(("token_type_hint", hint))
    try:
        response = yield Send(request=authenticated_form(ctx, url, fields))
        return parse_active(response, host_of(url))
    except IssuerError:
        return None


def parse_active(response: HttpResponse, host: str) -> bool | None:
    """Return the answer's `active`, None if it is not a boolean; IssuerError for a refusal."""
    active = parse_answer(response, "introspection endpoint", host).get("active")
    return active if isinstance(active, bool) else None
