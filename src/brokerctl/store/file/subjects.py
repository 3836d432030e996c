"""Which grants a subject has, by name: one of ten thousand is found without opening the others.

`subjects/SUBJECT/GRANT` is an empty file, both names being keyed hashes. It is made before the
first entry of a grant is (`Disk.list_grant`), whatever profile and settings the grant is of. What
an earlier version wrote is not listed: the first search looks for it once, and notes that it did.
"""

from __future__ import annotations

from brokerctl.errors import LockTimeoutError
from brokerctl.platform.private_files import refused
from brokerctl.store.entry import GRANT, INTENT, QUEUE, TOKEN, is_name, plain_name
from brokerctl.store.file.disk import PLACES, SUBJECTS, open_child
from brokerctl.store.file.lock import EntryLock
from brokerctl.store.values import Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from brokerctl.platform.private_files import Folder
    from brokerctl.store import Entry
    from brokerctl.store.file.disk import Disk

_COMPLETE = "complete"
_KINDS = tuple(kind for kind in PLACES if kind != TOKEN)


def find_grants(disk: Disk, subject: str, entries: Callable[[int], Iterable[Entry]]) -> list[str]:
    """Return the names of the grants that a subject has, or may have had, sorted.

    `entries` yields all of a kind, for the one time that they are to be looked through.
    """
    top = disk.child(SUBJECTS)
    if top.read(_COMPLETE) is None:
        _list_earlier(disk, top, entries)
    folder = open_child(top, plain_name(disk.ring.name_key, "subject", subject), create=False)
    if folder is None:
        return []
    try:
        return [name for name in folder.names() if is_name(name)]
    finally:
        folder.close()


def note_new(folder: Folder) -> None:
    """Note that a store is new: there is nothing that an earlier version wrote."""
    top = folder.child(SUBJECTS)
    if top is not None:
        top.write(_COMPLETE, b"")


def _list_earlier(disk: Disk, top: Folder, entries: Callable[[int], Iterable[Entry]]) -> None:
    """List what lies here; whoever writes meanwhile lists his own."""
    for kind in (GRANT, TOKEN, QUEUE, INTENT):
        for entry in entries(kind):
            value = entry.value
            key = value.key.grant if isinstance(value, Slot) else getattr(value, "key", None)
            if key is not None and key.subject is not None:
                name = entry.name.partition("/")[0]
                disk.list_grant(key.subject, name, is_synced=False)
    disk.system.sync()  # all of them at once, before the note that they are there
    top.write(_COMPLETE, b"")


def remove_unused(disk: Disk, clock: Callable[[], float]) -> int:
    """Take off the list, under its lock, each grant of which nothing is left; return how many."""
    top, count = disk.child(SUBJECTS), 0
    for subject in [name for name in top.names() if is_name(name)]:
        folder = open_child(top, subject, create=False)
        if folder is None:
            continue
        try:
            count += sum(
                _remove(disk, clock, folder, name) for name in folder.names() if is_name(name)
            )
        finally:
            folder.close()
        try:
            top.system.rmdir(subject, dir_fd=top.fd)
        except OSError:
            continue  # it is not empty
    return count


def _remove(disk: Disk, clock: Callable[[], float], folder: Folder, name: str) -> bool:
    if is_anything(disk, name):
        return False
    try:
        with EntryLock(disk, name, clock):
            return not is_anything(disk, name) and folder.unlink(name)
    except LockTimeoutError:
        return False  # in use: something is about to be there


def is_anything(disk: Disk, name: str) -> bool:
    """Return whether there is an entry of this name, a grant's or another, or a slot."""
    return any(_has(disk, kind, name) for kind in _KINDS) or bool(disk.slot_names(name))


def each_name(disk: Disk, kind: int) -> Iterator[str]:
    """Yield the names of all entries of a kind as their folder is read: `System.each_name`."""
    top, suffix = PLACES[kind]
    for found in disk.child(top).each_name():
        name = found.removesuffix(suffix) if found.endswith(suffix) else ""
        if is_name(name):
            yield from disk.slot_names(name) if kind == TOKEN else (name,)


def each_grant(disk: Disk) -> Iterator[str]:
    """Yield the name of each grant that has an entry, then of those that have slots alone.

    The folders are read as `System.each_name` does.
    """
    yield from each_name(disk, GRANT)
    for name in disk.child(PLACES[TOKEN][0]).each_name():
        if is_name(name) and not _has(disk, GRANT, name):
            yield name


def _has(disk: Disk, kind: int, name: str) -> bool:
    """Return whether there is a file of an entry, whatever it holds."""
    folder, file_name = disk.place(kind, name)
    try:
        disk.system.stat(file_name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refused(f"{folder.path}/{file_name}", error) from error
    return True
