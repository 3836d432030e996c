"""The embedded issuer: Authlib's authorization server on top of the state in memory.

With it all of brokerctl can be tried and tested without an account anywhere. It has no passwords:
everybody who reaches its loopback address can log in as anybody.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request, grants
from authlib.oauth2.rfc6749.requests import OAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from authlib.oauth2.rfc9207 import IssuerParameter
from joserfc.jwk import ECKey

from brokerctl.demo import grants as ours
from brokerctl.demo import pages
from brokerctl.demo.pages import Reply, json_reply
from brokerctl.demo.state import SCOPES, Issued

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.demo.state import Client, State


class Payload(OAuth2Payload):
    """The parameters of one request, repeated ones included."""

    def __init__(self, text: str) -> None:
        self._datalist = parse_qs(text, keep_blank_values=True, max_num_fields=100)

    @property
    def data(self) -> dict[str, str]:
        """Return the first value of each."""
        return {name: values[0] for name, values in self._datalist.items()}

    @property
    def datalist(self) -> dict[str, list[str]]:
        """Return all values of each."""
        return self._datalist


class Request(OAuth2Request):
    """One HTTP request as Authlib sees it; the body counts for POST, the query for GET."""

    payload: Payload
    client: Any
    user: Any

    def __init__(self, method: str, uri: str, headers: Mapping[str, str], body: str) -> None:
        super().__init__(
            method, uri, headers={name.title(): text for name, text in headers.items()}
        )
        self.body_text = body
        self.payload = Payload(body if method == "POST" else urlsplit(uri).query)

    @property
    def args(self) -> dict[str, str | None]:
        """Return the query's parameters."""
        return {**Payload(urlsplit(self.uri).query).data}

    @property
    def form(self) -> dict[str, str]:
        """Return the body's parameters."""
        return Payload(self.body_text).data


