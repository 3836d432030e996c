"""Entries as files of the v1 folder: where each kind lies, read, listed, replaced and set aside.

A warm hand-out reads one, and nothing else of this file.
"""

from __future__ import annotations

import errno

from brokerctl.errors import DamagedError, StoreError
from brokerctl.platform.private_files import TEMPORARY, refused, write_all
from brokerctl.platform.system import os
from brokerctl.store import Damage
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    JOB,
    KEPT,
    KIND_NAMES,
    LEASE,
    METADATA,
    OUTCOME,
    PLAN,
    QUESTION,
    QUEUE,
    SECRET,
    SESSION,
    TOKEN,
    NewerKeyError,
    is_name,
    open_entry,
    plain_name,
    seal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System
    from brokerctl.store.interface import StoreKeys


# kind: (folder, what its file names end with)
PLACES = {
    GRANT: ("grants", ""),
    OUTCOME: ("grants", ".outcome"),
    QUEUE: ("grants", ".queue"),
    **{kind: (f"{KIND_NAMES[kind]}s", "") for kind in (TOKEN, INTENT, PLAN, SECRET)},
    METADATA: ("metadata", ""),
    SESSION: ("sessions", ""),
    KEPT: ("kept", ""),
    **{kind: (f"{KIND_NAMES[kind]}s", "") for kind in (JOB, LEASE, QUESTION)},
}
LOCKS = "locks"
SUBJECTS = "subjects"  # which grants a subject has, see `file/subjects`
ASIDE = "aside"
_MADE_ANEW = frozenset({PLAN, OUTCOME})  # a cache, and a failure that is remembered
_PROBE_BYTES = 32 * 1024
_RESERVE_BYTES = 64 * 1024  # more than a grant, or a slot with all that it supersedes, takes
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Reader:
    """The v1 folder with the keys that open what lies in it.

    `renew` reads the ring again. `raise_format` is called once before the first entry is sealed,
    where older versions still read this store.
    """

    __slots__ = ("folder", "raise_format", "renew", "ring", "system")

    def __init__(
        self,
        folder: Folder,
        ring: StoreKeys,
        system: System,
        renew: Callable[[], StoreKeys] | None = None,
        raise_format: Callable[[], object] | None = None,
    ) -> None:
        self.folder = folder
        self.ring = ring
        self.system = system
        self.renew = renew
        self.raise_format = raise_format

    def read(self, kind: int, name: str) -> bytes | None:
        """Return an entry's payload in one open and read; None if there is none.

        DamagedError where the entry is not what was written; StoreError where the trouble is the
        system's, or the user's to mend, so that nothing is to be set aside.
        """
        top, suffix = PLACES[kind]
        try:
            data = self.folder.read(f"{top}/{name}{suffix}")
        except StoreError as error:
            if is_about_the_entry(kind, error):
                raise DamagedError(error.message, hint=error.hint) from error
            raise
        except OSError as error:  # of the checks after the open
            raise refused(f"{self.folder.path}/{top}", error) from error
        return None if data is None else self._open(kind, name, data)

    def _open(self, kind: int, name: str, data: bytes) -> bytes:
        try:
            return open_entry(self.ring, kind, name, data)
        except NewerKeyError:
            if self.renew is None:
                raise
        # `rekey --new-keys` is at work: readers go on with the ring as it is now.
        self.ring = self.renew()
        return open_entry(self.ring, kind, name, data)


def open_child(parent: Folder, name: str, *, create: bool = True) -> Folder | None:
    """Open a sub-folder; what the checks after its opening raise is ours too."""
    try:
        return parent.child(name, create=create)
    except OSError as error:
        raise refused(f"{parent.path}/{name}", error) from error


