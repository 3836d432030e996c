"""JWT bearer (RFC 7523, section 2.1): an assertion that another signed is the authority."""

from __future__ import annotations

from brokerctl.oauth import parameters
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows import get_endpoint, send_once
from brokerctl.oauth.flows.sources import find_subject
from brokerctl.oauth.message import host_of
from brokerctl.oauth.tokens import parse_token_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.steps import Steps
    from brokerctl.secret import Secret

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class JwtBearer:
    """Sends the assertion once: an issuer notes its `jti`, and a refusal is a refusal."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the one request; nobody redeems a refresh token of it (RFC 7521, section 4.1)."""
        url = get_endpoint(ctx, "token_endpoint")
        subject = yield from find_subject(ctx)
        fields: list[tuple[str, str | Secret]] = [
            ("grant_type", GRANT_TYPE),
            ("assertion", subject.token),
            *parameters.shared(ctx),
        ]
        response = yield from send_once(authenticated_form(ctx, url, fields))
        answer = parse_token_response(response, ctx.scopes, host=host_of(url))
        return answer.replace(claims=subject.claims)
