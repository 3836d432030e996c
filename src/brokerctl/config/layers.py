"""Reads the layer files as bytes, and refuses those that somebody else could have written.

Warm: no TOML is parsed here. The bytes name the compiled plan, so that any edit counts at once.
"""

from __future__ import annotations

import errno

from brokerctl import jsonlite
from brokerctl.config import paths
from brokerctl.errors import StoreError, UsageError, shell_word
from brokerctl.model import Value
from brokerctl.platform.private_files import (
    check_parents,
    is_read_only,
    mode_hint,
    place_hint,
    read_all,
)
from brokerctl.platform.system import SYSTEM, os, parent_of, stat
from brokerctl.sodium import keyed_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.platform.system import System

MAX_LAYER_BYTES = 1024 * 1024
_LARGE_BYTES = 16384  # some 60 profiles or 150 rules
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DIGEST_KEY = b"brokerctl/1 layer".ljust(32, b"\0")  # public: a digest, not a secret


class Layer(Value):
    """One configuration file: `label` is system, user or project; `content` None if absent."""

    label: str
    path: str
    content: bytes | None


class Layers(Value):
    """The files in force, the first overridden by those after it.

    `notice` tells a person of a file that is not in force, and why.
    """

    files: tuple[Layer, ...]
    home: str | None = None
    notice: str | None = None  # for a terminal's stderr: a project file that does not count

    @property
    def is_large(self) -> bool:
        """Whether a request for one profile should not read the plan of all."""
        return sum(len(layer.content or b"") for layer in self.files) > _LARGE_BYTES

    def fingerprint_parts(self) -> tuple[str, ...]:
        """Return what names the plan: each path and content, present or absent, and HOME."""
        parts = [self.home or ""]
        for layer in self.files:
            content = "absent" if layer.content is None else digest(layer.content)
            parts += [layer.label, layer.path, content]
        return tuple(parts)

    def get_layer(self, label: str) -> Layer:
        """Return the layer of that label; KeyError if there is none."""
        for layer in self.files:
            if layer.label == label:
                return layer
        raise KeyError(label)


def digest(content: bytes) -> str:
    """Return BLAKE2b-256 under a public key, in hex: `trust` pins it, and it names a plan."""
    return keyed_hash(_DIGEST_KEY, content).hex()


def read_layers(
    environ: Mapping[str, str],
    cwd: str | None,
    system: System = SYSTEM,
    system_file: str = paths.SYSTEM_FILE,
) -> Layers:
    """Read every layer for a working folder (None if it is gone); UsageError for a refused file.

    Security: `system_file` is an argument for tests; no variable moves the system-wide layer.
    """
    user_file = paths.config_file(environ)
    files = [
        Layer(label="system", path=system_file, content=_read(system_file, "system", {0}, system)),
        Layer(
            label="user",
            path=user_file,
            content=_read(user_file, "BROKERCTL_CONFIG", {0, system.geteuid()}, system),
        ),
    ]
    home = paths.home_folder(environ)
    project = find_project(cwd, home, system) if cwd else None
    notice = None
    if project is not None:
        content, notice = _trusted(project, environ, system)
        if content is not None:
            files.append(Layer(label="project", path=project, content=content))
    return Layers(files=tuple(files), home=home, notice=notice)


def find_project(cwd: str, home: str | None, system: System = SYSTEM) -> str | None:
    """Return the nearest project file, from `cwd` up to the first `.git` or the home folder."""
    folder = cwd.rstrip("/")
    while True:
        path = f"{folder}/{paths.PROJECT_FILE}"
        if _exists(path, system):
            return path
        if not folder or folder == home or _exists(f"{folder}/.git", system):
            return None
        folder = parent_of(folder).rstrip("/")


def read_trust(environ: Mapping[str, str], system: System = SYSTEM) -> dict[str, str]:
    """Return the pinned digests by folder; a list that is missing or unreadable trusts nothing."""
    try:
        data = _read(paths.trust_file(environ), "BROKERCTL_HOME", {system.geteuid()}, system)
        found = jsonlite.loads(data)["trusted"] if data else {}
    except (UsageError, ValueError, KeyError, TypeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def read_project(path: str, system: System = SYSTEM) -> bytes | None:
    """Read a project file for `trust`; UsageError if others can write to it."""
    return _read(path, "project", {0, system.geteuid()}, system, flags=os.O_NOFOLLOW)


def _trusted(
    path: str, environ: Mapping[str, str], system: System
) -> tuple[bytes | None, str | None]:
    """Return (content, None) if the file is trusted, else (None, notice); it raises nothing.

    Security: the working folder of a helper is whatever repository somebody cloned. Until its
    digest is pinned, a file there can change nothing and can't make a command fail.
    """
    folder = parent_of(path) or "/"
    try:
        content = read_project(path, system)
        pinned = read_trust(environ, system).get(folder)
    except UsageError as error:
        return None, f"{path} is ignored: {error.message}"
    if content is None:
        return None, None
    if pinned == digest(content):
        return content, None
    state = "is" if pinned is None else "has changed and is"
    command = f"'brokerctl trust {shell_word(folder)}'"
    return None, f"{path} {state} ignored until you run {command}"


def _exists(path: str, system: System) -> bool:
    try:
        system.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return True


def _read(path: str, whence: str, owners: set[int], system: System, flags: int = 0) -> bytes | None:
    """Return a file's bytes, None where there is none; `whence` says whose hint a refusal gets."""
    try:
        fd = system.open(path, _FLAGS | flags)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return None
        raise UsageError(f"can't read {path}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        found = system.fstat(fd)
        _check_owner(path, whence, found, owners)
        if found.st_mode & _OTHERS_WRITE and not is_read_only(fd, system):
            hint = mode_hint("go-w", path, found.st_uid, whence, system)
            raise UsageError(f"{path} can be written to by others", hint=hint)
        _check_way(fd, path, whence, system)
        return read_all(fd, found.st_size, system)
    except OSError as error:
        raise UsageError(f"can't read {path}: {os.strerror(error.errno or 0).lower()}") from error
    finally:
        system.close(fd)


def _check_owner(path: str, whence: str, found: os.stat_result, owners: set[int]) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a regular file")
    if found.st_uid not in owners:
        owner = "root" if owners == {0} else "you or root"
        raise UsageError(f"{path} must belong to {owner}", hint=place_hint(whence))
    if found.st_size > MAX_LAYER_BYTES:
        raise UsageError(f"{path} is larger than a configuration can be")


def _check_way(fd: int, path: str, whence: str, system: System) -> None:
    """Refuse a file if others could exchange a folder above it.

    A symbolic link is followed, since tools for dotfiles make them: both ways are checked.
    """
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")  # where it was opened: one call, and no race
    except OSError:
        from os.path import realpath  # noqa: PLC0415 - only where there is no /proc

        real = realpath(path)
    try:
        check_parents(path, system, whence)
        if real != path:
            check_parents(real, system, whence)
    except StoreError as error:
        raise UsageError(error.message, hint=error.hint) from error
