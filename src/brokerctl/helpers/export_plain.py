"""Puts kept credentials back into the tool's own plain file: written first, then dropped.

A crash in between leaves a credential in both places, and never in neither. A credential that the
tool would not find in its file stays in the store, with the reason.
"""

from __future__ import annotations

import os
import stat
import string
import tomllib
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.errors import UsageError
from brokerctl.helpers.cargo.setup import CargoSetup
from brokerctl.helpers.custody import forget, not_released, release, url_of
from brokerctl.helpers.docker.auths import put_auths
from brokerctl.helpers.docker.setup import DockerSetup, PodmanSetup
from brokerctl.helpers.edit.toml_hcl import parse_toml, read_toml
from brokerctl.helpers.git.credential_lines import put_lines
from brokerctl.helpers.import_plain import change_file, git_paths, read_own
from brokerctl.helpers.kept import find_keeping, list_kept
from brokerctl.helpers.setups import tool_name
from brokerctl.helpers.shadow import Asking
from brokerctl.jsonlite import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.helpers.kept import KeptCredential
    from brokerctl.home import Home
    from brokerctl.store.values import ToolCredential

    # Returns the file's bytes with these in it, and why some are left out, by their index.
    Put = Callable[[bytes, list[ToolCredential]], tuple[bytes, dict[int, str]]]

_CRATES_IO = "https://index.crates.io/"
_BARE = frozenset(string.ascii_letters + string.digits + "-_")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Target(NamedTuple):
    """One file: its bytes before and after, what goes into it, what stays, and notes."""

    path: str
    before: bytes | None
    after: bytes
    moving: list[KeptCredential]
    left: list[tuple[KeptCredential, str]]
    notes: list[str]
    lock: str | None


class _Kind(NamedTuple):
    """One tool's own file: its path, how it is changed, and the tool's own lock file."""

    path: Callable[[Mapping[str, str]], str]
    put: Callable[[Home], Put]
    notes: Callable[[Mapping[str, str], list[KeptCredential]], list[str]]
    lock: str | None = None


def plan_export(home: Home, tool: str) -> Target:
    """Plan to put back a tool's credentials; nothing is changed."""
    helper, tool = find_keeping(tool), tool_name(tool)
    kind = _KINDS[tool]
    path = os.path.realpath(kind.path(home.environ))
    before = read_own(path)
    held = list_kept(home, helper)
    try:
        after, why = kind.put(home)(before or b"", [one.one for one in held])
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint="mend it first; nothing was changed") from error
    moving = [one for at, one in enumerate(held) if at not in why]
    left = [(held[at], reason) for at, reason in sorted(why.items())]
    notes = kind.notes(home.environ, moving)
    if moving and before is not None and os.stat(path).st_mode & _OTHERS:
        notes.append(f"{path} can be read by others, and becomes its owner's alone")
    return Target(path, before, after, moving, left, notes, kind.lock)


def export_credentials(home: Home, target: Target) -> list[KeptCredential]:
    """Write the file, durably, then drop what it holds; return what was replaced meanwhile.

    Security: each is decided and recorded before it leaves, as for any other hand-out.
    """
    released: list[ToolCredential] = []
    try:
        for held in target.moving:
            release(home, held.one, target.path)
            released.append(held.one)
        _write(target)
    except Exception:
        if not _is_written(target):
            for one in released:
                not_released(home, one, target.path)
        raise
    reason = f"it is in {target.path} now"
    return [
        held for held in target.moving if not forget(home, held.name, held.one, "helper", reason)
    ]


def _is_written(target: Target) -> bool:
    """Return whether the file was written although an error came, as from syncing the folder."""
    try:
        return read_own(target.path) == target.after
    except UsageError:
        return True  # unknown, so the record must say that it may have left


def _write(target: Target) -> None:
    path = target.path
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if target.before is not None:  # the new file gets the mode of the old one
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & ~_OTHERS)
        if target.after != target.before:
            change_file(path, target.lock, target.before, target.after)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        hint = "all of it is kept, nothing was dropped"
        raise UsageError(f"can't change {path}: {reason}", hint=hint) from error


def _git_path(environ: Mapping[str, str]) -> str:
    """Return the file that git's own store writes: the second one only if just that exists."""
    own, other = git_paths(environ)
    return other if os.path.exists(other) and not os.path.exists(own) else own


def _git_notes(environ: Mapping[str, str], moving: list[KeptCredential]) -> list[str]:
    asking = Asking(environ)
    if all(asking.plain_stores(url_of(held.one)) for held in moving):
        return []
    command = "git config --global --add credential.helper store"
    return [f"git reads that file only if it is told to: {command}"]


def _cargo_path(environ: Mapping[str, str]) -> str:
    folder = os.path.dirname(CargoSetup().places(environ)[0].path)
    older, path = os.path.join(folder, "credentials"), os.path.join(folder, "credentials.toml")
    return older if os.path.exists(older) and not os.path.exists(path) else path


def _put_tokens(home: Home) -> Put:
    """Return what puts tokens in, each by its index's name in cargo's own configuration."""
    config = os.path.realpath(CargoSetup().places(home.environ)[0].path)
    registries = parse_toml(config, (read_own(config) or b"").decode()).get("registries", {})
    names = {_CRATES_IO: ""}
    for name, one in registries.items() if isinstance(registries, dict) else ():
        index = one.get("index") if isinstance(one, dict) else None
        if isinstance(index, str):
            names[index.removeprefix("sparse+")] = name

    def put(data: bytes, kept: list[ToolCredential]) -> tuple[bytes, dict[int, str]]:
        text, why = data.decode(), dict[int, str]()
        for at, one in enumerate(kept):
            text, reason = _put_token(text, names.get(url_of(one)), one)
            if reason:
                why[at] = reason
        return text.encode(), why

    return put


def _put_token(text: str, name: str | None, one: ToolCredential) -> tuple[str, str]:
    """Return the text with a registry's token at its end, or as it was with the reason."""
    if name is None:
        return text, "cargo's configuration has no name for its index"
    before, token = tomllib.loads(text), one.secret.reveal()
    section = before.get("registries", {}).get(name, {}) if name else before.get("registry", {})
    if "token" in section:
        return text, "" if section["token"] == token else "another token stands there"
    word = name if name and _BARE.issuperset(name) else quote(name)
    lines = [f"[registries.{word}]" if name else "[registry]", f"token = {quote(token)}", ""]
    end = "\n" if text and not text.endswith("\n") else ""
    after = text + end + "\n".join(lines)
    table = {**section, "token": token}
    wanted = before | (
        {"registries": before.get("registries", {}) | {name: table}}
        if name
        else {"registry": table}
    )
    if read_toml(after) != wanted:
        return text, "its table in the file is of another form"
    return after, ""


def _put_auths(home: Home) -> Put:
    hosts = [host for profile in home.offered.values() for host in profile.hosts]
    return lambda data, kept: put_auths(data, kept, hosts)


def _no_notes(*_: object) -> list[str]:
    return []


_KINDS = {
    "cargo": _Kind(_cargo_path, _put_tokens, _no_notes),
    "docker": _Kind(DockerSetup().path, _put_auths, _no_notes),
    "git": _Kind(_git_path, lambda _: put_lines, _git_notes, ".lock"),
    "podman": _Kind(PodmanSetup().path, _put_auths, _no_notes),
}
