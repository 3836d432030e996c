"""What is held of one grant, read under its lock and only when it is asked for.

A waiter that finds a fresh token gives the lock back without having read anything here.
"""

from __future__ import annotations

from brokerctl.errors import DamagedError
from brokerctl.store import codec
from brokerctl.store.entry import GRANT, INTENT, OUTCOME, QUEUE, TOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from brokerctl.store import Damage
    from brokerctl.store.interface import GrantLock, Rows
    from brokerctl.store.values import Failure, Grant, Intent, Queue, Queued, Slot


def refuse_older(name: str, grant: Grant, mark: int) -> None:
    """Raise DamagedError for a grant that is older than what was stored before."""
    if grant.generation < mark:
        raise DamagedError(
            f"grant {name} was rolled back: generation {grant.generation}, and {mark} was stored"
        )


class FileState:
    """What is held of one grant; each part is read once, and a damaged one is set aside."""

    __slots__ = ("_found", "_lock", "_name", "_rows", "damaged")

    def __init__(self, rows: Rows, name: str, lock: GrantLock) -> None:
        self._rows = rows
        self._name = name
        self._lock = lock
        self._found: dict[str, Any] = {}
        self.damaged: list[Damage] = []

    def changed(self, **parts: object) -> FileState:
        """Return the state after a change of ours; what is not given stays as it was read."""
        state = FileState(self._rows, self._name, self._lock)
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
            payload = self._rows.read(kind, name)
            return None if payload is None else codec.parse(kind, payload)
        except DamagedError as error:
            self.damaged.append(self._rows.set_aside(kind, name, error.message))
            return None

    @property
    def grant(self) -> Grant | None:
        """The grant, never one that is older than what was stored before."""
        return self._once("grant", self._read_grant)  # type: ignore[no-any-return]  # a Grant

    def _read_grant(self) -> Grant | None:
        grant: Grant | None = self.read(GRANT, self._name)
        if grant is None:
            return None
        try:
            refuse_older(self._name, grant, self._lock.mark)
        except DamagedError as error:
            self.damaged.append(self._rows.set_aside(GRANT, self._name, error.message))
            return None
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
        found = {name: self.read(TOKEN, name) for name in self._rows.slot_names(self._name)}
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
        found = self.queue_entry
        return found.items if found else ()

    @property
    def queue_entry(self) -> Queue | None:
        """The queue as it is stored, with what it says beside its items."""
        return self._once("queue", lambda: self.read(QUEUE, self._name))  # type: ignore[no-any-return]  # a Queue

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
