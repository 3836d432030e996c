"""The interface of every store: what `StoreContract` holds each one to.

Its values stand in the room's `__init__`.

Opening for writing *is* taking the lock: the only way to change a grant is `lock_grant`, so that
nobody can forget it. A warm hand-out reads one file and takes no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from brokerctl.store.entry import SealKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from brokerctl.model import GrantKey, Token, TokenKey
    from brokerctl.store import Damage, Entry, Match
    from brokerctl.store.values import Change, Failure, Grant, Intent, Queued, Slot


class StoreKeys(SealKeys, Protocol):
    """What a store needs of a key ring."""

    @property
    def name_key(self) -> bytes:
        """The key of the hashes that name entries."""

    def fingerprint(self, value: str, /) -> str:
        """Return a token's keyed fingerprint."""


class GrantState(Protocol):
    """What is held of one grant, read under its lock."""

    @property
    def grant(self) -> Grant | None:
        """The grant; None where there is none, or where it was set aside (see `damage`)."""

    @property
    def generation(self) -> int:
        """The highest generation ever seen."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot of the grant."""

    @property
    def intent(self) -> Intent | None:
        """The intent as it is on disk now."""

    @property
    def earlier_intent(self) -> Intent | None:
        """The intent that was found when the lock was taken: its holder did not finish."""

    @property
    def failure(self) -> Failure | None:
        """The last attempt's outcome, if it failed."""

    @property
    def queue(self) -> tuple[Queued, ...]:
        """What is still to be revoked."""

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What was set aside under this lock so far."""


class Rows(Protocol):
    """Where the entries of one grant lie, whatever keeps them: a name is unique in its kind."""

    ring: StoreKeys
    until: float  # of the work clock: up to then what can't be stored is tried again

    def read(self, kind: int, name: str) -> bytes | None:
        """Return an entry's payload; None if there is none, DamagedError if it does not open."""

    def reserve(self, kind: int, name: str) -> None:
        """Make sure that an entry of this kind can be stored later."""

    def write(self, kind: int, name: str, payload: bytes) -> None:
        """Store an entry durably."""

    def write_unsynced(self, kind: int, name: str, payload: bytes) -> None:
        """Store an entry that a crash may lose."""

    def remove(self, kind: int, name: str) -> bool:
        """Remove an entry durably; False if there was none."""

    def remove_unsynced(self, kind: int, name: str) -> None:
        """Remove an entry; a crash may bring it back."""

    def list_grant(self, subject: str, name: str) -> None:
        """Note durably that a subject has the grant of this name, so that it is found by it."""

    def slot_names(self, group: str) -> list[str]:
        """Return the names of a grant's slots."""

    def set_aside(self, kind: int, name: str, why: str) -> Damage:
        """Put a damaged entry where it is evidence and blocks nothing."""


class GrantLock(Protocol):
    """The lock of one grant, and the highest generation that was ever stored under it."""

    mark: int

    @property
    def is_held(self) -> bool:
        """Whether this object still has the lock."""

    def raise_mark(self, generation: int) -> None:
        """Remember a higher generation."""


class LockedGrant(Protocol):
    """One grant while its lock is held."""

    @property
    def state(self) -> GrantState:
        """What is held, with this holder's own changes."""

    @property
    def next_generation(self) -> int:
        """The generation that the next commit of a grant gets."""

    def intend(self, intent: Intent) -> None:
        """Write an intent durably, having reserved the room that the commit needs."""

    def persist(self, until: float) -> None:
        """Try what can't be stored from here on again, up to a time of the work clock."""

    def commit(self, change: Change) -> GrantState:
        """Store durably: grant (generation + 1), then slot, then intent cleared."""

    def finish(self, *, ends_previous: bool = False) -> Slot | None:
        """Finish a commit that was cut off between grant and slot; return what it issued."""

    def withdraw(self) -> None:
        """Clear the intent: the issuer said that nothing was redeemed."""

    def resolve(self) -> None:
        """Clear the intent that was found here: what it explains has been told of."""

    def record_failure(self, failure: Failure) -> None:
        """Leave what waiters adopt; may be lost in a crash."""

    def end(self, generation: int, why: str) -> bool:
        """End the grant if it still has this generation; False if another one is there."""

    def settle(self, fingerprint: str, outcome: str) -> None:
        """Record how a token ended; the value goes where nothing is alive any more."""

    def settle_all(self, outcomes: Mapping[str, str]) -> None:
        """Record how tokens ended, by fingerprint, in one write for each slot."""

    def drop_ended(self) -> None:
        """Remove the slots of sessions in which nothing is alive any more, durably."""

    def enqueue(self, *items: Queued, profile: str | None = None) -> None:
        """Add to, or replace in, the revoke queue, durably and in one write."""

    def dequeue(self, *fingerprints: str) -> None:
        """Take from the revoke queue, durably and in one write."""

    def requeue(self, items: Iterable[Queued], done: Iterable[str]) -> None:
        """Replace these in the revoke queue and take those out, durably and in one write."""


class Store(Protocol):
    """Where grants and tokens are; every implementation passes `StoreContract`."""

    def find_token(self, key: TokenKey, now: float, min_ttl_s: float) -> Token | None:
        """Return a live token with more than `min_ttl_s` left; no lock, one read."""

    def find_grant(self, key: GrantKey) -> Grant | None:
        """Return the grant without a lock; DamagedError where it is not what it should be."""

    def find_failure(self, key: GrantKey) -> Failure | None:
        """Return the last attempt's outcome, if it failed; no lock."""

    def lock_grant(self, key: GrantKey, deadline: float) -> AbstractContextManager[LockedGrant]:
        """Take the grant's lock by a time of the work clock, or raise LockTimeoutError."""

    def wait_for_another(self, key: GrantKey, deadline: float) -> None:
        """Return when nobody has the grant's lock; LockTimeoutError at the work clock's `deadline`.

        For those who only want what another's request brings: no lock is kept.
        """

    def entries(self, kind: int, where: Match | None = None) -> Iterator[Entry]:
        """Yield the entries of a kind, opened one by one, damaged ones as such; no lock."""

    def stream(self, kind: int) -> Iterator[Entry]:
        """Yield the same in no order, and never have all names in memory.

        What is written meanwhile may be left out: for what is only shown.
        """

    def entries_of(self, kind: int, grant: str) -> Iterator[Entry]:
        """Yield the entries of a kind that one grant has, by the grant's name; no lock."""

    def each_grant(self) -> Iterator[str]:
        """Yield the name of each grant that has an entry or slots, as `stream` does."""

    def find_grants(self, subject: str) -> list[str]:
        """Return the names of the grants that a subject has, or may have had."""

    def name_of(self, key: GrantKey) -> str:
        """Return the name of a grant."""

    def read_value(self, kind: int, name: str) -> Any:  # noqa: ANN401 - the kind says which value
        """Return one entry's value, None if there is none, or raise DamagedError or StoreError."""

    def find_sealed(self, kind: int, name: str) -> bytes | None:
        """Return a sealed blob; None if there is none or it is damaged."""

    def put_sealed(self, kind: int, name: str, data: bytes) -> None:
        """Store a blob durably."""

    def drop_sealed(self, kind: int, name: str) -> bool:
        """Remove a blob durably; False if there was none."""

    def note_job(self, key: GrantKey) -> None:
        """Note that this grant is a job's, so that what it leaves is found; under its lock."""

    def remove_ended_jobs(self, key: GrantKey | None, now: float) -> int:
        """Remove what jobs other than this one left, of whom nothing is alive; count them."""
