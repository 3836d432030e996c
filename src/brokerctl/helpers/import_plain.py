"""Moves other tools' plain-text credentials into our store: stored first, then cut out.

A crash in between leaves a credential in both places, and never in neither.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.config.paths import home_folder
from brokerctl.errors import UsageError
from brokerctl.helpers import find_owners, load
from brokerctl.helpers.custody import find_here, find_place, keep, place_of
from brokerctl.helpers.docker.auths import find_unasked, hand_over, is_also_in, read_auths
from brokerctl.helpers.docker.setup import DockerSetup, PodmanSetup
from brokerctl.helpers.edit.file_changes import BACKUP
from brokerctl.helpers.git.credential_lines import (
    PlainCredential,
    cut_out,
    read_git_credentials,
    read_netrc,
)
from brokerctl.helpers.git.setup import GitSetup, git_value
from brokerctl.helpers.install import find_script
from brokerctl.helpers.setups import Part
from brokerctl.helpers.shadow import Asking
from brokerctl.platform.private_files import MAX_FILE_BYTES
from brokerctl.platform.system import SYSTEM
from brokerctl.platform.user_files import (
    held_signals,
    locked_as_its_tool_does,
    locked_folder,
    read_regular,
    replace_file,
    sync_folder,
)
from brokerctl.text import any_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.helpers import CredentialRequest, Helper
    from brokerctl.home import Home
    from brokerctl.platform.system import System

_NOT_ASKED = "git does not ask brokerctl for it"
_NO_PATH = "git does not name its path to a helper"
_TEMPORARY = ".brokerctl-import-"  # prefix of a file that is being written
_GIT_LOCK = ".lock"  # git's own lock of its store


class PlainFile(NamedTuple):
    """One file: its bytes, what can be moved, what is left with the reason, and notes."""

    tool: str
    path: str
    data: bytes
    after: bytes  # the file without what is moved
    moving: list[PlainCredential]
    left: list[PlainCredential]
    notes: list[str]


class _Kind(NamedTuple):
    """One tool's files: their helper and paths, and how they are read and changed."""

    kept_for: str
    paths: Callable[[Mapping[str, str]], list[str]]
    read: Callable[[bytes], list[PlainCredential]]
    cut: Callable[[bytes, list[PlainCredential]], bytes]
    lock: str | None  # the ending of the tool's own lock file
    notes: Callable[
        [Mapping[str, str], str, bytes, list[PlainCredential], list[PlainCredential]], list[str]
    ]
    # The reason why the tool would not ask brokerctl for a moved credential, which then stays.
    unasked: Callable[[Mapping[str, str]], Callable[[PlainCredential], str]]


def plan_import(home: Home, tool: str) -> list[PlainFile]:
    """Read the files of a tool; nothing is changed. UsageError if nothing can be kept for it."""
    if tool not in _KINDS:
        known = any_of(_KINDS)
        raise UsageError(f"'helper import {tool}' is not in this version", hint=f"say {known}")
    kind = _KINDS[tool]
    if kind.kept_for not in home.plan.keep:
        raise UsageError(
            f"nothing is kept for {kind.kept_for}",
            hint=f"write 'keep = [\"{kind.kept_for}\"]' below '[helpers]' in config.toml",
        )
    sources: list[PlainFile] = []
    for path in dict.fromkeys(map(os.path.realpath, kind.paths(home.environ))):
        data = read_own(path)
        if not data or not data.strip():
            continue
        before = [one for source in sources for one in source.moving]
        try:
            sources.append(_plan(home, tool, path, data, before))
        except ValueError as error:
            hint = "mend or remove it; nothing was changed"
            raise UsageError(f"{path}: {error}", hint=hint) from error
    return sources


def _plan(
    home: Home, tool: str, path: str, data: bytes, before: list[PlainCredential]
) -> PlainFile:
    kind = _KINDS[tool]
    moving, left = _sorted(home, kind, kind.read(data), before)
    notes = kind.notes(home.environ, path, data, moving, left)
    return PlainFile(tool, path, data, kind.cut(data, moving), moving, left, notes)


