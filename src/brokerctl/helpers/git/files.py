"""The configuration files that git reads here, and a quick test whether one may switch checks off.

A warm answer runs this, so it must be quick: each file is read once and searched for two words,
which takes less time than a cache of the result would. `helpers.git.config` judges what is found.
"""

from __future__ import annotations

from brokerctl.platform.private_files import find_regular
from brokerctl.platform.system import os, parent_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The path is set when git is built; which one it was is not known here.
_SYSTEM = ("/etc/gitconfig", "/usr/local/etc/gitconfig", "/opt/homebrew/etc/gitconfig")
_MARK, _INCLUDE = b"sslverify", b"[include"
_MAX_FILES = 1000  # a file can include itself by ever new names, as `././config`
_NO_VERIFY = "GIT_SSL_NO_VERIFY"
_VARIABLE, _VARIABLE_MARKS = "GIT_CONFIG_", ("sslverify", "include")
_FALSE = frozenset(("0", "false", "no", "off", ""))


def may_be_unchecked(environ: Mapping[str, str], folder: str) -> bool:
    """Return whether git's configuration may switch checks off, or can't be judged quickly."""
    for name, value in environ.items():
        if name.startswith(_VARIABLE) and any(one in value.lower() for one in _VARIABLE_MARKS):
            return True
    left = [*standard_files(environ, folder, find_repository(environ, folder))]
    home, known = environ.get("HOME"), set(left)
    while left:
        path = left.pop()
        data = find_regular(path)
        if not data:
            continue
        low = data.lower()
        if _MARK in low:
            return True
        if _INCLUDE in low:
            more = _included(data, path, home)
            if more is None or len(known) > _MAX_FILES:
                return True
            left += more - known
            known |= more
    return False


def _included(data: bytes, path: str, home: str | None) -> set[str] | None:
    """Return all files that a file may include, under any condition; None if that is unclear."""
    found = set()
    for line in data.split(b"\n"):
        key, equals, value = line.strip().partition(b"=")
        head = key.strip().lower()
        if _INCLUDE in line.lower() and (equals or not head.endswith(b"]")):
            return None
        if head != b"path" or not equals:
            continue
        text = value.strip().decode("utf-8", "surrogateescape")
        if not text or any(char in text for char in '"\\#;'):
            return None
        if text[0] in "~%":
            if not text.startswith("~/") or not home:
                return None
            text = home + text[1:]
        found.add(_below(parent_of(path), text))
    return found


def standard_files(
    environ: Mapping[str, str], folder: str, repository: tuple[str, str] | None
) -> Iterator[str]:
    """Yield the files of git-config(1), in its order, whether they exist or not."""
    if environ.get("GIT_CONFIG_NOSYSTEM", "0").lower() in _FALSE:
        system = environ.get("GIT_CONFIG_SYSTEM")
        yield from _SYSTEM if system is None else (_below(folder, system),)
    own, home = environ.get("GIT_CONFIG_GLOBAL"), environ.get("HOME")
    if own is not None:
        yield _below(folder, own)
    else:
        base = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)
        if base:
            yield f"{base}/git/config"
        if home:
            yield f"{home}/.gitconfig"
    if repository is not None:
        git_dir, common = repository
        yield f"{common}/config"
        yield f"{git_dir}/config.worktree"


def find_repository(environ: Mapping[str, str], folder: str) -> tuple[str, str] | None:
    """Return the git folder of the repository here, and the one that its worktrees share."""
    said = environ.get("GIT_DIR")
    git_dir = _search(environ, folder) if said is None else _linked(_below(folder, said))
    if git_dir is None:
        return None
    common = environ.get("GIT_COMMON_DIR")
    if common is not None:
        return git_dir, _below(folder, common)
    named = (find_regular(f"{git_dir}/commondir") or b".").decode("utf-8", "surrogateescape")
    named = named.rstrip("\r\n")
    return git_dir, git_dir if named == "." else _below(git_dir, named)


def _search(environ: Mapping[str, str], folder: str) -> str | None:
    ceilings = [path.rstrip("/") for path in environ.get("GIT_CEILING_DIRECTORIES", "").split(":")]
    device = _device(folder)
    while folder:
        linked = _linked(f"{folder}/.git")
        if linked and _is_repository(linked):
            return linked
        if _is_repository(folder):
            return folder
        above = parent_of(folder)
        if above == folder or above.rstrip("/") in ceilings or _device(above) != device:
            return None
        folder = above
    return None


def _linked(path: str) -> str:
    """Return the folder that `.git` is, or that a file `.git` names."""
    data = find_regular(path) or b""
    if not data.startswith(b"gitdir: "):
        return path
    named = data[len(b"gitdir: ") :].decode("utf-8", "surrogateescape").rstrip("\r\n")
    return _below(parent_of(path), named)


def _is_repository(path: str) -> bool:
    if not _exists(f"{path}/HEAD"):
        return False
    return _exists(f"{path}/commondir") or (_exists(f"{path}/objects") and _exists(f"{path}/refs"))


def _exists(path: str) -> bool:
    try:
        os.lstat(path)
    except (OSError, ValueError):
        return False
    return True


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except (OSError, ValueError):
        return None


def _below(folder: str, path: str) -> str:
    return path if path.startswith("/") else f"{folder}/{path}"
