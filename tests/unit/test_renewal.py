"""What a session's files are renewed by: when, how often, and never once the end has begun."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import BrokerError, DeniedError, IssuerError
from brokerctl.freshness import MARGIN_S
from brokerctl.platform.system import SYSTEM
from brokerctl.session.leftovers import render_session
from brokerctl.session.renewal import Due, Renewal, renewal_s
from tests.renewal_room import QUICK, REQUEST, SOON_S, Room, make_token, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.model import AccessToken, TokenRequest


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Return a room; its thread has ended afterwards."""
    made = Room(tmp_path)
    yield made
    assert not made.renewal.is_alive()


@pytest.mark.parametrize(
    ("left_s", "life_s", "min_ttl_s", "wanted"),
    [
        (3600.0, 3600.0, None, 2880.0),
        (3600.0, 3600.0, MARGIN_S, 2880.0),
        (3600.0, 3600.0, 900.0, 2700.0),
        (3600.0, 3600.0, 86400.0, 1800.0),
        (600.0, 3600.0, None, -120.0),
        (1.0, 1.0, None, 0.8),
    ],
)
def test_when(left_s: float, life_s: float, min_ttl_s: float | None, wanted: float) -> None:
    """At 80 % of its life, sooner for a longer --min-ttl, but not before half of it."""
    token, now = make_token(1, left_s, life_s), time.time()
    found = renewal_s(token, now, 0.8, min_ttl_s)
    assert found == pytest.approx(wanted, abs=1.0)
    assert renewal_s(token.replace(expires_at=None), now, 0.8, min_ttl_s) is None