def _sorted(
    home: Home, kind: _Kind, found: list[PlainCredential], before: list[PlainCredential]
) -> tuple[list[PlainCredential], list[PlainCredential]]:
    moving: list[PlainCredential] = []
    left: list[PlainCredential] = []
    helper, unasked = load(kind.kept_for), kind.unasked(home.environ)
    for one in found:
        sought, why = one, one.why
        if one.wanted is not None:
            wanted, owners = find_owners(helper, one.wanted, home.offered)
            sought = one._replace(wanted=wanted)
            why = why or _why_not(home, kind, helper, sought, [*before, *moving])
            why = why or ("its host is a profile's" if owners else "") or unasked(sought)
        if why:
            left.append(one._replace(why=why))
        else:
            moving.append(sought)
    return moving, left


def _why_not(
    home: Home, kind: _Kind, helper: Helper, one: PlainCredential, before: list[PlainCredential]
) -> str:
    """Return why a credential can't be moved, or "": it must not replace one that is kept."""
    wanted = one.wanted
    if wanted is None:
        return "it is nothing to keep"
    user = (
        wanted.username if helper.traits.names_user else None
    )  # else the newest one of the place would be the answer
    try:
        here = find_here(home, kind.kept_for, wanted.replace(username=user))
    except UsageError as error:
        return error.message
    if here is not None and (here.username, here.secret) != (wanted.username, wanted.offered):
        return "another password is kept for it"
    for earlier in before:  # git uses the first line
        other = earlier.wanted
        if other is None or place_of(other) != place_of(wanted):
            continue
        if user in {None, other.username}:
            is_same = (other.username, other.offered) == (wanted.username, wanted.offered)
            return "" if is_same else "another password stands before it"
    return ""


def find_again(home: Home) -> list[tuple[str, str, int]]:
    """Return (tool, file, count) of kept credentials that stand in a file in plain text again.

    A tool that read its file before the import may write them back later, as git's own store does.
    Those in .netrc are left out: they were left there on purpose.
    """
    found = []
    for tool, kind in _KINDS.items():
        if kind.kept_for != tool or tool not in home.plan.keep:
            continue
        try:
            sources = plan_import(home, tool)
        except UsageError:
            continue  # a file that can't be read: its tool reports that
        for source in sources:
            places = [one.wanted for one in source.moving if one.wanted is not None]
            count = sum(_is_kept(home, tool, wanted) for wanted in places)
            found += [(tool, source.path, count)] if count else []
    return found


def _is_kept(home: Home, tool: str, wanted: CredentialRequest) -> bool:
    here = find_here(home, tool, wanted)
    return here is not None and here.secret == wanted.offered


def import_credentials(home: Home, source: PlainFile, *, is_cut: bool) -> None:
    """Store what can be moved from a file, durably, and then cut it out."""
    kind = _KINDS[source.tool]
    for one in reversed(source.moving):  # the newest is answered first: it must be the first line
        if one.wanted is None or not keep(home, kind.kept_for, one.wanted, is_latest=True):
            raise UsageError(f"{one.shown} can't be kept", hint="nothing was removed")
    if not is_cut or not source.moving:
        return
    try:
        change_file(source.path, kind.lock, source.data, source.after)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(
            f"can't change {source.path}: {reason}", hint="all of it is kept, nothing was removed"
        ) from error


def git_paths(environ: Mapping[str, str]) -> list[str]:
    """Return the files of git's own store, in the order in which it reads them."""
    home = _home(environ)
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return [os.path.join(home, ".git-credentials"), os.path.join(base, "git", "credentials")]


def _netrc_paths(environ: Mapping[str, str]) -> list[str]:
    home = _home(environ)
    return [environ.get("NETRC") or os.path.join(home, ".netrc")]


def _docker_paths(environ: Mapping[str, str]) -> list[str]:
    return [setup.path(environ) for setup in (DockerSetup(), PodmanSetup())]


def _home(environ: Mapping[str, str]) -> str:
    home = home_folder(environ)
    if home is None:
        raise UsageError("HOME is not set, so nothing is found")
    return home


