"""Ends what a killed supervisor left behind, as its sealed entry names it.

The entry is written before the first token is obtained and dropped after the last has ended, so a
SIGKILL at any moment leaves it. It holds no token: those lie in the store under the session's id.

Another process ends a session by a mark in its entry: from then on its supervisor hands out
nothing (`is_ended`). A marked entry stays while its supervisor lives, since a token that was on its
way when the mark was written must have somebody who ends it.
"""

from __future__ import annotations

import os
import time

from brokerctl import jsonlite
from brokerctl.errors import BrokerError, SessionEndedError, StoreError
from brokerctl.model import StoredValue
from brokerctl.platform.process import GONE, find_process, read_boot, read_pid_ns
from brokerctl.platform.system import SYSTEM
from brokerctl.session import token_files
from brokerctl.store.entry import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from brokerctl.platform.system import System
    from brokerctl.session import Ended, SessionStore

# A supervisor on another machine or in another container can't be seen from here: it counts as
# ended when its tokens have expired, or after this time.
UNSEEN_S = 86_400.0
ALIVE, UNSEEN, ENDED = "alive", "unseen", "ended"  # a supervisor, as it is seen from here
_VERSION = 1


class Session(StoredValue):
    """One supervised `exec` as the store knows it, and the process that supervises it."""

    id: str
    pid: int
    started: str  # the start time of that process, as pids are reused
    boot: str
    pid_space: str
    host: str
    at: float
    ends_at: float | None = None  # when the last of its tokens expires
    profiles: tuple[str, ...] = ()  # with tokens of the session's own
    folder: str | None = None  # of its private files
    grants: tuple[str, ...] = ()  # whose tokens they are, by name; (): its version did not say
    asked: tuple[str, ...] = ()  # all of its profiles, own and shared; (): its version did not say
    purpose: str | None = None
    agent: str | None = None
    command: str | None = None  # the program's name; never its other words, which may be secret
    serves: tuple[str, ...] = ()  # the ways: socket, gateway, aws, google, azure
    child: int | None = None  # its process id
    ended_at: float | None = None  # the mark: another process ended it then
    # What its flags narrow; None: nothing.
    scopes: tuple[str, ...] | None = None
    resource: tuple[str, ...] | None = None
    audience: tuple[str, ...] | None = None
    max_ttl_s: float | None = None
    uses: int | None = None
    rate: str | None = None  # as it was given: 30/m
    hosts: tuple[str, ...] | None = None
    filed: tuple[str, ...] | None = None  # the variables with a token's file; None: not said

    @property
    def files(self) -> str | None:
        """The folder of its token files; None if there is none, or a socket alone is in it."""
        return None if self.filed == () else self.folder


_LISTS = (
    *("profiles", "grants", "asked", "serves", "scopes", "resource", "audience", "hosts"),
    "filed",
)
_MOST_CHARS = 200  # of what people wrote


def describe(
    session_id: str,
    profiles: tuple[str, ...],
    folder: str | None,
    grants: tuple[str, ...] = (),
    **about: Any,  # noqa: ANN401 - of Session
) -> Session:
    """Describe this process as the supervisor of a session.

    `about`: the fields from `asked` on. Of `command` the program's name alone is taken.
    """
    pid = os.getpid()
    for name in ("purpose", "agent", "command"):
        if about.get(name) is not None:
            about[name] = about[name].rpartition("/")[2] if name == "command" else about[name]
            about[name] = about[name][:_MOST_CHARS]
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
        grants=grants,
        **about,
    )


def render_session(session: Session) -> bytes:
    """Render an entry as JSON."""
    return jsonlite.dumps({"v": _VERSION, **session.as_members()}).encode("ascii")


def parse_session(data: bytes) -> Session | None:
    """Return the entry, or None for another version's or none at all.

    Unknown members are kept: the session must be ended all the same.
    """
    try:
        body = jsonlite.loads(data)
        if not isinstance(body, dict) or body.pop("v", None) != _VERSION:
            return None
        body["profiles"] = tuple(body["profiles"])
        body |= {name: tuple(body[name]) for name in _LISTS if body.get(name) is not None}
        return Session.from_members(body)
    except (ValueError, KeyError, TypeError):
        return None


def find_session(store: SessionStore, name: str) -> Session | None:
    """Return the entry of this name; None if there is none, or none that this version reads."""
    data = store.find_sealed(SESSION, name)
    return None if data is None else parse_session(data)


def is_ended(store: SessionStore, name: str) -> bool:
    """Return whether a session was ended by another process: its entry is marked, or gone.

    Security: ask before a token is obtained and again before it is handed out. What was obtained
    in between is ended by `SessionEnd.end`, or after a SIGKILL by the next command.
    """
    found = find_session(store, name)
    return found is None or found.ended_at is not None


def change(store: SessionStore, name: str, **changes: Any) -> Session:  # noqa: ANN401 - of Session
    """Change an entry under its lock, and return it as it is now.

    Raises SessionEndedError where it is marked or gone: the mark is never written over.
    """
    with store.lock_entry(name):
        found = find_session(store, name)
        if found is None or found.ended_at is not None:
            raise SessionEndedError("this session was ended by another command")
        changed = found.replace(**changes)
        store.put_sealed(SESSION, name, render_session(changed))
    return changed


