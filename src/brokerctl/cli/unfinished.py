"""The first step of every command that may ask an issuer: finish what killed processes left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from brokerctl import output
from brokerctl.broker.held_grants import profile_for
from brokerctl.errors import BrokerError
from brokerctl.platform.work_clock import work_time
from brokerctl.session.settlement import settle_leftovers, settle_lost
from brokerctl.store.entry import QUEUE
from brokerctl.store.slots import find_cut_off
from brokerctl.store.values import Queue
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerctl.broker.revoke import Revoker
    from brokerctl.home import Home
    from brokerctl.store.file import FileStore

_STDERR = 2
_WAIT_S = 1.0
RETRY_S = 10.0  # for what is queued, where a command is about one profile


def tend(home: Home, first: str | None = None) -> None:
    """Revoke the tokens of killed sessions and the queued ones; report each on stderr.

    `first`: the profile that the command is about. What is queued of its grants is tried first,
    then that of others, for 10 s in all; without one that of all is, however long it takes.
    """
    ended, errors = settle_leftovers(home)
    told = [f"a killed session's token of '{e.profile}': {e.outcome}" for e in ended]
    marked, failed = settle_leftovers(home, is_marked=True)
    told += [f"an ended session's token of '{e.profile}': {e.outcome}" for e in marked]
    told += [e.notice for e in (*ended, *marked) if e.notice]
    errors += failed
    lost, failed = settle_lost(home)
    told += [f"a lost session's token of '{e.profile}': {e.outcome}" for e in lost]
    told += [e.notice for e in lost if e.notice]
    errors += failed
    for line in told:
        _tell(line)
    told = []
    revoker = home.revoker("tend")
    for queue in queues_in_order(home.store, first, work_time):
        profile = profile_for(home.plan.profiles, queue.profile, queue.key)
        try:
            endings = revoker.retry(profile, queue.key, wait_s=_WAIT_S)
        except BrokerError as error:
            errors.append(error)
            continue
        for ending in endings:
            _tell(f"a queued revocation of '{ending.profile}': {ending.outcome}")
        for ending in endings:
            if ending.notice:
                _tell(ending.notice)
    told += [error.message for error in errors]
    told += _finish(home, revoker)
    home.store.remove_ended_jobs(None, time.time())
    for line in told:
        _tell(line)


def _tell(line: str) -> None:
    output.write_line(_STDERR, f"brokerctl: note: {safe(line)}")


def queues_in_order(
    store: FileStore, first: str | None, clock: Callable[[], float]
) -> Iterator[Queue]:
    """Yield what is queued, grant by grant, in the order of their names: of one profile first.

    Where one is named, no other grant is begun `RETRY_S` after the start, by this clock.
    """
    end, others = clock() + RETRY_S, []
    for name in sorted(store.disk.names(QUEUE)):
        if first is not None and clock() >= end:
            return
        queue = _find_queue(store, name)
        if queue is not None and first in {None, queue.profile}:
            yield queue
        elif queue is not None:
            others.append(name)
    for name in others:
        queue = _find_queue(store, name) if clock() < end else None  # as it is now
        if queue is not None:
            yield queue


def _find_queue(store: FileStore, name: str) -> Queue | None:
    entry = next(store.entries_of(QUEUE, name), None)
    return entry.value if entry is not None and isinstance(entry.value, Queue) else None


def _finish(home: Home, revoker: Revoker) -> list[str]:
    """Finish the commits that were cut off between grant and slot; return lines for people."""
    told = []
    for grant in find_cut_off(home.store):
        profile = profile_for(home.plan.profiles, grant.profile, grant.key)
        try:
            if revoker.finish(profile, grant.key, wait_s=_WAIT_S):
                told.append(f"a refresh of '{profile.name}' was cut off: its token is listed now")
        except BrokerError as error:
            told.append(error.message)
    return told
