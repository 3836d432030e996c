"""Client credentials (RFC 6749, 4.4): the client gets a token for itself, without a person."""

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


class ClientCredentialsFlow:
    """Asks with nothing but the client's own authentication."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request; a refresh token in the answer is dropped (RFC 6749, 4.4.3)."""
        url = get_endpoint(ctx, "token_endpoint")
        fields = [("grant_type", "client_credentials"), *parameters.shared(ctx)]
        response = yield from send_twice(lambda: authenticated_form(ctx, url, fields))
        answer = parse_token_response(response, ctx.scopes, host=host_of(url))
        return answer.replace(refresh_token=None)