def mark_ended(
    store: SessionStore, name: str, now: float, before: Callable[[Session], object]
) -> Session | None:
    """Mark a session as ended, and return its entry; None if there is none any more.

    `before` is called with it under the lock, if it is not marked yet; what it raises goes on, and
    then nothing is marked.
    """
    with store.lock_entry(name):
        found = find_session(store, name)
        if found is None or found.ended_at is not None:
            return found
        before(found)
        marked = found.replace(ended_at=now)
        store.put_sealed(SESSION, name, render_session(marked))
    return marked


def drop(store: SessionStore, name: str) -> None:
    """Remove an entry, and the file of its lock; on a full disk without the lock."""
    try:
        with store.lock_entry(name) as lock:
            store.drop_sealed(SESSION, name)
            lock.remove()
    except StoreError:
        store.drop_sealed(SESSION, name)


def about(session: Session) -> dict[str, Any]:
    """Return the fields of a record that say which session it is; what is None is absent."""
    named = {name: getattr(session, name) for name in ("agent", "purpose", "command")}
    found = {name: value for name, value in named.items() if value is not None}
    return {"session": session.id, "profiles": list(session.asked or session.profiles)} | found


def narrowing(session: Session) -> dict[str, Any]:
    """Return what the flags of a session narrow, by name, as JSON has it; null: nothing."""
    lists = {name: getattr(session, name) for name in ("scopes", "resource", "audience", "hosts")}
    shown = {name: None if value is None else list(value) for name, value in lists.items()}
    limits = {"max_ttl_s": session.max_ttl_s, "uses": session.uses, "rate": session.rate}
    return shown | limits


def is_alive(session: Session, now: float) -> bool:
    """Return whether the supervisor is alive, or may be and can't be seen from here."""
    return find_supervisor(session, now) != ENDED


def find_supervisor(session: Session, now: float) -> str:
    """Return what is known from here of the process that supervises a session."""
    boot, pid_space = read_boot(SYSTEM), _pid_space()
    if boot and session.boot == boot and session.pid_space == pid_space:
        return ALIVE if _start_time(session.pid) == session.started else ENDED
    if session.boot != boot and session.host == os.uname().nodename:
        return ENDED  # the machine was rebooted since
    ends_at = session.ends_at if session.ends_at is not None else session.at + UNSEEN_S
    return UNSEEN if now < ends_at else ENDED


def collect(store: SessionStore, now: float | None = None) -> list[Session]:
    """Return the sessions that nobody else ends: killed ones, and those that are marked."""
    seen_at = time.time() if now is None else now
    found = []
    for entry in store.entries(SESSION):
        session = parse_session(entry.value) if isinstance(entry.value, bytes) else None
        if session is None:
            continue
        if session.ended_at is not None or not is_alive(session, seen_at):
            found.append(session)
    return found


def settle(
    session: Session,
    store: SessionStore,
    name: str,
    revoke_own: Callable[[str, tuple[str, ...]], Iterable[Ended]],
    system: System,
    record: Callable[[Session], object] = lambda _: None,
    *,
    is_over: bool = True,
) -> list[Ended]:
    """End what a session left: its files, its tokens, its entry (`name` is its name in the store).

    The entry stays if anything raises, or more may come (`is_over` is False), so that the next
    command tries again. So does a marked one whose supervisor lives: see this file's head. `record`
    is called before the entry goes.
    """
    try:
        if session.folder is not None:
            is_there = session.ended_at is not None and is_alive(session, time.time())
            token_files.remove_files(session.folder, system, keeps_socket=is_there)
    finally:  # an error in the folder must not keep the tokens alive
        ended = list(revoke_own(session.id, session.profiles)) if session.profiles else []
    if is_over and (session.ended_at is None or not is_alive(session, time.time())):
        record(session)
        drop(store, name)
    return ended


def settle_all(
    store: SessionStore,
    name_of: Callable[[str], str],
    revoke_own: Callable[[str, tuple[str, ...]], Iterable[Ended]],
    system: System,
    record: Callable[[Session], object] = lambda _: None,
    *,
    is_marked: bool | None = None,
) -> tuple[list[Ended], list[BrokerError]]:
    """End every session that nobody else ends, or only those that are marked, or are not.

    Returns how tokens ended, and the errors of the sessions that stay.
    """
    ended: list[Ended] = []
    failed: list[BrokerError] = []
    for session in collect(store):
        if is_marked not in {None, session.ended_at is not None}:
            continue
        try:
            ended += settle(session, store, name_of(session.id), revoke_own, system, record)
        except BrokerError as error:
            failed.append(error)
        except OSError as error:
            failed.append(
                StoreError(f"session {session.id}: {os.strerror(error.errno or 0).lower()}")
            )
    return ended, failed


def _start_time(pid: int) -> str | None:
    """Return the start time; None for no process, or for a zombie, which has ended."""
    state, start = find_process(str(pid), SYSTEM)
    return None if state in GONE else str(start)


def _pid_space() -> str:
    number = read_pid_ns(SYSTEM)
    return "" if number is None else f"pid:[{number}]"
