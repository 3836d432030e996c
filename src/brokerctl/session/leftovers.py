"""What a supervisor that was killed left behind: its sealed entry names what must still end.

The entry is written before the first token is obtained and dropped after the last has ended, so
that no SIGKILL falls between. It holds no token: those lie in the store under the session's id.
"""

from __future__ import annotations

import os
import time

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, StoreError
from brokerctl.model import Value
from brokerctl.platform.process import GONE, find_process, read_boot, read_pid_ns
from brokerctl.platform.system import SYSTEM
from brokerctl.session import private
from brokerctl.store.entry import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.platform.system import System
    from brokerctl.session import Ended, SessionStore

# A supervisor on another machine or in another container can't be looked at from here: it counts
# as ended when its tokens have, or after this.
UNSEEN_S = 86_400.0
_VERSION = 1


class Session(Value):
    """One supervised `exec` as the store knows it, and the process that supervises it."""

    id: str
    pid: int
    started: str  # the kernel's start time of that pid: a number is used again, this is not
    boot: str
    pid_space: str
    host: str
    at: float
    ends_at: float | None = None  # when the last of its tokens expires
    profiles: tuple[str, ...] = ()  # with tokens of the session's own
    folder: str | None = None  # of its private files


def describe(session_id: str, profiles: tuple[str, ...], folder: str | None) -> Session:
    """Describe this process as the supervisor of a session."""
    pid = os.getpid()
    return Session(
        id=session_id,
        pid=pid,
        started=_start_time(pid) or "",
        boot=read_boot(SYSTEM) or "",
        pid_space=_pid_space(),
        host=os.uname().nodename,
        at=time.time(),
        profiles=profiles,
        folder=folder,
    )


def render_session(session: Session) -> bytes:
    """Render an entry as JSON."""
    return jsonlite.dumps({"v": _VERSION, **session.as_dict()}).encode("ascii")


def parse_session(data: bytes) -> Session | None:
    """Return the entry, or None for another version's or none at all."""
    try:
        body = jsonlite.loads(data)
        if not isinstance(body, dict) or body.pop("v", None) != _VERSION:
            return None
        body["profiles"] = tuple(body["profiles"])
        return Session(**body)
    except (ValueError, KeyError, TypeError):
        return None


def is_alive(session: Session, now: float) -> bool:
    """Say whether the supervisor lives, or can't be seen from here and may live."""
    boot, pid_space = read_boot(SYSTEM), _pid_space()
    if boot and session.boot == boot and session.pid_space == pid_space:
        return _start_time(session.pid) == session.started
    if session.boot != boot and session.host == os.uname().nodename:
        return False  # this machine was started anew
    ends_at = session.ends_at if session.ends_at is not None else session.at + UNSEEN_S
    return now < ends_at


def collect(store: SessionStore, now: float | None = None) -> list[Session]:
    """Return the sessions whose supervisor is gone and whose entry is still there."""
    seen_at = time.time() if now is None else now
    found = []
    for entry in store.entries(SESSION):
        session = parse_session(entry.value) if isinstance(entry.value, bytes) else None
        if session is not None and not is_alive(session, seen_at):
            found.append(session)
    return found


def settle(
    session: Session,
    store: SessionStore,
    name: str,
    revoke_own: Callable[[str, tuple[str, ...]], Iterable[Ended]],
    system: System,
) -> list[Ended]:
    """End what a session left: its files, its tokens, its entry (`name` is its name in the store).

    The entry stays if anything raises, so that the next command tries again.
    """
    try:
        if session.folder is not None:
            private.remove_files(session.folder, system)
    finally:  # what the child did to its folder must not keep its tokens alive
        ended = list(revoke_own(session.id, session.profiles)) if session.profiles else []
    store.drop_sealed(SESSION, name)
    return ended


def settle_all(
    store: SessionStore,
    name_of: Callable[[str], str],
    revoke_own: Callable[[str, tuple[str, ...]], Iterable[Ended]],
    system: System,
) -> tuple[list[Ended], list[BrokerError]]:
    """Settle every leftover; return how tokens ended, and what failed and stays for later."""
    ended: list[Ended] = []
    failed: list[BrokerError] = []
    for session in collect(store):
        try:
            ended += settle(session, store, name_of(session.id), revoke_own, system)
        except BrokerError as error:
            failed.append(error)
        except OSError as error:
            failed.append(
                StoreError(f"session {session.id}: {os.strerror(error.errno or 0).lower()}")
            )
    return ended, failed


def _start_time(pid: int) -> str | None:
    """Read the start time; a zombie's process is gone, only its number is not yet free."""
    state, start = find_process(str(pid), SYSTEM)
    return None if state in GONE else str(start)


def _pid_space() -> str:
    number = read_pid_ns(SYSTEM)
    return "" if number is None else f"pid:[{number}]"
