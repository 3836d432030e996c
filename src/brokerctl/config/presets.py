"""Issuers whose values are known beforehand, each with three lines of help for a person.

Nothing here was tried against the real GitHub or GitLab from this repository; the values are from
their documentation. A preset fills in what the profile leaves out, and nothing else.
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Preset(Value):
    """One known issuer: `values` makes TOML values for its own or an own-hosted issuer."""

    name: str
    title: str
    issuer: str | None
    values: Callable[[str], dict[str, object]]
    notes: tuple[str, str, str]  # where to register, what to tick, what the issuer can't do
    questions: tuple[str, ...]  # what discovery can't tell


def _github(issuer: str) -> dict[str, object]:
    if not issuer.endswith("/login/oauth"):
        raise UsageError(
            "the issuer of preset github ends with /login/oauth",
            hint="write https://HOST/login/oauth",
        )
    base = issuer.removesuffix("/login/oauth")
    is_public = base == "https://github.com"
    return {
        "issuer": issuer,
        "flow": "device",
        "client_auth": "none",
        "hosts": [base, "https://api.github.com"] if is_public else [base],
        "username": "x-access-token",
        "username_match": "any",  # GitHub looks at the token alone, not at the user name
        "env": "GITHUB_TOKEN",
        "refresh_ends_previous": True,
        "revoke_at_exit": "none",
        "grant_ended_errors": ["bad_refresh_token"],
        "send_resource": False,
        "pkce_support": "assumed",
        "authorization_endpoint": f"{base}/login/oauth/authorize",
        "device_authorization_endpoint": f"{base}/login/device/code",
        "token_endpoint": f"{base}/login/oauth/access_token",
    }


def _gitlab(issuer: str) -> dict[str, object]:
    return {
        "issuer": issuer,
        "flow": "device",
        "client_auth": "none",
        "scopes": ["read_repository"],
        "hosts": [issuer],
        "username": "oauth2",
        "username_match": "any",  # from 17.0 on any will do; older versions need the one above
        "env": "GITLAB_TOKEN",
        "refresh_ends_previous": True,
        "revoke_at_exit": "none",
    }


def _generic(issuer: str) -> dict[str, object]:
    return {"issuer": issuer, "flow": "code"}


PRESETS = {
    "github": Preset(
        name="github",
        title="GitHub",
        issuer="https://github.com/login/oauth",
        values=_github,
        notes=(
            "register: https://github.com/settings/apps/new (a GitHub App of yours, once)",
            "tick: 'Enable Device Flow', 'Expire user authorization tokens'; no secret",
            "can't: narrow by scope, revoke, keep an older access token alive",
        ),
        questions=("client_id",),
    ),
    "gitlab": Preset(
        name="gitlab",
        title="GitLab",
        issuer="https://gitlab.com",
        values=_gitlab,
        notes=(
            "register: https://gitlab.com/-/user_settings/applications",
            "tick: the scopes, e.g. read_repository; untick 'Confidential'",
            "can't: keep an older access token alive, shorten its two hours",
        ),
        questions=("client_id",),
    ),
    "generic": Preset(
        name="generic",
        title="any issuer with discovery",
        issuer=None,
        values=_generic,
        notes=(
            "register: at the issuer, a public client ('native application')",
            "tick: code with PKCE, refresh tokens; redirect http://127.0.0.1/callback",
            "can't: be told beforehand; its metadata says what it supports",
        ),
        questions=("issuer", "client_id", "scopes"),
    ),
}


def get_preset(name: str) -> Preset:
    """Return a preset by name, or raise UsageError with the names that there are."""
    found = PRESETS.get(name)
    if found is None:
        raise UsageError(f"no preset {name[:80]!r}", hint=f"use one of {', '.join(PRESETS)}")
    return found
