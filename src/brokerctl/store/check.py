"""`store check`, `gc` and the re-sealing of `rekey --new-keys`: functions over entries and locks.

Each grant's entries are touched under that grant's lock, one grant at a time, while everybody else
goes on. What could not be done is returned as data; the command decides about exit codes.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, DamagedError, LockTimeoutError, StoreError
from brokerctl.model import Value
from brokerctl.platform.private_files import TEMPORARY
from brokerctl.platform.work_clock import work_time
from brokerctl.store import Damage, codec
from brokerctl.store.approvals import remove_ended
from brokerctl.store.entry import (
    GRANT,
    KIND_NAMES,
    METADATA,
    PLAN,
    TOKEN,
    entry_key_id,
    is_first_format,
    is_name,
)
from brokerctl.store.file.disk import ASIDE, LOCKS, PLACES
from brokerctl.store.file.earlier_copy import find_copy_time, remove_copy
from brokerctl.store.file.lock import EntryLock, FileLock, find_mark
from brokerctl.store.file.lock_wait import SUFFIX
from brokerctl.store.file.subjects import is_anything, remove_unused
from brokerctl.store.tool_credentials import remove_over
from brokerctl.store.values import Slot
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from brokerctl.platform.private_files import Folder
    from brokerctl.store.file import FileStore

_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S
PLAN_S = 7 * _DAY_S
METADATA_S = 30 * _DAY_S
ENDED_S = 30 * _DAY_S  # slots whose last token ended so long ago
ASIDE_S = 90 * _DAY_S
EVENT = "store.damaged"


class CheckReport(Value):
    """What `check` found; `counts` has the entries that open, by kind."""

    counts: dict[int, int]
    damaged: tuple[Damage, ...]
    aside: tuple[str, ...]  # names in aside/
    unfinished: int  # temporary files of writers that were killed

    @property
    def is_whole(self) -> bool:
        """Return whether every entry opens."""
        return not self.damaged


class ResealReport(Value):
    """What `reseal` did; whatever is left keeps an older key in use."""

    resealed: int
    left: tuple[Damage, ...]


class GcReport(Value):
    """How many files went, by what they were."""

    unfinished: int
    plans: int
    metadata: int
    slots: int
    kept: int
    aside: int
    locks: int
    copies: int  # of the store in an earlier format: one or none
    approvals: int  # questions and leases


def check(store: FileStore, *, mend: bool = False) -> CheckReport:
    """Open every entry; with `mend` the damaged ones are set aside under their grant's lock."""
    counts, damaged = {}, []
    for kind in PLACES:
        count = 0
        for entry in store.entries(kind) if mend else store.stream(kind):
            if entry.damage is None:
                count += 1
            elif mend:
                damaged.append(_mend(store, kind, entry.name, entry.damage))
            else:
                damaged.append(Damage(kind=kind, name=entry.name, why=entry.damage))
        counts[kind] = count
    return CheckReport(
        counts=counts,
        damaged=tuple(damaged),
        aside=tuple(store.disk.child(ASIDE).names()),
        unfinished=sum(len(_unfinished(folder)) for folder in _folders(store)),
    )


def set_damaged_aside(store: FileStore, kind: int) -> tuple[Damage, ...]:
    """Set aside what of one kind is damaged, and return what was moved."""
    damaged = [(one.name, one.damage) for one in store.entries(kind) if one.damage is not None]
    mended = [_mend(store, kind, name, why) for name, why in damaged]
    return tuple(one for one in mended if one.aside is not None)


def _mend(store: FileStore, kind: int, name: str, why: str) -> Damage:
    """Set one entry aside if it still does not open now that nobody else can write it."""
    kept = Damage(kind=kind, name=name, why=why)
    try:
        with EntryLock(store.disk, name, store.clock):
            try:
                store.read_value(kind, name)
            except DamagedError:
                return store.disk.set_aside(kind, name, why)
    except (StoreError, LockTimeoutError) as error:
        return kept.replace(why=f"{why}; {error.message}")
    return kept.replace(why=f"{why}; it opens now")


def reseal(store: FileStore) -> ResealReport:
    """Seal every entry with the ring's current key, under its grant's lock, while readers go on."""
    done, left = 0, []
    for kind in PLACES:
        for name in store.disk.names(kind):
            try:
                with EntryLock(store.disk, name, store.clock):
                    done += _reseal_one(store, kind, name)
            except (StoreError, LockTimeoutError) as error:
                left.append(Damage(kind=kind, name=name, why=error.message))
    return ResealReport(resealed=done, left=tuple(left))


def _reseal_one(store: FileStore, kind: int, name: str) -> bool:
    folder, file_name = store.disk.place(kind, name)
    data = folder.read(file_name)
    is_new = data is not None and entry_key_id(data) == store.disk.ring.seal_id
    if data is None or (is_new and not is_first_format(data)):
        return False
    payload = store.disk.read(kind, name)
    if payload is None:
        return False
    store.disk.write(kind, name, payload)
    return True


def gc(store: FileStore, now: float) -> GcReport:
    """Remove what nobody needs: unfinished writes, old plans and metadata, slots long ended."""
    report = GcReport(
        unfinished=sum(
            _remove_older(folder, _unfinished(folder), now - _HOUR_S) for folder in _folders(store)
        ),
        plans=_remove_kind(store, PLAN, now - PLAN_S),
        metadata=_remove_metadata(store, now - METADATA_S),
        slots=_remove_slots(store, now),
        kept=remove_over(store, now),
        aside=_remove_aside(store, now),
        locks=_remove_locks(store),
        copies=_remove_copy(store, now - ASIDE_S),
        approvals=remove_ended(store, now - _DAY_S),
    )
    remove_unused(store.disk, store.clock)  # of the list by subject
    return report


