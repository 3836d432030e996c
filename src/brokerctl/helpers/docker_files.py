"""Whether docker, podman, skopeo or buildah check no certificate of a registry, by their files.

On the road of a warm answer: what has the word in a line that is no comment is read in full, and
hardly anybody has one. Which of these tools is asking is not known: the files of all count.
"""

from __future__ import annotations

from brokerctl.platform.private_files import find_regular
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerctl.helpers import Wanted

_REGISTRIES, _DAEMONS = b"insecure", b"insecure-registries"


def find_unchecked(wanted: Wanted, environ: Mapping[str, str]) -> str | None:
    """Name the file by which no certificate of this server is checked, if there is one."""
    url = wanted.url or ""
    if not url.startswith("https://"):
        return None  # there is none to check: plain http is for loopback
    for paths, mark in ((_registries, _REGISTRIES), (_daemons, _DAEMONS)):
        for path in paths(environ):
            data = find_regular(path) or b""
            if mark in data.lower() and is_said(data, mark) and _is_off(data, mark, url):
                return path
    return None


def _is_off(data: bytes, mark: bytes, url: str) -> bool:
    from brokerctl.helpers import unchecked_files as full  # noqa: PLC0415 - only where it might be

    test = full.is_registry_open if mark == _REGISTRIES else full.is_daemon_open
    return full.is_off(test, data, url)


def is_said(data: bytes, mark: bytes) -> bool:
    """Say whether a word is in a line that is no comment."""
    lines = (line.strip().lower() for line in data.split(b"\n"))
    return any(mark in line and line[:1] not in {b"#", b";"} for line in lines)


def config_folder(environ: Mapping[str, str]) -> str | None:
    """Return the folder of the user's own configuration (XDG base directories)."""
    home = environ.get("HOME")
    return environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)


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
