"""The tokens that a flow exchanges: this job's identity is asked for anew, all else is at hand."""

from __future__ import annotations

from brokerctl.errors import IssuerError, UsageError
from brokerctl.model import Value
from brokerctl.oauth.flows import send_once
from brokerctl.oauth.message import should_retry
from brokerctl.oauth.steps import Identify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from brokerctl.model import Profile, Reference
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.secret import Secret

IDENTITY = "identity"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class SourceToken(Value):
    """A token to be exchanged, and what was proven of the job where it is its identity."""

    token: Secret
    claims: str | None = None


def send_subject(
    ctx: FlowContext, make: Callable[[SourceToken], HttpRequest], audience: str | None = None
) -> Generator[Any, Any, tuple[HttpResponse, SourceToken]]:
    """Send what is made with the subject's token; return the answer, and the token that brought it.

    After a 5xx or a broken connection once more, with another identity: the first may be used up.
    """
    subject = yield from find_subject(ctx, audience)
    try:
        response = yield from send_once(make(subject), is_last=False)
    except IssuerError as error:
        if not should_retry(error):
            raise
    else:
        if not should_retry(response):
            return response, subject
    subject = yield from find_subject(ctx, audience)
    return (yield from send_once(make(subject))), subject


def find_subject(ctx: FlowContext, audience: str | None = None) -> Generator[Any, Any, SourceToken]:
    """Return whose token is exchanged; UsageError where there is none.

    `audience`: who an identity is made out to, where the profile does not say it.
    """
    asked = ctx.profile.exchange
    found = None
    if asked is not None:
        found = yield from _find(ctx, asked.subject, ctx.credentials.subject_token, audience)
    if found is None:
        raise UsageError(f"'{ctx.profile.name}' has no token to be exchanged")
    return found


def find_actor(ctx: FlowContext) -> Generator[Any, Any, SourceToken | None]:
    """Return the token of who acts for the subject (RFC 8693, section 1.1); None: nobody does."""
    asked = ctx.profile.exchange
    if asked is None or asked.actor is None:
        return None
    return (yield from _find(ctx, asked.actor, ctx.credentials.actor_token, None))


def _find(
    ctx: FlowContext, source: Reference, held: Secret | None, audience: str | None
) -> Generator[Any, Any, SourceToken | None]:
    if source.kind != IDENTITY:
        return SourceToken(token=held) if held else None
    named = ctx.profile.identity_audience or audience or audience_of(ctx.profile)
    proof = yield Identify(audience=named)
    return SourceToken(token=proof.token, claims=proof.claims)


def audience_of(profile: Profile) -> str:
    """Return who this job's identity is made out to: the issuer, if nothing else is said."""
    return profile.identity_audience or profile.traits.identity_audience or profile.issuer