class Issuer(AuthorizationServer):
    """An authorization server on the state in memory; called under the state's lock."""

    def __init__(self, url: str, state: State) -> None:
        super().__init__(scopes_supported=SCOPES)
        self.url = url
        self.state = state
        self.key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": "demo"})
        self.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: secrets.token_urlsafe(32),
                lambda **_: secrets.token_urlsafe(32),
                lambda *_: state.settings.access_ttl,
            ),
        )
        id_token = ours.IdToken(url, self.key)
        self.register_grant(ours.AuthorizationCode, [ours.Pkce(), id_token])
        self.register_grant(ours.Refresh)
        self.register_grant(ours.DeviceCode, [id_token])
        self.register_grant(ServiceCredentials)
        for endpoint in (ours.DeviceAuthorization, ours.DemoRevocation, ours.Introspection):
            self.register_endpoint(cast("Any", endpoint))
        self.register_extension(_iss_parameter(url))

    # The methods that Authlib expects from a framework.

    def query_client(self, client_id: str) -> Client | None:  # type: ignore[override]  # the stub forgets None
        """Return a registered client."""
        return self.state.clients.get(client_id)

    def create_oauth2_request(self, request: Request) -> Request:
        """Return what the adapter made."""
        return request

    def handle_response(self, status: int, body: object, headers: ours.Ours) -> Reply:
        """Turn Authlib's answer into ours."""
        text = body if isinstance(body, str) else json.dumps(body)
        return Reply(status, text, {"Cache-Control": "no-store", **dict(headers)})

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Do nothing: there are no listeners."""

    def save_token(self, token: dict[str, Any], request: ours.Ours) -> None:
        """Store the issued tokens, in the family of the code or token that was redeemed."""
        source = request.refresh_token or request.authorization_code or request.credential
        now = time.time()
        client_id = request.client.get_client_id()
        scope = token.get("scope", "")
        common = {
            "client_id": client_id,
            "subject": request.user or client_id,
            "resource": ours.resources(request) or getattr(source, "resource", ()),
            "family": source.family if source else secrets.token_hex(8),
            "issued_at": now,
        }
        self.state.tokens[token["access_token"]] = Issued(
            kind="access_token", scope=scope, expires_at=now + token["expires_in"], **common
        )
        if refresh_token := token.get("refresh_token"):
            # RFC 6749, section 6: the refresh token keeps its scopes when a refresh asks for fewer.
            kept = source.get_scope() if request.refresh_token else scope
            expires_at = now + self.state.settings.refresh_ttl
            self.state.tokens[refresh_token] = Issued(
                kind="refresh_token", scope=kept, expires_at=expires_at, **common
            )

    # The methods that the HTTP adapter calls.

    def metadata(self) -> Reply:
        """Answer with RFC 8414's document, which is OpenID's discovery document as well."""
        methods = ours.AUTH_METHODS
        endpoints = {
            "authorization_endpoint": "/auth",
            "token_endpoint": "/token",
            "device_authorization_endpoint": "/device/auth",
            "revocation_endpoint": "/token/revocation",
            "introspection_endpoint": "/token/introspection",
            "jwks_uri": "/jwks",
        }
        return json_reply(
            {
                "issuer": self.url,
                **{name: self.url + path for name, path in endpoints.items()},
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": [
                    "authorization_code",
                    "refresh_token",
                    "client_credentials",
                    DEVICE_CODE_GRANT_TYPE,
                ],
                "token_endpoint_auth_methods_supported": methods,
                "revocation_endpoint_auth_methods_supported": methods,
                "introspection_endpoint_auth_methods_supported": methods,
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }
        )

    def jwks(self) -> Reply:
        """Answer with the public half of the ID tokens' key."""
        return json_reply({"keys": [self.key.as_dict(private=False)]})

    def authorize(self, request: Request) -> Reply:
        """Show the consent page, or redirect at once where everything is approved."""
        try:
            grant = self.get_consent_grant(request)  # type: ignore[no-untyped-call]  # no stub
            if self.state.settings.auto_approve:
                return self._redirect(request, grant, self.state.settings.subject)
        except OAuth2Error as error:
            return self._refuse(request, error)
        return pages.consent_page(request.payload.datalist, self.state.settings.subject)

    def decide(self, request: Request) -> Reply:
        """Handle the consent page's form: the request again, a name, and yes or no."""
        try:
            grant = self.get_consent_grant(request)  # type: ignore[no-untyped-call]  # no stub
            said_no = "abort" in request.payload.data
            subject = request.payload.data.get("login") or self.state.settings.subject
            return self._redirect(request, grant, None if said_no else subject)
        except OAuth2Error as error:
            return self._refuse(request, error)

    def _redirect(self, request: Request, grant: grants.BaseGrant, user: str | None) -> Reply:
        reply: Any = self.create_authorization_response(request, grant_user=user, grant=grant)
        return cast("Reply", reply)

    def _refuse(self, request: Request, error: OAuth2Error) -> Reply:
        reply: Any = self.handle_error_response(request, error)
        self.execute_hook("after_create_authorization_response", reply)
        return cast("Reply", reply)

    def device_page(self, request: Request) -> Reply:
        """Show the page where the user code is typed, or handle its form."""
        data = request.payload.data
        is_answer = request.method == "POST" or self.state.settings.auto_approve
        user_code = data.get("user_code", "")
        if not user_code or not is_answer:
            return pages.device_page(user_code, self.state.settings.subject)
        device = self.state.find_device(user_code)
        if device is None:
            return pages.page("Unknown or expired code", "", 404)
        if "abort" in data:
            device.is_denied = True
            return pages.page("The device was refused", "")
        device.subject = data.get("login") or self.state.settings.subject
        return pages.page("The device is connected", "")


class ServiceCredentials(grants.ClientCredentialsGrant):
    """Client credentials, the secret by header or body."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]  # noqa: RUF012 - Authlib's form


def _iss_parameter(url: str) -> Any:  # noqa: ANN401 - Authlib's extensions are callables with a server
    class Parameter(IssuerParameter):
        def get_issuer(self) -> str:
            return url

    return Parameter()
