"""Refresh (RFC 6749, 6): a new access token, and often a new refresh token, for the one held."""

from __future__ import annotations

from brokerctl.oauth import parameters
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows import get_endpoint, send_twice
from brokerctl.oauth.message import host_of
from brokerctl.oauth.tokens import parse_token_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.steps import Steps
    from brokerctl.secret import Secret


def refresh(
    ctx: FlowContext, refresh_token: Secret, granted: tuple[str, ...] | None = None
) -> Steps:
    """Yield the request; `granted`: the grant's scopes, which an answer without `scope` means.

    `scope` is sent only where the request is narrower than the profile: repeating scopes that the
    issuer never granted is an error (RFC 6749, 6).
    """
    url = get_endpoint(ctx, "token_endpoint")
    is_narrowed = set(ctx.scopes) != set(ctx.profile.scopes)
    fields: list[tuple[str, str | Secret]] = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        *parameters.shared(ctx, with_scope=is_narrowed),
    ]
    response = yield from send_twice(lambda: authenticated_form(ctx, url, fields))
    meant = ctx.scopes if granted is None or is_narrowed else granted
    return parse_token_response(response, meant, host=host_of(url))
