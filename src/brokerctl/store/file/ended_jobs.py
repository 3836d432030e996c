"""What ended CI jobs left: slot, lock and note go as soon as nothing of a job is alive.

A job's grant has a note of its name, made under its lock before anything else is, so that the
others are found without a look at the whole store. A runner that ran 10,000 jobs holds what is
alive, and no more.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError, LockTimeoutError, StoreError
from brokerctl.platform.work_clock import work_time
from brokerctl.store import codec
from brokerctl.store.entry import GRANT, INTENT, JOB, OUTCOME, QUEUE, TOKEN
from brokerctl.store.file.disk import LOCKS
from brokerctl.store.file.lock import FileLock
from brokerctl.store.slots import has_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.store.file.disk import Disk
    from brokerctl.store.values import Queued

NOTE = b"{}"  # its name is all that it says
_CUT_OFF_S = 86_400.0
_AT_MOST = 200  # in one go: whoever waits for this grant's lock waits for it


def remove_ended(disk: Disk, clock: Callable[[], float], spare: str, now: float) -> int:
    """Remove what other jobs than `spare`, a grant's name, have left; return how many had ended.

    Nobody waits: a job whose lock is held is at work.
    """
    count = 0
    for name in disk.names(JOB):
        if name == spare:
            continue
        if count == _AT_MOST:
            break
        if _has_live_slot(disk, name, now):
            continue  # the usual case, for which no lock is taken
        try:
            count += _remove(disk, clock, name, now)
        except (StoreError, LockTimeoutError):
            continue  # at work, or the next command's
    return count


def _remove(disk: Disk, clock: Callable[[], float], name: str, now: float) -> bool:
    lock = FileLock(disk.child(LOCKS), name, disk.system)
    lock.acquire(work_time(disk.system), clock())
    try:
        if _is_needed(disk, name, now):
            return False
        for slot in disk.slot_names(name):
            disk.remove_unsynced(TOKEN, slot)
        disk.remove_group(name)
        for kind in (OUTCOME, INTENT, QUEUE):
            disk.remove_unsynced(kind, name)
        # The note before the lock's file: a crash in between leaves what `store gc` removes.
        disk.remove_unsynced(JOB, name)
        if lock.mark == 0:
            lock.remove()
    finally:
        lock.release()
    return True


def _is_needed(disk: Disk, name: str, now: float) -> bool:
    """Return whether something may be alive, queued or not understood, now that nobody adds to it.

    An intent is of a job that was killed while it asked: for a day it says so to `revoke`, as does
    what is queued of an answer that never came.
    """
    try:
        if disk.read(GRANT, name) is not None:
            return True
        queue = disk.read(QUEUE, name)
        items = () if queue is None else codec.parse(QUEUE, queue).items
        if any(_may_live(item, now) for item in items):
            return True
        payload = disk.read(INTENT, name)
        if payload is not None and codec.parse(INTENT, payload).at > now - _CUT_OFF_S:
            return True
    except DamagedError:
        return True  # `store check` tells
    return _has_live_slot(disk, name, now)


def _may_live(item: Queued, now: float) -> bool:
    if item.expires_at is not None:
        return item.expires_at > now
    return bool(item.value) or item.since > now - _CUT_OFF_S


def _has_live_slot(disk: Disk, name: str, now: float) -> bool:
    for slot in disk.slot_names(name):
        try:
            payload = disk.read(TOKEN, slot)
            if payload is not None and not has_ended(codec.parse(TOKEN, payload), now):
                return True
        except StoreError:
            return True  # damaged, or of a key that is newer than ours
    return False
