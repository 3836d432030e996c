"""The keys of a Google profile: the workload identity pool, and the account that is acted for.

They are a helper's, with any flow (`brokerctl helper gcp`), and those of the flow that exchanges a
job's identity at Google's STS and has the account's token for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

STS = "https://sts.googleapis.com"
_ACCOUNTS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
_ALL = "https://www.googleapis.com/auth/cloud-platform"
_KEYS = ("pool", "service_account")
_POOL = re.compile(
    r"//iam\.googleapis\.com/projects/[0-9]{1,20}/locations/global/workloadIdentityPools"
    r"/[a-z][a-z0-9-]{2,31}/providers/[a-z][a-z0-9-]{2,31}"
    r"|//iam\.googleapis\.com/locations/global/workforcePools"
    r"/[a-z][a-z0-9-]{2,62}/providers/[a-z][a-z0-9-]{2,31}",
    re.ASCII,
)
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}@[a-z0-9][a-z0-9.-]{0,250}", re.ASCII)


def table(value: object) -> tuple[str, ...]:
    """Return the pool's provider, and the service account if there is one; or UsageError."""
    if not isinstance(value, dict):
        raise UsageError("must be a table, as in { pool = '//iam.googleapis.com/projects/…' }")
    unknown = next((key for key in value if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(f"has no key '{unknown[:80]}'", hint=f"known: {', '.join(_KEYS)}")
    pool, account = value.get("pool"), value.get("service_account")
    if not isinstance(pool, str) or not _POOL.fullmatch(pool):
        hint = "the provider's whole name, as Google's console shows it, from '//' on"
        raise UsageError("pool is missing or not the name of a provider", hint=hint)
    if account is None:
        return (pool,)
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        raise UsageError("service_account is not the address of a service account")
    return (pool, account)


def shown(value: tuple[str, ...]) -> dict[str, str]:
    """Return the table as it was written."""
    return dict(zip(_KEYS, value, strict=False))


# Keys that mean nothing to Google's STS, or that are made of the table.
FOREIGN = frozenset(
    (
        *("preset", "issuer", "client_id", "client_auth", "client_secret", "client_key", "extra"),
        *("resource", "send_resource", "lifetime", "grant_ended_errors", "refresh_ends_previous"),
        *("pkce_support", "assertion_audience", "authorization_endpoint", "jwks_uri"),
        *("device_authorization_endpoint", "revocation_endpoint", "introspection_endpoint"),
    )
)


def find_problem(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that is wrong in a profile of Google's flow and why, if one is."""
    pool, *account = values["google"]
    if "/workforcePools/" in pool:
        return "google", f"the flow {values['flow']} is for pools of workloads, not of people"
    if "impersonation_endpoint" in values and not account:
        return "impersonation_endpoint", "impersonation_endpoint needs google.service_account"
    return None


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of such a profile as those of any profile."""
    pool, *account = values["google"]
    found: dict[str, Any] = {
        "scopes": (_ALL,),
        "identity_audience": f"https:{pool}",
        "token_endpoint": f"{STS}/v1/token",
    }
    if account:
        found["impersonation_endpoint"] = f"{_ACCOUNTS}/{account[0]}:generateAccessToken"
        # Never sent: each account has tokens of its own.
        found["extra"] = jsonlite.dumps({"service_account": account[0]}, sort=True)
    return found | dict(values) | {"issuer": STS, "client_id": pool}
