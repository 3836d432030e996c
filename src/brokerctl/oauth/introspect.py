"""Introspection (RFC 7662): whether the issuer still calls a token active."""

from __future__ import annotations

from brokerctl.errors import IssuerError
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.message import host_of
from brokerctl.oauth.steps import Send
from brokerctl.oauth.tokens import parse_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse
    from brokerctl.secret import Secret


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