def _remove_locks(store: FileStore) -> int:
    """Remove the lock files of what is gone and never had a generation to remember."""
    disk, count = store.disk, 0
    held = {name.partition("/")[0] for kind in PLACES for name in disk.names(kind)}
    folder = disk.child(LOCKS)
    for name in (file_name.removesuffix(SUFFIX) for file_name in folder.names()):
        if name in held or find_mark(folder, name) or not is_name(name):
            continue
        lock = FileLock(folder, name, disk.system)
        try:
            lock.acquire(work_time(disk.system), store.clock())
        except LockTimeoutError:
            continue  # in use: something is about to be there
        try:
            if lock.mark == 0 and not is_anything(disk, name):
                lock.remove()
                count += 1
        finally:
            lock.release()
    return count


def _remove_copy(store: FileStore, before: float) -> int:
    made_at = find_copy_time(store.disk.folder)
    return int(made_at is not None and made_at < before and remove_copy(store.disk.folder))


def _remove_kind(store: FileStore, kind: int, before: float) -> int:
    folder = store.disk.child(PLACES[kind][0])
    return _remove_older(folder, folder.names(), before)


def _remove_metadata(store: FileStore, before: float) -> int:
    """Security: metadata pins where secrets may go, and stays while a grant or slot is there."""
    held = (entry.value for kind in (GRANT, TOKEN) for entry in store.entries(kind))
    keys = (one.key.grant if isinstance(one, Slot) else one.key for one in held if one is not None)
    issuers = {key.issuer for key in keys}
    kept = {entry.name for entry in store.entries(METADATA) if _issuer(entry.value) in issuers}
    folder = store.disk.child(PLACES[METADATA][0])
    return _remove_older(folder, [name for name in folder.names() if name not in kept], before)


def _issuer(metadata: bytes | None) -> str | None:
    try:
        issuer = jsonlite.loads(metadata or b"")["issuer"]
    except (ValueError, TypeError, KeyError):
        return None
    return issuer if isinstance(issuer, str) else None


def _remove_aside(store: FileStore, now: float) -> int:
    folder = store.disk.child(ASIDE)
    return _remove_older(folder, folder.names(), now - ASIDE_S)


def _remove_older(folder: Folder, names: list[str], before: float) -> int:
    count = 0
    for name in names:
        try:
            found = folder.system.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            # The change time: a rename into aside/ sets it, and nobody can set it back.
            if found.st_ctime < before:
                folder.system.unlink(name, dir_fd=folder.fd)
                count += 1
        except OSError:
            continue  # gone by now, or the next gc's
    return count


def _remove_slots(store: FileStore, now: float) -> int:
    count = 0
    for entry in store.entries(TOKEN):
        if entry.value is not None and _has_ended(entry.value, now - ENDED_S):
            with EntryLock(store.disk, entry.name, store.clock):
                payload = store.disk.read(TOKEN, entry.name)
                if payload and _has_ended(codec.parse(TOKEN, payload), now - ENDED_S):
                    count += store.disk.remove(TOKEN, entry.name)
    return count


def _has_ended(slot: Slot, before: float) -> bool:
    """Return whether every token of the slot has been beyond its expiry for long."""
    tokens = slot.superseded if slot.current is None else (slot.current, *slot.superseded)
    return all(
        token.expires_at is not None
        and token.expires_at < before
        and not (token.is_assumed and token.value)  # by our guess alone: `revoke` must reach it
        for token in tokens
    )


def _folders(store: FileStore) -> Iterator[Folder]:
    disk = store.disk
    for top in sorted({place for place, _ in PLACES.values()}):
        yield disk.child(top)
    for group in disk.child(PLACES[TOKEN][0]).each_name():
        yield disk.child(PLACES[TOKEN][0], group)


def _unfinished(folder: Folder) -> list[str]:
    try:
        names: list[str] = folder.system.listdir(folder.fd)
    except OSError:
        return []
    return [name for name in names if name.startswith(TEMPORARY)]


def tell(
    found: Iterable[Damage],
    say: Callable[[str], None],
    record: Callable[[str, dict[str, Any]], object],
) -> None:
    """Say and record each damage; those of one kind and reason are counted, not repeated."""
    groups: dict[tuple[int, str, bool], list[Damage]] = {}
    for one in found:
        groups.setdefault((one.kind, _why(one), one.aside is not None), []).append(one)
    for alike in groups.values():
        say(f"brokerctl: warning: {safe(_line(alike))}")
        try:
            record(EVENT, _fields(alike))
        except BrokerError:
            continue  # what hands a token out needs the log too, and says what is wrong with it


def _why(one: Damage) -> str:
    """Return the reason without the name, whose 64 characters tell nobody anything."""
    before, named, after = one.why.rpartition(one.name)
    if named and before.startswith("/"):  # a path: the rest of it goes too
        return f"it {after.partition(' ')[2]}"
    return one.why.replace(f"{KIND_NAMES[one.kind]} {one.name}", "it")


def _line(alike: list[Damage]) -> str:
    first = alike[0]
    kind = KIND_NAMES[first.kind]
    article = "an" if kind[0] in "aeiou" else "a"
    what = f"{article} {kind} entry was" if len(alike) == 1 else f"{len(alike)} {kind} entries were"
    done = "damaged and set aside" if first.aside is not None else "damaged, and is gone now"
    return f"{what} {done}: {_why(first)}; run 'brokerctl store check'"


def _fields(alike: list[Damage]) -> dict[str, Any]:
    return {
        "kind": KIND_NAMES[alike[0].kind],
        "count": len(alike),
        "names": [one.aside or one.name for one in alike],
        "reason": _why(alike[0]),
        "outcome": "set aside" if alike[0].aside is not None else "gone",
    }
