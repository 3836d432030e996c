"""A v1 folder that lies in this process's memory: for a CI job that has no home.

It stands where the disk does, below the very same store: folders, files and locks by descriptors,
so that nothing above it knows. What it holds ends with the process. Each descriptor is a real one,
of `/dev/null`, so that no file of the kernel's ever has the same number.
"""

from __future__ import annotations

import _thread
import errno
import fcntl

from brokerctl.platform.private_files import Folder
from brokerctl.platform.system import System, os, stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import FileDescriptorLike, FileDescriptorOrPath, ReadableBuffer, StrOrBytesPath

_CREATE_NEW = os.O_CREAT | os.O_EXCL
_HANDLE_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_DEVICE = 0  # of no disk


class _Node:
    """A file, which has bytes, or a folder, which has names."""

    __slots__ = ("content", "holder", "mode", "names", "number")

    def __init__(self, number: int, mode: int, names: dict[str, _Node] | None = None) -> None:
        self.number = number
        self.mode = mode
        self.names = names
        self.content = bytearray()
        self.holder: _Opened | None = None  # of the lock


class _Opened:
    """A node as one descriptor has it."""

    __slots__ = ("at", "node")

    def __init__(self, node: _Node) -> None:
        self.node = node
        self.at = 0  # where the next read or write begins, in bytes


