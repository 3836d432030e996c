"""Authorization code with PKCE in the person's own browser (RFC 6749, 4.1; 7636; 8252; 9207).

What the browser brought back is read by the table of RFC 9207:

| `iss` promised | `iss` there | |
|---|---|---|
| yes | yes | compared |
| yes | no | refused |
| no | yes | compared |
| no | no | goes on |

The table holds for error answers too, and before anything in them is acted on or shown.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from urllib.parse import unquote_plus, urlencode

from brokerctl.errors import IssuerError
from brokerctl.oauth import parameters
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows import get_endpoint, send_once
from brokerctl.oauth.message import host_of
from brokerctl.oauth.steps import Listen, Visit
from brokerctl.oauth.tokens import parse_error, parse_token_response
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.model import Profile
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.metadata import Metadata
    from brokerctl.oauth.steps import Steps

RANDOM_BYTES = 32
METHOD = "S256"
MAX_QUERY = 65536
MAX_PARAMETERS = 50
_QUERY = re.compile(r"[\x21-\x7e]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CODE = re.compile(r"[\x20-\x7e]+")
_FOUND = 302


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7636, appendix A)."""
    return b2a_base64(data, newline=False).decode().rstrip("=").translate({43: "-", 47: "_"})


def make_secret(random: Callable[[int], bytes]) -> Secret:
    """Return 256 random bits in 43 characters: a verifier or a state."""
    return Secret(base64url(random(RANDOM_BYTES)))


def challenge(verifier: Secret) -> str:
    """Return the S256 challenge of a verifier."""
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # noqa: PLC0415 - loaded late

    made: str = create_s256_code_challenge(verifier.reveal())  # type: ignore[no-untyped-call]  # theirs
    return made


def require(metadata: Metadata, profile: Profile) -> None:
    """Raise IssuerError unless the issuer says S256, or says nothing and the profile vouches."""
    methods = metadata.code_challenge_methods_supported
    if METHOD in (methods or ()) or (methods is None and profile.pkce_support == "assumed"):
        return
    said = "says nothing of PKCE" if methods is None else f"does not offer PKCE with {METHOD}"
    hint = 'set pkce_support = "assumed" if you know that it has it' if methods is None else None
    raise IssuerError(f"{host_of(profile.issuer)} {said}", hint=hint)


def parse_query(query: str) -> dict[str, str]:
    """Return the parameters, or IssuerError where one is doubled or the form encoding is wrong."""
    if len(query) > MAX_QUERY or not _QUERY.fullmatch(query) or _BAD_ESCAPE.search(query):
        raise IssuerError("the answer of the browser can't be read")
    found: dict[str, str] = {}
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise IssuerError("the answer of the browser has too many parameters")
    for key, _, value in pairs:
        try:
            name, text = unquote_plus(key, errors="strict"), unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise IssuerError("the answer of the browser can't be read") from None
        if name in found:  # RFC 6749, 3.1; Security: two readers would pick different ones
            raise IssuerError("the answer of the browser has a parameter twice")
        found[name] = text
    return found


def is_ours(query: str, state: Secret) -> bool:
    """Return whether a callback carries our `state`, once; another one is not of this login."""
    values = [
        unquote_plus(value)
        for key, _, value in (pair.partition("=") for pair in query[:MAX_QUERY].split("&"))
        if unquote_plus(key) == "state"
    ]
    return len(values) == 1 and Secret(values[0]) == state


def parse_callback(query: str, state: Secret, metadata: Metadata) -> Secret:
    """Return the authorization code; OAuthError where the issuer said no, else IssuerError."""
    found = parse_query(query)
    if Secret(found.get("state", "")) != state:
        raise IssuerError("the answer of the browser belongs to another login")
    host = host_of(metadata.issuer)
    _check_issuer(found.get("iss"), metadata, host)
    if "error" in found:
        raise parse_error(dict(found), _FOUND, host)
    code = found.get("code", "")
    if not _CODE.fullmatch(code):
        raise IssuerError(f"the answer of {host} holds no code")
    return Secret(code)


def _check_issuer(iss: str | None, metadata: Metadata, host: str) -> None:
    if iss is None:
        if metadata.iss_in_callback:
            raise IssuerError(
                f"the answer does not say that it comes from {host}, which promised to"
            )
    elif iss != metadata.issuer:  # letter by letter (RFC 9207, 2.4)
        raise IssuerError(f"the answer comes from another issuer than {host}")


class Code:
    """Sends a browser to the issuer and trades what it brings back."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield Listen, Visit and the token request, which is sent once: a code is good for one."""
        require(ctx.metadata, ctx.profile)
        url = get_endpoint(ctx, "token_endpoint")
        state, verifier = make_secret(ctx.random), make_secret(ctx.random)
        nonce = make_secret(ctx.random) if "openid" in ctx.scopes else None
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
        ("code_challenge", challenge(verifier)),
        ("code_challenge_method", METHOD),
        *([("nonce", nonce.reveal())] if nonce else []),  # OpenID Connect Core, 3.1.2.1
        *parameters.shared(ctx),
    ]
    names = {name for name, _ in fields}
    if "offline_access" in ctx.scopes and "prompt" not in names:
        fields.append(("prompt", "consent"))  # OpenID Connect Core, 11: else there is no grant
    endpoint = get_endpoint(ctx, "authorization_endpoint")
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(fields)}"
