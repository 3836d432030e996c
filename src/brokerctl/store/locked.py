"""The few ways to change a grant, all of them under its lock.

Every change leaves the old or the new grant, or an intent that says why not, wherever the
machine stops.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError, StoreError
from brokerctl.model import DEAD, SUPERSEDED
from brokerctl.store import codec, slots
from brokerctl.store.entry import GRANT, INTENT, METADATA, OUTCOME, QUEUE, TOKEN, token_name
from brokerctl.store.grant_state import FileState, refuse_older
from brokerctl.store.values import Change, Queue, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerctl.model import GrantKey, Token, TokenKey
    from brokerctl.store.interface import GrantLock, Rows
    from brokerctl.store.values import Failure, Grant, Intent, Queued

_REDEEMING = ("refresh", "revoke")


class GrantUnderLock:
    """One grant while its lock is held; every method but `record_failure` is durable."""

    __slots__ = ("_clock", "_is_listed", "_is_reserved", "_lock", "_name", "_rows", "key", "state")

    def __init__(
        self, rows: Rows, key: GrantKey, name: str, lock: GrantLock, clock: Callable[[], float]
    ) -> None:
        self._rows = rows
        self._name = name
        self._lock = lock
        self._clock = clock
        self._is_reserved = False
        self._is_listed = key.subject is None  # by its subject; without one there is no search
        self.key = key
        self.state = FileState(rows, name, lock)

    @property
    def next_generation(self) -> int:
        """The generation that the next commit of a grant gets."""
        return self.state.generation + 1

    def intend(self, intent: Intent) -> None:
        """Reserve the room that the commit needs, then write the intent durably.

        So the store is proven to be writable, and a disk that fills meanwhile costs no grant.
        DamagedError: the grant to be redeemed was set aside and must not be sent.
        """
        self._check_held()
        if intent.kind in _REDEEMING and self.state.grant is None:
            for damage in self.state.damaged:
                if damage.kind == GRANT:
                    raise DamagedError(damage.why, hint="run 'brokerctl store check'")
        self.finish()  # its intent, which says that it was cut off, is about to be replaced
        earlier = self.state.earlier_intent  # before it is replaced
        self._list()
        if not self._is_reserved:  # else ours is only put in other words
            self._reserve(intent)
        if intent.kind == "refresh" and intent.fingerprint is not None:
            # A login that was cut off queued it. Once redeemed, its revocation could end its heir.
            self.dequeue(intent.fingerprint)
        self._rows.write(INTENT, self._name, codec.render(intent))
        self.state = self.state.changed(intent=intent, earlier_intent=earlier)

    def _list(self) -> None:
        """Note whose grant it is, before anything of it is stored."""
        if not self._is_listed and self.key.subject is not None:
            self._rows.list_grant(self.key.subject, self._name)
            self._is_listed = True

    def _reserve(self, intent: Intent) -> None:
        self._is_reserved = True
        if self.state.grant is not None or intent.kind != "issue":
            self._rows.reserve(GRANT, self._name)
        if intent.kind == "login" or intent == self.state.earlier_intent:
            self._rows.reserve(QUEUE, self._name)  # for the grant that is replaced, or not wanted
            self._rows.reserve(METADATA, self._name)  # what the issuer says of itself, and
            self._rows.reserve(METADATA, self._name)  # the profile's own endpoints
        self._rows.reserve(TOKEN, f"{self._name}/")

    def persist(self, until: float) -> None:
        """Try what can't be stored from here on again, until a time of the work clock.

        It may be lost otherwise.
        """
        self._rows.until = until

    def commit(self, change: Change) -> FileState:
        """Store durably: grant (generation + 1), what falls off to the queue, slot; intent cleared.

        An error before the slot is stored leaves the intent where it is, and the token with the
        grant: the next holder finishes.
        """
        self._check_held()
        key, token = change.token_key, change.token
        if change.grant is not None:
            self.finish()
            grant = change.grant.replace(key=self.key, generation=self.next_generation)
            if key is not None and token is not None:
                token = token.replace(generation=grant.generation)
                profile = change.profile or grant.profile
                grant = grant.replace(issued=Slot(key=key, profile=profile, current=token))
            self._write_grant(grant)
            self.persist(0.0)  # nothing can be lost any more
        if key is not None and token is not None:
            self._store_token(change, key, token)
        if change.grant is not None and change.replaces:
            self._retire(before=self.state.generation)
        self._clear_after_success()
        return self.state

    def finish(self, *, ends_previous: bool = False) -> Slot | None:
        """Finish a commit that was cut off between grant and slot; return what it issued."""
        grant, intent = self.state.grant, self.state.earlier_intent
        if grant is None or grant.issued is None or intent is None:
            return None
        from brokerctl.store.slots import find_issued, is_listed  # noqa: PLC0415 - after a crash alone

        issued = find_issued(grant, intent)
        if issued is None or issued.current is None:
            return None
        slot: Slot | None = self.state.read(TOKEN, self._slot_name(issued.key))
        is_new = not is_listed(issued, slot)
        if is_new:
            change = Change(profile=issued.profile, ends_previous=ends_previous)
            self._store_token(change, issued.key, issued.current)
        if intent.kind == "login" or grant.obtained_at >= intent.at:  # a refresh changes neither
            self._retire(before=grant.generation)
        self._clear_after_success()
        self.state = self.state.changed(earlier_intent=None)
        return issued if is_new else None

    def _write_grant(self, grant: Grant) -> None:
        self._list()
        self._rows.write(GRANT, self._name, codec.render(grant))
        self.state = self.state.changed(grant=grant)
        self._lock.raise_mark(grant.generation)

    def _store_token(self, change: Change, key: TokenKey, token: Token) -> None:
        name = self._slot_name(key)
        slot = self.state.read(TOKEN, name) or Slot(key=key, profile="")
        profile = change.profile or slot.profile or self.state.profile
        slot, fallen = slots.put(
            slot.replace(profile=profile), token, self._clock(), is_dead=change.ends_previous
        )
        fell = [slots.queue_token(one, self._clock(), SUPERSEDED) for one in fallen]
        self.enqueue(*fell, profile=profile)
        self._write_slot(name, slot)
        if change.ends_previous:
            self._end_other_slots(name)

    def _end_other_slots(self, name: str) -> None:
        """The issuer has one access token a grant: what other slots hold is dead by now."""
        for other, slot in tuple(self.state.named_slots.items()):
            if other != name and slot.current is not None and slot.current.value:
                ended, _ = slots.put(slot, None, self._clock(), is_dead=True)
                self._write_slot(other, ended)

    def _retire(self, before: int | None = None) -> None:
        """Serve no token any more that is older than this generation; None: none at all.

        Security: their grant has ended, or is about to, and the warm road looks at the slot alone.
        What may be alive keeps its value, so that `revoke` reaches it.
        """
        trouble: StoreError | None = None
        for name, slot in tuple(self.state.named_slots.items()):
            retired = slots.retire(slot, before)
            if retired == slot:
                continue
            try:
                self._write_slot(name, retired)
            except StoreError as error:  # one slot's trouble keeps no other token in service
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _write_slot(self, name: str, slot: Slot) -> None:
        self._list()
        self._rows.write(TOKEN, name, codec.render(slot))
        self.state = self.state.forgotten("slots")

    def _slot_name(self, key: TokenKey) -> str:
        if key.grant != self.key:
            raise ValueError("a slot of another grant")
        return f"{self._name}/{token_name(self._rows.ring.name_key, key)}"

    def _clear_after_success(self) -> None:
        """Everything is stored: what is left over can only be stale, and harms nobody."""
        self._rows.remove_unsynced(INTENT, self._name)
        self._rows.remove_unsynced(OUTCOME, self._name)
        self.state = self.state.changed(intent=None, failure=None)

    def put_back(self, grant: Grant) -> bool:
        """Store a grant of a backup as it is; False if what was here is as new or newer."""
        self._check_held()
        if self.state.grant is not None and self.state.grant.generation >= grant.generation:
            return False
        refuse_older(self._name, grant, self._lock.mark)
        self.finish()
        self._write_grant(grant.replace(key=self.key, issued=None))
        return True

    def withdraw(self) -> None:
        """Clear the intent durably: the issuer said that nothing was redeemed.

        An intent that was found here comes back: what it explains has not been resolved by that.
        """
        self._check_held()
        earlier = self.state.earlier_intent
        if earlier is None:
            self._rows.remove(INTENT, self._name)
        else:
            self._rows.write(INTENT, self._name, codec.render(earlier))
        self.state = self.state.changed(intent=earlier)

    def resolve(self) -> None:
        """Clear the intent durably that was found here: what it explains has been told of."""
        self._check_held()
        self._rows.remove(INTENT, self._name)
        self.state = self.state.changed(intent=None, earlier_intent=None)

    def record_failure(self, failure: Failure) -> None:
        """Leave what waiters adopt; not synced, so a crash may lose it."""
        self._check_held()
        self._rows.write_unsynced(OUTCOME, self._name, codec.render(failure))
        self.state = self.state.changed(failure=failure)

    def end(self, generation: int, why: str) -> bool:
        """Compare and clear: the entry stays, with the reason and without the refresh token.

        It counts on, so that a copy from before the end is one that was rolled back. Its tokens
        are served no more, which is durable before the end is.
        """
        self._check_held()
        grant = self.state.grant
        if grant is None or grant.generation != generation:
            return False
        self.finish()
        self._retire()
        earlier = self.state.earlier_intent
        ended = grant.replace(
            refresh_token=None, id_token=None, dpop_key=None, dead_why=why, issued=None
        )
        self._write_grant(ended.replace(generation=self.next_generation))
        self._rows.remove_unsynced(INTENT, self._name)
        self.state = self.state.changed(intent=None, earlier_intent=earlier)
        return True

    def settle(self, fingerprint: str, outcome: str) -> None:
        """Record how a token ended, in whichever slot it is."""
        self.settle_all({fingerprint: outcome})

    def settle_all(self, outcomes: Mapping[str, str]) -> None:
        """Record how tokens ended, by fingerprint: one write for each slot that has any."""
        self._check_held()
        self.finish()
        grant = self.state.grant
        issued = grant.issued.current if grant is not None and grant.issued is not None else None
        is_dead = issued is not None and outcomes.get(issued.fingerprint) in DEAD
        if grant is not None and is_dead:
            self._write_grant(grant.replace(issued=None))  # no value of what is proven dead
        for name, slot in tuple(self.state.named_slots.items()):
            settled = slots.settle(slot, outcomes)
            if settled != slot:
                self._write_slot(name, settled)

    def drop_ended(self) -> None:
        """Remove the slots of sessions in which nothing is alive: nobody comes back for them."""
        self._check_held()
        now = self._clock()
        for name, slot in tuple(self.state.named_slots.items()):
            if slot.key.actor is not None and slots.has_ended(slot, now):
                self._rows.remove(TOKEN, name)
                self.state = self.state.forgotten("slots")

    def enqueue(self, *items: Queued, profile: str | None = None) -> None:
        """Add to the revoke queue, or replace the items of the same fingerprints: one write."""
        self._change_queue(items, (), profile)

    def dequeue(self, *fingerprints: str) -> None:
        """Take from the revoke queue: one write."""
        self._change_queue((), fingerprints, None)

    def requeue(self, items: Iterable[Queued], done: Iterable[str]) -> None:
        """Replace these items and take out those that are done: one write for a whole attempt."""
        self._change_queue(tuple(items), tuple(done), None)

    def _change_queue(
        self, items: tuple[Queued, ...], done: tuple[str, ...], profile: str | None
    ) -> None:
        self._check_held()
        before = self.state.queue
        given = {item.fingerprint: item for item in items}
        others = (one for one in before if one.fingerprint not in {*given, *done})
        left = (*others, *given.values())
        if left != before:
            self._write_queue(left, profile)

    def _write_queue(self, items: tuple[Queued, ...], profile: str | None) -> None:
        queue = None
        if items:
            self._list()
            profile = profile or self.state.profile
            before = self.state.queue_entry or Queue(key=self.key, profile=profile)
            queue = before.replace(profile=profile, items=items)
            self._rows.write(QUEUE, self._name, codec.render(queue))
        else:
            self._rows.remove(QUEUE, self._name)
        self.state = self.state.changed(queue=queue)

    def _check_held(self) -> None:
        if not self._lock.is_held:
            raise ValueError("the grant's lock was given up")
