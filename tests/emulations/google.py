"""Google's Security Token Service and IAM Credentials, for workload identity federation.

Sources: cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token (JSON in camel case, or the
form of RFC 8693; no Authorization header; the token's audience is by default the provider's full
name, with `https:` before it or not), the client google-auth (google/oauth2/sts.py,
google/auth/impersonated_credentials.py), cloud.google.com/iam/docs/reference/credentials/rest/v1/
projects.serviceAccounts/generateAccessToken (`scope` a list, `lifetime` "300s", an hour at most;
`accessToken`, `expireTime`). Error codes are those that public reports show; the texts are ours.
A federated token can't be revoked, and nothing here revokes one.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from tests.emulations.authority import note_secret
from tests.emulations.service import Reply, Seen, Service, as_json
from tests.emulations.verify import NotBelieved, Verifier
from tests.idp.issuer import TOKEN_EXCHANGE, TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.emulations.authority import Authority

POOL = "projects/123456789012/locations/global/workloadIdentityPools/ci-jobs"
PROVIDER = f"//iam.googleapis.com/{POOL}/providers/main"
ACCOUNT = "deploy@shop.iam.gserviceaccount.com"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
IAM = "https://www.googleapis.com/auth/iam"
_ACCESS = f"{TYPE}access_token"
_SUBJECTS = {f"{TYPE}jwt", f"{TYPE}id_token"}
_HOUR_S = 3600


class Exchanged(NamedTuple):
    """A token that was given: for whom, for what, and until when."""

    subject: str
    scopes: tuple[str, ...]
    ends: float


class Google(Service):
    """`Google([authority], accounts={"sub of the job": [ACCOUNT]})`: who may be which account.

    `audiences` are the provider's allowed ones, by default its name. `condition` is an attribute
    condition over the claims.
    """

    def __init__(
        self,
        authorities: Iterable[Authority],
        accounts: dict[str, list[str]],
        *,
        audiences: Iterable[str] = (PROVIDER, f"https:{PROVIDER}"),
        condition: Callable[[dict[str, Any]], bool] = lambda _: True,
        tls_folder: str | None = None,
    ) -> None:
        super().__init__(tls_folder)
        self.federated: dict[str, Exchanged] = {}
        self.access: dict[str, Exchanged] = {}
        self._verifier = Verifier(authorities)
        self._accounts = accounts
        self._audiences = tuple(audiences)
        self._condition = condition

    def answer(self, request: Seen) -> Reply:
        """Answer the two services, and `/whoami` for a token that is alive."""
        if request.path == "/v1/token":
            return self._exchange(request)
        path = unquote(request.path)
        prefix, _, rest = path.partition("/serviceAccounts/")
        account, _, verb = rest.rpartition(":")
        if (prefix, verb) == ("/v1/projects/-", "generateAccessToken"):
            return self._impersonate(request, account)
        if request.path == "/whoami":
            found = self._alive(self.access, request.bearer)
            return as_json({"email": found.subject}) if found else _problem(401)
        return _problem(404)

    # The Security Token Service.

    def _exchange(self, request: Seen) -> Reply:
        asked = _as_form(request)
        wrong = self._wrong(request, asked)
        if wrong:
            return as_json(dict(zip(("error", "error_description"), wrong, strict=True)), 400)
        try:
            claims = self._verifier.verify(asked["subject_token"], self._audiences)
        except NotBelieved as refusal:
            said = {"error": "invalid_grant", "error_description": f"the token: {refusal.why}"}
            return as_json(said, 400)
        if not self._condition(claims):
            return as_json({"error": "unauthorized_client"}, 400)
        scopes = tuple(asked["scope"].split())
        token = self._give(self.federated, Exchanged(claims["sub"], scopes, time.time() + _HOUR_S))
        given = {"access_token": token, "issued_token_type": _ACCESS}
        return as_json({**given, "token_type": "Bearer", "expires_in": _HOUR_S - 1})

    def _wrong(self, request: Seen, asked: dict[str, str]) -> tuple[str, str] | None:
        """Return code and text for what is wrong with the request itself."""
        named = asked.get("audience", "")
        has_token = bool(asked.get("scope") and asked.get("subject_token"))
        rules = [
            ("authorization" not in request.headers, "invalid_request", "Authorization"),
            (asked.get("grant_type") == TOKEN_EXCHANGE, "unsupported_grant_type", "grant_type"),
            (asked.get("requested_token_type") == _ACCESS, "invalid_request", "requested type"),
            (asked.get("subject_token_type") in _SUBJECTS, "invalid_request", "subject type"),
            (named.startswith("//iam.googleapis.com/"), "invalid_request", "no name of a provider"),
            (named == PROVIDER, "invalid_target", "no such provider"),
            (has_token, "invalid_request", "scope and subject_token are needed"),
        ]
        return next(((code, text) for is_right, code, text in rules if not is_right), None)

    # IAM Credentials.

    def _impersonate(self, request: Seen, account: str) -> Reply:
        caller = self._alive(self.federated, request.bearer)
        if caller is None:
            return _problem(401)
        if not {CLOUD_PLATFORM, IAM} & set(caller.scopes):
            return _problem(403, "the token's scopes")
        if account not in self._accounts.get(caller.subject, []):
            return _problem(403, "iam.serviceAccounts.getAccessToken")
        asked = request.json
        lifetime = str(asked.get("lifetime", f"{_HOUR_S}s"))
        seconds = float(lifetime.removesuffix("s")) if lifetime[:-1].isdigit() else 0
        if not asked.get("scope") or isinstance(asked["scope"], str):
            return _problem(400, "scope")
        if not lifetime.endswith("s") or not 0 < seconds <= _HOUR_S:
            return _problem(400, "lifetime")
        ends = time.time() + seconds
        token = self._give(self.access, Exchanged(account, tuple(asked["scope"]), ends))
        text = f"{dt.datetime.fromtimestamp(ends, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
        return as_json({"accessToken": token, "expireTime": text})

    def _give(self, tokens: dict[str, Exchanged], what: Exchanged) -> str:
        token = f"ya29.{secrets.token_urlsafe(40)}"
        tokens[token] = what
        note_secret("access_token", token)
        return token

    def _alive(self, tokens: dict[str, Exchanged], token: str) -> Exchanged | None:
        found = tokens.get(token)
        return found if found and found.ends > time.time() else None


_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}


def _problem(code: int, what: str = "") -> Reply:
    """Return an error as Google's APIs write it (cloud.google.com/apis/design/errors)."""
    status = _STATUS.get(code, "NOT_FOUND")
    return as_json({"error": {"code": code, "message": f"{status} {what}", "status": status}}, code)


_SNAKE = {
    "grantType": "grant_type",
    "requestedTokenType": "requested_token_type",
    "subjectToken": "subject_token",
    "subjectTokenType": "subject_token_type",
}


def _as_form(request: Seen) -> dict[str, str]:
    """Return what was asked under the names of RFC 8693, whichever way it was sent."""
    if "json" not in request.headers.get("content-type", ""):
        return request.form
    return {_SNAKE.get(name, name): str(value) for name, value in request.json.items()}
