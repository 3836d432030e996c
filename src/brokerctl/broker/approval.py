"""Asks somebody where a rule says so: a lease's answer, a person's, or that of a command.

All that ask the same at the same time make one question. Whoever asks it holds a lock of its own
for as long as it asks; the others wait for that lock and take the answer that they find, if it came
after they did. No lock of a grant is held meanwhile. Order of events: the record of the question,
its entry, the answer's record, the lease's entry, the answer's entry; then the hand-out's record.
"""

from __future__ import annotations

from brokerctl.broker.events import event, shown_decision, shown_requester
from brokerctl.broker.limits import is_used_up, start_count, take, untake
from brokerctl.broker.question import (
    NO,
    NOBODY,
    TERMINAL,
    YES,
    Answer,
    lease_name,
    one_line,
    question_name,
)
from brokerctl.errors import BrokerError, DeniedError, UsageError, shell_word
from brokerctl.freshness import timestamp
from brokerctl.jsonlite import dumps, loads
from brokerctl.platform.flock import Pauses, is_current, lock_by
from brokerctl.platform.private_files import refused
from brokerctl.platform.system import os
from brokerctl.store import approvals
from brokerctl.store.entry import plain_name
from brokerctl.store.file.disk import LOCKS
from brokerctl.store.file.lock import open_lock_file
from brokerctl.store.file.lock_wait import SUFFIX
from brokerctl.store.values import ApprovalQuestion, Lease, LimitCount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from brokerctl.audit.append import Log
    from brokerctl.broker.question import Asked
    from brokerctl.model import Requester
    from brokerctl.store.file import FileStore

    class Channel(Protocol):
        """Where an answer comes from."""

        by: str  # terminal, elsewhere or command

        def ask(
            self, question: ApprovalQuestion, about: dict[str, Any], look: Look, /
        ) -> Answer | None:
            """Return the answer; None where `look` says that one has come from elsewhere."""

    Look = Callable[[], bool]

USUAL_WAIT_S = 60
_MARGIN_S = 5.0  # for what comes after the answer, beyond which those who share it wait no more
_ROUNDS = 8  # a lease whose uses went to others is asked for again
_OLD_S = 3600.0


