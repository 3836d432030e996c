"""Authlib's grants and endpoints, connected to the demo issuer's state."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, OAuth2Error, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDToken

from brokerctl.demo.state import Issued, IssuedCode, IssuedDeviceCode

if TYPE_CHECKING:
    from typing import Protocol

    from joserfc.jwk import ECKey

    from brokerctl.demo.state import State

    class StateServer(Protocol):
        """What a grant needs of the server that it is registered with."""

        state: State
        url: str


# For arguments from Authlib, whose types are wider than ours (Request, Client, Issued).
Ours = Any
AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]


class InvalidTargetError(OAuth2Error):
    """A resource that is not an absolute URI (RFC 8707, section 2)."""

    error = "invalid_target"


def resources(request: Ours) -> tuple[str, ...]:
    """Return the resource indicators of a request (RFC 8707)."""
    found = tuple(request.payload.datalist.get("resource", ()))
    for resource in found:
        parts = urlsplit(resource)
        if not parts.scheme or not (parts.netloc or parts.path) or "#" in resource:
            raise InvalidTargetError
    return found


class _Mixin:
    server: StateServer

    @property
    def state(self) -> State:
        """Return what the issuer remembers."""
        return self.server.state


class AuthorizationCode(_Mixin, grants.AuthorizationCodeGrant):
    """The code flow; a second use of a code revokes the tokens that were issued for it."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def save_authorization_code(self, code: str, request: Ours) -> None:
        """Remember the code and all that it is bound to."""
        data = request.payload.data
        self.state.codes[code] = IssuedCode(
            client_id=request.client.get_client_id(),
            redirect_uri=data["redirect_uri"],
            scope=request.scope or "",
            subject=request.user,
            nonce=data.get("nonce"),
            resource=resources(request),
            code_challenge=data["code_challenge"],
            code_challenge_method=data["code_challenge_method"],
            family=secrets.token_hex(8),
            expires_at=time.time() + self.state.settings.code_ttl,
        )

    def query_authorization_code(self, code: str, client: Ours) -> IssuedCode | None:
        """Return a code that is good for this client."""
        found = self.state.codes.get(code)
        if found is None or found.client_id != client.client_id:
            return None
        if found.is_used:
            self.state.end_family(found.family)
            return None
        return found if time.time() < found.expires_at else None

    def delete_authorization_code(self, authorization_code: Ours) -> None:
        """Mark it as used: a second use must be told from an unknown code."""
        authorization_code.is_used = True

    def authenticate_user(self, authorization_code: Ours) -> str:
        """Return who consented."""
        return str(authorization_code.subject)


class Pkce(CodeChallenge):
    """S256 and nothing else, from every client (RFC 9700, section 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 - Authlib's form

    def validate_code_challenge(self, grant: Ours, redirect_uri: str) -> None:
        """Refuse a request without a challenge or without its method."""
        data = grant.request.payload.data
        if not data.get("code_challenge") or not data.get("code_challenge_method"):
            raise InvalidRequestError("PKCE with S256 is required")
        resources(grant.request)  # checked here, so that the error goes back by redirect
        super().validate_code_challenge(grant, redirect_uri)


class Refresh(_Mixin, grants.RefreshTokenGrant):
    """Refresh with rotation; a second use of a refresh token revokes its family."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:  # type: ignore[override]  # noqa: N802 - Authlib's name
        """Return whether to rotate."""
        return not self.state.settings.no_rotate

    def authenticate_refresh_token(self, refresh_token: str) -> Ours:
        """Return a valid refresh token; if it was used before, revoke its family."""
        found = self.state.find_token(refresh_token, "refresh_token")
        if found and found.is_used:
            self.state.end_family(found.family)
        return found if found and not found.is_expired() and not found.is_revoked() else None

    def authenticate_user(self, refresh_token: Ours) -> str:
        """Return the subject of the refresh token."""
        return str(refresh_token.subject)

    def revoke_old_credential(self, refresh_token: Ours) -> None:
        """Mark the old one as used."""
        refresh_token.is_used = not self.state.settings.no_rotate


