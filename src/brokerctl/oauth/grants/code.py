"""Authorization code with PKCE in the person's own browser (RFC 6749, 4.1; 7636; 8252; 9207)."""

from __future__ import annotations

from urllib.parse import urlencode

from brokerctl.oauth import parameters, pkce
from brokerctl.oauth.callback import is_ours, parse_callback
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.grants import get_endpoint, send_once
from brokerctl.oauth.message import host_of
from brokerctl.oauth.steps import Listen, Visit
from brokerctl.oauth.tokens import parse_token_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.steps import Steps
    from brokerctl.secret import Secret


class Code:
    """Sends a browser to the issuer and trades what it brings back."""

    needs_person = True

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield Listen, Visit and the token request, which is sent once: a code is good for one."""
        pkce.require(ctx.metadata, ctx.profile)
        url = get_endpoint(ctx, "token_endpoint")
        state, verifier = pkce.make_secret(ctx.random), pkce.make_secret(ctx.random)
        nonce = pkce.make_secret(ctx.random) if "openid" in ctx.scopes else None
        redirect_uri: str = yield Listen()
        query: str = yield Visit(
            url=authorization_url(ctx, redirect_uri, state, verifier, nonce),
            redirect_uri=redirect_uri,
            state=state,
            accept=lambda text: is_ours(text, state),
        )
        fields: list[tuple[str, str | Secret]] = [
            ("grant_type", "authorization_code"),
            ("code", parse_callback(query, state, ctx.metadata)),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
            *parameters.shared(ctx, with_scope=False),
        ]
        response = yield from send_once(authenticated_form(ctx, url, fields))
        return parse_token_response(response, ctx.scopes, host=host_of(url), nonce=nonce)


def authorization_url(
    ctx: FlowContext,
    redirect_uri: str,
    state: Secret,
    verifier: Secret,
    nonce: Secret | None = None,
) -> str:
    """Return where the browser goes; the endpoint's own query is kept (RFC 6749, 3.1)."""
    fields = [
        ("response_type", "code"),
        ("client_id", ctx.profile.client_id),
        ("redirect_uri", redirect_uri),
        ("state", state.reveal()),
        ("code_challenge", pkce.challenge(verifier)),
        ("code_challenge_method", pkce.METHOD),
        *([("nonce", nonce.reveal())] if nonce else []),  # OpenID Connect Core, 3.1.2.1
        *parameters.shared(ctx),
    ]
    names = {name for name, _ in fields}
    if "offline_access" in ctx.scopes and "prompt" not in names:
        fields.append(("prompt", "consent"))  # OpenID Connect Core, 11: else there is no grant
    if ctx.acr is not None and "acr_values" not in names:
        fields.append(("acr_values", ctx.acr))
    endpoint = get_endpoint(ctx, "authorization_endpoint")
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(fields)}"
