"""The files in which tools are told to check no certificate; git and docker have their own.

Each file is searched for its word first, without comments, and parsed only if the word is found,
which is rare. It is not known which of the tools of one protocol is asking: the files of all count.
"""

from __future__ import annotations

from brokerctl.helpers.unchecked_tls import (
    config_folder,
    find_variable,
    is_off,
    is_said,
    names_host,
    read_toml_text,
)
from brokerctl.platform.private_files import find_regular
from brokerctl.platform.system import os, parent_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerctl.helpers import CredentialRequest

    Paths = Callable[[Mapping[str, str]], Iterator[str]]

    Test = Callable[[str, str], bool]  # of a file's text and the URL that is asked for


def find_either(tool: str, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the variable or the file by which a tool checks no certificate of this server."""
    return find_variable(tool, wanted, environ) or find_file(tool, wanted, environ)


def find_file(tool: str, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:
    """Name the file by which a tool checks no certificate of this server, if there is one."""
    url = wanted.url or ""
    if url and not url.startswith("https://"):
        return None
    for paths, mark, test in FILES[tool]:
        for path in paths(environ):
            data = find_regular(path) or b""
            if mark in data.lower() and is_said(data, mark) and is_off(test, data, url):
                return path
    return None


def _pip(environ: Mapping[str, str]) -> Iterator[str]:
    for name in ("PIP_CONFIG_FILE",):
        if environ.get(name):
            yield environ[name]
    for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield f"{folder}/pip/pip.conf"
    yield "/etc/pip.conf"
    yield f"{environ.get('HOME')}/.pip/pip.conf"
    yield f"{config_folder(environ)}/pip/pip.conf"
    if environ.get("VIRTUAL_ENV"):
        yield f"{environ['VIRTUAL_ENV']}/pip.conf"


def _uv(environ: Mapping[str, str]) -> Iterator[str]:
    if environ.get("UV_CONFIG_FILE"):
        yield environ["UV_CONFIG_FILE"]
        return
    yield "/etc/uv/uv.toml"
    yield f"{config_folder(environ)}/uv/uv.toml"
    yield from _above("uv.toml", "pyproject.toml")


def _poetry(environ: Mapping[str, str]) -> Iterator[str]:
    yield f"{environ.get('POETRY_CONFIG_DIR') or f'{config_folder(environ)}/pypoetry'}/config.toml"
    yield from _above("poetry.toml")


def _npm(environ: Mapping[str, str]) -> Iterator[str]:
    for name in ("npm_config_userconfig", "NPM_CONFIG_USERCONFIG", "npm_config_globalconfig"):
        if environ.get(name):
            yield environ[name]
    yield f"{environ.get('HOME')}/.npmrc"
    yield f"{config_folder(environ)}/pnpm/rc"
    yield "/etc/npmrc"
    yield "/usr/local/etc/npmrc"
    yield from _above(".npmrc")


def _workspaces(environ: Mapping[str, str]) -> Iterator[str]:
    yield f"{config_folder(environ)}/pnpm/config.yaml"
    yield from _above("pnpm-workspace.yaml")


def _above(*names: str) -> Iterator[str]:
    """Yield the files of these names in the working folder and in those above it."""
    try:
        folder = os.getcwd()
    except OSError:
        return
    while True:
        yield from (f"{folder.rstrip('/')}/{name}" for name in names)
        if folder in {"", "/"}:
            return
        folder = parent_of(folder)


def _is_trusted_by_pip(text: str, url: str) -> bool:
    values, is_list = [], False
    for line in text.splitlines():
        if line[:1] in {" ", "\t"}:
            values += [line] if is_list else []
            continue
        key, _, value = line.replace(":", "=", "=" not in line).partition("=")
        is_list = key.strip().lower().replace("_", "-") == "trusted-host"
        values += [value] if is_list else []
    return names_host(" ".join(values), url)


def _is_open_to_uv(text: str, url: str) -> bool:
    found = read_toml_text(text)
    for table in (found, found.get("tool", {}).get("uv", {})):
        for part in (table, table.get("pip", {})):
            if names_host(" ".join(part.get("allow-insecure-host", ())), url):
                return True
    return False


def _is_open_to_poetry(text: str, url: str) -> bool:
    """Return whether poetry checks no certificate at this host, or at one that is not known."""
    found = read_toml_text(text)
    for name, table in found.get("certificates", {}).items():
        if table.get("cert") is False:
            place = found.get("repositories", {}).get(name, {}).get("url")
            if place is None or names_host(place, url):
                return True
    return False


def _is_loose(text: str, _url: str) -> bool:
    """Return whether npm's `strict-ssl` or pnpm's `strictSsl` is anything but true."""
    for line in text.splitlines():
        key, _, value = line.strip().replace(":", "=", "=" not in line).partition("=")
        if key.strip().lower().replace("-", "") == "strictssl":
            return value.strip().strip("\"'") != "true"
    return False


FILES: dict[str, tuple[tuple[Paths, bytes, Test], ...]] = {
    "keyring": (
        (_pip, b"trusted", _is_trusted_by_pip),
        (_uv, b"allow-insecure-host", _is_open_to_uv),
        (_poetry, b"certificates", _is_open_to_poetry),
    ),
    "pnpm": ((_npm, b"strict-ssl", _is_loose), (_workspaces, b"strictssl", _is_loose)),
}