class Approval:
    """Finds who says yes to what rules ask about."""

    def __init__(
        self, store: FileStore, log: Log, channel: Channel | None, wait_s: float = USUAL_WAIT_S
    ) -> None:
        """`channel` is None where nobody can be asked."""
        self.store, self.log = store, log
        self.channel, self.wait_s = channel, wait_s

    def has_lease(self, asked: Asked) -> bool:
        """Return whether a lease covers this now; nothing is counted."""
        now, about = self.store.clock(), asked.about
        return any(_is_good(lease, about, now) for _, lease in self._leases(about))

    def name_of(self, asked: Asked) -> str:
        """Return the name of a question."""
        return question_name(self.store.ring.name_key, asked.about)

    def find_held(self, asked: Asked) -> tuple[tuple[str, Any], ...] | None:
        """Return the answer of a lease, of which one use is counted."""
        return self._take_lease(asked.about)

    def ask(self, asked: Asked) -> tuple[tuple[str, Any], ...]:
        """Return who said yes, for the record; DeniedError for a no, also of nobody."""
        about = asked.about
        for _ in range(_ROUNDS):
            held = self._take_lease(about)
            if held is not None:
                return held
            found = self._find_answer(asked, about)
            if found.answer != YES:
                raise _refused(asked, about, found.by, found.why)
            if found.lease is None:
                return (("by", found.by), ("question", found.id))
        raise _refused(asked, about, NOBODY, "each lease was used up by others")

    # Leases

    def _leases(self, about: dict[str, Any]) -> list[tuple[str, Lease]]:
        key = self.store.ring.name_key
        names = (lease_name(key, about, of_session=flag) for flag in (True, False))
        found = ((name, approvals.find_lease(self.store, name)) for name in names if name)
        return [(name, lease) for name, lease in found if lease is not None]

    def _take_lease(self, about: dict[str, Any]) -> tuple[tuple[str, Any], ...] | None:
        """Use a lease that covers this once, which is stored first; None where there is none.

        DeniedError where its rate is spent: nobody is asked because somebody is in a hurry.
        """
        for name, _ in self._leases(about):
            with approvals.lock_of(self.store, name):
                lease = approvals.find_lease(self.store, name)
                now = self.store.clock()
                if lease is None or not _is_good(lease, about, now):
                    continue
                counts = tuple(take(count, now) for count in lease.counts)
                lease = lease.replace(counts=counts)
                approvals.put_lease(self.store, name, lease)
            if any(map(is_used_up, lease.counts)):
                self._end_lease(name, lease, "used up")
            return (("by", "lease"), ("question", lease.question), ("lease", lease.id))
        return None

    def give_back(self, asked: Asked, lease_id: str) -> None:
        """Give back a use of a lease, of which nothing came; the last one has ended it."""
        for name, _ in self._leases(asked.about):
            with approvals.lock_of(self.store, name):
                lease = approvals.find_lease(self.store, name)
                if lease is not None and lease.id == lease_id:
                    counts = tuple(map(untake, lease.counts))
                    approvals.put_lease(self.store, name, lease.replace(counts=counts))

    def _end_lease(self, name: str, lease: Lease, why: str) -> None:
        """Record that a lease is over; its entry counts for nothing any more, and may stay."""
        self.log.append(*lease_ended(lease, why))
        try:
            approvals.drop_lease(self.store, name, lambda one: one.id == lease.id)
        except BrokerError:
            return

    # Questions

    def _find_answer(self, asked: Asked, about: dict[str, Any]) -> ApprovalQuestion:
        """Ask, or take the answer to the same question that another process asks now."""
        if self.channel is None:
            raise _refused(asked, about, NOBODY, "nobody can be asked here")
        name = question_name(self.store.ring.name_key, about)
        known = approvals.find_question(self.store, name)
        before = known.id if known is not None and known.answer is not None else None
        turn = _Turn(self.store, plain_name(self.store.ring.name_key, "asking", name))
        if not turn.take(self.wait_s + _MARGIN_S):
            why = "it is asked already, and nobody has answered in time"
            raise _refused(asked, about, NOBODY, why)
        try:
            found = approvals.find_question(self.store, name)
            if found is not None and found.id != before and _is_shared(found):
                return found  # it was asked while we waited
            return self._ask(self.channel, asked, about, name)
        finally:
            turn.release()

    def _ask(
        self, channel: Channel, asked: Asked, about: dict[str, Any], name: str
    ) -> ApprovalQuestion:
        self._sweep()
        question = self._make_question(channel, asked, about)
        self.log.append(*_question_asked(question, asked, about))
        with approvals.lock_of(self.store, name):
            approvals.put_question(self.store, name, question)

        def is_answered() -> bool:
            found = approvals.find_question(self.store, name)
            return found is None or found.id != question.id or found.answer is not None

        requester = asked.request.requester
        try:
            answer = channel.ask(question, about, is_answered)
        except BaseException as stop:  # a signal too: the question is closed, then it goes on
            why = stop.message if isinstance(stop, BrokerError) else "the one who asks was stopped"
            no = Answer(is_yes=False, by=NOBODY, why=why)
            self.close(name, question.id, no, requester)
            raise
        return self.close(name, question.id, answer, requester)

    def _make_question(
        self, channel: Channel, asked: Asked, about: dict[str, Any]
    ) -> ApprovalQuestion:
        now, key = self.store.clock(), self.store.ring.name_key
        return ApprovalQuestion(
            id=os.urandom(4).hex(),
            profile=about["profile"] or "",
            about=dumps(about),
            asked_at=now,
            ends_at=now + self.wait_s,
            by=channel.by,
            lease_name=lease_name(key, about, of_session=False),
            session_lease_name=lease_name(key, about, of_session=True),
            counts=tuple(start_count(one) for one in asked.decision.limits if one.is_asking),
        )

    def close(
        self, name: str, question_id: str, answer: Answer | None, requester: Requester
    ) -> ApprovalQuestion:
        """Store an answer, unless another came before it; return the question with the first.

        `answer` is None where another is known to be there.
        """
        with approvals.lock_of(self.store, name):
            found = approvals.find_question(self.store, name)
            if found is None or found.id != question_id:
                raise UsageError(f"question {question_id} is not open any more")
            if found.answer is not None or answer is None:
                return found
            return self._store_answer(name, found, answer, requester)

    def _store_answer(
        self, name: str, found: ApprovalQuestion, answer: Answer, requester: Requester
    ) -> ApprovalQuestion:
        lease, place = self._make_lease(found, answer)
        closed = found.replace(
            answer=YES if answer.is_yes else NO,
            by=answer.by,
            why=answer.why,
            lease=None if lease is None else lease.id,
        )
        self.log.append(*_question_answered(closed, requester))
        if lease is not None and place is not None:
            self.log.append(*_lease_given(lease))
            with approvals.lock_of(self.store, place):
                approvals.put_lease(self.store, place, lease)
        approvals.put_question(self.store, name, closed)
        return closed

    def _make_lease(
        self, found: ApprovalQuestion, answer: Answer
    ) -> tuple[Lease | None, str | None]:
        if not answer.is_yes or answer.lease_s is None:
            return None, None
        place = found.session_lease_name if answer.is_for_session else found.lease_name
        if place is None:
            what = "in no session" if answer.is_for_session else "not known well enough for a lease"
            raise UsageError(f"its requester is {what}", hint="answer for once")
        own = () if answer.uses is None else (LimitCount(rule="", layer="", uses=answer.uses),)
        now, about = self.store.clock(), loads(found.about.encode())
        lease = Lease(
            id=os.urandom(4).hex(),
            profile=found.profile,
            question=found.id,
            about=found.about,
            given_at=now,
            ends_at=now + answer.lease_s,
            counts=(*found.counts, *own),
            session=about["requester"]["session"] if answer.is_for_session else None,
        )
        return lease, place

    def _sweep(self) -> None:
        """Record and remove leases whose time is over, and remove questions of long ago."""
        try:
            end_leases(self.store, self.log)
            approvals.remove_ended(self.store, self.store.clock() - _OLD_S)
        except BrokerError:
            return  # the next question tries again; none of them is served


