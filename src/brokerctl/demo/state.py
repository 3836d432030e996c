"""What the demo issuer remembers: clients, codes, device codes and tokens, all in memory.

A family is all tokens that came from one login; reuse of a code or of a rotated refresh token
revokes the whole family (RFC 9700, section 4.14.2). One lock guards the state: the threads of the
HTTP adapter hold it during each protocol step, so that a check and its change are one step.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    ClientMixin,
    TokenMixin,
    list_to_scope,
    scope_to_list,
)
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceCredentialMixin

if TYPE_CHECKING:
    from collections.abc import Collection

SCOPES = ("openid", "offline_access", "read", "write", "admin")


@dataclass(frozen=True)
class Client(ClientMixin):
    """A registered client: an app without a secret, or a service with one."""

    client_id: str
    auth_method: str
    grant_types: tuple[str, ...]
    client_secret: str | None = None
    id_token_signed_response_alg: str = "ES256"

    def get_client_id(self) -> str:
        """Return the id."""
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        """Return none: the redirect URI has to be sent."""
        return ""

    def get_allowed_scope(self, scope: Collection[str] | str | None) -> str:
        """Return the scopes asked for, without repetitions; unknown ones were refused before."""
        return str(list_to_scope(tuple(dict.fromkeys(scope_to_list(scope) or ()))))

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Allow a loopback address with any port (RFC 8252, section 7.3)."""
        parts = urlsplit(redirect_uri)
        return (
            parts.scheme == "http"
            and parts.hostname in {"127.0.0.1", "::1"}
            and parts.path == "/callback"
            and not parts.query
            and not parts.fragment
            and parts.username is None
        )

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare in constant time; False for a public client, which has no secret."""
        return self.client_secret is not None and hmac.compare_digest(
            client_secret.encode(), self.client_secret.encode()
        )

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 - Authlib's signature
        """Allow the method that the client was registered with."""
        return method == self.auth_method

    def check_response_type(self, response_type: str) -> bool:
        """Allow the code flow alone."""
        return response_type == "code" and "authorization_code" in self.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow what the client was registered for."""
        return grant_type in self.grant_types


@dataclass
class IssuedCode(AuthorizationCodeMixin):
    """An authorization code, kept after its use so that a second use is seen."""

    client_id: str
    redirect_uri: str
    scope: str
    subject: str
    nonce: str | None
    resource: tuple[str, ...]
    code_challenge: str
    code_challenge_method: str
    family: str
    expires_at: float
    is_used: bool = False

    def get_redirect_uri(self) -> str:
        """Return the redirect URI that the code is bound to."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return the scopes that were consented to."""
        return self.scope

    def get_nonce(self) -> str | None:
        """Return OpenID's nonce."""
        return self.nonce

    def get_auth_time(self) -> None:
        """Return None, so that Authlib takes the current time."""

    get_acr = get_amr = get_auth_time


@dataclass
class IssuedDeviceCode(DeviceCredentialMixin):
    """A device code, and the person's answer."""

    client_id: str
    scope: str
    user_code: str
    resource: tuple[str, ...]
    family: str
    expires_at: float
    subject: str | None = None
    is_denied: bool = False
    is_used: bool = False
    polled_at: float = 0.0

    def get_client_id(self) -> str:
        """Return the client it was made for."""
        return self.client_id

    def get_scope(self) -> str:
        """Return the scopes asked for."""
        return self.scope

    def get_user_code(self) -> str:
        """Return the code that the person types."""
        return self.user_code

    def is_expired(self) -> bool:
        """Return whether the code has expired or was used."""
        return self.is_used or time.time() >= self.expires_at


@dataclass
class Issued(TokenMixin):
    """One access or refresh token."""

    kind: str  # access_token | refresh_token
    client_id: str
    scope: str
    subject: str
    resource: tuple[str, ...]
    family: str
    issued_at: float
    expires_at: float
    is_used: bool = False  # a refresh token that was rotated
    is_dead: bool = False

    def check_client(self, client: ClientMixin) -> bool:
        """Return whether the token was issued to this client."""
        return bool(self.client_id == client.get_client_id())

    def get_scope(self) -> str:
        """Return the granted scopes."""
        return self.scope

    def get_expires_in(self) -> int:
        """Return the whole lifetime in seconds."""
        return int(self.expires_at - self.issued_at)

    def is_expired(self) -> bool:
        """Return whether its time is over."""
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        """Return whether it was revoked or rotated."""
        return self.is_dead or self.is_used


@dataclass
class Settings:
    """The settings of `POST /__mode` and of `brokerctl demo --serve`; times are in seconds."""

    access_ttl: int = 3600
    code_ttl: int = 60
    device_ttl: int = 600
    refresh_ttl: int = 14 * 24 * 3600
    interval: int = 5
    no_rotate: bool = False
    auto_approve: bool = False
    subject: str = "alice"


def default_clients() -> dict[str, Client]:
    """Make the clients; their secrets need encoding in HTTP Basic (RFC 6749, 2.3.1)."""
    native = ("authorization_code", DEVICE_CODE_GRANT_TYPE, "refresh_token")
    service = ("client_credentials", *native)
    clients = [
        Client("cli", "none", native),
        Client("device", "none", native[1:]),
        *(
            Client(name, f"client_secret_{name}", service, f"{secrets.token_urlsafe(18)}%41+:&")
            for name in ("basic", "post")
        ),
    ]
    return {client.client_id: client for client in clients}


@dataclass
class State:
    """The whole state of the issuer, which a restart loses."""

    settings: Settings
    clients: dict[str, Client] = field(default_factory=default_clients)
    codes: dict[str, IssuedCode] = field(default_factory=dict)
    devices: dict[str, IssuedDeviceCode] = field(default_factory=dict)
    tokens: dict[str, Issued] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def end_family(self, family: str) -> None:
        """Revoke all tokens that came from one login."""
        for token in self.tokens.values():
            if token.family == family:
                token.is_dead = True

    def find_token(self, value: str, kind: str | None = None) -> Issued | None:
        """Return a token by value, whatever its state."""
        token = self.tokens.get(value)
        return token if token and kind in {None, token.kind} else None

    def find_device(self, user_code: str) -> IssuedDeviceCode | None:
        """Return a device that still waits, by what the person typed (RFC 8628, section 6.1)."""
        typed = user_code.upper().replace("-", "").replace(" ", "")
        for device in self.devices.values():
            if device.user_code.replace("-", "") == typed and not device.is_expired():
                return device
        return None
