"""The parameters that most requests share: scope, resource (RFC 8707) and the profile's `extra`."""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import Profile
    from brokerctl.oauth.client_auth import FlowContext

# Security: `extra` adds parameters that an issuer wants; it can replace none of the protocol's own.
RESERVED = frozenset(
    {
        "access_token",
        "assertion",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "device_code",
        "grant_type",
        "nonce",
        "password",
        "redirect_uri",
        "refresh_token",
        "request",
        "request_uri",
        "resource",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "token",
        "token_type_hint",
        "username",
    }
)  # fmt: skip - one name a line would fill a page


def shared(ctx: FlowContext, *, with_scope: bool = True) -> list[tuple[str, str]]:
    """Return scope, resource and extra parameters as they are sent with this request."""
    found = []
    if with_scope and ctx.scopes:
        found.append(("scope", " ".join(ctx.scopes)))
    if ctx.profile.send_resource:
        found += [("resource", resource) for resource in ctx.resource]
    return found + extra(ctx.profile)


def extra(profile: Profile) -> list[tuple[str, str]]:
    """Return the profile's further parameters; a list is sent as several of one name."""
    if profile.extra is None:
        return []
    found: list[tuple[str, str]] = []
    for name, value in jsonlite.loads(profile.extra.encode()).items():
        if name in RESERVED:
            raise UsageError(f"'{profile.name}': '{name}' can't be set by extra")
        values = value if isinstance(value, list) else [value]
        found += [
            (name, item if isinstance(item, str) else jsonlite.dumps(item)) for item in values
        ]
    return found
