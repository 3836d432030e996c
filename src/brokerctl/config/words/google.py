"""The keys of a Google profile: the workload identity pool, and the account that is acted for."""

from __future__ import annotations

import re

from brokerctl.errors import UsageError

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
