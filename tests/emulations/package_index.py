"""Trusted publishing at four package indexes: a job's identity for a token that may upload.

Sources, the servers' own code where it is public, else the clients':
PyPI: github.com/pypi/warehouse (warehouse/oidc/views.py, services.py: RS256, `iss iat exp aud`
required, one audience as a string, 30 s of leeway, a jti once, 422 with `errors`, 15 minutes) and
github.com/pypa/gh-action-pypi-publish (oidc-exchange.py); uploads are basic with `__token__`, and a
token without power is 403. crates.io: github.com/rust-lang/crates.io (controllers/trustpub/tokens:
the jti is used up before anything else, `pull_request_target` and `workflow_run` are refused, 30
minutes, `{"errors": [{"detail": …}]}`, DELETE answers 204 also for what is gone) and
rust-lang/crates-io-auth-action (the audience is the URL without its scheme). npm: the registry's
code is not public; github.com/npm/cli (lib/utils/oidc.js: audience `npm:HOSTNAME`, the package's
escaped name, the identity as a bearer); 201 with `token`, and 404 `package not found` for whatever
does not match, are from public logs. RubyGems: github.com/rubygems/rubygems.org
(api/v1/oidc/trusted_publisher_controller.rb: `nbf iat exp` integers, `iss jti` texts, else 400; all
else is 404; 15 minutes; a jti is not noted) and rubygems/configure-rubygems-credentials.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import secrets
import time
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tests.emulations.authority import note_secret, unverified_claims
from tests.emulations.jobs import Job
from tests.emulations.service import Reply, Seen, Service, as_json, as_text
from tests.emulations.verify import REUSED, NotBelieved, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.emulations.authority import Authority

PYPI_AUDIENCE = "pypi"
WORKFLOW = "release.yml"
_PREFIXES = {"python": "pypi-", "cargo": "cio_tp_", "npm": "npm_", "rubygems": "rubygems_"}
_MINUTES = {"python": 15, "cargo": 30, "npm": 60, "rubygems": 15}
_LEEWAY_S = 30


class Given(NamedTuple):
    """A token that was given: at which index, for which project, until when."""

    kind: str
    project: str
    ends: float


class PackageIndexes(Service):
    """`PackageIndexes([authority], project="shop")`: one server for all four, each at its paths.

    The project's publisher is `job`'s repository with the workflow release.yml. `given` has the
    live tokens, `uploads` the files that came.
    """

    def __init__(
        self,
        authorities: Iterable[Authority],
        *,
        project: str = "shop",
        job: Job | None = None,
        tls_folder: str | None = None,
    ) -> None:
        super().__init__(tls_folder)
        self.project = project
        self.given: dict[str, Given] = {}
        self.uploads: list[str] = []
        self.is_enabled = True  # whether PyPI has trusted publishing switched on
        self._job = job or Job()
        self._strict = Verifier(authorities)
        self._lenient = Verifier(authorities, leeway_s=_LEEWAY_S)  # each notes what was used

    @property
    def netloc(self) -> str:
        """Its host and port: what crates.io takes as the audience."""
        return urlsplit(self.url).netloc

    @property
    def npm_audience(self) -> str:
        """The audience that npm wants, whose host has no port."""
        return f"npm:{urlsplit(self.url).hostname}"

    def is_alive(self, token: str, kind: str) -> bool:
        """Return whether a token still works at its index."""
        found = self.given.get(token)
        return found is not None and found.kind == kind and found.ends > time.time()

    def answer(self, request: Seen) -> Reply:
        """Answer as the index whose path it is."""
        path = unquote(request.path)
        for (method, prefix), handle in _ENDPOINTS.items():
            if request.method == method and path.startswith(prefix):
                return handle(self, request)
        return Reply(404)

    def believe(self, token: str, audiences: Iterable[str], *, once: bool) -> dict[str, Any]:
        """Return the claims of a token that the project's publisher may have, or raise."""
        verifier = self._lenient if once else self._strict
        return verifier.verify(token, tuple(audiences), once=once)

    def is_publisher(self, claims: dict[str, Any], workflow: str) -> bool:
        """Return whether this is the repository, and owner, and workflow that was registered."""
        owner = claims.get("repository_owner_id", claims.get("namespace_id"))
        repository = claims.get("repository", claims.get("project_path"))
        file = str(claims.get(workflow, "")).partition("@")[0].rsplit("/", 1)[-1]
        is_workflow = file == WORKFLOW or "project_path" in claims
        return is_workflow and (repository, owner) == (self._job.path, self._job.owner_id)

    def give(self, kind: str) -> tuple[str, float]:
        """Return a new token, and when it ends."""
        token = _PREFIXES[kind] + secrets.token_hex(16)
        ends = time.time() + _MINUTES[kind] * 60
        self.given[token] = Given(kind, self.project, ends)
        note_secret("access_token", token)
        return token, ends


