"""A GitHub App's installation token: the app signs who it is, GitHub's API gives an hour's token.

Sources: docs.github.com, REST API, Apps, "Create an installation access token for an app", and
"Generating a JSON Web Token (JWT) for a GitHub App". The key signs here, or a command of the
profile's does: then the key is never in this process.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from warnings import catch_warnings

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import RSAKey

from brokerctl import jsonlite
from brokerctl.config.scope_levels import LEVELS, REPOSITORY
from brokerctl.errors import IssuerError, UsageError, shell_word
from brokerctl.oauth.flows import get_endpoint, send_once
from brokerctl.oauth.json_api import (
    is_success,
    parse_time,
    post_json,
    read_object,
    read_refusal,
    read_token,
    refusal,
)
from brokerctl.oauth.message import host_of, should_retry
from brokerctl.oauth.private_key import get_private_key
from brokerctl.oauth.steps import Run
from brokerctl.oauth.tokens import UnusableAnswerError
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.steps import Steps
    from brokerctl.oauth.tokens import TokenAnswer

_HEADER = {"alg": "RS256", "typ": "JWT"}
_BACK_S, _AHEAD_S = 60, 540  # GitHub's own advice against clocks that differ, and ten minutes whole
_HEADERS = (("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28"))
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_LEAST_BYTES = 128  # of an RSA signature
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_PERMISSION = re.compile(r"[a-z][a-z_]{0,63}", re.ASCII)
_ALL = f"{REPOSITORY}:*"
_HINTS = {
    401: "see whether 'app' and client_key belong together, and whether the clock is right",
    403: "see whether the installation is suspended, or GitHub's rate limit is reached",
    404: "see whether 'installation' is one of this app: {show}",
    422: "the app must have each of the repositories and permissions there: {show}",
}


class GitHubApp:
    """Asks for a token of one installation, for the repositories and permissions of the scopes."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request; after a 5xx or a broken connection once more, signed anew."""
        url = get_endpoint(ctx, "token_endpoint")
        try:
            response = yield from _send(ctx, url, is_last=False)
        except IssuerError as error:
            if not should_retry(error):
                raise
            response = yield from _send(ctx, url, is_last=True)
        else:
            if should_retry(response):
                response = yield from _send(ctx, url, is_last=True)
        return parse_answer(ctx, response, url)


def _send(ctx: FlowContext, url: str, *, is_last: bool) -> Generator[Any, Any, HttpResponse]:
    assertion = yield from sign(ctx)
    return (yield from send_once(_request(ctx, url, assertion), is_last=is_last))


def _request(ctx: FlowContext, url: str, assertion: Secret) -> HttpRequest:
    asked: dict[str, Any] = {}
    names = [one.partition(":")[2] for one in ctx.scopes if _is_repository(one)]
    if names:
        asked["repositories"] = names
    pairs = [one.partition(":") for one in ctx.scopes if not _is_repository(one)]
    levels = {name: level for level in LEVELS for name, _, of in pairs if of == level}
    if levels:
        asked["permissions"] = levels
    return post_json(url, asked, bearer=assertion, headers=_HEADERS)


def _is_repository(scope: str) -> bool:
    return scope.startswith(f"{REPOSITORY}:")


def sign(ctx: FlowContext) -> Generator[Any, Any, Secret]:
    """Return the JWT by which the app says who it is; a command of the profile's may sign it."""
    now = int(ctx.now())
    claims = {"iss": ctx.profile.client_id, "iat": now - _BACK_S, "exp": now + _AHEAD_S}
    key = ctx.profile.client_key
    if key is None or key.kind != "sign":
        return _signed(ctx, claims)
    text = ".".join(_encoded(jsonlite.dumps(part).encode()) for part in (_HEADER, claims))
    output = yield Run(words=key.target, given=text.encode(), what="a signature")
    return Secret(f"{text}.{_encoded(_signature(output, key.target[0]))}")


def _signed(ctx: FlowContext, claims: dict[str, Any]) -> Secret:
    key = get_private_key(ctx)
    if not isinstance(key, RSAKey):
        raise UsageError(
            f"the client_key of '{ctx.profile.name}' is no RSA key",
            hint="make one in the app's settings: GitHub takes no other kind",
        )
    try:
        with catch_warnings(action="ignore", category=SecurityWarning):
            return Secret(jwt.encode(_HEADER, claims, key, algorithms=["RS256"]))
    except (JoseError, ValueError, TypeError) as error:
        raise UsageError(f"the client_key of '{ctx.profile.name}' can't sign") from error


def _signature(output: bytes, program: str) -> bytes:
    """Return the signature that a command printed, as bytes or in base64 of either alphabet."""
    found = output
    if _BASE64.fullmatch(output):
        plain = b"".join(output.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            found = b64decode(plain + b"=" * (-len(plain) % 4))
        except (Base64Error, ValueError):
            found = b""
    if len(found) < _LEAST_BYTES:
        raise UsageError(
            f"{program}, asked for a signature, printed none",
            hint="it signs what it reads from stdin (RS256), and prints the signature, as it is or"
            " in base64",
        )
    return found


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def parse_answer(ctx: FlowContext, response: HttpResponse, url: str) -> TokenAnswer:
    """Return the token of an answer; OAuthError with the status for GitHub's refusal."""
    if not is_success(response):
        show = f"run 'brokerctl profile show {shell_word(ctx.profile.name)}'"
        hint = _HINTS.get(response.status)
        said = read_refusal(response).get("message")
        status = str(response.status)
        raise refusal(response, url, status, said, hint and hint.format(show=show))
    body = read_object(response, url)
    scopes = _granted(body, ctx.scopes)
    answer = read_token(
        body.get("token"), parse_time(body.get("expires_at")), response, url, scopes
    )
    # Security: scopes are shown and recorded.
    if response.replace(secrets=(answer.access_token,)).holds_secret(" ".join(scopes)):
        told = f"{host_of(url)} answered with a secret among its scopes"
        raise UnusableAnswerError(told, None, answer.replace(scopes=()))
    return answer


def _granted(body: dict[str, Any], asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the token may do, by the answer's own word; as asked where it says nothing.

    Security: a word that can't be a name becomes `?`, which nobody asked for.
    """
    found = {one for one in asked if not _is_repository(one)}
    permissions = body.get("permissions")
    if isinstance(permissions, dict):
        found = {
            f"{name}:{level}" if _PERMISSION.fullmatch(name) and level in LEVELS else "?"
            for name, level in permissions.items()
        }
    return tuple(sorted(found | _granted_repositories(body, asked)))


def _granted_repositories(body: dict[str, Any], asked: tuple[str, ...]) -> set[str]:
    """Return the repositories; none where all were asked for. Their names have no case."""
    names = {one.lower(): one for one in asked if _is_repository(one)}
    if not names:
        return set()
    listed, selection = body.get("repositories"), body.get("repository_selection")
    if selection not in (None, "selected") or not isinstance(listed, list):
        return set(names.values()) if selection == "selected" else {_ALL}
    texts = [one.get("name") if isinstance(one, dict) else None for one in listed]
    given = [one if isinstance(one, str) and _NAME.fullmatch(one) else "?" for one in texts]
    return {names.get(f"{REPOSITORY}:{one}".lower(), f"{REPOSITORY}:{one}") for one in given}
