"""The first step of every command that may ask an issuer: finish what killed processes left."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from brokerctl import output
from brokerctl.broker.held_grants import profile_for
from brokerctl.errors import BrokerError
from brokerctl.session.leftovers import settle_leftovers, settle_lost
from brokerctl.store.entry import QUEUE
from brokerctl.store.slots import find_cut_off
from brokerctl.store.values import Queue
from brokerctl.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.broker.revoke import Revoker
    from brokerctl.home import Home

_STDERR = 2
_WAIT_S = 1.0
MOST_QUEUES = 16  # for a command that is about one grant


def tend(home: Home, most: int | None = None) -> None:
    """Revoke the tokens of killed sessions and the queued ones; report each on stderr.

    `most`: of how many grants what is queued is tried again, by chance; None: of all.
    """
    ended, errors = settle_leftovers(home)
    told = [f"a killed session's token of '{e.profile}': {e.outcome}" for e in ended]
    told += [e.notice for e in ended if e.notice]
    lost, failed = settle_lost(home)
    told += [f"a lost session's token of '{e.profile}': {e.outcome}" for e in lost]
    told += [e.notice for e in lost if e.notice]
    errors += failed
    for line in told:
        _tell(line)
    told = []
    revoker = home.revoker("tend")
    for queue in _queues(home, most):
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


def _queues(home: Home, most: int | None) -> Iterator[Queue]:
    """Yield what is queued, grant by grant: of all, or of some that chance chooses."""
    names = home.store.disk.names(QUEUE)
    if most is not None and len(names) > most:
        names = random.sample(names, most)
    for name in names:
        for entry in home.store.entries_of(QUEUE, name):
            if isinstance(entry.value, Queue):
                yield entry.value


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
