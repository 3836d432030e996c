"""Token exchange (RFC 8693): a token of somebody's for one of another kind, audience or scope.

It is a flow of its own, and a way to get less than a person's grant holds.
"""

from __future__ import annotations

from brokerctl.errors import IssuerError, OAuthError
from brokerctl.oauth import parameters
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows import get_endpoint, send_once, send_twice
from brokerctl.oauth.flows.sources import TOKEN_EXCHANGE, find_actor, find_subject
from brokerctl.oauth.message import SERVER_ERROR, TOO_MANY, host_of, should_retry
from brokerctl.oauth.tokens import (
    ACCESS_TOKEN,
    BAD_REQUEST,
    UnusableAnswerError,
    parse_exchange_response,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse
    from brokerctl.oauth.steps import Steps
    from brokerctl.secret import Secret

_REFUSALS = range(BAD_REQUEST, SERVER_ERROR)
# These are about what is asked for (RFC 8693, section 2.2.2; RFC 6749, section 5.2). All else is
# about the client or its token: oidc-provider has `invalid_request` if a client may not exchange.
_OF_TARGET = frozenset(("invalid_target", "invalid_scope"))


class ExchangeRefusedError(IssuerError):
    """The issuer does not exchange its access token so. Another way may give what is asked for.

    Security: it is no OAuthError, because no word of it can say that the grant has ended.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.is_of_client = code not in _OF_TARGET


class TokenExchange:
    """Sends the subject's token, and the actor's where one acts for it (section 2.1)."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request; nobody redeems a refresh token of it: the next is an exchange."""
        url, asked = get_endpoint(ctx, "token_endpoint"), ctx.profile.exchange
        first = yield from _try(ctx, url)
        # Another identity goes with the second: the first may be used up.
        response, claims = first or (yield from _send(ctx, url, is_last=True))
        requested = asked.requested_type if asked else None
        answer = parse_exchange_response(response, ctx.scopes, requested, host_of(url))
        return answer.replace(claims=claims)


def _try(ctx: FlowContext, url: str) -> Generator[Any, Any, tuple[HttpResponse, str | None] | None]:
    """Send; None where it is worth one more try, as after a 5xx or a broken connection."""
    try:
        response, claims = yield from _send(ctx, url, is_last=False)
    except IssuerError as error:
        if not should_retry(error):
            raise
        return None
    return None if should_retry(response) else (response, claims)


def _send(
    ctx: FlowContext, url: str, *, is_last: bool
) -> Generator[Any, Any, tuple[HttpResponse, str | None]]:
    subject, actor = (yield from find_subject(ctx)), (yield from find_actor(ctx))
    assert ctx.profile.exchange is not None  # noqa: S101 - configuration has seen to it
    asked = ctx.profile.exchange
    fields: list[tuple[str, str | Secret]] = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject.token),
        ("subject_token_type", asked.subject_type),
    ]
    if actor is not None:
        fields += [("actor_token", actor.token), ("actor_token_type", asked.actor_type or "")]
    if asked.requested_type is not None:
        fields.append(("requested_token_type", asked.requested_type))
    fields += [("audience", audience) for audience in ctx.audience]
    fields += parameters.shared(ctx)
    request = authenticated_form(ctx, url, fields)
    response = yield from send_once(request, is_last=is_last)
    return response, subject.claims or (actor.claims if actor is not None else None)


def narrow(ctx: FlowContext, access_token: Secret) -> Steps:
    """Yield the exchange of a grant's access token for one of the context's scopes and targets.

    An access token is named as what is wanted: where nothing is said some issuers add a refresh
    token (section 2.1). ExchangeRefusedError where the issuer says no; any other IssuerError where
    it has trouble.
    """
    url = get_endpoint(ctx, "token_endpoint")
    fields: list[tuple[str, str | Secret]] = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", access_token),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
        *(("audience", audience) for audience in ctx.audience),
        *parameters.shared(ctx),
    ]
    response = yield from send_twice(lambda: authenticated_form(ctx, url, fields))
    if response.status == TOO_MANY:
        raise IssuerError(f"{host_of(url)} answered {response.status}")
    try:
        return parse_exchange_response(response, ctx.scopes, ACCESS_TOKEN, host_of(url))
    except UnusableAnswerError:
        raise
    except OAuthError as error:
        raise ExchangeRefusedError(error.message, error.error) from error
    except IssuerError as error:
        if response.status not in _REFUSALS:
            raise
        raise ExchangeRefusedError(error.message) from error
