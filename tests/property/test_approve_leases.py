"""Leases: none covers anything else than what was asked, none too often, and none too late.

What has to be the same is written down here once more, beside `broker.question`, by another hand.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerctl.broker.approval import Approval
from brokerctl.broker.question import Answer, Asked
from brokerctl.config.rules import Limit
from brokerctl.errors import DeniedError, UsageError
from brokerctl.freshness import CLOCK_BACK_S
from brokerctl.model import Decision, Profile, Requester, TokenRequest
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import System
from brokerctl.store.file import FileStore
from tests.store_room import NOW, RING

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.broker.approval import Look
    from brokerctl.store.values import ApprovalQuestion

DAY_S = 86_400
Parts = dict[str, Any]

names = st.sampled_from(["a", "b", "a b"])
maybe = st.none() | names
lists = st.lists(names, max_size=2).map(tuple)
paths = st.sampled_from(["/usr/bin/git", "/usr/bin/sh"])
hosts = st.sampled_from(["https://a.example/x", "https://a.example/y", "http://a.example/x"])
parents = st.lists(st.tuples(names, st.none() | paths), max_size=2).map(tuple)
# Each part of what a person is asked, by whose field it is.
ASKED: dict[str, st.SearchStrategy[Any]] = {
    "action": st.sampled_from(["token", "login", "kept credential"]),
    "label": names,
}
PROFILE: dict[str, st.SearchStrategy[Any]] = {
    "name": names,
    "issuer": hosts,
    "subject": maybe,
    "purpose": maybe,
}
REQUEST: dict[str, st.SearchStrategy[Any]] = {
    "subject": maybe,
    "for_profile": maybe,
    "made_out_to": lists,
    "url": st.none() | hosts,
    "is_insecure": st.booleans(),
    "is_own": st.booleans(),
    "purpose": maybe,
}
REQUESTER: dict[str, st.SearchStrategy[Any]] = {
    "uid": st.sampled_from([0, 1000]),
    "exe": paths,
    "parents": parents,
    "tool": names,
    "ci": maybe,
    "agent": maybe,
}
DECISION: dict[str, st.SearchStrategy[Any]] = {
    "rule": names,
    "layer": st.sampled_from(["user", "system"]),
    "reason": names,
    "scopes": lists,
    "resource": lists,
    "audience": lists,
    "max_ttl_s": st.sampled_from([None, 60, 600.5]),
    "digest": maybe,
    "asking": st.lists(st.tuples(names, names), max_size=2).map(tuple),
}
# What another process of the same program has otherwise, and nobody is asked about.
FREE: dict[str, st.SearchStrategy[Any]] = {
    "pid": st.integers(2, 9),
    "min_ttl_s": st.sampled_from([None, 60.0]),
    "is_fresh": st.booleans(),
}
TABLES = {
    "asked": ASKED,
    "profile": PROFILE,
    "request": REQUEST,
    "requester": REQUESTER,
    "decision": DECISION,
    "free": FREE,
}
SHOWN = frozenset(
    (
        *("action", "what", "profile", "issuer", "for_profile", "made_out_to", "subject"),
        *("scopes", "resource", "audience", "max_ttl_s", "url", "is_insecure", "is_own"),
        *("purpose", "rule", "layer", "reason", "rules", "policy", "requester"),
    )
)


@st.composite
def questions(draw: st.DrawFn) -> Parts:
    """Draw every part of a question."""
    return {
        f"{table}.{name}": draw(one) for table, of in TABLES.items() for name, one in of.items()
    }


def of(parts: Parts, table: str, *more: str) -> Parts:
    """Return the parts of one table, and others by their whole names."""
    found = {name: parts[f"{table}.{name}"] for name in TABLES[table]}
    return found | {name.partition(".")[2]: parts[name] for name in more}


def make(parts: Parts, session: str | None = None, limits: tuple[Limit, ...] = ()) -> Asked:
    """Make of parts what is asked."""
    requester = Requester(**of(parts, "requester", "free.pid"), session=session)
    profile = Profile(flow="code", client_id="c", **of(parts, "profile"))
    request = of(parts, "request", "free.min_ttl_s", "free.is_fresh")
    return Asked(
        **of(parts, "asked"),
        profile=profile,
        request=TokenRequest(profile=profile.name, requester=requester, **request),
        decision=Decision(effect="ask", limits=limits, **of(parts, "decision")),
    )


def covered(parts: Parts) -> Parts:
    """Return what has to be the same, so that a lease covers it."""
    found = {name: value for name, value in parts.items() if not name.startswith("free.")}
    for name in ("subject", "purpose"):  # the profile's own is used where the request names none
        own = found.pop(f"profile.{name}")
        found[f"request.{name}"] = found[f"request.{name}"] or own
    found["requester.parents"] = [exe for _, exe in found["requester.parents"]]
    return found


class Log:
    """A log that is not looked at."""

    def append(self, *_: object, **__: object) -> int:
        """Append nothing."""
        return 1


class UnsyncedSystem(System):
    """A disk of which nothing has to stay."""

    fsync = staticmethod(lambda fd: None)  # noqa: ARG005 - as the system's
    fdatasync = fsync


class Room:
    """A store with a clock, and a person who gives one lease and says no from then on."""

    by = "terminal"

    def __init__(self, folder: str, lease: Answer) -> None:
        self.now = NOW
        self._answers = [lease]
        opened = open_folder(os.path.join(folder, "store"))
        assert opened is not None
        opened.system = UnsyncedSystem()
        self.store = FileStore(opened, RING, clock=lambda: self.now)
        log: Any = Log()
        self.approval = Approval(self.store, log, self)

    def ask(self, _: ApprovalQuestion, __: dict[str, Any], ___: Look) -> Answer:
        """Answer a question."""
        return self._answers.pop() if self._answers else Answer(is_yes=False, by="terminal")

    def allows(self, asked: Asked) -> bool:
        """Return whether somebody says yes, who can be but the lease from the second time on."""
        has_lease = self.approval.has_lease(asked)
        try:
            held = dict(self.approval.ask(asked))
        except DeniedError:
            return False
        assert held["by"] == "lease"
        assert has_lease or not self._answers
        return True


def in_a_room(lease: Answer, run: Callable[[Room], None]) -> None:
    """Run something in a room of its own."""
    with tempfile.TemporaryDirectory() as folder:
        room = Room(folder, lease)
        try:
            run(room)
        finally:
            room.store.disk.close()


@given(questions())
def test_every_part_of_a_question_is_here(parts: Parts) -> None:
    """What a question says more than this file knows of is a part that a lease depends on."""
    about = make(parts).about
    assert about.keys() == SHOWN
    assert {*REQUESTER, "pid", "session"} >= about["requester"].keys()
    assert set(Requester._fields) == {*REQUESTER, "pid", "session"}


@settings(max_examples=40)  # each changes every part
@given(parts=questions(), others=questions(), of_session=st.booleans())
def test_a_lease_covers_the_same_alone(*, parts: Parts, others: Parts, of_session: bool) -> None:
    """Each part by itself: the lease is used exactly where all is the same that was shown."""
    lease = Answer(is_yes=True, by="terminal", lease_s=60, is_for_session=of_session)

    def run(room: Room) -> None:
        assert room.allows(make(parts, "s"))
        for name, value in others.items():
            other = parts | {name: value}
            is_same = covered(other) == covered(parts)
            assert room.approval.has_lease(make(other, "s")) is is_same, name
            assert (room.approval.find_held(make(other, "s")) is not None) is is_same, name

    in_a_room(lease, run)


@settings(max_examples=40)
@given(parts=questions(), others=questions(), uses=st.integers(2, 3))
def test_another_s_question_takes_no_use(parts: Parts, others: Parts, uses: int) -> None:
    """Who is refused, or asks on his own, has used nothing of it."""
    lease = Answer(is_yes=True, by="terminal", lease_s=60, uses=uses)
    is_same = covered(others) == covered(parts)

    def run(room: Room) -> None:
        assert room.allows(make(parts, "s"))
        assert room.allows(make(others, "s")) is is_same
        left = [room.allows(make(parts, "s")) for _ in range(3)]
        assert sum(left) == uses - 1 - is_same

    in_a_room(lease, run)


@given(parts=questions(), session=st.sampled_from([None, "t"]), of_session=st.booleans())
def test_a_session_s_lease_is_its_own(
    *, parts: Parts, session: str | None, of_session: bool
) -> None:
    """One that was given with `session` is none outside it; another is the requester's."""
    lease = Answer(is_yes=True, by="terminal", lease_s=60, is_for_session=of_session)

    def run(room: Room) -> None:
        assert room.allows(make(parts, "s"))
        assert room.allows(make(parts, session)) is not of_session

    in_a_room(lease, run)


