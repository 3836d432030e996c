"""The store that is the default: one sealed file a grant, one a slot, in a private folder."""

from __future__ import annotations

import time

from brokerctl.errors import DamagedError, StoreError
from brokerctl.freshness import CLOCK_BACK_S
from brokerctl.model import LIVE
from brokerctl.store import ANY, Entry
from brokerctl.store.entry import (
    GRANT,
    INTENT,
    JOB,
    KIND_NAMES,
    OUTCOME,
    QUEUE,
    TOKEN,
    grant_name,
    is_name,
    token_name,
)
from brokerctl.store.file.disk import LOCKS, Reader
from brokerctl.store.token_codec import parse_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from brokerctl.model import GrantKey, Token, TokenKey
    from brokerctl.platform.private_files import Folder
    from brokerctl.platform.system import System
    from brokerctl.store import Damage, Match
    from brokerctl.store.file.disk import Disk
    from brokerctl.store.file.lock import EntryLock, Locking
    from brokerctl.store.interface import StoreKeys
    from brokerctl.store.values import Failure, Grant

_LOCKED_KINDS = frozenset((GRANT, TOKEN, INTENT, OUTCOME, QUEUE))


class FileStore:
    """Grants and tokens in the v1 folder. `clock` gives seconds since the epoch.

    `renew` reads the key ring again where an entry is sealed by a key newer than `ring` has;
    `raise_format` is called before the first write into a store of an earlier format; `tell` gets
    what was set aside under a grant's lock.
    """

    __slots__ = ("_reader", "clock", "damage", "passed_over", "ring", "tell")

    def __init__(
        self,
        folder: Folder,
        ring: StoreKeys,
        *,
        system: System | None = None,
        clock: Callable[[], float] = time.time,
        renew: Callable[[], StoreKeys] | None = None,
        raise_format: Callable[[], object] | None = None,
        tell: Callable[[tuple[Damage, ...]], None] | None = None,
    ) -> None:
        self.ring = ring
        self._reader = Reader(folder, ring, system or folder.system, renew, raise_format)
        self.damage: list[Damage] = []  # what this process had to set aside: to be reported
        self.passed_over: str | None = None  # why a sealed blob was made anew that others could use
        self.tell = tell
        self.clock = clock

    @property
    def disk(self) -> Disk:
        """The same folder for everything but the reading of a warm hand-out."""
        from brokerctl.store.file.disk import Disk  # noqa: PLC0415 - a warm hit writes nothing

        if not isinstance(self._reader, Disk):
            self._reader = Disk(self._reader)
        return self._reader

    def find_token(self, key: TokenKey, now: float, min_ttl_s: float) -> Token | None:
        """Return a live token with more than `min_ttl_s` left: one file, no lock, no listing."""
        name_key = self.ring.name_key
        name = f"{grant_name(name_key, key.grant)}/{token_name(name_key, key)}"
        try:
            payload = self._reader.read(TOKEN, name)
            token = None if payload is None else parse_current(payload)
        except DamagedError:
            return None  # it is set aside under the lock, where a new one is got
        if token is None or token.status != LIVE or now < token.issued_at - CLOCK_BACK_S:
            return None
        is_left = token.expires_at is None or token.expires_at - now > min_ttl_s
        return token if is_left else None

    def wait_for_another(self, key: GrantKey, deadline: float) -> None:
        """Wait while another has the grant's lock, and take none."""
        from brokerctl.store.file.lock_wait import wait_for_another  # noqa: PLC0415 - nor waits for one

        wait_for_another(self._reader.folder, grant_name(self.ring.name_key, key), deadline)

    def find_grant(self, key: GrantKey) -> Grant | None:
        """Return the grant without a lock; DamagedError if it is damaged or was rolled back."""
        name = grant_name(self.ring.name_key, key)
        try:
            return self._find_grant(name)
        except DamagedError as error:
            hint = "run 'brokerctl store check', then log in again"
            raise DamagedError(error.message, hint=hint) from error

    def _find_grant(self, name: str) -> Grant | None:
        from brokerctl.store.file.lock import find_mark  # noqa: PLC0415 - a warm hit reads no grant
        from brokerctl.store.grant_state import refuse_older  # noqa: PLC0415 - as above

        # The mark first: a commit between the two reads then makes the grant newer, never older.
        mark = find_mark(self._reader.folder, f"{LOCKS}/{name}")
        payload = self._reader.read(GRANT, name)
        grant: Grant | None = None if payload is None else _parse(GRANT, payload)
        if grant is not None:
            refuse_older(name, grant, mark)
        return grant

    def find_failure(self, key: GrantKey) -> Failure | None:
        """Return the last attempt's outcome, if it failed; it may be lost, so damage is absence."""
        try:
            payload = self._reader.read(OUTCOME, grant_name(self.ring.name_key, key))
            return None if payload is None else _parse(OUTCOME, payload)
        except DamagedError:
            return None

    def lock_grant(self, key: GrantKey, deadline: float) -> Locking:
        """Take the grant's lock by a time of the work clock, or raise LockTimeoutError."""
        from brokerctl.store.file.lock import Locking  # noqa: PLC0415 - a warm hit takes no lock

        return Locking(self.disk, key, deadline, self.clock, self._report)

    def _report(self, found: tuple[Damage, ...]) -> None:
        self.damage.extend(found)
        if found and self.tell is not None:
            self.tell(found)

    def entries(self, kind: int, where: Match | None = None) -> Iterator[Entry]:
        """Yield the entries of a kind, opened one by one, damaged ones as such; no lock."""
        return list_entries(self, kind, where)

    def stream(self, kind: int) -> Iterator[Entry]:
        """Yield the same in no order, never all names at once; what is written may be left out."""
        from brokerctl.store.file.subjects import each_name  # noqa: PLC0415 - as below

        return open_each(self, kind, each_name(self.disk, kind))

    def entries_of(self, kind: int, grant: str) -> Iterator[Entry]:
        """Yield the entries of a kind that one grant has, by the grant's name; no lock."""
        names = self.disk.slot_names(grant) if kind == TOKEN else (grant,)
        return open_each(self, kind, names)

    def each_grant(self) -> Iterator[str]:
        """Yield the name of each grant that has an entry or slots, as `stream` does."""
        from brokerctl.store.file.subjects import each_grant  # noqa: PLC0415 - as below

        return each_grant(self.disk)

    def find_grants(self, subject: str) -> list[str]:
        """Return the names of the grants that a subject has, or may have had."""
        from brokerctl.store.file.subjects import find_grants  # noqa: PLC0415 - no hand-out searches

        return find_grants(self.disk, subject, self.entries)

    def name_of(self, key: GrantKey) -> str:
        """Return the name of a grant."""
        return grant_name(self.ring.name_key, key)

    def read_value(self, kind: int, name: str) -> Any:  # noqa: ANN401 - the kind says which value
        """Return one entry's value, None if there is none, or raise DamagedError or StoreError."""
        if kind == GRANT:
            return self._find_grant(name)
        payload = self._reader.read(kind, name)
        return None if payload is None else _parse(kind, payload)

    def names_aside(self, kind: int) -> list[str]:
        """Return the names of entries that were set aside, each with `-` and a mark behind it."""
        from brokerctl.store.file.disk import ASIDE  # noqa: PLC0415 - no hand-out looks at them

        before = f"{KIND_NAMES[kind]}-"
        names = self.disk.child(ASIDE).names()
        return [name.removeprefix(before) for name in names if name.startswith(before)]

    def find_sealed(self, kind: int, name: str) -> bytes | None:
        """Return a sealed blob; None if there is none, or it is damaged and must be made anew."""
        try:
            return self._reader.read(kind, _blob(kind, name))
        except DamagedError as error:
            self.passed_over = error.message if error.hint else None
            return None

    def put_sealed(self, kind: int, name: str, data: bytes) -> None:
        """Store a blob durably, over whatever was there."""
        try:
            self.disk.write(kind, _blob(kind, name), data)
        except StoreError as error:
            if not isinstance(error.__cause__, IsADirectoryError):
                raise
            # Nothing can be renamed over a folder, so it goes aside; what was there is being made.
            self.damage.append(self.disk.set_aside(kind, name, error.message))
            self.disk.write(kind, name, data)

    def lock_entry(self, name: str) -> EntryLock:
        """Return the lock under which a sealed blob is read and changed; it is not taken yet."""
        from brokerctl.store.file.lock import EntryLock  # noqa: PLC0415 - a warm hit changes nothing

        return EntryLock(self.disk, name, self.clock)

    def drop_sealed(self, kind: int, name: str) -> bool:
        """Remove a blob durably; False if there was none."""
        return self.disk.remove(kind, _blob(kind, name))

    def note_job(self, key: GrantKey) -> None:
        """Note that this grant is a job's, so that what it leaves is found; under its lock."""
        from brokerctl.store.file.ended_jobs import NOTE  # noqa: PLC0415 - a warm hit notes nothing

        name = grant_name(self.ring.name_key, key)
        if self.find_sealed(JOB, name) is None:
            self.put_sealed(JOB, name, NOTE)

    def remove_ended_jobs(self, key: GrantKey | None, now: float) -> int:
        """Remove what jobs other than this one left, of whom nothing is alive; count them."""
        from brokerctl.store.file.ended_jobs import remove_ended  # noqa: PLC0415 - nor removes any

        spare = "" if key is None else grant_name(self.ring.name_key, key)
        return remove_ended(self.disk, self.clock, spare, now)


