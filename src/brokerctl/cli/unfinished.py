"""The first step of every command that may ask an issuer: finish what killed processes left."""

from __future__ import annotations

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
    from brokerctl.broker.revoke import Revoker
    from brokerctl.home import Home

_STDERR = 2
_WAIT_S = 1.0


def tend(home: Home) -> None:
    """Revoke the tokens of killed sessions and the queued ones; report each on stderr."""
    ended, errors = settle_leftovers(home)
    told = [f"a killed session's token of '{e.profile}': {e.outcome}" for e in ended]
    told += [e.notice for e in ended if e.notice]
    lost, failed = settle_lost(home)
    told += [f"a lost session's token of '{e.profile}': {e.outcome}" for e in lost]
    told += [e.notice for e in lost if e.notice]
    errors += failed
    queues = [entry.value for entry in home.store.entries(QUEUE)]
    revoker = home.revoker("tend")
    for queue in queues:
        if not isinstance(queue, Queue):
            continue
        profile = profile_for(home.plan.profiles, queue.profile, queue.key)
        try:
            endings = revoker.retry(profile, queue.key, wait_s=_WAIT_S)
        except BrokerError as error:
            errors.append(error)
            continue
        told += [f"a queued revocation of '{e.profile}': {e.outcome}" for e in endings]
        told += [e.notice for e in endings if e.notice]
    told += [error.message for error in errors]
    told += _finish(home, revoker)
    home.store.remove_ended_jobs(None, time.time())
    for line in told:
        output.write_line(_STDERR, f"brokerctl: note: {safe(line)}")


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