# --- PyPI -----------------------------------------------------------------------------------------


def _audience(it: PackageIndexes, _request: Seen) -> Reply:
    if not it.is_enabled:
        return as_json({"message": "Trusted publishing is not enabled"}, 403)
    return as_json({"audience": PYPI_AUDIENCE})


def _mint(it: PackageIndexes, request: Seen) -> Reply:
    token = request.json.get("token")
    if not isinstance(token, str):
        return _unprocessable("invalid-payload")
    try:
        claims = unverified_claims(token)
        if isinstance(claims.get("aud"), list):  # the only index that refuses a list of one
            return _unprocessable("invalid-token")
        claims = it.believe(token, [PYPI_AUDIENCE], once=True)
    except (ValueError, NotBelieved) as refusal:
        is_reused = isinstance(refusal, NotBelieved) and refusal.why == REUSED
        return _unprocessable("invalid-reuse-token" if is_reused else "invalid-token")
    if not it.is_publisher(claims, "job_workflow_ref"):
        return _unprocessable("invalid-publisher")
    minted, ends = it.give("python")
    return as_json({"success": True, "token": minted, "expires": int(ends)})


def _unprocessable(code: str) -> Reply:
    errors = [{"code": code, "description": code.replace("-", " ")}]
    return as_json({"message": "Token request failed", "errors": errors}, 422)


def _upload(it: PackageIndexes, request: Seen) -> Reply:
    kind, _, coded = request.headers.get("authorization", "").partition(" ")
    user, _, token = base64.b64decode(coded).decode().partition(":") if coded else ("", "", "")
    if kind.lower() != "basic" or user != "__token__" or not it.is_alive(token, "python"):
        return as_text("403 Invalid or non-existent authentication information", 403)
    fields = _multipart(request)
    name = fields.get("name", b"").decode()
    if fields.get(":action") != b"file_upload" or "content" not in fields:
        return as_text("400 no file", 400)
    if name != it.given[token].project:
        return as_text("403 this token is not for that project", 403)
    if hashlib.sha256(fields["content"]).hexdigest() != fields.get("sha256_digest", b"").decode():
        return as_text("400 the digest does not match", 400)
    it.uploads.append(f"{name} {fields['version'].decode()}")
    return as_text("")


def _multipart(request: Seen) -> dict[str, bytes]:
    """Return the fields of a form with files."""
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    found = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        found[str(name)] = payload if isinstance(payload, bytes) else b""
    return found


# --- crates.io ------------------------------------------------------------------------------------


def _crate_token(it: PackageIndexes, request: Seen) -> Reply:
    token = request.json.get("jwt")
    if not isinstance(token, str):
        return _detail("no jwt")
    try:
        claims = it.believe(token, [it.netloc], once=True)
    except NotBelieved as refusal:
        return _detail("JWT has already been used" if refusal.why == REUSED else refusal.why)
    if claims.get("event_name") in {"pull_request_target", "workflow_run"}:
        return _detail("this event is not supported")
    if not it.is_publisher(claims, "workflow_ref"):
        return _detail("No Trusted Publishing config found")
    return as_json({"token": it.give("cargo")[0]})


def _crate_revoke(it: PackageIndexes, request: Seen) -> Reply:
    if not request.bearer.startswith(_PREFIXES["cargo"]):
        return _detail("this is no token of ours", 401)
    it.given.pop(request.bearer, None)
    return Reply(204)


def _crate_publish(it: PackageIndexes, request: Seen) -> Reply:
    token = request.bearer or request.headers.get("authorization", "")
    if not it.is_alive(token, "cargo"):
        return _detail("authentication failed", 403)
    it.uploads.append(it.project)
    return as_json({"warnings": {}})