def _parse(kind: int, payload: bytes) -> Any:  # noqa: ANN401 - the kind says which value
    from brokerctl.store.codec import parse  # noqa: PLC0415 - a warm hit parses one token

    return parse(kind, payload)


def _blob(kind: int, name: str) -> str:
    """Security: a blob's name is a keyed hash, so it can't leave its folder, nor need a lock."""
    if kind in _LOCKED_KINDS or not is_name(name):
        raise ValueError("not the name of a sealed blob")
    return name


def list_entries(store: FileStore, kind: int, where: Match | None) -> Iterator[Entry]:
    """Yield the entries of a kind that match."""
    for entry in open_each(store, kind, store.disk.names(kind)):
        if _matches(entry, where or ANY):
            yield entry


def open_each(store: FileStore, kind: int, names: Iterable[str]) -> Iterator[Entry]:
    """Yield the entries of these names that are there when their turn comes."""
    for name in names:
        entry = _open(store, kind, name)
        if entry is not None:
            yield entry


def _open(store: FileStore, kind: int, name: str) -> Entry | None:
    try:
        value = store.read_value(kind, name)
    except StoreError as error:
        return Entry(kind=kind, name=name, damage=error.message)
    # None: gone since it was listed
    return None if value is None else Entry(kind=kind, name=name, value=value)


def _matches(entry: Entry, where: Match) -> bool:
    value = entry.value
    if value is None or where == ANY:
        return True
    profile = getattr(value, "profile", None)
    if where.profile is not None and profile != where.profile:
        return False
    key = getattr(value, "key", None)
    key = getattr(key, "grant", key)
    return all(
        wanted is None or getattr(key, field, None) == wanted
        for field, wanted in (("issuer", where.issuer), ("subject", where.subject))
    )
