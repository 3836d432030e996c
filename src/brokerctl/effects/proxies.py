"""Which proxy leads to a host: HTTPS_PROXY and NO_PROXY, read by ourselves; for loopback none."""

from __future__ import annotations

from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.hosts import Url

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
    """Say whether NO_PROXY names the host: `*`, `example.com` (with all below it), `host:port`."""
    for entry in no_proxy.replace(",", " ").lower().split():
        name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if wanted and wanted != str(port):
            continue
        name = name.removeprefix("*").removeprefix(".")
        if entry == "*" or (
            name and (host.strip("[]") == name.strip("[]") or host.endswith(f".{name}"))
        ):
            return True
    return False


def _read(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()
