"""Finds what answers a tool before brokerctl: variables, other files, other helpers of git.

Only the name of a finding is shown, since its value may be a secret.
"""

from __future__ import annotations

import json
import netrc
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from brokerctl.config.hosts import covering, parse_pattern, split_pattern
from brokerctl.config.paths import home_folder
from brokerctl.errors import UsageError
from brokerctl.helpers.docker import server_name
from brokerctl.helpers.keyring.command import find_fault
from brokerctl.helpers.setups import SETUPS
from brokerctl.platform.commands import environ_for
from brokerctl.platform.user_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_KEY = r"^credential\.(.*\.)?helper$"
_WAIT_S = 5


def find_shadows(tool: str, hosts: Iterable[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield one line for each thing that answers before us for one of these hosts."""
    hosts = sorted(hosts)
    yield from _set_variables(tool, environ)
    traits = SETUPS[tool]
    if traits.reads_netrc:
        known = {split_pattern(host).host for host in hosts}
        for machine in known.intersection(_machines(environ)):
            yield f"{tool}: ~/.netrc has {machine}, and is read before brokerctl is asked"
    if traits.reads_auth_files:
        yield from _registry_logins(hosts, environ)
    fault = find_fault(tool, environ) if traits.runs_keyring else None
    if fault:
        yield f"{tool}: {fault}"
    if traits.has_other_helpers:
        entries = _git_helpers(environ)
        for host in hosts:
            if "*" not in host:
                yield from _git_shadows(entries, host)


def _set_variables(tool: str, environ: Mapping[str, str]) -> Iterator[str]:
    for pattern in SETUPS[tool].variables:
        for name in sorted(environ):
            if _is_like(name, pattern):
                yield f"{tool}: {name} is set, and is believed before brokerctl is asked"


def _is_like(name: str, pattern: str) -> bool:
    start, star, end = pattern.partition("*")
    is_long = len(name) > len(start) + len(end)
    return name.startswith(start) and name.endswith(end) and is_long if star else name == pattern


def _machines(environ: Mapping[str, str]) -> list[str]:
    home = home_folder(environ)
    path = environ.get("NETRC") or os.path.join(home or "/", ".netrc")
    if not os.path.isfile(path):
        return []
    try:
        return sorted(netrc.netrc(path).hosts)
    except (OSError, ValueError, netrc.NetrcParseError):
        return []


def _registry_logins(hosts: Iterable[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the logins in the file that podman reads first, which its own `login` writes."""
    if environ.get("REGISTRY_AUTH_FILE"):
        return
    base = environ.get("XDG_RUNTIME_DIR")
    folder = os.path.join(base, "containers") if base else f"/run/containers/{os.getuid()}"
    path = os.path.join(folder, "auth.json")
    try:
        found = json.loads(read_regular(path))
        keys = [*found.get("auths", ()), *found.get("credHelpers", ())]
    except (OSError, ValueError, AttributeError, TypeError):
        return
    for name in filter(None, map(server_name, hosts)):
        if any(key == name or key.startswith(f"{name}/") for key in keys):
            yield f"podman: {path} has {name}, and is read before brokerctl is asked"


class Asking:
    """What git does for a URL in every folder: which helpers it asks, and if it names the path.

    Security: the configuration of a repository is not read, since it counts nowhere else.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._entries = _git_helpers(environ, is_anywhere=True)

    def asked(self, url: str) -> list[tuple[str, str]]:
        """Return the helpers that are asked for a URL, in order, as (URL or "", value)."""
        found: list[tuple[str, str]] = []
        for section, value in self._entries:
            if _is_for(section, url):
                found = [*found, (section, value)] if value else []
        return found

    def is_ours(self, url: str) -> bool:
        """Return whether brokerctl is asked for a URL, first or not."""
        return any(_is_ours(value) for _, value in self.asked(url))

    def names_path(self, url: str) -> bool:
        """Return whether git sends the path: for HTTP it does only with `useHttpPath`."""
        if not url.startswith(("https://", "http://")):
            return True
        words = ["--type=bool", "--get-urlmatch", "credential.useHttpPath", url]
        return _run_git(self._environ, words, is_anywhere=True).strip() == b"true"

    def plain_stores(self, url: str) -> list[str]:
        """Return the keys that name git's own store, which writes passwords in plain text."""
        return sorted(
            {
                f"credential.{section}.helper" if section else "credential.helper"
                for section, value in self.asked(url)
                if _name(value).rpartition("/")[2].removeprefix("git-credential-") == "store"
            }
        )


def _git_helpers(environ: Mapping[str, str], *, is_anywhere: bool = False) -> list[tuple[str, str]]:
    """Return git's helpers in its own order, as (URL or "", value)."""
    found = []
    output = _run_git(environ, ["--null", "--get-regexp", _KEY], is_anywhere=is_anywhere)
    for entry in output.decode("utf-8", "replace").split("\0")[:-1]:
        key, _, value = entry.partition("\n")
        found.append((key.removeprefix("credential.").removesuffix("helper").rstrip("."), value))
    return found


def _run_git(environ: Mapping[str, str], words: list[str], *, is_anywhere: bool) -> bytes:
    """Return what `git config` prints; b"" if it can't be run."""
    # Security: never a `git` from the working folder, which may be anybody's repository.
    folders = [one for one in environ.get("PATH", os.defpath).split(":") if os.path.isabs(one)]
    git = shutil.which("git", path=":".join(folders)) if folders else None
    if git is None:
        return b""
    given = environ_for("git_anywhere", environ) if is_anywhere else environ_for("git", environ)
    try:
        done = subprocess.run(
            [git, "config", *words],
            cwd="/" if is_anywhere else None,
            env=given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout


def _git_shadows(entries: list[tuple[str, str]], host: str) -> Iterator[str]:
    """Yield what git asks before us for a host; an empty value clears the list."""
    asked: list[str] = []
    for section, value in entries:
        if _is_for(section, host):
            asked = [*asked, value] if value else []
    first = asked[0] if asked else None
    if first is None or not _is_ours(first):
        name = f"asks '{_name(first)}' first" if first else "does not ask brokerctl"
        yield f"git: {name} for {host}"


def _is_for(section: str, host: str) -> bool:
    try:
        return not section or covering(split_pattern(host), parse_pattern(section)) is not None
    except UsageError:
        return False  # git accepts URLs that we don't


def _is_ours(value: str) -> bool:
    return _name(value) == "brokerctl" or "git-credential-brokerctl" in value


def _name(value: str) -> str:
    """Return the first word of a command, and of an assignment only the variable's name."""
    return " ".join(value.split()[:1]).partition("=")[0]
