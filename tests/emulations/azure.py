"""Microsoft Entra's token endpoint for federated credentials: an assertion in place of a secret.

Sources: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow (third case:
`client_assertion_type`, `client_assertion`, a scope that ends in `/.default`; errors as `error`,
`error_description`, `error_codes`, `timestamp`, `trace_id`, `correlation_id`, `error_uri`) and
reference-error-codes: 700211 no such issuer, 700213 no such subject, 700212 another audience,
700024 not within its time, 700027 signature, 50027 no JWT, 90002 no such tenant, 700016 no such
application, 1002012 a scope that is not `/.default`. That a federated credential that does not
match is `invalid_client` with 401 is from public reports. Issuer, subject and audience are compared
letter by letter; the same assertion may be shown again until it ends.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from tests.emulations.authority import note_secret, unverified_claims
from tests.emulations.service import Reply, Seen, Service, as_json
from tests.emulations.verify import (
    AUDIENCE,
    EXPIRED,
    ISSUER,
    MALFORMED,
    SIGNATURE,
    TOO_EARLY,
    NotBelieved,
    Verifier,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.emulations.authority import Authority

TENANT = "8d3c7f4e-1a2b-4c5d-9e6f-0123456789ab"
CLIENT = "1f2e3d4c-5b6a-4789-8abc-def012345678"
AUDIENCE_OF_ENTRA = "api://AzureADTokenExchange"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CODES = {
    MALFORMED: 50027,
    ISSUER: 700211,
    SIGNATURE: 700027,
    AUDIENCE: 700212,
    EXPIRED: 700024,
    TOO_EARLY: 700024,
}
_LIFETIME_S = 3599


class Given(NamedTuple):
    """A token that was given."""

    scope: str
    ends: float


class Azure(Service):
    """`Azure([authority], subjects=["repo:…"])`: the application's federated credentials."""

    def __init__(
        self,
        authorities: Iterable[Authority],
        subjects: Iterable[str],
        *,
        tls_folder: str | None = None,
    ) -> None:
        super().__init__(tls_folder)
        self.given: dict[str, Given] = {}
        self._verifier = Verifier(authorities)
        self._subjects = set(subjects)

    @property
    def issuer(self) -> str:
        """The tenant's issuer."""
        return f"{self.url}/{TENANT}/v2.0"

    def answer(self, request: Seen) -> Reply:
        """Answer discovery, the token endpoint, and `/whoami` for a token that is alive."""
        tenant, _, rest = request.path.removeprefix("/").partition("/")
        if rest == "v2.0/.well-known/openid-configuration":
            return self._metadata() if tenant == TENANT else self._refuse("invalid_tenant", 90002)
        if rest == "oauth2/v2.0/token" and request.method == "POST":
            return self._token(request.form, tenant)
        if request.path == "/whoami":
            found = self.given.get(request.bearer)
            is_alive = found is not None and found.ends > time.time()
            return as_json({"scope": found.scope}) if found and is_alive else Reply(401)
        return Reply(404)

    def _metadata(self) -> Reply:
        base = f"{self.url}/{TENANT}"
        return as_json(
            {
                "issuer": self.issuer,
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
            }
        )

    def _token(self, form: dict[str, str], tenant: str) -> Reply:
        refused = self._wrong(form, tenant)
        if refused:
            return refused
        try:
            claims = self._verifier.verify(form["client_assertion"], [AUDIENCE_OF_ENTRA])
        except NotBelieved as refusal:
            return self._refuse("invalid_client", _CODES[refusal.why], 401)
        if claims["sub"] not in self._subjects:
            return self._refuse("invalid_client", 700213, 401)
        token = f"entra.{secrets.token_urlsafe(40)}"
        note_secret("access_token", token)
        self.given[token] = Given(form["scope"], time.time() + _LIFETIME_S)
        said = {"token_type": "Bearer", "expires_in": _LIFETIME_S, "ext_expires_in": _LIFETIME_S}
        return as_json({**said, "access_token": token})  # and no scope, as documented

    def _wrong(self, form: dict[str, str], tenant: str) -> Reply | None:
        """Return the refusal of what is wrong with the request itself."""
        if tenant != TENANT:
            return self._refuse("invalid_request", 90002)
        if form.get("grant_type") != "client_credentials":
            return self._refuse("unsupported_grant_type", 70003)
        if form.get("client_id") != CLIENT:
            return self._refuse("unauthorized_client", 700016)
        if form.get("client_assertion_type") != ASSERTION or "client_secret" in form:
            return self._refuse("invalid_client", 7000218, 401)
        scopes = form.get("scope", "").split()
        if len(scopes) != 1 or not scopes[0].endswith("/.default"):
            return self._refuse("invalid_scope", 1002012)
        return None if form.get("client_assertion") else self._refuse("invalid_request", 900144)

    def _refuse(self, error: str, code: int, status: int = 400) -> Reply:
        now = dt.datetime.now(dt.UTC)
        said = {
            "error": error,
            "error_description": f"AADSTS{code}: refused. Timestamp: {now:%Y-%m-%d %H:%M:%SZ}",
            "error_codes": [code],
            "timestamp": f"{now:%Y-%m-%d %H:%M:%SZ}",
            "trace_id": str(uuid.uuid4()),
            "correlation_id": str(uuid.uuid4()),
            "error_uri": f"{self.url}/error?code={code}",
        }
        return as_json(said, status)


def subject_of(token: str) -> str:
    """Return a token's `sub`, for the application's federated credential to name it."""
    return str(unverified_claims(token)["sub"])