def _detail(text: str, code: int = 400) -> Reply:
    return as_json({"errors": [{"detail": text}]}, code)


# --- npm ------------------------------------------------------------------------------------------


def _npm_token(it: PackageIndexes, request: Seen) -> Reply:
    name = unquote(request.path.rsplit("/package/", 1)[-1])
    try:
        claims = it.believe(request.bearer, [it.npm_audience], once=False)
    except NotBelieved as refusal:
        return as_json({"message": f"OIDC token exchange error - {refusal.why}"}, 401)
    if name != it.project or not it.is_publisher(claims, "workflow_ref"):
        return as_json({"message": "OIDC token exchange error - package not found"}, 404)
    token, ends = it.give("npm")
    return as_json({"token_type": "oidc", "token": token, "expires": _iso(ends)}, 201)


def _npm_publish(it: PackageIndexes, request: Seen) -> Reply:
    name, attached = request.json.get("name"), request.json.get("_attachments") or {}
    if not it.is_alive(request.bearer, "npm"):
        return as_json({"error": "Access token expired or revoked"}, 401)
    if name != it.project or unquote(request.path) != f"/{name}":
        return as_json({"error": "Not found"}, 404)
    for version, about in request.json.get("versions", {}).items():
        (data,) = [base64.b64decode(one["data"]) for one in attached.values()]
        if hashlib.sha1(data).hexdigest() != about["dist"]["shasum"]:  # noqa: S324 - npm's own digest
            return as_json({"error": "the digest does not match"}, 400)
        it.uploads.append(f"{name} {version}")
    return as_json({"success": True}, 201)


def _npm_whoami(it: PackageIndexes, request: Seen) -> Reply:
    return as_json({"username": "oidc"}) if it.is_alive(request.bearer, "npm") else Reply(401)


# --- RubyGems -------------------------------------------------------------------------------------


def _gem_token(it: PackageIndexes, request: Seen) -> Reply:
    token = request.json.get("jwt", "")
    try:
        claims = unverified_claims(token)
    except (ValueError, AttributeError):
        return as_text("Bad Request", 400)
    are_times = all(isinstance(claims.get(name), int) for name in ("nbf", "iat", "exp"))
    if not are_times or not all(isinstance(claims.get(name), str) for name in ("iss", "jti")):
        return as_text("Bad Request", 400)
    try:
        claims = it.believe(token, [it.netloc, str(urlsplit(it.url).hostname)], once=False)
    except NotBelieved:
        return as_text("This could not be found.", 404)
    if not it.is_publisher(claims, "job_workflow_ref"):
        return as_text("This could not be found.", 404)
    key, ends = it.give("rubygems")
    said = {"rubygems_api_key": key, "name": "GitHub Actions", "scopes": ["push_rubygem"]}
    return as_json({**said, "expires_at": _iso(ends)}, 201)


def _gem_push(it: PackageIndexes, request: Seen) -> Reply:
    if not it.is_alive(request.headers.get("authorization", ""), "rubygems"):
        return as_text("Access Denied.", 401)
    it.uploads.append(it.project)
    return as_text("Successfully registered")


def _iso(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S.000Z}"


_ENDPOINTS: dict[tuple[str, str], Callable[[PackageIndexes, Seen], Reply]] = {
    ("GET", "/_/oidc/audience"): _audience,
    ("POST", "/_/oidc/mint-token"): _mint,
    ("POST", "/legacy/"): _upload,
    ("POST", "/api/v1/trusted_publishing/tokens"): _crate_token,
    ("DELETE", "/api/v1/trusted_publishing/tokens"): _crate_revoke,
    ("PUT", "/api/v1/crates/new"): _crate_publish,
    ("POST", "/-/npm/v1/oidc/token/exchange/package/"): _npm_token,
    ("GET", "/-/whoami"): _npm_whoami,
    ("PUT", "/@"): _npm_publish,
    ("PUT", "/shop"): _npm_publish,
    ("POST", "/api/v1/oidc/trusted_publisher/exchange_token"): _gem_token,
    ("POST", "/api/v1/gems"): _gem_push,
}
