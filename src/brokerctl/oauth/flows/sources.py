"""The tokens that a flow exchanges: this job's identity is asked for anew, all else is at hand."""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.model import Value
from brokerctl.oauth.steps import Identify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from brokerctl.model import Profile, Reference
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.secret import Secret

IDENTITY = "identity"


class SourceToken(Value):
    """A token to be exchanged, and what was proven of the job where it is its identity."""

    token: Secret
    claims: str | None = None


def find_subject(ctx: FlowContext) -> Generator[Any, Any, SourceToken]:
    """Return whose token is exchanged; UsageError where there is none."""
    asked = ctx.profile.exchange
    found = None
    if asked is not None:
        found = yield from _find(ctx, asked.subject, ctx.credentials.subject_token)
    if found is None:
        raise UsageError(f"'{ctx.profile.name}' has no token to be exchanged")
    return found


def find_actor(ctx: FlowContext) -> Generator[Any, Any, SourceToken | None]:
    """Return the token of who acts for the subject (RFC 8693, section 1.1); None: nobody does."""
    asked = ctx.profile.exchange
    if asked is None or asked.actor is None:
        return None
    return (yield from _find(ctx, asked.actor, ctx.credentials.actor_token))


def _find(
    ctx: FlowContext, source: Reference, held: Secret | None
) -> Generator[Any, Any, SourceToken | None]:
    if source.kind != IDENTITY:
        return SourceToken(token=held) if held else None
    proof = yield Identify(audience=audience_of(ctx.profile))
    return SourceToken(token=proof.token, claims=proof.claims)


def audience_of(profile: Profile) -> str:
    """Return who this job's identity is made out to: the issuer, if nothing else is said."""
    return profile.identity_audience or profile.traits.identity_audience or profile.issuer
