"""The keys of a profile that publishes: the kind of package index, and its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.hosts import parse_issuer
from brokerctl.config.indexes import INDEXES, LATER
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = "publish"
_KEYS = ("kind", "index")
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
    if kind in LATER:
        raise UsageError(f"kind {kind} is not in this version")
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
    return jsonlite.dumps({"kind": kind, "index": index}, sort=True)


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
    if not traits.audience_path:
        kept.setdefault("identity_audience", index.partition("://")[2].partition("/")[0])
    if "env" not in kept:
        kept |= {"env": traits.variable, "env_beside": traits.beside}
    if traits.revocation_path:
        kept["revocation_endpoint"] = index + traits.revocation_path
    kept.setdefault("lifetime", traits.lifetime_s)
    return kept | {
        "issuer": index,
        "client_id": kind,
        "token_endpoint": index + traits.exchange_path,
    }