def end_leases(store: FileStore, log: Log) -> int:
    """Record and remove the leases that are over, and return how many that were."""
    now, count = store.clock(), 0
    for name, lease in approvals.all_leases(store):
        if lease.is_over(now):
            gone = approvals.drop_lease(store, name, lambda one: one.is_over(now))
            if gone is not None:
                log.append(*lease_ended(gone, "its time is over"))
                count += 1
    return count


def _is_shared(question: ApprovalQuestion) -> bool:
    """Return whether an answer is one for all that waited for it.

    Security: a yes for once is none, where a rule says how many are allowed.
    """
    if question.answer is None:
        return False
    return question.answer == NO or question.lease is not None or not question.counts


def _is_good(lease: Lease, about: dict[str, Any], now: float) -> bool:
    """Return whether a lease that was found by its name covers this request now."""
    is_its = lease.session is None or lease.session == about["requester"]["session"]
    return is_its and not lease.is_over(now)


def _refused(asked: Asked, about: dict[str, Any], by: str, why: str) -> DeniedError:
    """Return the refusal: why, and what was asked, or would have been."""
    said = why or {TERMINAL: "the answer was no"}.get(by, f"the answer was no ({by})")
    hint = f"{'would have been asked' if by == NOBODY else 'was asked'}: {one_line(about)}"
    if asked.profile is not None:
        hint += f"; run 'brokerctl policy explain {shell_word(asked.profile.name)}'"
    message = f"'{asked.label}': {asked.decision.reason}, and {said}"
    return DeniedError(message, hint=hint, rule=asked.decision.rule)


class _Turn:
    """The lock of whoever asks a question; it ends with its holder."""

    def __init__(self, store: FileStore, name: str) -> None:
        self._folder = store.disk.child(LOCKS)
        self._system = store.disk.system
        self._name = name + SUFFIX
        self._fd = -1

    def take(self, wait_s: float) -> bool:
        """Take the lock; False if another process has it for so long."""
        system = self._system
        pauses = Pauses(system, system.monotonic() + wait_s, first_s=0.001)
        try:
            while True:
                self._fd = open_lock_file(self._folder, self._name)
                if not lock_by(self._fd, system, pauses):
                    self.release()
                    return False
                if is_current(self._folder, self._name, self._fd):
                    return True
                self.release()
        except OSError as error:
            self.release()
            raise refused(f"{self._folder.path}/{self._name}", error) from error

    def release(self) -> None:
        """Give the lock up; safe to call twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._system.close(fd)


def _question_asked(
    question: ApprovalQuestion, asked: Asked, about: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    same = ("action", "profile", "issuer", "for_profile", "subject", "scopes", "resource")
    more = ("audience", "max_ttl_s", "url", "purpose")
    return event(
        "question.asked",
        {name: about[name] for name in (*same, *more)},
        question=question.id,
        by=question.by,
        expires_at=timestamp(question.ends_at),
        requester=shown_requester(asked.request.requester),
        decision=shown_decision(asked.decision),
    )


def _question_answered(
    question: ApprovalQuestion, requester: Requester
) -> tuple[str, dict[str, Any]]:
    return event(
        "question.answered",
        question=question.id,
        profile=question.profile or None,
        outcome=question.answer,
        by=question.by,
        reason=question.why,
        lease=question.lease,
        requester=shown_requester(requester),
    )


def _lease_given(lease: Lease) -> tuple[str, dict[str, Any]]:
    uses = [count.uses for count in lease.counts if count.uses is not None]
    return event(
        "lease.given",
        lease=lease.id,
        question=lease.question,
        profile=lease.profile or None,
        expires_at=timestamp(lease.ends_at),
        uses=min(uses) if uses else None,
        session=lease.session,
    )


def lease_ended(lease: Lease, why: str) -> tuple[str, dict[str, Any]]:
    """Return the event of a lease that is over."""
    return event(
        "lease.ended",
        lease=lease.id,
        question=lease.question,
        profile=lease.profile or None,
        outcome="ended",
        reason=why,
    )
