"""Finds the file of docker, podman, skopeo or buildah that switches certificate checks off.

A warm answer runs this, so it must be quick: a file is parsed only if the word stands in a line
that is no comment, which is rare. It is not known which tool is asking: the files of all count.
"""

from __future__ import annotations

from brokerctl.helpers.unchecked_tls import (
    config_folder,
    is_off,
    is_said,
    names_host,
    read_toml_text,
    split_host,
)
from brokerctl.platform.private_files import find_regular
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerctl.helpers import CredentialRequest

_REGISTRIES, _DAEMONS = b"insecure", b"insecure-registries"
_HUB = {"docker.io": "index.docker.io", "registry-1.docker.io": "index.docker.io"}


def find_unchecked(wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the file by which no certificate of this server is checked, if there is one."""
    url = wanted.url or ""
    if not url.startswith("https://"):
        return None  # no certificate: plain http is allowed on loopback only
    for paths, mark in ((_registries, _REGISTRIES), (_daemons, _DAEMONS)):
        for path in paths(environ):
            data = find_regular(path) or b""
            if mark in data.lower() and is_said(data, mark) and _is_off(data, mark, url):
                return path
    return None


def _is_off(data: bytes, mark: bytes, url: str) -> bool:
    test = is_registry_open if mark == _REGISTRIES else is_daemon_open
    return is_off(test, data, url)


def _registries(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the files of containers-registries.conf(5): a user's own replaces the machine's."""
    said = environ.get("CONTAINERS_REGISTRIES_CONF")
    own = f"{config_folder(environ)}/containers/registries.conf"
    folders = ["/etc/containers/registries.conf.d", f"{own}.d"]
    if said:
        yield said
    elif os.access(own, os.R_OK):
        yield own
    else:
        yield "/etc/containers/registries.conf"
        yield "/usr/share/containers/registries.conf"
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        yield from (f"{folder}/{name}" for name in names if name.endswith(".conf"))


def _daemons(environ: Mapping[str, str]) -> Iterator[str]:
    yield "/etc/docker/daemon.json"
    yield f"{config_folder(environ)}/docker/daemon.json"


def is_registry_open(text: str, url: str) -> bool:
    """Return whether a registries.conf names this server as insecure, or as an insecure mirror."""
    found = read_toml_text(text.lower())  # keys and hosts in any case
    tables = list(found.get("registry", ()))
    tables += [mirror for table in tables for mirror in table.get("mirror", ())]
    open_ones = [table for table in tables if table.get("insecure") is True]
    names = [table.get(key, "") for table in open_ones for key in ("location", "prefix")]
    names += found.get("registries", {}).get("insecure", {}).get("registries", ())
    place = ":".join(split_host(url))
    for name in names:
        host = ":".join(split_host(f"https://{_HUB.get(name, name)}"))
        if host == place or (host.startswith("*.") and place.endswith(host[1:])):
            return True
    return False


def is_daemon_open(text: str, url: str) -> bool:
    """Return whether a daemon.json lists this server among its insecure registries."""
    import json  # noqa: PLC0415 - hardly anybody has one
    from ipaddress import ip_address, ip_network  # noqa: PLC0415 - as above

    names = json.loads(text.lower()).get("insecure-registries", ())
    try:
        address = ip_address(split_host(url)[0].strip("[]"))
    except ValueError:
        address = None
    ranges = [name for name in names if "/" in name and "://" not in name]
    if address and any(address in ip_network(name, strict=False) for name in ranges):
        return True
    return any(names_host(name, url) for name in names if name not in ranges)
