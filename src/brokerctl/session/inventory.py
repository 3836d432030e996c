"""The sessions of a store as another terminal sees them: which there are, and what each took."""

from __future__ import annotations

import time

from brokerctl.audit.filter import RecordFilter
from brokerctl.audit.read import iterate_records, recorded_sessions
from brokerctl.errors import UsageError
from brokerctl.model import Value
from brokerctl.session.leftovers import ENDED, find_supervisor, parse_session
from brokerctl.store.entry import SESSION, TOKEN
from brokerctl.store.inventory import list_held
from brokerctl.store.slots import find_cut_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from brokerctl.home import Home
    from brokerctl.platform.private_files import Folder
    from brokerctl.session import SessionStore
    from brokerctl.session.leftovers import Session
    from brokerctl.store.inventory import Held

RUNNING, KILLED, MARKED = "running", "killed", "ended"
LIST_HINT = "run 'brokerctl session list'"
_SHORT_CHARS = 8  # of an id, as people see it; more where two begin alike
_HANDED_OUT = frozenset(("token.handed_out",))
_REFUSED = frozenset(("token.denied", "token.refused"))


class FoundSession(Value):
    """One session that has an entry, its name in the store, and what is known of its process."""

    session: Session
    name: str
    supervisor: str  # alive | unseen | ended, as `leftovers.find_supervisor` has it
    short: str  # the first characters of its id; no other session has the same

    @property
    def state(self) -> str:
        """Return running, killed, or ended: by another command, and its process is not done yet."""
        if self.session.ended_at is not None:
            return MARKED
        return KILLED if self.supervisor == ENDED else RUNNING


class Use(Value):
    """What the record says that a session took of one profile."""

    profile: str
    handed_out: int = 0
    refused: int = 0
    last_at: str = ""  # RFC 3339, in whole seconds, of the last of them


def list_sessions(store: SessionStore) -> list[FoundSession]:
    """Return the sessions, the oldest first."""
    now, found = time.time(), []
    for entry in store.entries(SESSION):
        session = parse_session(entry.value) if isinstance(entry.value, bytes) else None
        if session is not None:
            found.append((session, entry.name))
    ids = [session.id for session, _ in found]
    return [
        FoundSession(
            session=session,
            name=name,
            supervisor=find_supervisor(session, now),
            short=shorten(session.id, ids),
        )
        for session, name in sorted(found, key=lambda item: (item[0].at, item[0].id))
    ]


def shorten(session_id: str, others: Iterable[str]) -> str:
    """Return the beginning of an id, long enough to be no other's."""
    length = _SHORT_CHARS
    rest = [one for one in others if one != session_id]
    while length < len(session_id) and any(one.startswith(session_id[:length]) for one in rest):
        length += 1
    return session_id[:length]


def find_one(sessions: list[FoundSession], start: str) -> FoundSession | None:
    """Return the session whose id begins so; UsageError where two do, or where it is no id."""
    if not start:
        raise UsageError("an empty id is no session's", hint=LIST_HINT)
    found = [one for one in sessions if one.session.id.startswith(start)]
    if len(found) > 1:
        shorts = ", ".join(one.short for one in found[:4])
        raise UsageError(f"'{start}' begins the ids of {len(found)} sessions: {shorts}")
    return found[0] if found else None


def read_use(folder: Folder, session_id: str) -> list[Use]:
    """Count in the record what a session was handed out and refused, by profile."""
    found: dict[str, Use] = {}
    for record in iterate_records(folder, RecordFilter(session=session_id)):
        fields = record.fields
        if fields is None or fields.get("event") not in _HANDED_OUT | _REFUSED:
            continue
        name, is_refusal = str(fields.get("profile") or ""), fields["event"] in _REFUSED
        use = found.get(name) or Use(profile=name)
        found[name] = use.replace(
            handed_out=use.handed_out + (not is_refusal),
            refused=use.refused + is_refusal,
            last_at=f"{str(fields.get('time')).partition('.')[0]}Z",
        )
    return [found[name] for name in sorted(found)]


def find_recorded(folder: Folder, start: str) -> str | None:
    """Return the last session in the record whose id begins so."""
    found = recorded_sessions(folder, start) if start else []
    return found[-1] if found else None


def own_tokens(home: Home, session: Session) -> list[Held]:
    """Return the session's own tokens by fingerprint, never by value."""
    grants, store = session.grants, home.store
    slots = (
        [entry for grant in grants for entry in store.entries_of(TOKEN, grant)]
        if grants
        else list(store.entries(TOKEN))
    )
    cut_off = list(find_cut_off(store))
    held = list_held((), slots, home.ring.fingerprint, time.time(), cut_off)
    return [one for one in held if one.session == session.id]


def as_json(found: FoundSession) -> dict[str, Any]:
    """Return what `session list` says of a session; times are seconds since the epoch."""
    one = found.session
    return {
        "id": one.id,
        "state": found.state,
        "supervisor": found.supervisor,
        "agent": one.agent,
        "purpose": one.purpose,
        "command": one.command,
        "profiles": list(one.asked or one.profiles),
        "own": list(one.profiles),
        "serves": list(one.serves),
        "files": one.folder,
        "pid": one.pid,
        "child": one.child,
        "host": one.host,
        "started_at": one.at,
        "expires_at": one.ends_at,
        "ended_at": one.ended_at,
    }
