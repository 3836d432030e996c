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
from brokerctl.model import LIVE, SUPERSEDED, StoredValue
from brokerctl.platform.process import GONE, find_process, read_boot, read_pid_ns
from brokerctl.platform.system import SYSTEM
from brokerctl.session import token_files
from brokerctl.store.check import set_damaged_aside
from brokerctl.store.entry import SESSION, TOKEN, plain_name
from brokerctl.store.slots import find_cut_off
from brokerctl.store.values import Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from brokerctl.broker.revoke import Ending
    from brokerctl.home import Home
    from brokerctl.platform.system import System
    from brokerctl.session import Ended, SessionStore
    from brokerctl.store import Entry
    from brokerctl.store.file import FileStore

# A supervisor on another machine or in another container can't be seen from here: it counts as
# ended when its tokens have expired, or after this time.
UNSEEN_S = 86_400.0
_VERSION = 1
_ALIVE = (LIVE, SUPERSEDED)  # at the issuer, as far as is known


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


_LISTS = ("profiles", "grants", "asked", "serves", "scopes", "resource", "audience", "hosts")
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


def is_alive(session: Session, now: float) -> bool:
    """Return whether the supervisor is alive, or may be and can't be seen from here."""
    boot, pid_space = read_boot(SYSTEM), _pid_space()
    if boot and session.boot == boot and session.pid_space == pid_space:
        return _start_time(session.pid) == session.started
    if session.boot != boot and session.host == os.uname().nodename:
        return False  # the machine was rebooted since
    ends_at = session.ends_at if session.ends_at is not None else session.at + UNSEEN_S
    return now < ends_at


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
    *,
    is_over: bool = True,
) -> list[Ended]:
    """End what a session left: its files, its tokens, its entry (`name` is its name in the store).

    The entry stays if anything raises, or more may come (`is_over` is False), so that the next
    command tries again. So does a marked one whose supervisor lives: see this file's head.
    """
    try:
        if session.folder is not None:
            token_files.remove_files(session.folder, system)
    finally:  # an error in the folder must not keep the tokens alive
        ended = list(revoke_own(session.id, session.profiles)) if session.profiles else []
    if is_over and (session.ended_at is None or not is_alive(session, time.time())):
        drop(store, name)
    return ended


def settle_all(
    store: SessionStore,
    name_of: Callable[[str], str],
    revoke_own: Callable[[str, tuple[str, ...]], Iterable[Ended]],
    system: System,
) -> tuple[list[Ended], list[BrokerError]]:
    """End every killed session; return how tokens ended, and the errors of those that stay."""
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
    """Return the start time; None for no process, or for a zombie, which has ended."""
    state, start = find_process(str(pid), SYSTEM)
    return None if state in GONE else str(start)


def _pid_space() -> str:
    number = read_pid_ns(SYSTEM)
    return "" if number is None else f"pid:[{number}]"


def settle_lost(home: Home) -> tuple[list[Ending], list[BrokerError]]:
    """Set damaged entries aside, and end the tokens and files of their sessions.

    Security: the supervisor is not known, so it counts as killed. If its session lives on, the loss
    of its token is noticed at once; a token that nobody revokes would not be noticed.
    """
    moved = set_damaged_aside(home.store, SESSION)
    if moved and home.store.tell is not None:
        home.store.tell(moved)
    ended: list[Ending] = []
    failed: list[BrokerError] = []
    for session_id in _find_lost(home):
        try:
            ended += revoke_left(home, session_id)
            token_files.remove_files(
                token_files.folder_path(home.environ, session_id, SYSTEM), SYSTEM
            )
        except BrokerError as error:
            failed.append(error)
    return ended, failed


def _find_lost(home: Home) -> list[str]:
    """Return the sessions whose entry was set aside and whose tokens may live.

    It does not matter which command set the entry aside: if it stopped half-way, or was `store
    check --mend`, the next one still finds them. A token that was tried before is left out.
    """
    store, name_key = home.store, home.ring.name_key
    lost = {name.partition("-")[0] for name in store.names_aside(SESSION)}
    lost -= {entry.name for entry in store.entries(SESSION)}  # its supervisor has written it again
    if not lost:
        return []
    owners = dict.fromkeys(_owners(store))
    return [one for one in owners if plain_name(name_key, "session", one) in lost]


def _owners(store: FileStore) -> Iterator[str]:
    slots = [entry.value for entry in store.entries(TOKEN)]
    slots += [grant.issued for grant in find_cut_off(store)]
    for slot in slots:
        if not isinstance(slot, Slot) or slot.key.actor is None:
            continue
        tokens = (slot.current, *slot.superseded)
        if any(token and token.value and token.status in _ALIVE for token in tokens):
            yield slot.key.actor


def revoke_left(home: Home, session_id: str, grants: tuple[str, ...] = ()) -> list[Ending]:
    """Revoke the tokens of a session whose supervisor was killed.

    Its profiles may have been edited meanwhile, so that they name other grants now: `grants` has
    the names that it noted itself. Without them its tokens are looked for wherever they may lie.
    """
    from brokerctl.broker.held_grants import profile_for  # noqa: PLC0415 - only where something is left
    from brokerctl.store.slots import find_cut_off  # noqa: PLC0415 - as above

    revoker = home.revoker("exec")
    found = {}
    for entry in _slots(home.store, grants):
        slot = entry.value
        if isinstance(slot, Slot) and slot.key.actor == session_id:
            found[slot.key.grant] = slot.profile
    for grant in find_cut_off(home.store):
        if grant.issued is not None and grant.issued.key.actor == session_id:
            found[grant.key] = grant.issued.profile
    return [
        ending
        for key, name in found.items()
        for ending in revoker.revoke_session(
            profile_for(home.plan.profiles, name, key), key, session_id
        )
    ]


def _slots(store: FileStore, grants: tuple[str, ...]) -> Iterator[Entry]:
    if not grants:
        yield from store.entries(TOKEN)
    for grant in grants:
        yield from store.entries_of(TOKEN, grant)


def settle_leftovers(home: Home) -> tuple[list[Ended], list[BrokerError]]:
    """End what killed sessions left behind, for commands that may talk to an issuer.

    Returns how each token ended, and the errors, which the next command tries again.
    """

    def name_of(session_id: str) -> str:
        return plain_name(home.ring.name_key, "session", session_id)

    def revoke_own(session_id: str, _names: tuple[str, ...]) -> list[Ending]:
        session = parse_session(home.store.find_sealed(SESSION, name_of(session_id)) or b"")
        return revoke_left(home, session_id, session.grants if session else ())

    return settle_all(home.store, name_of, revoke_own, SYSTEM)