def change_file(
    path: str,
    suffix: str | None,
    before: bytes | None,
    after: bytes,
    system: System = SYSTEM,
) -> None:
    """Replace a file, or remove an empty one, under the lock of `helper install` and its tool's.

    docker, podman and skopeo take no lock: they read the file and replace it later.
    """
    folder = os.path.dirname(path)

    def check() -> None:
        if read_own(path) != before:
            raise UsageError(
                f"{path} has changed meanwhile; what was kept stays kept", hint="run it again"
            )

    with locked_folder(folder), held_signals(), locked_as_its_tool_does(path, suffix):
        check()
        for name in os.listdir(folder):
            if name.startswith(_TEMPORARY):  # its writer held this lock, so it was killed
                system.unlink(os.path.join(folder, name))
        if after.strip():
            replace_file(path, after, system=system, prefix=_TEMPORARY, last=check)
        else:
            system.unlink(path)
            sync_folder(folder, system)


def read_own(path: str) -> bytes | None:
    """Return the bytes of a file that the user owns; None if there is no file."""
    try:
        data = read_regular(path, MAX_FILE_BYTES)
        owner = os.stat(path).st_uid
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't read {path}: {reason}") from error
    if data and owner != os.geteuid():  # the file in its place would get another owner
        raise UsageError(f"{path} belongs to another user", hint="run it as that user")
    return data


def _docker_notes(
    environ: Mapping[str, str],
    path: str,
    data: bytes,
    moving: list[PlainCredential],
    left: list[PlainCredential],  # noqa: ARG001 - the file itself says whom docker asks
) -> list[str]:
    """Return notes: the registries that will name us, what the tool won't find, what stays."""
    notes = [f"name brokerctl as the helper for {host}" for host in find_unasked(data, moving)]
    setup = DockerSetup()
    advice = setup.advice(Part("docker", (), find_script(setup.script), environ))
    if notes and advice:
        notes.append(advice)
    if is_also_in(read_own(path + BACKUP) or b"", data, moving):
        notes.append(f"{path + BACKUP} has some of it too: remove that yourself")
    return notes


def _git_unasked(environ: Mapping[str, str]) -> Callable[[PlainCredential], str]:
    """Return a function that says why git would not find a moved credential; "" if it would."""
    asking = Asking(environ)

    def why(one: PlainCredential) -> str:
        url = (one.wanted.url if one.wanted else None) or ""
        if not asking.is_ours(url):
            return _NOT_ASKED
        place = find_place(url)
        if place is not None and place.path and not asking.names_path(url):
            return _NO_PATH
        return ""

    return why


def _git_notes(
    environ: Mapping[str, str],
    path: str,  # noqa: ARG001 - git's configuration is elsewhere
    data: bytes,  # noqa: ARG001 - as above
    moving: list[PlainCredential],
    left: list[PlainCredential],
) -> list[str]:
    """Return notes: what to configure in git first, and what would write plain text again."""
    notes = []
    if any(one.why == _NOT_ASKED for one in left):
        value = git_value(find_script(GitSetup.script))
        command = f"git config --global --add credential.helper {shlex.quote(value)}"
        notes.append(f"to have git ask brokerctl everywhere: {command}")
    for url in [one.wanted.url or "" for one in left if one.why == _NO_PATH and one.wanted]:
        key = shlex.quote(f"credential.{url}.useHttpPath")
        notes.append(f"to have git name that path: git config --global {key} true")
    asking = Asking(environ)
    urls = [one.wanted.url or "" for one in moving if one.wanted]
    for key in sorted({key for url in urls for key in asking.plain_stores(url)}):
        command = f"git config --global --unset-all {shlex.quote(key)} '(^|[-/])store( |$)'"
        notes.append(f"git's own store is asked too, and writes them back in plain text: {command}")
    return notes


def _docker_unasked(environ: Mapping[str, str]) -> Callable[[PlainCredential], str]:  # noqa: ARG001 - as every kind's
    """Return a function that says "": the file will name brokerctl for all that is moved."""
    return lambda _: ""


_KINDS = {
    "docker": _Kind(
        "docker", _docker_paths, read_auths, hand_over, None, _docker_notes, _docker_unasked
    ),
    "git": _Kind(
        "git", git_paths, read_git_credentials, cut_out, _GIT_LOCK, _git_notes, _git_unasked
    ),
    "netrc": _Kind("git", _netrc_paths, read_netrc, cut_out, _GIT_LOCK, _git_notes, _git_unasked),
}
