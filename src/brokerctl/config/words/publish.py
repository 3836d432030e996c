"""The keys of a profile that publishes: the kind of package index, its address, and the package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.hosts import parse_issuer, parse_url
from brokerctl.config.indexes import INDEXES
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = "publish"
_KEYS = ("kind", "index", "package")
_PACKAGE_CHARS = 214
# A name of npm's, with its scope or without.
_PACKAGE = re.compile(r"(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*", re.ASCII)
# Keys that mean nothing to an index, or that are made of the table.
FOREIGN = frozenset(
    (
        *("preset", "issuer", "client_id", "client_auth", "client_secret", "client_key", "scopes"),
        *("resource", "send_resource", "extra", "google", "grant_ended_errors", "allow_broader"),
        *("refresh_ends_previous", "pkce_support", "assertion_audience", "authorization_endpoint"),
        *("device_authorization_endpoint", "token_endpoint", "revocation_endpoint"),
        *("introspection_endpoint", "jwks_uri"),
    )
)


def table(value: object) -> str:
    """Return the table `publish` as JSON, its index filled in; UsageError says what is wrong."""
    if not isinstance(value, dict):
        raise UsageError('must be a table, as in { kind = "python" }')
    unknown = next((key for key in value if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"has no key '{unknown[:80]}'", hint=f"known: {', '.join(_KEYS)}")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in INDEXES:
        raise UsageError(f"kind must be one of {', '.join(INDEXES)}")
    index = value.get("index", INDEXES[kind].url)
    if not isinstance(index, str):
        raise UsageError("index must be the address of an index")
    try:
        index = parse_issuer(index).removesuffix("/")
    except UsageError as error:
        raise UsageError(f"index: {error.message}", hint=error.hint) from None
    for suffix in INDEXES[kind].suffixes:
        index = index.removesuffix(suffix)
    found = {"kind": kind, "index": index} | _package(kind, value.get("package"), index)
    return jsonlite.dumps(found, sort=True)


def _package(kind: str, name: object, index: str) -> dict[str, str]:
    """Return the package, of an index whose exchange is for one; UsageError where it can't be."""
    if not INDEXES[kind].is_for_package:
        if name is not None:
            raise UsageError(f"package does not go with kind {kind}, whose tokens are a project's")
        return {}
    if "/" in index.partition("://")[2]:
        raise UsageError(f"index: the exchange of {kind} is at a host, without a path")
    if not isinstance(name, str) or not _PACKAGE.fullmatch(name) or len(name) > _PACKAGE_CHARS:
        raise UsageError(f'kind {kind} needs the package, as in package = "@scope/name"')
    return {"package": name}


def shown(text: str) -> Any:  # noqa: ANN401 - what TOML holds
    """Return the table as it could be written."""
    return jsonlite.loads(text.encode())


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:  # noqa: ARG001 - as all tables
    """Return the key that is wrong in such a profile and why: its table says all."""
    return None


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of such a profile as those of any profile."""
    kept = {key: value for key, value in values.items() if key != TABLE}
    asked = shown(values[TABLE])
    kind, index = asked["kind"], asked["index"]
    traits = INDEXES[kind]
    path = traits.exchange_path
    if traits.is_for_package:
        path += asked["package"].replace("/", "%2f")  # as npm writes it
        # Security: it is part of the key: a token for one package is served for no other.
        kept["extra"] = jsonlite.dumps({"package": asked["package"]})
    if not traits.audience_path:
        kept.setdefault("identity_audience", _audience(index, traits.audience_scheme))
    if "env" not in kept:
        kept |= {"env": traits.variable, "env_beside": traits.beside}
    if traits.revocation_path:
        kept["revocation_endpoint"] = index + traits.revocation_path
    kept.setdefault("lifetime", traits.lifetime_s)
    return kept | {
        "issuer": index,
        "client_id": kind,
        "token_endpoint": index + path,
    }


def _audience(index: str, scheme: str) -> str:
    place = index.partition("://")[2].partition("/")[0]
    return f"{scheme}{parse_url(index).host}" if scheme else place
