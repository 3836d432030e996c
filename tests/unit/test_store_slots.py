"""One slot: who is current, who was superseded, whose value goes."""

from __future__ import annotations

from brokerctl.secret import Secret
from brokerctl.store import slots
from brokerctl.store.values import Queued, Slot
from tests.store_room import NOW, RING, TOKEN_KEY, make_token

EMPTY = Slot(key=TOKEN_KEY, profile="p")


def _filled(count: int, lifetime_s: float = 3600) -> Slot:
    slot = EMPTY
    for number in range(count):
        slot, _ = slots.put(slot, make_token(f"t{number}", lifetime_s), NOW)
    return slot


def test_an_expired_token_loses_its_value() -> None:
    """Nothing can be done with it, so nothing of it is kept but the record."""
    slot, _ = slots.put(_filled(1, 10), make_token("new"), NOW + 10)
    assert [(token.status, bool(token.value)) for token in slot.superseded] == [("expired", False)]


def test_the_same_token_twice_is_one_token() -> None:
    """Two refreshes in one second may give the same token, which must not supersede itself."""
    slot, _ = slots.put(_filled(1), make_token("t0"), NOW)
    assert slot.superseded == ()


def test_a_token_that_had_ended_keeps_how() -> None:
    """Superseding is no news of a revoked token."""
    ended = slots.settle(_filled(1), {make_token("t0").fingerprint: "revoked"})
    slot, _ = slots.put(ended, make_token("new"), NOW)
    assert slot.superseded[0].status == "revoked"


def test_the_dead_leave_before_the_living() -> None:
    """With a dead one among seventeen nobody has to be revoked."""
    slot = slots.settle(_filled(17), {make_token("t3").fingerprint: "revoked"})
    slot, fallen = slots.put(slot, make_token("new"), NOW)
    assert fallen == ()
    assert len(slot.superseded) == 16
    assert make_token("t3").fingerprint not in {token.fingerprint for token in slot.superseded}


def test_the_oldest_of_the_living_falls_off() -> None:
    """What falls off is returned with its value, to be revoked."""
    slot, fallen = slots.put(_filled(17), make_token("new"), NOW)
    assert [token.value.reveal() for token in fallen] == ["t0"]
    assert [token.value.reveal() for token in slot.superseded] == [
        f"t{number}" for number in range(16, 0, -1)
    ]


def test_a_slot_without_a_current_token_keeps_the_rest() -> None:
    """The issuer ended it: it is listed, and not served."""
    slot, _ = slots.put(_filled(1), None, NOW, is_dead=True)
    assert slot.current is None
    assert [(token.status, bool(token.value)) for token in slot.superseded] == [
        ("superseded", False)
    ]


def test_what_is_queued_says_what_it_is() -> None:
    """A token by its value, one of a slot by its own fingerprint, and what nobody holds by time."""
    item = slots.queue_item(RING, Secret("r"), "refresh_token", NOW)
    assert item == Queued(
        value=Secret("r"),
        fingerprint=RING.fingerprint("r"),
        token_type_hint="refresh_token",
        since=NOW,
        expires_at=None,
        size=1,
    )
    token = make_token("a").replace(fingerprint="f" * 32)
    held = slots.queue_token(token, NOW, "why")
    assert (held.fingerprint, held.since, held.reason) == ("f" * 32, NOW, "why")
    assert (held.token_type_hint, held.expires_at) == ("access_token", token.issuer_end)
    unknown = slots.queue_item(RING, Secret(""), "access_token", 12.5, expires_at=99.0)
    assert unknown.fingerprint == RING.fingerprint("issue 12.5")
    assert (unknown.since, unknown.expires_at) == (12.5, 99.0)