@given(questions())
def test_who_is_not_known_has_no_lease(parts: Parts) -> None:
    """Where the executable can't be read none is given, and none that is there covers it."""
    lease = Answer(is_yes=True, by="terminal", lease_s=60)
    unknown = make(parts | {"requester.exe": None})

    def run(room: Room) -> None:
        assert room.allows(make(parts))
        assert not room.approval.has_lease(unknown)
        assert not room.allows(unknown)

    def run_unknown(room: Room) -> None:
        with pytest.raises(UsageError, match="not known well enough"):
            room.allows(unknown)
        assert not room.approval.has_lease(unknown)

    in_a_room(lease, run_unknown)

    in_a_room(lease, run)


@st.composite
def limits(draw: st.DrawFn) -> tuple[Limit, ...]:
    """Draw what rules allow."""
    uses = st.none() | st.integers(1, 5)
    rates = st.none() | st.tuples(st.integers(1, 3), st.sampled_from([10, 60]))
    found = draw(st.lists(st.tuples(uses, rates), max_size=2))
    return tuple(
        Limit(layer="user", rule=f"r{place}", is_asking=True, uses=uses, rate=rate)
        for place, (uses, rate) in enumerate(found)
        if uses is not None or rate is not None
    )


spans = st.sampled_from([1, 10, 60]) | st.integers(1, 200)
# Seconds from the question on, or from the step before.
steps = st.tuples(
    st.booleans(), st.sampled_from([0.0, 0.5, 1.0, 10.0, 60.0, -CLOCK_BACK_S]) | st.floats(-99, 99)
)


