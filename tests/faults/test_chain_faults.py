"""A chain of exchanges whose disk, issuers or process fail: nothing lives that nobody knows of."""

from __future__ import annotations

import errno
import itertools
import os
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.broker.obtain import failed
from brokerctl.errors import IssuerError, LockTimeoutError
from brokerctl.platform.work_clock import work_time
from brokerctl.store.entry import JOB, QUEUE
from brokerctl.store.file import FileStore
from tests.faults.chain_room import CHAIN, NAMES, ONE, TWO, Chain, Issuer
from tests.faults.faulty import CHANGING, FAIL, KILL, MODES, STUCK, FaultySystem, Killed
from tests.store_room import soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brokerctl.model import GrantKey
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.store.file.lock import Locking

EITHER = pytest.mark.parametrize("which", ["one", "two"])


def issuer_of(chain: Chain, which: str) -> Issuer:
    """Return the first or the second issuer."""
    return chain.one if which == "one" else chain.two


def name_at(which: str) -> str:
    """Return the profile that asks this issuer."""
    return NAMES[0] if which == "one" else NAMES[1]


def _each(tmp_path: Path, mode: str, code: int) -> Iterator[tuple[Chain, FaultySystem]]:
    """Get a token once for each call that can go wrong; yield what each left."""
    for nth in itertools.count(1):
        system = FaultySystem(nth, mode, names=CHANGING, code=code)
        chain = Chain(str(tmp_path / f"{mode}-{nth}"), FaultySystem())
        chain.open(system)
        chain.try_get()
        yield chain, system
        if not system.has_struck:
            assert nth > 20
            break


@pytest.mark.parametrize(
    ("mode", "code"),
    [*((mode, errno.ENOSPC) for mode in (*MODES, STUCK)), (FAIL, errno.EIO), (STUCK, errno.EIO)],
)
def test_no_fault_of_the_disk_hides_a_token(tmp_path: Path, mode: str, code: int) -> None:
    """A revoke leaves nothing alive at either issuer that the record does not call alive.

    But for a kill before the disk had the answer, and then an intent of that very link says so.
    """
    for chain, system in _each(tmp_path, mode, code):
        intents = {name: chain.has_intent(name) for name in NAMES}
        chain.revoke()
        for name, issuer in zip(NAMES, (chain.one, chain.two), strict=True):
            if {one for one in issuer.alive if not chain.is_told(one)}:
                assert mode == KILL, system.calls
                assert intents[name], system.calls


def test_one_fault_costs_no_second_request(tmp_path: Path) -> None:
    """Each issuer is asked once, and what one of the next gets is what was issued, or a new one."""
    for chain, system in _each(tmp_path, FAIL, errno.EIO):
        assert len(chain.one.asked) <= 1, system.calls
        assert len(chain.two.asked) <= 1, system.calls
        chain.open()
        assert chain.get().value.reveal() in chain.two.alive, system.calls


class Dying(Chain):
    """A process that is killed right before, or right after, one of its requests."""

    def __init__(self, folder: str, nth: int, *, is_after: bool) -> None:
        super().__init__(folder)
        self.system = FaultySystem()
        self.nth, self.is_after, self.count = nth, is_after, 0
        self.open(self.system)

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Send the request, or die."""
        self.count += 1
        is_last = self.count == self.nth
        if is_last and not self.is_after:
            self._die()
        answer = super().send(request, deadline)
        if is_last:
            self._die()
        return answer

    def _die(self) -> None:
        self.system.is_dead = True
        raise Killed


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_killed_around_each_request(tmp_path: Path, nth: int, *, is_after: bool) -> None:
    """Identity, first and second issuer: the next one gets a token, and what was cut off is said.

    The request after a kill is one to each, and the token that nobody has is the one in question.
    """
    chain = Dying(str(tmp_path), nth, is_after=is_after)
    chain.try_get()
    assert isinstance(chain.error, Killed)
    chain.open()
    chain.get()
    told = chain.reasons("cut off")
    assert told == [NAMES[0] if nth < 3 else NAMES[1]]
    ended = chain.revoke()
    lost = [one for one in ended if "no answer" in one.reason]
    assert [one.profile for one in lost] == told
    left = chain.one.alive | chain.two.alive
    assert len(left) == (1 if is_after and nth > 1 else 0), "the one that nobody has, and no other"


@EITHER
def test_a_lost_answer_at_either_issuer(tmp_path: Path, which: str) -> None:
    """Exit 5; no link is asked in vain, and `revoke` says what may be alive."""
    chain = Chain(str(tmp_path))
    issuer = issuer_of(chain, which)
    issuer.is_lost = True
    assert chain.try_get() is None
    assert isinstance(chain.error, IssuerError)
    # An exchange of an identity is tried twice, each time with another one; an assertion once.
    assert len(issuer.asked) == (2 if which == "one" else 1)
    assert len(chain.two.asked) == (0 if which == "one" else 1)
    ended = chain.revoke()
    unknown = [one for one in ended if "got no answer" in one.reason]
    assert [one.profile for one in unknown] == [name_at(which)] * len(issuer.asked)
    others = chain.two if which == "one" else chain.one
    assert others.alive == set()


@EITHER
@pytest.mark.parametrize("status", [503, 400])
def test_an_issuer_that_refuses(tmp_path: Path, which: str, status: int) -> None:
    """At most two requests in a window: whoever comes next is told without one."""
    chain = Chain(str(tmp_path))
    issuer = issuer_of(chain, which)
    issuer.faults = [status] * 9
    for _ in range(4):
        assert chain.try_get() is None
        assert isinstance(chain.error, IssuerError)
    assert len(issuer.asked) <= 2
    assert len(chain.one.asked) <= 2
    issuer.faults = []
    assert chain.get(is_fresh=True).value.reveal() in chain.two.alive


@pytest.mark.parametrize("fault", [IssuerError("silence"), 403, 500], ids=str)
def test_a_platform_that_does_not_say_who_the_job_is(
    tmp_path: Path, fault: BaseException | int
) -> None:
    """Nothing was sent to an issuer, and no intent is left that would say so."""
    chain = Chain(str(tmp_path))
    chain.fault = fault
    assert chain.try_get() is None
    assert chain.one.asked == chain.two.asked == []
    assert not any(map(chain.has_intent, NAMES))
    assert chain.revoke() == []


def test_the_failure_of_one_job_is_not_another_s(tmp_path: Path) -> None:
    """A job that comes next on this runner asks for itself at once."""
    chain = Chain(str(tmp_path))
    chain.two.faults = [503]
    assert chain.try_get() is None
    asked = len(chain.two.asked)
    chain.environ["GITHUB_RUN_ID"] = "2"
    assert chain.get().value.reveal() in chain.two.alive
    assert len(chain.two.asked) == asked + 1


def test_the_links_share_the_time(tmp_path: Path) -> None:
    """The inner exchange happens under the outer grant's lock: both end within its seconds."""
    chain = Chain(str(tmp_path), text=f'{CHAIN}timeout = "5s"\n')
    begun = work_time()
    chain.get()
    (first,), (second,) = chain.one.deadlines, chain.two.deadlines
    assert first <= second <= begun + 10, "of the outer one's 5 s, not the inner one's 20"


