"""The profile that `brokerctl login URL` stores: named by the URL's host, as small as it can be."""

from __future__ import annotations

from typing import Any

from brokerctl.config.fields import profile_name
from brokerctl.config.hosts import parse_issuer, parse_url
from brokerctl.errors import UsageError

_KINDS = ("env", "file", "keyring", "store")


def name_of(url: str) -> str:
    """Return the name of a URL's profile: its host, and its port after `-` where it has one."""
    parsed = parse_url(url)
    name = parsed.host.strip("[]").replace(":", ".")
    authority = url.partition("://")[2].partition("/")[0]
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority[-6:] else ""
    return profile_name(f"{name}-{port}" if port.isdecimal() and port != "443" else name)


def values_of(
    url: str,
    client_id: str,
    *,
    flow: str | None,
    scopes: tuple[str, ...],
    client_secret: str | None,
) -> dict[str, Any]:
    """Return the profile's keys as TOML values; the compiler checks them like any other."""
    values: dict[str, Any] = {"issuer": parse_issuer(url), "flow": flow or "code"}
    values["client_id"] = client_id
    if client_secret is not None:
        values["client_auth"] = "client_secret_basic"
        values["client_secret"] = parse_reference(client_secret)
    if scopes:
        values["scopes"] = list(scopes)
    return values


def parse_reference(text: str) -> dict[str, str]:
    """Return the TOML form of `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME` or `store:NAME`."""
    kind, colon, target = text.partition(":")
    if not colon or kind not in _KINDS or not target:
        # Security: the text may be the secret itself, so it is not repeated.
        raise UsageError(
            "--client-secret takes a reference, never the secret itself",
            hint=f"write one of {', '.join(f'{kind}:…' for kind in _KINDS)}",
        )
    return {kind: target}
