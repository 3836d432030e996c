"""The keys of a GitHub App's profile: the app, where it is installed, what a token may do there.

Repositories and permissions become the scopes of the profile, `repo:NAME` and `contents:read`, so
that a request narrows them as it narrows any scope.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.scope_levels import LEVELS, REPOSITORY
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE, API = "github_app", "https://api.github.com"
_APP = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)  # a client id, or the number of an app
_INSTALLATION = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_PERMISSION = re.compile(r"[a-z][a-z_]{0,63}", re.ASCII)
_MOST_REPOSITORIES = 500  # GitHub's own limit of one token
_KEYS = ("app", "installation", "repositories", "permissions")
# Keys that mean nothing to GitHub's API, or that are made of the table.
FOREIGN = frozenset(
    (
        *("preset", "client_id", "client_auth", "client_secret", "scopes", "lifetime", "extra"),
        *("resource", "send_resource", "grant_ended_errors", "refresh_ends_previous"),
        *("pkce_support", "assertion_audience", "google", "token_endpoint", "revocation_endpoint"),
        *("authorization_endpoint", "device_authorization_endpoint"),
        *("introspection_endpoint", "jwks_uri"),
    )
)


def table(value: object) -> str:
    """Return the table `github_app` as JSON; UsageError says what is wrong."""
    if not isinstance(value, dict):
        raise UsageError('must be a table, as in { app = "Iv23liXXXX", installation = 12345678 }')
    unknown = next((key for key in value if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"has no key '{unknown[:80]}'", hint=f"known: {', '.join(_KEYS)}")
    found: dict[str, Any] = {
        "app": _number(_APP, value, "app", "a client id, or the number of an app"),
        "installation": _number(_INSTALLATION, value, "installation", "a number"),
    }
    if "repositories" in value:
        found["repositories"] = _repositories(value["repositories"])
    if "permissions" in value:
        found["permissions"] = _permissions(value["permissions"])
    return jsonlite.dumps(found, sort=True)


def _number(pattern: re.Pattern[str], table: dict[str, Any], key: str, what: str) -> str:
    value = table.get(key)
    if value is None:
        raise UsageError(f"{key} is missing")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise UsageError(f"{key} is not {what}")
    return text


def _repositories(value: object) -> list[str]:
    names = value if isinstance(value, list) else []
    if not 0 < len(names) <= _MOST_REPOSITORIES:
        hint = "leave it out for all repositories of the installation"
        raise UsageError(f"repositories must be 1 to {_MOST_REPOSITORIES} names", hint=hint)
    wrong = [one for one in names if not isinstance(one, str) or not _REPOSITORY.fullmatch(one)]
    if wrong:
        hint = "a name without its owner, as in ['docs']"
        raise UsageError(f"{str(wrong[0])[:80]!r} is not the name of a repository", hint=hint)
    return sorted(set(names))


def _permissions(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        hint = "leave it out for all permissions of the app"
        raise UsageError("permissions must be a table, as in { contents = 'read' }", hint=hint)
    for name, level in value.items():
        if not _PERMISSION.fullmatch(name) or name == REPOSITORY:
            raise UsageError(f"{name[:80]!r} is not the name of a permission")
        if level not in LEVELS:
            raise UsageError(f"the permission {name} must be one of {', '.join(LEVELS)}")
    return dict(value)


def shown(text: str) -> Any:  # noqa: ANN401 - what TOML holds
    """Return the table as it could be written."""
    return jsonlite.loads(text.encode())


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that is wrong in such a profile and why, if one is."""
    if "client_key" not in values:
        return "client_key", f"flow {values['flow']} needs client_key, the app's private key"
    return None


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of such a profile as those of any profile."""
    kept = {key: value for key, value in values.items() if key != TABLE}
    asked = jsonlite.loads(values[TABLE].encode())
    api = values.get("issuer", API).removesuffix("/")
    scopes = [f"{REPOSITORY}:{name}" for name in asked.get("repositories", ())]
    scopes += [f"{name}:{level}" for name, level in asked.get("permissions", {}).items()]
    installation = asked["installation"]
    return kept | {
        "issuer": api,
        "client_id": asked["app"],
        "scopes": tuple(sorted(scopes)),
        "token_endpoint": f"{api}/app/installations/{installation}/access_tokens",
        "revocation_endpoint": f"{api}/installation/token",
        # Never sent: two installations of one app have tokens of their own.
        "extra": jsonlite.dumps({"installation": installation}, sort=True),
    }
