"""One grant under its lock: what is held, read when asked for, and the few ways to change it.

Nothing is read before it is asked for: a waiter that finds a fresh token gives the lock back at
once. Every change leaves the old or the new grant, or an intent that says why not, wherever the
machine stops.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError
from brokerctl.model import Slot
from brokerctl.store import Queue, codec, slots
from brokerctl.store.envelope import GRANT, INTENT, OUTCOME, QUEUE, TOKEN
from brokerctl.store.names import token_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.model import Failure, Grant, GrantKey, Intent, Queued, Token, TokenKey
    from brokerctl.store import Change, Damage
    from brokerctl.store.disk import Disk
    from brokerctl.store.locks import FileLock

ROLLED_BACK = "was rolled back: generation {0}, and {1} was stored before"
_REDEEMING = ("refresh", "revoke")


class FileState:
    """What is held of one grant; each part is read once, and a damaged one is set aside."""

    __slots__ = ("_disk", "_found", "_lock", "_name", "damaged")

    def __init__(self, disk: Disk, name: str, lock: FileLock) -> None:
        self._disk = disk
        self._name = name
        self._lock = lock
        self._found: dict[str, Any] = {}
        self.damaged: list[Damage] = []

    def changed(self, **parts: object) -> FileState:
        """Return the state after a change of ours; what is not given stays as it was read."""
        state = FileState(self._disk, self._name, self._lock)
        state._found = {**self._found, **parts}
        state.damaged = self.damaged
        return state

    def forgotten(self, part: str) -> FileState:
        """Return the state in which one part is to be read again."""
        state = self.changed()
        state._found.pop(part, None)  # noqa: SLF001 - of the same class, as in `changed`
        return state

    def _once(self, part: str, read: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the part
        if part not in self._found:
            self._found[part] = read()
        return self._found[part]

    def read(self, kind: int, name: str) -> Any:  # noqa: ANN401 - the kind says which value
        """Return an entry's value, or None if there is none or it had to be set aside."""
        try:
            payload = self._disk.read(kind, name)
            return None if payload is None else codec.parse(kind, payload)
        except DamagedError as error:
            self.damaged.append(self._disk.set_aside(kind, name, error.message))
            return None

    @property
    def grant(self) -> Grant | None:
        """The grant, never one that is older than what was stored before."""
        return self._once("grant", self._read_grant)  # type: ignore[no-any-return]  # a Grant

    def _read_grant(self) -> Grant | None:
        grant: Grant | None = self.read(GRANT, self._name)
        if grant is not None and grant.generation < self._lock.mark:
            why = f"grant {self._name} " + ROLLED_BACK.format(grant.generation, self._lock.mark)
            self.damaged.append(self._disk.set_aside(GRANT, self._name, why))
            return None
        if grant is not None:
            self._lock.raise_mark(grant.generation)
        return grant

    @property
    def generation(self) -> int:
        """The highest generation ever seen."""
        grant = self.grant
        return max(self._lock.mark, grant.generation if grant else 0)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot of the grant that can be read."""
        return tuple(self.named_slots.values())

    @property
    def named_slots(self) -> dict[str, Slot]:
        """Every slot that can be read, by the name of its entry."""
        return self._once("slots", self._read_slots)  # type: ignore[no-any-return]  # as read

    def _read_slots(self) -> dict[str, Slot]:
        found = {name: self.read(TOKEN, name) for name in self._disk.slot_names(self._name)}
        return {name: slot for name, slot in found.items() if slot is not None}

    @property
    def earlier_intent(self) -> Intent | None:
        """The intent that was found under this lock: its holder did not finish."""
        return self._once("earlier_intent", lambda: self.read(INTENT, self._name))  # type: ignore[no-any-return]  # an Intent

    @property
    def intent(self) -> Intent | None:
        """The intent as it is on disk now."""
        return self._once("intent", lambda: self.earlier_intent)  # type: ignore[no-any-return]  # an Intent

    @property
    def failure(self) -> Failure | None:
        """The last attempt's outcome, if it failed."""
        return self._once("failure", lambda: self.read(OUTCOME, self._name))  # type: ignore[no-any-return]  # a Failure

    @property
    def queue(self) -> tuple[Queued, ...]:
        """What is still to be revoked."""
        return self._once("queue", self._read_queue)  # type: ignore[no-any-return]  # as read

    def _read_queue(self) -> tuple[Queued, ...]:
        found: Queue | None = self.read(QUEUE, self._name)
        return found.items if found else ()

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What was set aside under this lock so far."""
        return tuple(self.damaged)

    @property
    def profile(self) -> str:
        """The profile that the grant was made for; empty if nothing tells."""
        if self.grant is not None:
            return self.grant.profile
        return next((slot.profile for slot in self.slots), "")


class LockedGrant:
    """One grant while its lock is held; every method but `record_failure` is durable."""

    __slots__ = ("_clock", "_disk", "_lock", "_name", "key", "state")

    def __init__(
        self, disk: Disk, key: GrantKey, name: str, lock: FileLock, clock: Callable[[], float]
    ) -> None:
        self._disk = disk
        self._name = name
        self._lock = lock
        self._clock = clock
        self.key = key
        self.state = FileState(disk, name, lock)

    @property
    def next_generation(self) -> int:
        """The generation that the next commit of a grant gets."""
        return self.state.generation + 1

    def intend(self, intent: Intent) -> None:
        """Prove that the store is writable, then write the intent durably.

        DamagedError: the grant to be redeemed was set aside and must not be sent.
        """
        self._check_held()
        if intent.kind in _REDEEMING and self.state.grant is None:
            for damage in self.state.damaged:
                if damage.kind == GRANT:
                    raise DamagedError(damage.why, hint="run 'brokerctl store check'")
        earlier = self.state.earlier_intent  # before it is replaced
        self._disk.probe(GRANT, self._name)
        self._disk.place(TOKEN, f"{self._name}/")  # the folder must be there when we come back
        self._disk.write(INTENT, self._name, codec.render(intent))
        self.state = self.state.changed(intent=intent, earlier_intent=earlier)

    def commit(self, change: Change) -> FileState:
        """Store durably: grant (generation + 1), what falls off to the queue, slot; intent cleared.

        An error before the slot is stored leaves the intent where it is.
        """
        self._check_held()
        generation = self.next_generation
        if change.grant is not None:
            self._write_grant(change.grant.replace(key=self.key, generation=generation))
        if change.token_key is not None and change.token is not None:
            token = change.token
            if change.grant is not None:
                token = token.replace(generation=generation)
            self._store_token(change, change.token_key, token)
        self._clear_after_success()
        return self.state

    def _write_grant(self, grant: Grant) -> None:
        self._disk.write(GRANT, self._name, codec.render(grant))
        self.state = self.state.changed(grant=grant)
        self._lock.raise_mark(grant.generation)

    def _store_token(self, change: Change, key: TokenKey, token: Token) -> None:
        name = self._slot_name(key)
        slot = self.state.read(TOKEN, name) or Slot(key=key, profile="")
        profile = change.profile or slot.profile or self.state.profile
        slot, fallen = slots.put(
            slot.replace(profile=profile), token, self._clock(), is_dead=change.ends_previous
        )
        for one in fallen:
            self.enqueue(slots.queued(one, self._clock(), "superseded"), profile=profile)
        self._write_slot(name, slot)
        if change.ends_previous:
            self._end_other_slots(name)

    def _end_other_slots(self, name: str) -> None:
        """The issuer has one access token a grant: what other slots hold is dead by now."""
        for other, slot in tuple(self.state.named_slots.items()):
            if other != name and slot.current is not None and slot.current.value:
                ended, _ = slots.put(slot, None, self._clock(), is_dead=True)
                self._write_slot(other, ended)

    def _write_slot(self, name: str, slot: Slot) -> None:
        self._disk.write(TOKEN, name, codec.render(slot))
        self.state = self.state.forgotten("slots")

    def _slot_name(self, key: TokenKey) -> str:
        if key.grant != self.key:
            raise ValueError("a slot of another grant")
        return f"{self._name}/{token_name(self._disk.ring.name_key, key)}"

    def _clear_after_success(self) -> None:
        """Everything is stored: what is left over can only be stale, and harms nobody."""
        self._disk.remove_unsynced(INTENT, self._name)
        self._disk.remove_unsynced(OUTCOME, self._name)
        self.state = self.state.changed(intent=None, failure=None)

    def withdraw(self) -> None:
        """Clear the intent durably: the issuer said that nothing was redeemed.

        An intent that was found here comes back: what it explains has not been resolved by that.
        """
        self._check_held()
        earlier = self.state.earlier_intent
        if earlier is None:
            self._disk.remove(INTENT, self._name)
        else:
            self._disk.write(INTENT, self._name, codec.render(earlier))
        self.state = self.state.changed(intent=earlier)

    def record_failure(self, failure: Failure) -> None:
        """Leave what waiters adopt; not synced, so a crash may lose it."""
        self._check_held()
        self._disk.write_unsynced(OUTCOME, self._name, codec.render(failure))
        self.state = self.state.changed(failure=failure)

    def end(self, generation: int, why: str) -> bool:
        """Compare and clear: the entry stays, with the reason and without the refresh token."""
        self._check_held()
        grant = self.state.grant
        if grant is None or grant.generation != generation:
            return False
        earlier = self.state.earlier_intent
        now = self._clock()
        self._write_grant(grant.replace(refresh_token=None, dead_why=why, dead_at=now))
        self._disk.remove_unsynced(INTENT, self._name)
        self.state = self.state.changed(intent=None, earlier_intent=earlier)
        return True

    def settle(self, fingerprint: str, outcome: str) -> None:
        """Record how a token ended, in whichever slot it is."""
        self._check_held()
        for name, slot in tuple(self.state.named_slots.items()):
            settled = slots.settle(slot, fingerprint, outcome)
            if settled != slot:
                self._write_slot(name, settled)

    def enqueue(self, item: Queued, *, profile: str | None = None) -> None:
        """Add to the revoke queue, or replace the item of the same fingerprint."""
        self._check_held()
        others = [one for one in self.state.queue if one.fingerprint != item.fingerprint]
        self._write_queue((*others, item), profile)

    def dequeue(self, fingerprint: str) -> None:
        """Take from the revoke queue."""
        self._check_held()
        left = tuple(one for one in self.state.queue if one.fingerprint != fingerprint)
        if left != self.state.queue:
            self._write_queue(left, None)

    def _write_queue(self, items: tuple[Queued, ...], profile: str | None) -> None:
        if items:
            queue = Queue(key=self.key, profile=profile or self.state.profile, items=items)
            self._disk.write(QUEUE, self._name, codec.render(queue))
        else:
            self._disk.remove(QUEUE, self._name)
        self.state = self.state.changed(queue=items)

    def _check_held(self) -> None:
        if not self._lock.is_held:
            raise ValueError("the grant's lock was given up")