@given(questions(), spans, st.none() | st.integers(1, 5), limits(), st.lists(steps, max_size=8))
def test_never_too_often_and_never_too_late(
    parts: Parts,
    lease_s: int,
    uses: int | None,
    of_rules: tuple[Limit, ...],
    waits: list[tuple[bool, float]],
) -> None:
    """Its uses, those of each rule, each rule's rate, and its end hold however the clock goes.

    A rate forgets what is out of its span by the latest time that a hand-out has seen.
    """
    lease = Answer(is_yes=True, by="terminal", lease_s=lease_s, uses=uses)
    asked = make(parts, limits=of_rules)
    most = min((one for one in (uses, *(one.uses for one in of_rules)) if one), default=None)
    rates = [one.rate for one in of_rules if one.rate is not None]

    def run(room: Room) -> None:
        times: list[float] = []
        is_open = True
        for is_from_start, wait in [(True, 0.0), *waits]:
            room.now = wait + (NOW if is_from_start else room.now)
            # Once it was seen as over it is gone, also where the clock goes back.
            is_open = is_open and NOW - CLOCK_BACK_S <= room.now < NOW + lease_s
            is_left = most is None or len(times) < most
            if room.allows(asked):
                assert is_open
                assert is_left
                times.append(room.now)
                for count, span_s in rates:
                    assert sum(max(times) - one < span_s for one in times) <= count
            else:
                assert rates or not (is_open and is_left)

    in_a_room(lease, run)