class MemorySystem(System):
    """Names below `folder()` are in memory; absolute ones, as `/proc`, are the machine's."""

    def __init__(self) -> None:
        self._opened: dict[FileDescriptorLike, _Opened] = {}
        self._made = 0
        self._locking = _thread.allocate_lock()  # two threads must not both find a lock free,
        # nor both make a file of one name

    def folder(self, path: str) -> Folder:
        """Make a folder of nothing; `path` is what messages call it."""
        return Folder(self._hold(self._make(stat.S_IFDIR | 0o700)), path, self)

    def _make(self, mode: int) -> _Node:
        self._made += 1
        return _Node(self._made, mode, {} if stat.S_ISDIR(mode) else None)

    def _hold(self, node: _Node) -> int:
        fd = System.open("/dev/null", _HANDLE_FLAGS)
        self._opened[fd] = _Opened(node)  # over what a forgotten folder left at this number
        return fd

    def _place(self, path: object, dir_fd: int | None) -> tuple[dict[str, _Node], str]:
        """Return the names of the folder that a path is in, and the path's last part."""
        *parts, last = str(path).split("/")
        if dir_fd is None:
            raise _error(errno.EXDEV)  # nothing of the machine's is ever changed from here
        node: _Node | None = self._opened[dir_fd].node
        for part in parts:
            node = node.names.get(part) if node is not None and node.names is not None else None
        if node is None or node.names is None:
            raise _error(errno.ENOENT)
        return node.names, last

    def _find(self, path: object, dir_fd: int | None) -> _Node:
        names, last = self._place(path, dir_fd)
        if last not in names:
            raise _error(errno.ENOENT)
        return names[last]

    def open(
        self, path: StrOrBytesPath, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        """Open, or make, a file or a folder."""
        if dir_fd is None:
            fd = System.open(path, flags & ~os.O_CREAT)
            self._opened.pop(fd, None)
            return fd
        names, last = self._place(path, dir_fd)
        with self._locking:
            node = names.get(last)
            if node is None:
                if not flags & os.O_CREAT:
                    raise _error(errno.ENOENT)
                node = names[last] = self._make(stat.S_IFREG | mode)
            elif flags & _CREATE_NEW == _CREATE_NEW:
                raise _error(errno.EEXIST)
        if node.names is None and flags & os.O_DIRECTORY:
            raise _error(errno.ENOTDIR)
        if node.names is not None and flags & os.O_ACCMODE:
            raise _error(errno.EISDIR)
        return self._hold(node)

    def close(self, fd: int) -> None:
        """Close; whoever held a lock by this descriptor gives it up."""
        opened = self._opened.pop(fd, None)
        if opened is not None and opened.node.holder is opened:
            opened.node.holder = None
        System.close(fd)

    def dup(self, fd: int, /) -> int:  # noqa: ARG002 - whichever it is
        """Refuse: a lock in memory has one process, and nobody to wait for."""
        raise _error(errno.EMFILE)

    def read(self, fd: int, length: int, /) -> bytes:
        """Read on from where the last read or write ended."""
        opened = self._opened.get(fd)
        if opened is None:
            return System.read(fd, length)
        data = self.pread(fd, length, opened.at)
        opened.at += len(data)
        return data

    def pread(self, fd: int, length: int, offset: int, /) -> bytes:
        """Read at a position."""
        node = self._opened[fd].node
        if node.names is not None:
            raise _error(errno.EISDIR)
        return bytes(node.content[offset : offset + length])

    def write(self, fd: int, data: ReadableBuffer, /) -> int:
        """Write on from where the last read or write ended."""
        opened = self._opened[fd]
        written = self.pwrite(fd, data, opened.at)
        opened.at += written
        return written

    def pwrite(self, fd: int, data: ReadableBuffer, offset: int, /) -> int:
        """Write at a position; what lies before it and was never written is zeros."""
        content, new = self._opened[fd].node.content, bytes(data)
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(new)] = new
        return len(new)

    def ftruncate(self, fd: int, length: int, /) -> None:
        """Cut to a length."""
        del self._opened[fd].node.content[length:]

    def fsync(self, fd: FileDescriptorLike) -> None:
        """Do nothing: there is no disk that could lag behind."""

    fdatasync = fsync

    def fstat(self, fd: int) -> os.stat_result:
        """Return mode, number, owner and size; all else is nothing."""
        return _status(self._opened[fd].node)

    def stat(
        self,
        path: FileDescriptorOrPath,
        *,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> os.stat_result:
        """Return the same by name."""
        if dir_fd is None:
            return System.stat(path, follow_symlinks=follow_symlinks)
        return _status(self._find(path, dir_fd))

    def mkdir(self, path: StrOrBytesPath, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """Make a folder."""
        names, last = self._place(path, dir_fd)
        with self._locking:
            if last in names:
                raise _error(errno.EEXIST)
            names[last] = self._make(stat.S_IFDIR | mode)

    def rename(
        self,
        src: StrOrBytesPath,
        dst: StrOrBytesPath,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        """Give a node another name, in the place of a file that has it."""
        node = self._find(src, src_dir_fd)
        others, new = self._place(dst, dst_dir_fd)
        if new in others and others[new].names is not None:
            raise _error(errno.EISDIR)
        names, last = self._place(src, src_dir_fd)
        del names[last]
        others[new] = node

    def unlink(self, path: StrOrBytesPath, *, dir_fd: int | None = None) -> None:
        """Remove a file's name; whoever has it open keeps it."""
        names, last = self._place(path, dir_fd)
        if self._find(path, dir_fd).names is not None:
            raise _error(errno.EISDIR)
        del names[last]

    def rmdir(self, path: StrOrBytesPath, *, dir_fd: int | None = None) -> None:
        """Remove a folder in which nothing is."""
        names, last = self._place(path, dir_fd)
        if self._find(path, dir_fd).names:
            raise _error(errno.ENOTEMPTY)
        del names[last]

    def listdir(self, fd: int) -> list[str]:  # type: ignore[override]  # static there
        """Return the names in an open folder."""
        return list(self._opened[fd].node.names or ())

    def each_name(self, fd: int) -> Iterator[str]:  # type: ignore[override]  # static there
        """Yield the names in an open folder."""
        yield from self.listdir(fd)

    def sync(self) -> None:  # type: ignore[override]  # static there
        """Do nothing, as `fsync`."""

    def fchmod(self, fd: int, mode: int) -> None:
        """Change the mode."""
        node = self._opened[fd].node
        node.mode = stat.S_IFMT(node.mode) | mode

    def flock(self, fd: FileDescriptorLike, operation: int, /) -> None:
        """Take the lock if it is free, or give it up; it is not waited for, but asked for again."""
        opened = self._opened[fd]
        node = opened.node
        with self._locking:
            if operation & fcntl.LOCK_UN:
                node.holder = None if node.holder is opened else node.holder
            elif node.holder not in {None, opened}:
                raise _error(errno.EAGAIN)
            else:
                node.holder = opened


def _status(node: _Node) -> os.stat_result:
    owner, group = os.geteuid(), os.getegid()
    return os.stat_result(
        (node.mode, node.number, _DEVICE, 1, owner, group, len(node.content), 0, 0, 0)
    )


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
