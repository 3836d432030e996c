"""A copy of the store beside it, made once before the first entry of a newer format is written.

The files are copied as they are, sealed, with the keys as they lie, so that whoever has to go back
to an older version can put the folder in the store's place. It holds what the store held: `rekey`
removes it, because it still opens with the key that was replaced, and so does `gc` in time.
"""

from __future__ import annotations

import errno

from brokerctl.errors import StoreError
from brokerctl.platform.private_files import TEMPORARY, Folder, open_folder, refused
from brokerctl.platform.system import os, parent_of, stat
from brokerctl.store.entry import PLAN
from brokerctl.store.file.disk import LOCKS, PLACES

COPY = "v1-before-format-2"
_UNFINISHED = f"{TEMPORARY}copy-"
_LEFT_OUT = ("audit", PLACES[PLAN][0])  # the record has no format of ours; plans are made anew


def place_of_copy(store: Folder) -> str:
    """Return the path of a store's copy."""
    return f"{parent_of(store.path)}/{COPY}"


def copy_store(store: Folder) -> None:
    """Copy a store, durably and as a whole or not at all; StoreError where there is no room.

    Only one process at a time may do it. Others may change entries meanwhile, so the copy is as a
    crash would have left the store: what is no private file of ours is left out, as it opens for
    nobody in the store either.
    """
    parent = _open_parent(store)
    made = _UNFINISHED + os.urandom(4).hex()
    try:
        try:
            for name in parent.system.listdir(parent.fd):
                if name.startswith(_UNFINISHED):
                    _remove_tree(parent, name)
            target = parent.child(made)
            assert target is not None  # noqa: S101 - it is made if missing
            _copy(store, target, _LEFT_OUT)
            remove_copy(store)  # of an attempt that got no further
            parent.system.rename(made, COPY, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)
            parent.system.fsync(parent.fd)
        except (OSError, StoreError) as error:
            _remove_tree(parent, made)
            raise _not_copied(store, error) from error
    finally:
        parent.close()


def find_copy_time(store: Folder) -> float | None:
    """Return when the copy was made, as seconds since the epoch; None where there is none."""
    try:
        return store.system.stat(place_of_copy(store), follow_symlinks=False).st_mtime
    except OSError:
        return None


def remove_copy(store: Folder) -> bool:
    """Remove a store's copy; False if there was none. StoreError where something of it stays."""
    if find_copy_time(store) is None:
        return False
    parent = _open_parent(store)
    try:
        _remove_tree(parent, COPY)
        parent.system.fsync(parent.fd)
    except OSError as error:
        raise refused(parent.path, error) from error
    finally:
        parent.close()
    if find_copy_time(store) is not None:
        raise StoreError(f"{place_of_copy(store)} can't be removed", hint="remove it by hand")
    return True


def _open_parent(store: Folder) -> Folder:
    parent = open_folder(parent_of(store.path), store.system, create=False)
    if parent is None:
        raise StoreError(f"{store.path} was removed meanwhile")
    return parent


def _copy(source: Folder, target: Folder, left_out: tuple[str, ...] = ()) -> None:
    # The locks first: an older version that commits meanwhile must not leave a mark in the copy
    # that is higher than its grant's generation.
    for name in sorted(source.names(), key=lambda name: name != LOCKS):
        if name in left_out:
            continue
        mode = 0
        try:
            mode = source.system.stat(name, dir_fd=source.fd, follow_symlinks=False).st_mode
            child = source.child(name, create=False) if stat.S_ISDIR(mode) else None
            data = source.read(name) if stat.S_ISREG(mode) else None
        except FileNotFoundError:
            continue  # it has gone since it was listed
        except StoreError as error:
            if _may_pass(error) or (stat.S_ISDIR(mode) and error.hint is not None):
                raise  # what can be read later must not be missing
            continue
        if child is not None:
            below = target.child(name)
            assert below is not None  # noqa: S101 - it is made if missing
            _copy(child, below)
            child.close()
            below.close()
        elif data is not None:
            target.write_new(name, data)
    target.system.fsync(target.fd)


def _may_pass(error: StoreError) -> bool:
    """Return whether it is the disk's trouble, and not what lies there."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno != errno.ELOOP


def _remove_tree(parent: Folder, name: str) -> None:
    """Remove a folder and what is in it, following no link; what can't be removed stays."""
    system = parent.system
    try:
        folder = parent.child(name, create=False)
    except StoreError:
        return  # a link, a file or somebody else's: none of ours
    if folder is None:
        return
    try:
        names = system.listdir(folder.fd)
    except OSError:
        names = []
    for one in names:
        try:
            system.unlink(one, dir_fd=folder.fd)
        except (IsADirectoryError, PermissionError):  # macOS says the latter
            _remove_tree(folder, one)
        except OSError:
            continue
    folder.close()
    try:
        system.rmdir(name, dir_fd=parent.fd)
    except OSError:
        return


def _not_copied(store: Folder, error: OSError | StoreError) -> StoreError:
    found = error if isinstance(error, StoreError) else refused(place_of_copy(store), error)
    return StoreError(
        f"the store has an older format and no copy of it could be made: {found.message}",
        hint=found.hint or "make room beside it: nothing was changed",
    )