def test_either_clock_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall's after a suspend, the other one where the wall's was put back."""
    clocks = {"time": 1000.0, "monotonic": 50.0}
    monkeypatch.setattr(time, "time", lambda: clocks["time"])
    monkeypatch.setattr(time, "monotonic", lambda: clocks["monotonic"])
    due = Due(100.0)
    assert due.left_s() == 100.0
    clocks["time"] += 3600.0  # a suspend: no process ran
    assert due.left_s() <= 0
    clocks |= {"time": -5000.0, "monotonic": 149.0}
    assert due.left_s() == 1.0
    clocks["monotonic"] = 150.0
    assert due.left_s() <= 0


def test_the_order_of_a_renewal(room: Room) -> None:
    """It is masked, and its end is in the store, before anybody can read it; its file stays one."""
    os.chmod(room.path, 0o400)
    before = os.stat(room.path)
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    assert [name for name, _ in room.events] == ["get", "hide", "entry"]
    (hidden,), ((ends_at, _, content),) = room.values("hide"), room.values("entry")
    assert (hidden, content) == ([room.held.token.value.reveal()], "token 1")
    assert ends_at == room.held.token.expires_at
    assert read(room.path) == room.held.token.value.reveal()
    after = os.stat(room.path)
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert os.listdir(os.path.dirname(room.path)) == ["F"]


def test_a_shared_token_is_asked_for_with_more_left(room: Room) -> None:
    """More than the one at hand: so what another session got meanwhile serves."""
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    (request,) = room.values("get")
    assert request.min_ttl_s == pytest.approx(600.0, abs=SOON_S)
    assert request.min_ttl_s <= 600.0
    assert request.replace(min_ttl_s=None, deadline=None) == REQUEST


def test_a_token_of_ones_own_is_asked_for_as_before(tmp_path: Path) -> None:
    """And the grants that the configuration leads to by now are noted before."""
    room = Room(tmp_path, is_own=True)
    room.grants = ("another",)
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    assert [name for name, _ in room.events] == ["entry", "get", "hide", "entry"]
    (request,) = room.values("get")
    assert request.replace(deadline=None) == REQUEST.replace(is_own=True)
    assert {grants for _, grants, _ in room.values("entry")} == {("another",)}


def test_what_fails_is_said_once_and_tried_again(room: Room) -> None:
    """Only what can change its answer asks again: a refusal that stands is not recorded again."""
    answers: list[BrokerError | None] = [DeniedError("not now"), *[IssuerError("down")] * 3, None]

    def get(_: TokenRequest) -> AccessToken:
        error = answers.pop(0)
        if error is not None:
            raise error
        return make_token(2)

    def check(_: TokenRequest) -> None:
        if len(room.values("check")) < 4:
            raise DeniedError("not yet")

    room.get, room.check = get, check
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    names = [name for name, _ in room.events]
    assert names[:6] == ["get", "warn", "check", "check", "check", "check"]
    assert names[6:] == ["get", *["check", "get"] * 3, "hide", "entry"]
    (said,) = room.values("warn")
    assert said.startswith("the files keep the old token of 'p', which ends at ")
    assert said.endswith(": not now")
    assert room.held.attempts == 0


def test_a_bug_keeps_no_other_file_from_being_renewed(room: Room) -> None:
    """It is a failure as any other."""
    left = [1]

    def get(_: TokenRequest) -> AccessToken:
        if left and left.pop():
            raise KeyError("secret")
        return make_token(2)

    room.get = get
    room.begin()
    room.wait_for(lambda: room.held.token.fingerprint.endswith("2"))
    (said,) = room.values("warn")
    assert said.endswith("unexpected KeyError")


def test_the_same_token_is_no_renewal(room: Room) -> None:
    """While the issuer is down everybody gets it from the store, and `check` knows why."""
    room.get = lambda _: room.tokens["p"]
    room.begin()
    room.wait_for(lambda: len(room.values("get")) > 2)
    assert room.values("warn")[0].endswith(
        f"the issuer of 'p' gives the same token still; {IssuerError('').usual_hint}"
    )
    assert read(room.path).startswith("token 1")


def test_a_renewal_under_way_is_waited_for_and_not_used(room: Room) -> None:
    """Its token belongs to the session, whose end is yet to come; the file is as it was."""
    is_asked, may_answer = threading.Event(), threading.Event()

    def get(_: TokenRequest) -> AccessToken:
        is_asked.set()
        assert may_answer.wait(SOON_S)
        return make_token(2)

    room.get = get
    room.begin()
    assert is_asked.wait(SOON_S)
    threading.Timer(0.05, may_answer.set).start()
    assert room.renewal.finish()
    assert not room.renewal.is_alive()
    assert read(room.path).startswith("token 1")
    assert [name for name, _ in room.events] == ["get"]


def test_one_that_takes_too_long_leaves_the_entry(tmp_path: Path) -> None:
    """So a later command ends what it got; no token is written after the end has begun."""
    room = Room(tmp_path)
    is_asked, may_answer = threading.Event(), threading.Event()

    def get(_: TokenRequest) -> AccessToken:
        is_asked.set()
        assert may_answer.wait(SOON_S)
        return make_token(2)

    room.get = get
    hasty = QUICK.replace(most_s=0.02)
    room.renewal = Renewal([room.held], room.ends, room.make_tools(tmp_path, SYSTEM), spans=hasty)
    room.ends.renew(room.begin, room.renewal.finish)
    assert is_asked.wait(SOON_S)
    room.ends.end()
    assert room.values("dropped") == []
    may_answer.set()
    room.renewal.join(SOON_S)
    assert not os.path.exists(os.path.dirname(room.path))


def test_no_token_is_asked_for_once_the_end_has_begun(tmp_path: Path) -> None:
    """At whatever moment it begins: a thousand of them, each a little later than the last."""
    room = Room(tmp_path)
    for number in range(1000):
        asked: list[int] = []

        def get(_: TokenRequest, asked: list[int] = asked) -> AccessToken:
            asked.append(1)
            return make_token(len(asked) + 2, left_s=1.0)

        room.get = get
        room.held.plan(QUICK)
        room.renewal = Renewal(
            [room.held], room.ends, room.make_tools(tmp_path, SYSTEM), spans=QUICK
        )
        room.begin()
        time.sleep(number * 2e-6)
        assert room.renewal.finish()
        before = len(asked)
        time.sleep(0)
        assert len(asked) == before
        assert not room.renewal.is_alive()


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_session_that_another_command_ended(room: Room, *, is_asked: bool) -> None:
    """It gets no token any more, and one that was on its way is put nowhere; nothing is said."""

    def end() -> None:
        room.entry = render_session(room.ends.session.replace(ended_at=time.time()))

    def get(_: TokenRequest) -> AccessToken:
        end()
        return make_token(2)

    room.get = get
    if not is_asked:
        end()
    room.begin()
    room.wait_for(lambda: not room.renewal.is_alive())
    assert [name for name, _ in room.events] == ["get", "hide"] * is_asked
    assert read(room.path).startswith("token 1")


def test_no_thread_is_a_warning(room: Room) -> None:
    """The command runs with the token that it has."""

    def start() -> None:
        raise RuntimeError("can't start new thread")

    room.ends.renew(start, room.renewal.finish)
    assert room.values("warn") == ["no token file is renewed: can't start new thread"]
    room.ends.end()
    assert room.values("dropped") == [None]
