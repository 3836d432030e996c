"""How the client says who it is at the token, revocation and introspection endpoints."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote_plus

from brokerctl.errors import UsageError, shell_word
from brokerctl.model import Value
from brokerctl.oauth import load
from brokerctl.oauth.message import post_form
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.model import Profile
    from brokerctl.oauth.message import Fields, HttpRequest
    from brokerctl.oauth.metadata import Metadata

    Headers = tuple[tuple[str, "str | Secret"], ...]
    Proof = tuple[Headers, list[tuple[str, "str | Secret"]]]

METHODS = {
    "none": "brokerctl.oauth.client_auth:none",
    "client_secret_basic": "brokerctl.oauth.client_auth:client_secret_basic",
    "client_secret_post": "brokerctl.oauth.client_auth:client_secret_post",
    "client_secret_jwt": "brokerctl.oauth.assertions:client_secret_jwt",
    "private_key_jwt": "brokerctl.oauth.assertions:private_key_jwt",
}


class ClientCredentials(Value):
    """The secrets that the profile's references resolved to."""

    secret: Secret | None = None
    key_pem: Secret | None = None
    subject_token: Secret | None = None  # of a flow that exchanges one (RFC 8693's words); None
    actor_token: Secret | None = None  # too where this job's identity is, which the flow asks for


class FlowContext(Value):
    """Everything that a flow knows; it asks for time and random bytes when it needs them.

    `scopes`, `resource` and `audience` are those of this request, already decided. An assertion is
    dated when it is made, minutes after a login began: so `now` is a function.
    """

    profile: Profile
    metadata: Metadata
    credentials: ClientCredentials
    scopes: tuple[str, ...]
    resource: tuple[str, ...]
    now: Callable[[], float]
    random: Callable[[int], bytes]
    audience: tuple[str, ...] = ()  # RFC 8693, sent by the flow that takes one


def authenticated_form(ctx: FlowContext, url: str, fields: Fields) -> HttpRequest:
    """Make a form POST that carries the client's authentication (RFC 6749, 2.3)."""
    entry = METHODS.get(ctx.profile.client_auth)
    if entry is None:
        raise UsageError(f"client_auth '{ctx.profile.client_auth}' is not in this version")
    headers, proof = load(entry)(ctx)
    request = post_form(url, [*fields, *proof], headers)
    secret = ctx.credentials.secret  # to be hidden also where it stands in a header, or signs
    return request.replace(secrets=(*request.secrets, secret)) if secret else request


def none(ctx: FlowContext) -> Proof:
    """Name a public client."""
    return (), [("client_id", ctx.profile.client_id)]


def client_secret_basic(ctx: FlowContext) -> Proof:
    """Form-encode id and secret, then Basic: RFC 6749, 2.3.1 is not plain RFC 7617."""
    pair = f"{quote_plus(ctx.profile.client_id)}:{quote_plus(get_secret(ctx).reveal())}"
    return (("authorization", Secret(f"Basic {b64encode(pair.encode()).decode()}")),), []


def client_secret_post(ctx: FlowContext) -> Proof:
    """Put id and secret into the form."""
    return (), [("client_id", ctx.profile.client_id), ("client_secret", get_secret(ctx))]


def get_secret(ctx: FlowContext) -> Secret:
    """Return the client secret; UsageError where the profile has none."""
    if not ctx.credentials.secret:
        name = ctx.profile.name
        raise UsageError(
            f"'{name}' has no client secret",
            hint=f"run 'brokerctl profile secret {shell_word(name)}'",
        )
    return ctx.credentials.secret