class Disk(Reader):
    """The same folder for writing, listing and setting aside."""

    __slots__ = ("_folders", "_reserves", "until")

    def __init__(self, reader: Reader) -> None:
        super().__init__(
            reader.folder, reader.ring, reader.system, reader.renew, reader.raise_format
        )
        self._folders: dict[str, Folder] = {}
        self._reserves: dict[int, list[tuple[Folder, str, int]]] = {}
        self.until = 0.0  # of the work clock: a write that fails is tried again up to then

    def reserve(self, kind: int, name: str) -> None:
        """Take the room that one more write of this kind needs, or raise StoreError.

        The blocks are really written, and with what no file system makes smaller. What is only
        noted (metadata) need not have been brought to the disk. Only whoever has
        the grant's lock reserves, so a file of this name is what a killed holder left.
        """
        folder, file_name = self.place(kind, name)
        taken = self._reserves.setdefault(kind, [])
        held = f"{TEMPORARY}{KIND_NAMES[kind]}-{len(taken)}-{file_name}"
        try:
            fd = self._open_new(folder, held)
        except OSError as error:
            raise refused(folder.path, error) from error
        taken.append((folder, held, fd))
        try:
            self.system.fchmod(fd, 0o600)
            write_all(fd, os.urandom(_RESERVE_BYTES), self.system)
            if kind != METADATA:
                self.system.fsync(fd)
        except OSError as error:
            self.give_back()
            raise refused(folder.path, error) from error

    def _open_new(self, folder: Folder, name: str) -> int:
        try:
            return self.system.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder.fd)
        except FileExistsError:
            self.system.unlink(name, dir_fd=folder.fd)
            return self.system.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder.fd)

    def give_back(self) -> None:
        """Give back what was reserved and not needed."""
        left = [one for taken in self._reserves.values() for one in taken]
        self._reserves = {}
        for _, _, fd in left:
            self.system.close(fd)
        for folder, held, _ in left:
            self._forget(folder, held)

    def child(self, *names: str) -> Folder:
        """Return a sub-folder, made if missing; it stays open, of those of grants the last one."""
        path = "/".join(names)
        found = self._folders.get(path)
        if found is None:
            parent = self.child(*names[:-1]) if len(names) > 1 else self.folder
            found = open_child(parent, names[-1])
            assert found is not None  # noqa: S101 - it is made if missing
            for other in [one for one in self._folders if "/" in one and "/" in path]:
                del self._folders[other]
            self._folders[path] = found
        return found

    def close(self) -> None:
        """Give the descriptors of the sub-folders back."""
        while self._folders:
            self._folders.popitem()[1].close()

    def place(self, kind: int, name: str) -> tuple[Folder, str]:
        """Return the folder and the file name of an entry; a slot's name is `GRANT/TOKEN`."""
        top, suffix = PLACES[kind]
        group, _, last = name.rpartition("/")
        return self.child(top, group) if group else self.child(top), last + suffix

    def write(self, kind: int, name: str, payload: bytes) -> None:
        """Replace an entry durably: into what is reserved, else with a new temporary file.

        One that fails is tried once more in any case, with another new file: what the first sync
        could not bring to the disk, a second would only claim to have brought there.
        """
        data = self._seal(kind, name, payload)
        folder, file_name = self.place(kind, name)
        if self._write_reserved(kind, folder, file_name, data):
            return
        pause_s = 0.0
        while True:
            try:
                folder.write(file_name, data)
            except StoreError:
                if pause_s and self._is_over(pause_s):
                    raise
                self.system.sleep(pause_s)
                pause_s = min(pause_s * 2, _LAST_PAUSE_S) or _FIRST_PAUSE_S
            else:
                return

    def _is_over(self, pause_s: float) -> bool:
        from brokerctl.platform.work_clock import work_time  # noqa: PLC0415 - after a failure alone

        return work_time(self.system) + pause_s > self.until

    def _seal(self, kind: int, name: str, payload: bytes) -> bytes:
        if self.raise_format is not None:
            self.raise_format()
            self.raise_format = None
        return seal(self.ring, kind, name, payload)

    def _write_reserved(self, kind: int, folder: Folder, file_name: str, data: bytes) -> bool:
        """Return whether the entry is stored in the room that was reserved for it."""
        taken = self._reserves.get(kind)
        if not taken:
            return False
        reserved, held, fd = taken.pop()
        try:
            try:
                self._overwrite(fd, data)
            finally:
                self.system.close(fd)
            self.system.rename(held, file_name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            self.system.fsync(folder.fd)
        except OSError:
            self._forget(reserved, held)  # a new file may need its room
            return False
        return True

    def _overwrite(self, fd: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            written = self.system.pwrite(fd, data[at:], at)
            if written <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            at += written
        self.system.ftruncate(fd, len(data))
        self.system.fsync(fd)

    def write_unsynced(self, kind: int, name: str, payload: bytes) -> None:
        """Replace an entry whole or not at all, but not durably: a crash may lose it."""
        data = self._seal(kind, name, payload)
        folder, file_name = self.place(kind, name)
        temporary = TEMPORARY + os.urandom(8).hex()
        try:
            self._fill(folder, temporary, data, is_synced=False)
            self.system.rename(temporary, file_name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
        except OSError as error:
            self._forget(folder, temporary)
            raise refused(f"{folder.path}/{file_name}", error) from error

    def _fill(self, folder: Folder, name: str, data: bytes, *, is_synced: bool) -> None:
        fd = self.system.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder.fd)
        try:
            self.system.fchmod(fd, 0o600)
            write_all(fd, data, self.system)
            if is_synced:
                self.system.fsync(fd)
        finally:
            self.system.close(fd)

    def _forget(self, folder: Folder, name: str) -> None:
        try:
            self.system.unlink(name, dir_fd=folder.fd)
        except OSError:
            return  # left for `store gc`; the first error is the one to report

    def probe(self, kind: int, name: str) -> None:
        """Prove that an entry could be written here now, or raise StoreError."""
        folder, _ = self.place(kind, name)
        temporary = TEMPORARY + os.urandom(8).hex()
        try:
            self._fill(folder, temporary, bytes(_PROBE_BYTES), is_synced=True)
        except OSError as error:
            self._forget(folder, temporary)
            raise refused(folder.path, error) from error
        self._forget(folder, temporary)

    def remove(self, kind: int, name: str) -> bool:
        """Remove an entry durably; False if there was none."""
        folder, file_name = self.place(kind, name)
        return folder.unlink(file_name)

    def remove_unsynced(self, kind: int, name: str) -> None:
        """Remove an entry that no harm comes from if it stays."""
        folder, file_name = self.place(kind, name)
        self._forget(folder, file_name)

    def names(self, kind: int) -> list[str]:
        """Return the names of all entries of a kind."""
        top, end = PLACES[kind]
        names = self.child(top).names()
        if kind == TOKEN:
            return [slot for group in filter(is_name, names) for slot in self.slot_names(group)]
        found = (one.removesuffix(end) for one in names if one.endswith(end))
        return [name for name in found if is_name(name)]

    def list_grant(self, subject: str, name: str, *, is_synced: bool = True) -> None:
        """Note durably that a subject has a grant; most times it is noted already."""
        folder = self.child(SUBJECTS, plain_name(self.ring.name_key, "subject", subject))
        try:
            self.system.close(self.system.open(name, _CREATE_FLAGS, 0o600, dir_fd=folder.fd))
            if is_synced:
                self.system.fsync(folder.fd)
        except FileExistsError:
            return
        except FileNotFoundError:  # `store gc` has removed the folder since it was opened
            self._folders.clear()
            self.list_grant(subject, name, is_synced=is_synced)
        except OSError as error:
            raise refused(folder.path, error) from error

    def slot_names(self, group: str) -> list[str]:
        """Return the names of all slots of one grant, as `GRANT/TOKEN`."""
        tokens = self.child(PLACES[TOKEN][0])
        try:
            folder = open_child(tokens, group, create=False)
        except StoreError as error:
            if isinstance(error.__cause__, NotADirectoryError):
                return []  # somebody else's file: nothing is in it, and nothing stops for it
            raise
        if folder is None:
            return []
        try:
            return [f"{group}/{name}" for name in folder.names() if is_name(name)]
        finally:
            folder.close()

    def close_group(self, name: str) -> None:
        """Give back the folder of a grant's slots: another process may have removed it since."""
        opened = self._folders.pop(f"{PLACES[TOKEN][0]}/{name}", None)
        if opened is not None:
            opened.close()

    def remove_group(self, name: str) -> None:
        """Remove the folder of a grant's slots, if nothing is in it."""
        self.close_group(name)
        try:
            self.system.rmdir(name, dir_fd=self.child(PLACES[TOKEN][0]).fd)
        except OSError:
            return  # there is none, or something is in it

    def set_aside(self, kind: int, name: str, why: str) -> Damage:
        """Move a damaged entry to aside/, where it is evidence and blocks nothing."""
        folder, file_name = self.place(kind, name)
        aside = self.child(ASIDE)
        flat = name.replace("/", "-")
        target = f"{KIND_NAMES[kind]}-{flat}-{os.urandom(4).hex()}"
        try:
            self.system.rename(file_name, target, src_dir_fd=folder.fd, dst_dir_fd=aside.fd)
            self.system.fsync(aside.fd)
            self.system.fsync(folder.fd)
        except FileNotFoundError:
            return Damage(kind=kind, name=name, why=why)
        except OSError as error:
            raise refused(f"{folder.path}/{file_name}", error) from error
        return Damage(kind=kind, name=name, why=why, aside=target)


def is_about_the_entry(kind: int, error: StoreError) -> bool:
    """Return whether the entry itself is the trouble (a link, a fifo, too large), not its reading.

    A hint says that the user can mend it; an error of the system's other than these passes by
    itself or stops everything anyway. What can be made anew is worth no mending: whatever its mode
    is, nobody but us could have written what its seal holds.
    """
    if kind in _MADE_ANEW and (error.hint is not None or _errno(error) == errno.EACCES):
        return True
    if error.hint is not None or isinstance(error, DamagedError):
        return isinstance(error, DamagedError)
    number = _errno(error)
    return number is None or number in {errno.ELOOP, errno.ENXIO, errno.EISDIR}


def _errno(error: StoreError) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None
