"""The key of an Azure profile: the tenant of Microsoft Entra whose application the job acts as."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE, LOGIN = "azure", "https://login.microsoftonline.com"
_KEYS = ("tenant",)
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_NO_TENANTS = ("common", "consumers", "organizations")  # of people who log in
_ALL = "/.default"  # what an application was given: Entra takes no other scope without a person
# Keys that mean nothing to Entra here, or that are made of the table.
FOREIGN = frozenset(
    (
        *("preset", "client_auth", "client_secret", "client_key", "resource", "send_resource"),
        *("extra", "lifetime", "grant_ended_errors", "refresh_ends_previous", "pkce_support"),
        *("assertion_audience", "google", "authorization_endpoint", "jwks_uri"),
        *("device_authorization_endpoint", "revocation_endpoint", "introspection_endpoint"),
    )
)


def table(value: object) -> str:
    """Return the table `azure` as JSON; UsageError says what is wrong."""
    if not isinstance(value, dict):
        raise UsageError(
            'must be a table, as in { tenant = "00000000-0000-0000-0000-000000000000" }'
        )
    unknown = next((key for key in value if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"has no key '{unknown[:80]}'", hint=f"known: {', '.join(_KEYS)}")
    tenant = value.get("tenant")
    if tenant is None:
        raise UsageError("tenant is missing")
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant) or tenant in _NO_TENANTS:
        raise UsageError("tenant is neither the id nor the domain of one tenant")
    return jsonlite.dumps({"tenant": tenant})


def shown(text: str) -> Any:  # noqa: ANN401 - what TOML holds
    """Return the table as it could be written."""
    return jsonlite.loads(text.encode())


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that is wrong in such a profile and why, if one is."""
    scopes = values.get("scopes", ())
    if len(scopes) == 1 and scopes[0].endswith(_ALL):
        return None
    said = f"flow {values['flow']} needs one scope, that ends in {_ALL}"
    return "scopes", f"{said}, as https://vault.azure.net{_ALL}"


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of such a profile as those of any profile.

    `issuer` may be that of a sovereign cloud alone, or the tenant's there.
    """
    kept = {key: value for key, value in values.items() if key != TABLE}
    tenant = shown(values[TABLE])["tenant"]
    login = values.get("issuer", LOGIN).removesuffix("/").removesuffix(f"/{tenant}/v2.0")
    kept.setdefault("token_endpoint", f"{login}/{tenant}/oauth2/v2.0/token")
    return kept | {"issuer": f"{login}/{tenant}/v2.0"}
