"""Private files through a folder descriptor: how everything at rest is opened, read and replaced.

Security: folders are 0700 and files 0600, whatever the umask; nothing is opened by following a
link; each file must be a regular one, ours, with one name; a parent that others can write to is
refused, unless it is mounted read-only, where nobody can. A folder is held by its descriptor, so
that swapping the path changes nothing.
"""

from __future__ import annotations

import errno

from brokerctl.errors import StoreError, shell_word
from brokerctl.platform.system import SYSTEM, os, parent_of, read_environ, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.platform.system import System

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
MAX_FILE_BYTES = 4 * 1024 * 1024
TEMPORARY = ".tmp-"


class Folder:
    """An open private folder; every name below is looked up in it and in nothing else."""

    __slots__ = ("fd", "path", "system")

    def __init__(self, fd: int, path: str, system: System) -> None:
        self.fd = fd
        self.path = path
        self.system = system

    def child(self, name: str, *, create: bool = True) -> Folder | None:
        """Open the sub-folder `name`, made 0700 if missing; None if missing and not `create`."""
        system = self.system
        path = f"{self.path}/{name}"
        try:
            fd = system.open(name, _FOLDER_FLAGS, dir_fd=self.fd)
        except FileNotFoundError:
            if not create:
                return None
            self._make(name)
            try:
                fd = system.open(name, _FOLDER_FLAGS, dir_fd=self.fd)
            except OSError as error:
                raise refused(path, error) from error
        except OSError as error:
            raise refused(path, error) from error
        return Folder(_checked_folder(fd, path, system), path, system)

    def _make(self, name: str) -> None:
        path = f"{self.path}/{name}"
        try:
            self.system.mkdir(name, 0o700, dir_fd=self.fd)
            self.system.fsync(self.fd)
        except FileExistsError:
            return  # somebody was faster
        except OSError as error:
            raise refused(path, error) from error

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes | None:
        """Return a file's bytes, or None if there is no such file."""
        path = f"{self.path}/{name}"
        try:
            fd = self.system.open(name, _READ_FLAGS, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused(path, error) from error
        try:
            size = checked_file(fd, path, self.system)
            if size > limit:
                raise StoreError(f"{path} is larger than it can be")
            return read_all(fd, size, self.system)
        except OSError as error:
            raise refused(path, error) from error
        finally:
            self.system.close(fd)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file durably: temporary file, fsync, rename, fsync of the folder."""
        path = f"{self.path}/{name}"
        temporary = f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            self.write_new(temporary, data)
            try:
                self.system.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            except OSError:
                self._forget(temporary)
                raise
            self.system.fsync(self.fd)
        except OSError as error:
            raise refused(path, error) from error

    def write_new(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet, its bytes durable but not its name; or OSError.

        What could not be written whole is removed.
        """
        fd = self.system.open(name, _CREATE_FLAGS, 0o600, dir_fd=self.fd)
        try:
            try:
                self.system.fchmod(fd, 0o600)
                write_all(fd, data, self.system)
                self.system.fsync(fd)
            finally:
                self.system.close(fd)
        except OSError:
            self._forget(name)
            raise

    def _forget(self, name: str) -> None:
        try:
            self.system.unlink(name, dir_fd=self.fd)
        except OSError:
            return  # left for `store gc`; the first error is the one to report

    def unlink(self, name: str) -> bool:
        """Remove a file durably; False if there was none."""
        try:
            self.system.unlink(name, dir_fd=self.fd)
            self.system.fsync(self.fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise refused(f"{self.path}/{name}", error) from error
        return True

    def names(self) -> list[str]:
        """Return the names in the folder, sorted, without those of unfinished writes."""
        try:
            found = self.system.listdir(self.fd)
        except OSError as error:
            raise refused(self.path, error) from error
        return sorted(name for name in found if not name.startswith(TEMPORARY))

    def each_name(self) -> Iterator[str]:
        """Yield the same names as the folder is read: see `System.each_name`."""
        try:
            for name in self.system.each_name(self.fd):
                if not name.startswith(TEMPORARY):
                    yield name
        except OSError as error:
            raise refused(self.path, error) from error

    def close(self) -> None:
        """Give the descriptor back; once is enough."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self.system.close(fd)

    def __del__(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)  # not through `system`: forgetting a folder is no step of anything


def open_folder(path: str, system: System = SYSTEM, *, create: bool = True) -> Folder | None:
    """Open an absolute folder of ours, each missing level made 0700; None if missing and not so."""
    check_parents(path, system)
    try:
        fd = system.open(path, _FOLDER_FLAGS)
    except FileNotFoundError:
        if not create:
            return None
        _make_levels(path, system)
        try:
            fd = system.open(path, _FOLDER_FLAGS)
        except OSError as error:
            raise refused(path, error) from error
    except OSError as error:
        raise refused(path, error) from error
    folder = Folder(_checked_folder(fd, path, system), path, system)
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")  # where it was opened: one call, and no race
    except OSError:
        from os.path import realpath  # noqa: PLC0415 - only where there is no /proc

        real = realpath(path)
    if real != path:
        check_parents(real, system)  # a link on the way leads below other folders
    return folder


def _make_levels(path: str, system: System) -> None:
    """Make each missing level; a path may have more of them than Python calls may be nested."""
    missing = [path]
    while (parent := parent_of(missing[-1])) not in {"/", ""}:
        try:
            system.stat(parent)
            break
        except FileNotFoundError:
            missing.append(parent)
        except OSError as error:
            raise _unmakable(parent, error) from error
    for level in reversed(missing):
        try:
            system.mkdir(level, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise _unmakable(level, error) from error


def check_parents(path: str, system: System = SYSTEM, variable: str = "BROKERCTL_HOME") -> None:
    """Refuse a path below a folder that others can write to (a sticky one, like /tmp, is fine).

    `variable` says where the path comes from, for the hint.
    """
    parent = parent_of(path)
    while True:
        try:
            found = system.stat(parent)
        except OSError:
            found = None  # a missing level will be made by us
        if found is not None:
            is_open = found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in {0, system.geteuid()}:
                raise StoreError(f"{parent} belongs to another user", hint=place_hint(variable))
            if is_open and not is_read_only(parent, system):
                hint = _group_hint(parent, found) if found.st_uid else None
                hint = hint or mode_hint("go-w", parent, found.st_uid, variable, system)
                raise StoreError(f"{parent} can be written to by others", hint=hint)
        if parent in {"/", ""}:
            return
        parent = parent_of(parent)


def _checked_folder(fd: int, path: str, system: System) -> int:
    try:
        found = system.fstat(fd)
    except OSError as error:
        system.close(fd)
        raise refused(path, error) from error
    if found.st_uid != system.geteuid():
        system.close(fd)
        raise StoreError(f"{path} belongs to another user", hint=place_hint("BROKERCTL_HOME"))
    if found.st_mode & 0o077:
        system.close(fd)
        hint = _group_hint(path, found) or chmod_hint("700", path)
        raise StoreError(f"{path} is open to others", hint=hint)
    return fd


def checked_file(fd: int, path: str, system: System = SYSTEM) -> int:
    """Return the size of an open file that is regular, ours, private and has one name."""
    try:
        found = system.fstat(fd)
    except OSError as error:
        raise refused(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is not a regular file")
    if found.st_uid != system.geteuid():
        raise StoreError(f"{path} belongs to another user")
    if found.st_mode & 0o077:
        raise StoreError(f"{path} is open to others", hint=chmod_hint("600", path))
    if found.st_nlink > 1:  # 0 is a file that was replaced since it was opened: whole, and ours
        raise StoreError(f"{path} has another name (a hard link)")
    return found.st_size


def read_all(fd: int, size: int, system: System = SYSTEM) -> bytes:
    """Read up to the end; a file that is as long as its size says ends there."""
    chunks: list[bytes] = []
    wanted = size + 1
    while chunk := system.read(fd, wanted):
        if len(chunk) == size and not chunks:
            return chunk
        chunks.append(chunk)
        wanted = 65536
        if sum(map(len, chunks)) > size:
            continue
    return b"".join(chunks)


def find_regular(path: str) -> bytes | None:
    """Return what a file of the user's holds; None where it is missing, closed or no file.

    A pipe is for its own reader: what is in it is not seen here.
    """
    try:
        fd = os.open(path, _READ_FLAGS & ~os.O_NOFOLLOW | os.O_NOCTTY)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(fd)
        return read_all(fd, found.st_size) if stat.S_ISREG(found.st_mode) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes, system: System = SYSTEM) -> None:
    """Write every byte, or raise OSError: a short write that ends is a full disk."""
    view = memoryview(data)
    while view:
        written = system.write(fd, view)
        if written <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]


def is_read_only(place: int | str, system: System = SYSTEM) -> bool:
    """Return whether a file or folder lies on a mount that nobody can write to."""
    try:
        return bool(system.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def mode_hint(mode: str, path: str, owner: int, variable: str, system: System = SYSTEM) -> str:
    """Return what mends a mode: `chmod` for one who may run it, else another place."""
    if system.geteuid() in {0, owner}:
        return chmod_hint(mode, path)
    return place_hint(variable)


def _group_hint(path: str, found: os.stat_result) -> str | None:
    """Return what mends a folder of ours in a pod whose kubelet gives volumes to a group.

    It does so to all that lies there, at each start of a pod, unless it is told otherwise.
    """
    if not found.st_mode & stat.S_ISGID or not found.st_mode & stat.S_IWGRP or not _is_in_a_pod():
        return None
    chmod = chmod_hint("go-rwx", path).replace("chmod", "chmod -R")
    return f"set fsGroupChangePolicy: OnRootMismatch in the pod, and {chmod} once"


def _is_in_a_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in read_environ()


def place_hint(variable: str) -> str:
    """Return where the thing that a variable names may lie, where its present place can't serve."""
    if _is_in_a_pod():
        return _IN_A_POD[variable]
    return _ELSEWHERE[variable]


_ELSEWHERE = {
    "BROKERCTL_HOME": "set BROKERCTL_HOME to a folder of your own, below none of other users",
    "BROKERCTL_CONFIG": "set BROKERCTL_CONFIG to a file of your own, below none of their folders",
    "system": "root has to mend it: it counts for all users of this machine",
    "project": "clone it as yourself: what others can write to is never trusted",
    "secret": "have it belong to you or root, with mode 600, or 440 for a group that is to read it",
}
_IN_A_POD = {
    **_ELSEWHERE,
    "BROKERCTL_HOME": "set BROKERCTL_HOME below a folder of this user's own, such as an emptyDir's"
    " subPath that an init container made (docs/pods.md has the pod)",
    "BROKERCTL_CONFIG": "mount it from a ConfigMap or Secret, which nobody can write to, with"
    " defaultMode: 0440, and set BROKERCTL_CONFIG to it",
    "system": "mount it from a ConfigMap, which nobody can write to, with defaultMode: 0444",
    "secret": "mount it from a Secret with defaultMode: 0440",
}


def chmod_hint(mode: str, path: str) -> str:
    """Return the hint that mends a mode, as one can paste it into a shell."""
    return f"run 'chmod {mode} {shell_word(path)}'"


def _unmakable(path: str, error: OSError) -> StoreError:
    """Turn the error of a folder that can't be made into ours: somewhere else it can."""
    found = refused(path, error)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        found.hint = place_hint("BROKERCTL_HOME")
    return found


def refused(path: str, error: OSError) -> StoreError:
    """Turn the system's error into ours, naming the path."""
    if error.errno == errno.ELOOP:
        return StoreError(f"{path} is a symbolic link")
    if error.errno in {errno.ENXIO, errno.ENOTDIR, errno.EISDIR}:
        return StoreError(f"{path} is not what it should be: {os.strerror(error.errno)}")
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    return StoreError(f"can't use {path}: {reason.lower()}")
