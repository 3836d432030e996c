"""Microsoft Entra's workload identity federation: a job's identity in place of a client's secret.

Client credentials (RFC 6749, 4.4) with the identity as the client's assertion (RFC 7523, 2.2).
Source: learn.microsoft.com, "OAuth 2.0 client credentials flow": with a federated credential.
"""

from __future__ import annotations

import re

from brokerctl.errors import OAuthError
from brokerctl.oauth.flows import get_endpoint
from brokerctl.oauth.flows.sources import send_subject
from brokerctl.oauth.message import host_of, post_form
from brokerctl.oauth.tokens import parse_token_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.flows.sources import SourceToken
    from brokerctl.oauth.message import HttpRequest
    from brokerctl.oauth.steps import Steps

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CODE = re.compile(r"AADSTS([0-9]{4,8})", re.ASCII)
_FEDERATED = "the application has no federated credential with this job's {}, letter by letter"
# learn.microsoft.com, "Microsoft Entra authentication and authorization error codes".
_HINTS = {
    "70021": _FEDERATED.format("issuer, subject and audience"),
    "700211": _FEDERATED.format("issuer"),
    "700212": _FEDERATED.format("audience"),
    "700213": _FEDERATED.format("subject"),
    "700024": "look at the clock: the identity is not of this moment for Entra",
    "700016": "see whether client_id is an application of the tenant",
    "90002": "see whether 'tenant' in the profile's azure is right",
    "1002012": "the scope must be a resource's address that ends in /.default",
}


class AzureWorkload:
    """Asks for an application's token, an identity being its assertion."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request."""
        url = get_endpoint(ctx, "token_endpoint")

        def make(subject: SourceToken) -> HttpRequest:
            return post_form(
                url,
                [
                    ("grant_type", "client_credentials"),
                    ("client_id", ctx.profile.client_id),
                    ("client_assertion_type", _ASSERTION_TYPE),
                    ("client_assertion", subject.token),
                    ("scope", " ".join(ctx.scopes)),
                ],
            )

        response, subject = yield from send_subject(ctx, make)
        try:
            answer = parse_token_response(response, ctx.scopes, host=host_of(url))
        except OAuthError as error:
            code = _CODE.search(error.description or "")
            error.hint = _HINTS.get(code[1]) if code else None
            raise
        return answer.replace(refresh_token=None, claims=subject.claims)
