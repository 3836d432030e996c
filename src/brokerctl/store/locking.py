"""Taking a grant's lock: apart from the store, because a warm hit takes none and imports none."""

from __future__ import annotations

from brokerctl.store.locked import LockedGrant
from brokerctl.store.locks import FileLock
from brokerctl.store.names import grant_name
from brokerctl.store.reading import LOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import GrantKey
    from brokerctl.store.file import FileStore


class Locking:
    """The context of `lock_grant`: the lock is held inside and nowhere else."""

    __slots__ = ("_deadline", "_key", "_lock", "_locked", "_store")

    def __init__(self, store: FileStore, key: GrantKey, deadline: float) -> None:
        self._store = store
        self._key = key
        self._deadline = deadline

    def __enter__(self) -> LockedGrant:
        disk = self._store.disk
        name = grant_name(self._store.ring.name_key, self._key)
        self._lock = FileLock(disk.child(LOCKS), name, disk.system)
        self._lock.acquire(self._deadline, self._store.clock())
        self._locked = LockedGrant(disk, self._key, name, self._lock, self._store.clock)
        return self._locked

    def __exit__(self, *_: object) -> None:
        found = self._locked.state.damage
        self._store.damage.extend(found)
        try:
            self._store.disk.give_back()
        finally:
            self._store.disk.until = 0.0
            self._lock.release()
        if found and self._store.tell is not None:
            self._store.tell(found)