def test_a_source_that_is_busy_takes_no_more_than_the_time(tmp_path: Path) -> None:
    """Another process has the source's lock: exit 8, in time, and whoever waits is told at once."""
    chain = Chain(str(tmp_path), text=f'{CHAIN}timeout = "1s"\n')
    begun = work_time()
    with Chain(str(tmp_path)).store.lock_grant(chain.key("grant"), soon()):
        assert chain.try_get() is None
        assert isinstance(chain.error, LockTimeoutError)
        assert work_time() < begun + 15, "a lock alone may be waited for for 22 s"
        failure = chain.store.find_failure(chain.key())
    assert failure is not None
    assert type(failed(failure)) is LockTimeoutError
    assert chain.one.asked == chain.two.asked == []
    assert chain.get().value.reveal() in chain.two.alive, "no back-off: nobody was asked"


def test_two_that_share_a_source_wait_for_each_other_and_end(tmp_path: Path) -> None:
    """The asked grant's lock is taken before its source's, always: no two can wait in a circle."""
    order: list[str] = []
    chain = Chain(str(tmp_path))
    lock_grant = FileStore.lock_grant

    def noted(store: FileStore, key: GrantKey, deadline: float) -> Locking:
        order.append(key.issuer)
        return lock_grant(store, key, deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileStore, "lock_grant", noted)
        chain.get()
        chain.get("deploy", is_fresh=True)
    assert order == [TWO, ONE] * 2


def test_a_job_whose_source_failed_leaves_nothing(tmp_path: Path) -> None:
    """Its note is made before anything can fail, so that what it left is found by the next."""
    chain = Chain(str(tmp_path))
    counts = []
    for number in range(6):
        chain.environ["GITHUB_RUN_ID"] = str(number)
        chain.one.faults = [503, 503]
        assert chain.try_get() is None
        chain.store.remove_ended_jobs(chain.key("grant"), time.time())
        chain.store.remove_ended_jobs(chain.key("deploy"), time.time())
        counts.append(sum(len(files) for _, _, files in os.walk(tmp_path)))
    assert set(counts) == {counts[0]}


@pytest.mark.parametrize("lifetime", ["", 'lifetime = "1h"\n'], ids=["no end known", "an hour"])
def test_a_job_whose_answers_were_lost_goes_in_the_end(tmp_path: Path, lifetime: str) -> None:
    """What nobody knows is told of for a day, or while it lives, and is not kept for ever."""
    chain = Chain(str(tmp_path), text=f"{CHAIN}{lifetime}")
    chain.two.is_lost = True
    assert chain.try_get() is None
    now = time.time()
    chain.store.remove_ended_jobs(None, now)
    assert chain.store.disk.names(QUEUE) == [chain.store.name_of(chain.key())]
    chain.store.remove_ended_jobs(None, now + 86_500)
    assert chain.store.disk.names(QUEUE) == []
    assert chain.store.disk.names(JOB) == []


def test_what_may_be_alive_of_an_ended_job_stays(tmp_path: Path) -> None:
    """Its queue is tried again until the token is dead by its issuer's word."""
    chain = Chain(str(tmp_path))
    chain.get()
    chain.two.is_down = True
    chain.revoke("deploy")
    now = time.time()
    chain.store.remove_ended_jobs(None, now + 3000)
    assert chain.store.disk.names(QUEUE) == [chain.store.name_of(chain.key())]
    chain.store.remove_ended_jobs(None, now + 4000)
    assert chain.store.disk.names(QUEUE) == []
