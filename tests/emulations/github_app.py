"""GitHub's REST API as an app sees it: installation tokens, narrowed, listed and revoked.

Sources: docs.github.com/en/rest/apps/apps (create an installation access token: 201; 401, 403, 404,
422), /rest/apps/installations (repositories of a token; revoke: 204, afterwards 401),
/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token (RS256,
`iat` in the past, `exp` at most ten minutes ahead, `iss` the app's client id or its id) and
generating-an-installation-access-token (the stateless form `ghs_APPID_JWT` since April 2026, at
most 500 repositories). Messages of a refused JWT are those of public reports, shortened.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from typing import Any, NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError

from tests.emulations.authority import encode_part, note_secret, rsa_key
from tests.emulations.service import Reply, Seen, Service, as_json

APP = "424242"
CLIENT = "Iv23liExampleClient"
INSTALLATION = "31415926"
_KEY = 500  # the number of the app's key
_TEN_MINUTES_S = 600
_SKEW_S = 60
_HOUR_S = 3600
_LEVELS = {"read": 1, "write": 2, "admin": 3}


class Installation(NamedTuple):
    """Where the app is installed: repositories by name with their id, and permissions."""

    repositories: dict[str, int]
    permissions: dict[str, str]
    is_suspended: bool = False


class Given(NamedTuple):
    """A token that was given, with what it may."""

    repositories: dict[str, int]
    permissions: dict[str, str]
    ends: float


class GitHubApi(Service):
    """`GitHubApi()`: one app with one installation; `given` has its live tokens.

    `is_stateless=False` makes tokens of forty characters, as before April 2026.
    """

    def __init__(self, tls_folder: str | None = None, *, is_stateless: bool = True) -> None:
        super().__init__(tls_folder)
        repositories = {"octo-repo": 456789, "docs": 456790, "secret": 456791}
        permissions = {"contents": "write", "metadata": "read", "issues": "write"}
        self.installations = {INSTALLATION: Installation(repositories, permissions)}
        self.given: dict[str, Given] = {}
        self._is_stateless = is_stateless

    @property
    def private_key(self) -> str:
        """The app's key as GitHub gives it out: PEM (PKCS#1 there, PKCS#8 here)."""
        return rsa_key(_KEY).as_pem(private=True).decode()

    def app_jwt(self, **changes: Any) -> str:  # noqa: ANN401 - claims are JSON
        """Return a JWT as the app would sign one."""
        now = int(time.time())
        claims = {"iss": CLIENT, "iat": now - _SKEW_S, "exp": now + 540, **changes}
        return jwt.encode({"alg": "RS256"}, claims, rsa_key(_KEY))

    def is_alive(self, token: str) -> bool:
        """Return whether a token still works."""
        found = self.given.get(token)
        return found is not None and found.ends > time.time()

    def answer(self, request: Seen) -> Reply:
        """Answer the app's endpoints, and `/repos/OWNER/REPO` for a token that may read it."""
        if request.path.startswith("/app/installations/"):
            return self._create(request)
        if not self.is_alive(request.bearer):
            return _problem(401, "Bad credentials")
        if (request.method, request.path) == ("DELETE", "/installation/token"):
            del self.given[request.bearer]
            return Reply(204)
        may = self.given[request.bearer]
        if request.path == "/installation/repositories":
            found = [{"id": number, "name": name} for name, number in may.repositories.items()]
            return as_json({"total_count": len(found), "repositories": found})
        name = request.path.rsplit("/", 1)[-1]
        if request.path.startswith("/repos/") and name in may.repositories:
            return as_json({"name": name, "permissions": may.permissions})
        return _problem(404, "Not Found")

    def _create(self, request: Seen) -> Reply:
        wrong = _wrong_jwt(request.bearer)
        if wrong:
            return _problem(401, wrong)
        number, _, verb = request.path.removeprefix("/app/installations/").partition("/")
        installation = self.installations.get(number)
        if installation is None or verb != "access_tokens" or request.method != "POST":
            return _problem(404, "Not Found")
        if installation.is_suspended:
            return _problem(403, "This installation has been suspended")
        repositories = _narrowed_repositories(installation, request.json)
        permissions = _narrowed_permissions(installation, request.json)
        if repositories is None or permissions is None:
            return _problem(422, "not in this installation")
        return self._give(Given(repositories, permissions, time.time() + _HOUR_S), request.json)

    def _give(self, may: Given, asked: dict[str, Any]) -> Reply:
        token = f"ghs_{secrets.token_hex(18)}"
        if self._is_stateless:
            parts = [encode_part({"alg": "none"}), encode_part({"n": token}), secrets.token_hex(32)]
            token = f"ghs_{APP}_{'.'.join(parts)}"
        self.given[token] = may
        note_secret("access_token", token)
        is_some = asked.get("repositories") or asked.get("repository_ids")
        said: dict[str, Any] = {
            "token": token,
            "expires_at": f"{dt.datetime.fromtimestamp(may.ends, dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
            "permissions": may.permissions,
            "repository_selection": "selected" if is_some else "all",
        }
        if is_some:
            said["repositories"] = [
                {"id": number, "name": name} for name, number in may.repositories.items()
            ]
        return as_json(said, 201)


def _wrong_jwt(token: str) -> str:
    """Return what is wrong with the app's own JWT, or nothing."""
    try:
        claims = jwt.decode(token, rsa_key(_KEY), algorithms=["RS256"]).claims
    except (JoseError, ValueError):
        return "A JSON web token could not be decoded"
    now = time.time()
    if str(claims.get("iss")) not in {APP, CLIENT}:
        return "'Issuer' claim ('iss') must be the app"
    if not isinstance(claims.get("iat"), int) or claims["iat"] > now + 1:
        return "'Issued at' claim ('iat') is not in the past"
    if not isinstance(claims.get("exp"), int) or claims["exp"] <= now:
        return "'Expiration time' claim ('exp') is over"
    if claims["exp"] > now + _TEN_MINUTES_S:
        return "'Expiration time' claim ('exp') is too far in the future"
    return ""


def _narrowed_repositories(where: Installation, asked: dict[str, Any]) -> dict[str, int] | None:
    """Return the repositories asked for, or None where one is not the installation's."""
    names, numbers = asked.get("repositories") or [], asked.get("repository_ids") or []
    if not names and not numbers:
        return where.repositories
    known = where.repositories
    found = {name: known[name] for name in names if name in known}
    found |= {name: number for name, number in known.items() if number in numbers}
    return found if len(found) == len(set(names)) + len(set(numbers)) else None


def _narrowed_permissions(where: Installation, asked: dict[str, Any]) -> dict[str, str] | None:
    """Return the permissions asked for, or None where one is more than the installation's.

    `metadata: read` comes along with every other.
    """
    wanted = asked.get("permissions") or {}
    has = where.permissions
    for name, level in wanted.items():
        if level not in _LEVELS or _LEVELS[level] > _LEVELS.get(has.get(name, ""), 0):
            return None
    return {"metadata": "read", **wanted} if wanted else dict(has)


def _problem(code: int, message: str) -> Reply:
    said = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return as_json({**said, "status": str(code)}, code)
