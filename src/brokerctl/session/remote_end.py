"""Ends a session from another terminal: a mark, its tokens, its files; by choice a signal.

Its supervisor need not help, and need not be seen from here. It finds the mark at the next request
that it serves, and what it obtained in that moment is ended by it, or by the next command.
"""

from __future__ import annotations

import os
import signal
import time

from brokerctl.broker.events import event, shown_requester
from brokerctl.errors import BrokerError, PartialError, StoreError
from brokerctl.platform.process import read_requester
from brokerctl.platform.system import SYSTEM
from brokerctl.session.leftovers import (
    ALIVE,
    UNSEEN,
    about,
    find_session,
    find_supervisor,
    mark_ended,
    settle,
)
from brokerctl.session.settlement import revoke_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.broker.revoke import Ending
    from brokerctl.home import Home
    from brokerctl.session.inventory import FoundSession
    from brokerctl.session.leftovers import Session

TOOL = "session"
# What a supervisor passes on to its child, of what ends a program.
SIGNALS = {
    "HUP": signal.SIGHUP,
    "INT": signal.SIGINT,
    "QUIT": signal.SIGQUIT,
    "TERM": signal.SIGTERM,
}


def end_session(home: Home, found: FoundSession) -> tuple[list[Ending], BrokerError | None]:
    """End a session; return how each of its own tokens ended, and what went wrong.

    Where others were faster there is nothing to return. With an error the next command goes on.
    What can't be recorded is not begun.
    """
    ended: list[Ending] = []

    def record(session: Session) -> None:
        requester = shown_requester(read_requester(home.environ, TOOL))
        fields = {"reason": "ended by another command", "requester": requester}
        home.log.append(*event("session.ended", about(session), fields))

    def revoke_own(session_id: str, _profiles: tuple[str, ...]) -> list[Ending]:
        known = find_session(home.store, found.name)  # it may have noted more grants meanwhile
        ended.extend(revoke_left(home, session_id, known.grants if known else (), TOOL))
        return ended

    try:
        marked = mark_ended(home.store, found.name, time.time(), record)
        if marked is not None:
            settle(marked, home.store, found.name, revoke_own, SYSTEM)
    except BrokerError as error:
        return ended, error
    except OSError as error:
        return ended, StoreError(os.strerror(error.errno or 0).lower())
    return ended, None


def send_signal(session: Session, number: int) -> bool:
    """Send a signal to the supervisor, which passes it on; False if it has ended.

    Raises PartialError for a process that can't be seen from here, or is another user's. The
    process is held by a descriptor before its start time is compared, so that no other process that
    got its number meanwhile has the signal.
    """
    state = find_supervisor(session, time.time())
    if state == UNSEEN:
        raise PartialError(
            f"process {session.pid} on {session.host} can't be seen from here, and got no signal"
        )
    try:
        fd = os.pidfd_open(session.pid) if hasattr(os, "pidfd_open") else -1
    except ProcessLookupError:
        return False
    try:
        if find_supervisor(session, time.time()) != ALIVE:
            return False
        _send(session.pid, fd, number)
    except ProcessLookupError:
        return False
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise PartialError(f"process {session.pid} got no signal: {reason}") from error
    finally:
        if fd >= 0:
            os.close(fd)
    return True


def _send(pid: int, fd: int, number: int) -> None:
    if fd >= 0:
        signal.pidfd_send_signal(fd, number)
    else:
        os.kill(pid, number)
