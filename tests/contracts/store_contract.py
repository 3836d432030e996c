"""What every store must do: one class, which each implementation's test inherits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.obtain import next_failure
from brokerctl.errors import IssuerError, LockTimeoutError
from brokerctl.model import GrantKey, TokenKey
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store import Match
from brokerctl.store.entry import GRANT, JOB, PLAN, QUEUE, TOKEN, plain_name
from brokerctl.store.values import Change
from tests.store_room import (
    GRANT_KEY,
    NOW,
    RING,
    TOKEN_KEY,
    log_in,
    make_change,
    make_grant,
    make_intent,
    make_queued,
    make_token,
    soon,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerctl.store import Entry
    from brokerctl.store.interface import Store

OTHER_KEY = TokenKey(grant=GRANT_KEY, scopes=("b",))
FAILURE = next_failure(None, NOW, IssuerError("the issuer is down"), lambda _: 0.5)
LOCKED_OUT = GrantKey(issuer="https://other.example", client_id="app")


class StoreContract:
    """A subclass gives the fixture `store`: an empty one whose clock says NOW."""

    def test_an_empty_store_has_nothing(self, store: Store) -> None:
        """Nothing is found, and finding nothing is no error."""
        assert store.find_token(TOKEN_KEY, NOW, 0) is None
        assert store.find_grant(GRANT_KEY) is None
        assert store.find_failure(GRANT_KEY) is None
        assert list(store.entries(TOKEN)) == []

    def test_a_commit_is_found_without_the_lock(self, store: Store) -> None:
        """Token and grant are there for readers, counted as generation 1."""
        log_in(store)
        token = store.find_token(TOKEN_KEY, NOW, 0)
        grant = store.find_grant(GRANT_KEY)
        assert token == make_token().replace(generation=1)
        assert grant is not None
        assert grant.replace(issued=None) == make_grant()

    def test_a_grant_that_nobody_is_at_is_not_waited_for(self, store: Store) -> None:
        """Before it exists, and after its lock was given up; the lock can be had afterwards."""
        store.wait_for_another(GRANT_KEY, work_time())
        log_in(store)
        store.wait_for_another(GRANT_KEY, work_time())
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert locked.next_generation == 2

    def test_a_wait_for_another_ends_with_the_deadline(self, store: Store) -> None:
        """Who works on another grant is not waited for."""
        with store.lock_grant(GRANT_KEY, soon()):
            store.wait_for_another(LOCKED_OUT, work_time())
            with pytest.raises(LockTimeoutError):
                store.wait_for_another(GRANT_KEY, work_time() + 0.05)

    def test_each_commit_of_a_grant_is_one_generation_more(self, store: Store) -> None:
        """The store counts, whatever number the caller brings."""
        for expected in (1, 2, 3):
            with store.lock_grant(GRANT_KEY, soon()) as locked:
                assert locked.next_generation == expected
                state = locked.commit(make_change(f"r{expected}", make_token(f"t{expected}")))
                assert state.grant is not None
                assert (state.grant.generation, state.generation) == (expected, expected)
        found = store.find_token(TOKEN_KEY, NOW, 0)
        assert found is not None
        assert (found.value.reveal(), found.generation) == ("t3", 3)

    @pytest.mark.parametrize(
        ("seconds_later", "min_ttl_s", "is_served"),
        [
            (0, 0, True),
            (0, 3600, False),
            (0, 3599, True),
            (3600, 0, False),
            (-300, 0, True),
            (-301, 0, False),
        ],
    )
    def test_a_token_is_served_while_enough_is_left(
        self, store: Store, seconds_later: float, min_ttl_s: float, *, is_served: bool
    ) -> None:
        """Strictly more than `min_ttl_s`; and not when the clock went back over five minutes."""
        log_in(store)
        found = store.find_token(TOKEN_KEY, NOW + seconds_later, min_ttl_s)
        assert (found is not None) is is_served

    def test_a_token_without_an_expiry_is_served(self, store: Store) -> None:
        """The token is the grant, until somebody says that it is dead."""
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.commit(make_change(token=make_token(lifetime_s=None)))
        assert store.find_token(TOKEN_KEY, NOW + 10**9, 10**6) is not None

    def test_a_token_of_other_inputs_is_not_served(self, store: Store) -> None:
        """Scopes, session and grant are part of the slot's name."""
        log_in(store)
        assert store.find_token(OTHER_KEY, NOW, 0) is None
        assert store.find_token(TOKEN_KEY.replace(actor="session"), NOW, 0) is None
        assert store.find_token(TOKEN_KEY.replace(grant=LOCKED_OUT), NOW, 0) is None

    def test_a_new_token_supersedes_the_one_before(self, store: Store) -> None:
        """The older stays listed with its value, so that revoke can reach it."""
        log_in(store, token="t1")
        log_in(store, token="t2")
        (entry,) = store.entries(TOKEN)
        (older,) = entry.value.superseded
        assert (older.value.reveal(), older.status) == ("t1", "superseded")

    def test_what_the_issuer_ended_is_superseded_and_dead(self, store: Store) -> None:
        """`ends_previous`: no slot of the grant serves an older token, and no value is kept."""
        log_in(store, token="t1")
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.commit(Change(token_key=OTHER_KEY, token=make_token("t2"), ends_previous=True))
            older = [token for slot in locked.state.slots for token in slot.superseded]
        assert [(token.status, bool(token.value)) for token in older] == [("superseded", False)]
        assert store.find_token(TOKEN_KEY, NOW, 0) is None
        assert store.find_token(OTHER_KEY, NOW, 0) is not None

    def test_what_falls_off_the_end_of_a_slot_is_queued(self, store: Store) -> None:
        """At most sixteen superseded tokens; the seventeenth is to be revoked."""
        for number in range(18):
            log_in(store, token=f"t{number}")
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            (slot,) = locked.state.slots
            assert len(slot.superseded) == 16
            assert [item.value.reveal() for item in locked.state.queue] == ["t0"]

    def test_an_intent_is_there_until_the_commit(self, store: Store) -> None:
        """A holder that did not finish is seen by the next one as `earlier_intent`."""
        log_in(store)
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.intend(make_intent())
            assert (locked.state.intent, locked.state.earlier_intent) == (make_intent(), None)
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.intend(make_intent().replace(pid=7))
            assert locked.state.earlier_intent == make_intent()
            locked.commit(make_change("r2", make_token("t2")))
            assert locked.state.intent is None
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert locked.state.earlier_intent is None

    def test_a_withdrawn_intent_leaves_what_was_found(self, store: Store) -> None:
        """An earlier holder's intent is not explained by an attempt that redeemed nothing."""
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.intend(make_intent())
            locked.withdraw()
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert locked.state.earlier_intent is None
            locked.intend(make_intent())
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.intend(make_intent().replace(pid=7))
            locked.withdraw()
            assert locked.state.intent == make_intent()
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert locked.state.earlier_intent == make_intent()

    def test_a_failure_is_found_until_a_success(self, store: Store) -> None:
        """Waiters adopt it without the lock; the next commit forgets it."""
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.record_failure(FAILURE)
            assert locked.state.failure == FAILURE
        assert store.find_failure(GRANT_KEY) == FAILURE
        log_in(store)
        assert store.find_failure(GRANT_KEY) is None

    def test_end_compares_and_clears(self, store: Store) -> None:
        """Only the generation that was meant is ended; the entry stays and says why."""
        secrets = {"id_token": Secret("a.b.c"), "dpop_key": Secret("{}")}
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            change = make_change("r1", make_token("t1"))
            assert change.grant is not None
            locked.commit(change.replace(grant=change.grant.replace(**secrets)))
            assert not locked.end(7, "another's")
            assert locked.end(1, "revoked here")
        grant = store.find_grant(GRANT_KEY)
        assert grant is not None
        assert (grant.refresh_token, grant.dead_why) == (None, "revoked here")
        assert (grant.id_token, grant.dpop_key) == (None, None)

    def test_an_ended_grant_keeps_no_token(self, store: Store) -> None:
        """The access token that came with a grant lies in its entry too, and goes with its end."""
        log_in(store)
        grant = store.find_grant(GRANT_KEY)
        assert grant is not None
        assert grant.issued is not None
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert locked.end(1, "revoked here")
        (entry,) = store.entries(GRANT)
        assert (entry.value.refresh_token, entry.value.issued) == (None, None)

    def test_a_slot_of_another_grant_is_not_taken(self, store: Store) -> None:
        """Whoever holds one grant's lock stores no token of another's."""
        log_in(store)
        other = TOKEN_KEY.replace(grant=LOCKED_OUT)
        with (
            store.lock_grant(GRANT_KEY, soon()) as locked,
            pytest.raises(ValueError, match="another grant"),
        ):
            locked.commit(Change(token_key=other, token=make_token("t2")))
        assert [entry.value.key for entry in store.entries(TOKEN)] == [TOKEN_KEY]
        assert store.find_token(other, NOW, 0) is None

    def test_end_of_nothing_is_false(self, store: Store) -> None:
        """There is no grant to end."""
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert not locked.end(0, "why")

    @pytest.mark.parametrize(
        ("outcome", "keeps_value"),
        [("revoked", False), ("expired", False), ("local_only", True), ("unknown", True)],
    )
    def test_a_settled_token_is_served_no_more(
        self, store: Store, outcome: str, *, keeps_value: bool
    ) -> None:
        """Its value stays only where it may be alive."""
        log_in(store)
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.settle(make_token().fingerprint, outcome)
            (slot,) = locked.state.slots
        assert slot.current is not None
        assert (slot.current.status, bool(slot.current.value)) == (outcome, keeps_value)
        assert store.find_token(TOKEN_KEY, NOW, 0) is None

    @pytest.mark.parametrize(
        ("outcome", "lifetime_s", "is_kept"),
        [
            ("live", 3600, True),
            ("unknown", 3600, True),
            ("local_only", None, True),
            ("local_only", -1, False),
            ("revoked", 3600, False),
        ],
    )
    def test_a_session_s_slot_goes_with_its_last_token(
        self, store: Store, outcome: str, lifetime_s: float | None, *, is_kept: bool
    ) -> None:
        """What may be alive stays listed, and a shared slot stays whatever became of it."""
        log_in(store)
        token = make_token("own", lifetime_s).replace(session="s")
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.commit(Change(token_key=TOKEN_KEY.replace(actor="s"), token=token))
            locked.settle(token.fingerprint, outcome)
            locked.settle(make_token().fingerprint, "revoked")
            locked.drop_ended()
            actors = {slot.key.actor for slot in locked.state.slots}
        assert actors == ({None, "s"} if is_kept else {None})
        assert {entry.value.key.actor for entry in store.entries(TOKEN)} == actors

    def test_the_queue_holds_one_item_a_token(self, store: Store) -> None:
        """An item is replaced by its fingerprint, found by `entries`, and taken out again."""
        log_in(store)
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            locked.enqueue(make_queued())
            locked.enqueue(make_queued().replace(attempts=1))
        (entry,) = store.entries(QUEUE)
        assert (entry.value.profile, entry.value.items) == (
            "p",
            (make_queued().replace(attempts=1),),
        )
        with store.lock_grant(GRANT_KEY, soon()) as locked:
            assert len(locked.state.queue) == 1
            locked.dequeue(make_queued().fingerprint)
        assert list(store.entries(QUEUE)) == []

    def test_a_held_lock_times_out_and_another_grant_does_not_wait(self, store: Store) -> None:
        """One grant's trouble never delays another."""
        with store.lock_grant(GRANT_KEY, soon()):
            with pytest.raises(LockTimeoutError) as raised:
                store.lock_grant(GRANT_KEY, work_time() + 0.01).__enter__()
            assert raised.value.exit_code == 8
            with store.lock_grant(LOCKED_OUT, soon()):
                pass
        with store.lock_grant(GRANT_KEY, work_time() + 0.01):
            pass

    def test_entries_match(self, store: Store) -> None:
        """Profile, issuer and subject choose; None is any."""
        log_in(store)
        assert len(list(store.entries(GRANT, Match(profile="p", issuer=GRANT_KEY.issuer)))) == 1
        assert list(store.entries(GRANT, Match(profile="q"))) == []
        assert list(store.entries(TOKEN, Match(subject="somebody"))) == []

    def test_sealed_blobs_come_and_go(self, store: Store) -> None:
        """Plans, secrets, metadata and sessions are bytes under a keyed name."""
        name = plain_name(RING.name_key, "plan", "1")
        assert store.find_sealed(PLAN, name) is None
        store.put_sealed(PLAN, name, b"one")
        store.put_sealed(PLAN, name, b"two")
        assert store.find_sealed(PLAN, name) == b"two"
        assert [entry.value for entry in store.entries(PLAN)] == [b"two"]
        assert store.drop_sealed(PLAN, name)
        assert not store.drop_sealed(PLAN, name)

    def test_a_stream_has_the_same_entries(self, store: Store) -> None:
        """In no order; `each_grant` names each grant once, whatever there is of it."""
        keys = [GRANT_KEY.replace(subject=name) for name in ("ann", "ben", "eve")]
        for key in keys:
            _hold(store, key)
        _hold(store, keys[0], with_grant=False)
        _hold(store, LOCKED_OUT, with_grant=False)
        for kind in (GRANT, TOKEN):
            assert _by_name(store.stream(kind)) == _by_name(store.entries(kind))
        assert sorted(store.each_grant()) == sorted(map(store.name_of, [*keys, LOCKED_OUT]))

    def test_what_one_grant_has_is_found_by_its_name(self, store: Store) -> None:
        """Its grant and each of its slots, and of nobody else's; of no such grant nothing."""
        log_in(store)
        _hold(store, LOCKED_OUT)
        name = store.name_of(GRANT_KEY)
        (grant,), (slot,) = store.entries_of(GRANT, name), store.entries_of(TOKEN, name)
        assert (grant.value.key, slot.value.key) == (GRANT_KEY, TOKEN_KEY)
        assert list(store.entries_of(QUEUE, name)) == []
        assert list(store.entries_of(TOKEN, "0" * 64)) == []

    def test_a_subject_s_grants_are_found_by_it(self, store: Store) -> None:
        """Of whatever settings, and nobody else's, whoever wrote the first entry."""
        ann, ben = (GRANT_KEY.replace(subject=name) for name in ("ann", "ben"))
        older = ann.replace(scopes=("z",))
        _hold(store, ann)
        _hold(store, older, with_grant=False)
        _hold(store, GRANT_KEY)
        assert store.find_grants("ann") == sorted(map(store.name_of, (ann, older)))
        assert store.find_grants("ben") == []
        with store.lock_grant(ben, soon()) as locked:
            locked.intend(make_intent("login", 0))
        assert store.find_grants("ben") == [store.name_of(ben)]
        with store.lock_grant(ben.replace(client_id="b"), soon()) as locked:
            locked.enqueue(make_queued())
        assert len(store.find_grants("ben")) == 2

    def test_what_ended_jobs_left_goes(self, store: Store) -> None:
        """Slot, outcome and note, as soon as nothing of the job is alive; never one at work."""
        for number, life_s in ((1, 60), (2, 60), (3, 3600)):
            run_job(store, number, life_s)
        now = NOW + 61
        with store.lock_grant(job_key(2), soon()):  # it is at work
            assert store.remove_ended_jobs(job_key(3), now) == 1
        assert jobs_left(store) == {2, 3}
        assert store.remove_ended_jobs(None, now) == 1
        assert jobs_left(store) == {3}
        assert store.remove_ended_jobs(None, NOW + 3601) == 1
        assert [jobs_left(store), list(store.entries(JOB))] == [set(), []]

    def test_a_job_of_which_something_may_live_stays(self, store: Store) -> None:
        """What is queued to be revoked, and for a day what was cut off while it asked."""
        for number in (1, 2):
            run_job(store, number, 60)
        with store.lock_grant(job_key(1), soon()) as locked:
            locked.enqueue(make_queued("t1"), profile="p")
        with store.lock_grant(job_key(2), soon()) as locked:
            locked.intend(make_intent("issue", 0).replace(key=job_key(2)))
        assert store.remove_ended_jobs(None, NOW + 61) == 0
        assert len(list(store.entries(JOB))) == 2
        assert store.remove_ended_jobs(None, NOW + 86_401) == 1
        with store.lock_grant(job_key(1), soon()) as locked:
            locked.dequeue(RING.fingerprint("t1"))
        assert store.remove_ended_jobs(None, NOW + 86_401) == 1

    def test_a_job_of_another_name_is_not_seen(self, store: Store) -> None:
        """Grants of no job are never looked at, however long they have ended."""
        log_in(store)
        assert store.remove_ended_jobs(None, NOW + 10**9) == 0
        assert store.find_grant(GRANT_KEY) is not None


def job_key(number: int) -> GrantKey:
    """Return the key of one job's grant."""
    return GRANT_KEY.replace(actor="client", job=f"ci {number}")


def run_job(store: Store, number: int, life_s: int) -> None:
    """Have a job get a token that lives so long."""
    key = job_key(number)
    with store.lock_grant(key, soon()) as locked:
        store.note_job(key)
        locked.intend(make_intent("issue", 0).replace(key=key))
        token = make_token(f"t{number}", life_s)
        locked.commit(Change(token_key=TokenKey(grant=key), token=token, profile="p"))


def jobs_left(store: Store) -> set[int]:
    """Return the numbers of the jobs that still have a slot."""
    found = (entry.value.key.grant.job for entry in store.entries(TOKEN) if entry.value)
    return {int(job.rpartition(" ")[2]) for job in found}


def _hold(store: Store, key: GrantKey, *, with_grant: bool = True) -> None:
    """Store a token of a grant, and the grant if it is to have one."""
    grant = make_grant(key=key) if with_grant else None
    slot = TokenKey(grant=key, scopes=("a",))
    with store.lock_grant(key, soon()) as locked:
        locked.commit(Change(grant=grant, token_key=slot, token=make_token(), profile="p"))


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries}