class DeviceCode(_Mixin, DeviceCodeGrant):
    """The device flow's polling side (RFC 8628, section 3.4)."""

    def query_device_credential(self, device_code: str) -> IssuedDeviceCode | None:
        """Return the device that polls, or refuse an unknown code."""
        found = self.state.devices.get(device_code)
        if found is None:
            raise InvalidGrantError
        return found

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        """Return (subject, approved); None if nobody has answered yet."""
        device = self.state.find_device(user_code)
        if device is None or (device.subject is None and not device.is_denied):
            return None
        device.is_used = True
        return device.subject or "", not device.is_denied

    def should_slow_down(self, credential: Ours) -> bool:
        """Return whether the device polls faster than allowed (0.1 s is tolerated)."""
        now = time.time()
        early = bool(now - credential.polled_at < self.state.settings.interval - 0.1)
        credential.polled_at = now
        return early


class DeviceAuthorization(DeviceAuthorizationEndpoint):
    """The device flow's first request (RFC 8628, section 3.1)."""

    server: StateServer

    def create_endpoint_response(self, request: Ours) -> tuple[int, Any, Any]:
        """Answer with codes, at the lifetime and interval in force."""
        self.EXPIRES_IN = self.server.state.settings.device_ttl
        self.INTERVAL = self.server.state.settings.interval
        self.resource = resources(request)
        return super().create_endpoint_response(request)  # type: ignore[no-untyped-call, no-any-return]  # no stub

    def get_verification_uri(self) -> str:
        """Return where the person types the code."""
        return f"{self.server.url}/device"

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        """Remember the device until it polls with success or its time is over."""
        self.server.state.devices[data["device_code"]] = IssuedDeviceCode(
            client_id=client_id,
            scope=scope or "",
            user_code=data["user_code"],
            resource=self.resource,
            family=secrets.token_hex(8),
            expires_at=time.time() + data["expires_in"],
        )


class DemoRevocation(RevocationEndpoint):
    """Revocation (RFC 7009): with a refresh token its whole family is revoked."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: StateServer

    def query_token(self, token_string: str, token_type_hint: str | None) -> Issued | None:  # noqa: ARG002 - a hint is no wall
        """Return the token, whatever the hint says."""
        return self.server.state.find_token(token_string)

    def revoke_token(self, token: Ours, request: Ours) -> None:  # noqa: ARG002 - Authlib's signature
        """Revoke the token, and the family of a refresh token."""
        token.is_dead = True
        if token.kind == "refresh_token":
            self.server.state.end_family(token.family)


class Introspection(IntrospectionEndpoint):
    """Introspection (RFC 7662): a service sees every token, an app its own."""

    CLIENT_AUTH_METHODS = AUTH_METHODS
    server: StateServer

    def query_token(self, token_string: str, token_type_hint: str | None) -> Issued | None:  # noqa: ARG002 - as above
        """Return the token, whatever the hint says."""
        return self.server.state.find_token(token_string)

    def check_permission(self, token: Ours, client: Ours, request: Ours) -> bool:  # noqa: ARG002 - Authlib's signature
        """Let an app ask about nothing but its own tokens."""
        return bool(client.client_secret or token.check_client(client))

    def introspect_token(self, token: Issued) -> dict[str, Any]:
        """Return the introspection response of an active token."""
        return {
            "active": True,
            "iss": self.server.url,
            "client_id": token.client_id,
            "sub": token.subject,
            "scope": token.scope,
            "aud": list(token.resource),
            "iat": int(token.issued_at),
            "exp": int(token.expires_at),
            "token_type": "Bearer" if token.kind == "access_token" else "refresh_token",
        }


class IdToken(OpenIDToken):
    """An ID token beside the access token where the scopes hold `openid`."""

    def __init__(self, issuer: str, key: ECKey) -> None:
        self.issuer = issuer
        self.key = key

    def resolve_client_private_key(self, client: Ours) -> ECKey:  # noqa: ARG002 - Authlib's signature
        """Return the issuer's key."""
        return self.key

    def get_client_claims(self, client: Ours) -> dict[str, Any]:
        """Return the claims that are the same for everybody."""
        return {"iss": self.issuer, "aud": [client.client_id]}

    def generate_user_info(self, user: str, scope: str) -> UserInfo:  # noqa: ARG002 - as above
        """Return who logged in."""
        return UserInfo(sub=user)
