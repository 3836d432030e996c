"""Which proxy leads to a host: HTTPS_PROXY and NO_PROXY, read by ourselves; for loopback none."""

from __future__ import annotations

import ipaddress

from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.hosts import Url

    _Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SCHEMES = ("http://", "https://")


def find_proxy(url: Url, environ: Mapping[str, str]) -> str | None:
    """Return the proxy's URL, or None to connect directly; only https ever leaves this machine."""
    proxy = _read(environ, "https_proxy") or _read(environ, "all_proxy")
    if not proxy or is_excepted(url.host, url.port, _read(environ, "no_proxy")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.lower().startswith(_SCHEMES):
        raise UsageError("the proxy that is set is not an HTTP proxy")  # it may hold a password
    return proxy


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY names the host, as curl and Go read it.

    `*`, `example.com` with all below it, `host:port`, an address in any spelling, or a range of
    addresses (`10.0.0.0/8`), which a name is not looked up for.
    """
    entries = no_proxy.replace(",", " ").lower().split()
    address = _find_address(host)
    return any(
        entry == "*"
        or (
            wanted in {"", str(port)}
            and (_names(name, host) if address is None else _holds(name, address))
        )
        for entry in entries
        for name, wanted in (_split(entry),)
    )


def _split(entry: str) -> tuple[str, str]:
    """Return an entry's name, address or range, and its port if it has one."""
    if entry.startswith("["):
        inner, _, rest = entry[1:].partition("]")
        return (inner + rest, "") if rest.startswith("/") else (inner, rest.removeprefix(":"))
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _names(name: str, host: str) -> bool:
    name = name.removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _holds(name: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _find_address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _read(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()
