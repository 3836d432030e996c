"""A session's debts: in the store before the first token, said where they can't be paid."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite
from brokerctl.broker.events import event
from brokerctl.broker.revoke import Ending
from brokerctl.errors import AuditError, BrokerError, SessionEndedError, StoreError
from brokerctl.model import Requester
from brokerctl.platform.process import find_process
from brokerctl.platform.system import SYSTEM, System
from brokerctl.secret import Secret
from brokerctl.session import Tools, leftovers, token_files
from brokerctl.session.cleanup import SessionEnd
from tests.session_room import NoLock

if TYPE_CHECKING:
    from pathlib import Path

ID = "ab" * 16


class Place:
    """The store, what was said, and how the tokens end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, bytes] = {}
        self.said: list[str] = []
        self.endings: list[Ending] = []
        self.trouble: BaseException | None = None
        self.log_trouble: BrokerError | None = None
        self.records: list[tuple[str, dict[str, Any]]] = []

    def find_sealed(self, _kind: int, name: str) -> bytes | None:
        """Return a blob."""
        return self.entries.get(name)

    def lock_entry(self, _name: str) -> NoLock:
        """Return a lock that nobody else wants."""
        return NoLock()

    def put_sealed(self, _kind: int, name: str, data: bytes) -> None:
        """Keep a blob."""
        self.entries[name] = data

    def drop_sealed(self, _kind: int, name: str) -> None:
        """Drop a blob."""
        del self.entries[name]

    def record(self, name: str, fields: dict[str, Any]) -> None:
        """Record, or fail."""
        if self.log_trouble is not None:
            raise self.log_trouble
        self.records.append(event(name, fields))

    def revoke_own(self, session: str, profiles: tuple[str, ...]) -> list[Ending]:
        """End the tokens, or fail."""
        assert (session, profiles) == (ID, ("p",))
        if self.trouble is not None:
            raise self.trouble
        return self.endings

    def ends(
        self, *, has_files: bool = False, is_asked: bool = False, is_kept: bool = True
    ) -> SessionEnd:
        """Return the debts of one session."""
        tools = self.tools(is_kept=is_kept)
        return SessionEnd(ID, ("p",), tools, has_files=has_files, is_asked=is_asked)

    def tools(self, *, is_kept: bool = True) -> Tools:
        """Return what a session has of other rooms."""
        store: Any = self
        return Tools(
            profiles={},
            environ={"XDG_RUNTIME_DIR": str(self.folder)},
            default_profile=None,
            requester=lambda session: Requester(uid=1, pid=2, tool="exec", session=session),
            get=lambda _: pytest.fail("no token is asked for here"),
            revoke_own=self.revoke_own,
            record=self.record,
            store=store,
            name_of=lambda session: f"name of {session}",
            say=self.said.append,
            warn=self.said.append,
            system=SYSTEM,
            is_kept=lambda _: is_kept,
        )

    def session(self) -> leftovers.Session:
        """Return the one session that the store knows."""
        ((name, data),) = self.entries.items()
        assert name == f"name of {ID}"
        session = leftovers.parse_session(data)
        assert session is not None
        return session


class Listed:
    """The store of a place as it lists its entries."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.find_sealed, self.lock_entry = place.find_sealed, place.lock_entry
        self.put_sealed, self.drop_sealed = place.put_sealed, place.drop_sealed

    def entries(self, _kind: int) -> Any:  # noqa: ANN401 - as the store's
        """List blobs."""
        return [
            type("Entry", (), {"name": name, "value": data})
            for name, data in list(self.place.entries.items())
        ]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Make one, with a private folder."""
    tmp_path.chmod(0o700)
    return Place(tmp_path)


def ending(outcome: str, **fields: Any) -> Ending:  # noqa: ANN401 - of Ending
    """Return how one token ended."""
    kind = "access_token"
    return Ending(
        profile="p", subject=None, kind=kind, fingerprint="f" * 32, outcome=outcome, **fields
    )


def test_the_store_knows_it_before_the_first_token(place: Place) -> None:
    """A SIGKILL at any later point leaves what a later command needs: which session, and whose."""
    ends = place.ends()
    assert place.entries == {}
    ends.begin()
    session = place.session()
    assert (session.id, session.profiles, session.ends_at) == (ID, ("p",), None)
    assert ends.fill({}, 5.0) == {}
    assert place.session().ends_at == 5.0
    ends.end()
    assert (place.entries, place.said) == ({}, [])


def test_the_store_knows_the_folder_of_its_files(place: Place) -> None:
    """It is named before it is made, so that no file is left that nobody finds."""
    ends = place.ends(has_files=True)
    ends.begin()
    folder = place.session().folder
    assert folder is not None
    assert folder.startswith(str(place.folder))
    assert list(place.folder.iterdir()) == []


LIVES = {"until": 1_800_000_000.0, "reason": "why"}


@pytest.mark.parametrize(
    ("one", "how", "said"),
    [
        (ending("revoked"), {}, []),
        (ending("expired"), {"is_asked": True}, []),
        (ending("local_only", **LIVES), {}, []),
        (
            ending("local_only", **LIVES),
            {"is_asked": True},
            ["the token of 'p' lives until 2027-01-15T08:00:00Z: why"],
        ),
        (
            ending("local_only", reason="why"),
            {"is_asked": True},
            ["the token of 'p' lives until the issuer ends it: why"],
        ),
        (
            ending("unknown", reason="why"),
            {},
            ["the token of 'p' may still be alive: why; later commands try again"],
        ),
        (
            ending("unknown"),
            {"is_kept": False},
            ["the token of 'p' may still be alive; no later command knows it"],
        ),
        (ending("revoked", notice="the grant has ended"), {}, ["the grant has ended"]),
    ],
)
def test_what_is_said_of_an_ending(
    place: Place, one: Ending, how: dict[str, bool], said: list[str]
) -> None:
    """What lives on despite a `--revoke`, what nobody can know, and a grant that ended with it."""
    place.endings = [one]
    ends = place.ends(**how)
    ends.begin()
    ends.end()
    assert (place.said, place.entries) == (said, {})


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (StoreError("the disk is full"), "the disk is full"),
        (OSError(errno.EIO, "x"), "input/output error"),
        (ZeroDivisionError("secret"), "unexpected ZeroDivisionError"),
    ],
)
def test_what_cannot_be_ended_is_left_to_a_later_command(
    place: Place, trouble: BaseException, said: str
) -> None:
    """The child's exit code is passed on whatever goes wrong here; the entry stays."""
    place.trouble = trouble
    ends = place.ends()
    ends.begin()
    ends.end()
    assert place.said == [f"not all of the session ended: {said}"]
    assert place.session().id == ID


@pytest.mark.parametrize(
    ("changes", "is_left"),
    [
        ({}, False),
        ({"started": "1"}, True),
        ({"pid_space": "pid:[1]"}, False),
        ({"pid_space": "pid:[1]", "ends_at": 1.0}, True),
        ({"pid_space": "pid:[1]", "at": 1.0}, True),
        ({"boot": "another"}, True),
        ({"boot": "another", "host": "elsewhere"}, False),
        ({"boot": "another", "host": "elsewhere", "ends_at": 1.0}, True),
    ],
)
def test_who_counts_as_killed(place: Place, changes: dict[str, Any], *, is_left: bool) -> None:
    """A supervisor here by its start time, one that can't be seen by when its tokens end."""
    ends = place.ends()
    found = leftovers.is_alive(ends.session.replace(**changes), ends.session.at + 1)
    assert found is not is_left


def test_a_zombie_supervises_nobody(place: Place) -> None:
    """Its number is not free before somebody has waited for it, and its session is over."""
    session = place.ends().session
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        started = str(find_process(str(process.pid), SYSTEM)[1])
        one = session.replace(pid=process.pid, started=started)
        assert leftovers.is_alive(one, session.at + 1)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not leftovers.is_alive(one, session.at + 1)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"v":2,"profiles":[]}', b'{"v":1,"profiles":7}', b'{"v":1}']
)
def test_an_entry_of_another_version_is_none(data: bytes) -> None:
    """It is neither ended nor dropped: whoever wrote it knows what it says."""
    assert leftovers.parse_session(data) is None


def test_another_version_of_a_whole_entry_is_none_too(place: Place) -> None:
    """The version decides, and not whether it can be read all the same."""
    data = leftovers.render_session(place.ends().session)
    assert leftovers.parse_session(data) == place.ends().session.replace(
        at=leftovers.parse_session(data).at  # type: ignore[union-attr]  # it is one
    )
    assert leftovers.parse_session(data.replace(b'"v":1', b'"v":2')) is None


def test_one_session_s_trouble_keeps_no_other(place: Place) -> None:
    """Each that could not be settled is named and stays; the others end."""
    first = place.ends().session
    stays = [first.replace(id=name, started="1", folder=None) for name in ("one", "two", "three")]
    troubles = {"one": StoreError("the store"), "two": OSError(errno.EIO, "x"), "three": None}
    place.entries = {one.id: leftovers.render_session(one) for one in stays}

    def revoke_own(session: str, _profiles: tuple[str, ...]) -> list[Ending]:
        trouble = troubles[session]
        if trouble is not None:
            raise trouble
        return [ending("revoked")]

    ended, failed = leftovers.settle_all(Listed(place), lambda name: name, revoke_own, SYSTEM)
    assert [one.outcome for one in ended] == ["revoked"]
    said = [error.message for error in failed]
    assert said == ["the store", "session two: input/output error"]
    assert sorted(place.entries) == ["one", "two"]


ABOUT: dict[str, Any] = {
    "asked": ("p", "q"),
    "purpose": "x" * 300,
    "agent": "coder",
    "command": "/usr/bin/curl",
    "serves": ("socket", "gateway"),
    "scopes": ("a",),
    "resource": ("https://r.example",),
    "audience": (),
    "max_ttl_s": 60.0,
    "uses": 3,
    "rate": "30/m",
    "hosts": ("api.example",),
}


def test_an_entry_says_what_its_session_is() -> None:
    """Each field comes back as it was, lists as tuples; of the command the program's name alone."""
    session = leftovers.describe(ID, ("p",), None, **ABOUT)
    assert (session.command, session.purpose) == ("curl", "x" * 200)
    assert leftovers.parse_session(leftovers.render_session(session)) == session
    more = {"child": 42, "ended_at": 7.0}
    whole = session.replace(**more)
    assert leftovers.parse_session(leftovers.render_session(whole)) == whole


def test_an_entry_of_the_version_before_is_read() -> None:
    """It says less, and its session is ended as ever."""
    body = jsonlite.loads(leftovers.render_session(leftovers.describe(ID, ("p",), None)))
    fields = ("id", "pid", "started", "boot", "pid_space", "host", "at", "ends_at", "profiles")
    old = {name: body[name] for name in ("v", *fields, "folder")}
    found = leftovers.parse_session(jsonlite.dumps(old).encode())
    assert found is not None
    assert (found.id, found.profiles, found.grants, found.asked) == (ID, ("p",), (), ())
    assert (found.ended_at, found.scopes, found.serves) == (None, None, ())


def test_a_mark_ends_and_is_never_written_over(place: Place) -> None:
    """A supervisor that is about to start its child does not: what it got is ended by it."""
    ends = place.ends(has_files=True)
    ends.begin()
    store: Any = place
    name = f"name of {ID}"
    assert not ends.is_ended()
    seen: list[leftovers.Session] = []
    marked = leftovers.mark_ended(store, name, 7.0, seen.append)
    assert marked is not None
    assert (marked.ended_at, [one.ended_at for one in seen]) == (7.0, [None])
    assert leftovers.mark_ended(store, name, 9.0, seen.append) == marked
    assert len(seen) == 1
    assert ends.is_ended()
    with pytest.raises(SessionEndedError) as refused:
        ends.fill({"A": Secret("token")}, 5.0)
    assert (refused.value.exit_code, place.session().ended_at) == (4, 7.0)
    assert list(place.folder.iterdir()) == []
    ends.end()
    assert (place.entries, place.said) == ({}, [])
    assert ends.is_ended()
    assert leftovers.mark_ended(store, name, 9.0, seen.append) is None
    assert place.entries == {}


def test_what_a_session_is_given_is_recorded_at_its_start(place: Place) -> None:
    """Nothing is begun without the record: then no entry is left."""
    ends = place.ends()
    ends.session = ends.session.replace(serves=("socket",), scopes=("a",), uses=3, agent="coder")
    ends.begin()
    ((name, fields),) = place.records
    requester = fields.pop("requester")
    assert (name, requester["session"], requester["tool"]) == ("session.started", ID, "exec")
    given = {"agent": "coder", "serves": ["socket"], "scopes": ["a"], "uses": 3}
    assert fields == {"session": ID, "profiles": ["p"]} | given
    place.entries = {}
    place.log_trouble = AuditError("the log is full")
    with pytest.raises(AuditError):
        ends.begin()
    assert place.entries == {}


def test_what_may_not_be_recorded_is_not_marked(place: Place) -> None:
    """The record of who ended it comes first."""
    ends = place.ends()
    ends.begin()
    store: Any = place

    def refuse(_session: leftovers.Session) -> None:
        raise AuditError("the log is full")

    with pytest.raises(AuditError):
        leftovers.mark_ended(store, f"name of {ID}", 7.0, refuse)
    assert not ends.is_ended()


@pytest.mark.parametrize(("changes", "stays"), [({}, True), ({"started": "1"}, False)])
def test_a_marked_entry_stays_while_its_supervisor_lives(
    place: Place, changes: dict[str, Any], *, stays: bool
) -> None:
    """A token that it was given in the last moment must have somebody who ends it."""
    marked = place.ends().session.replace(ended_at=7.0, **changes)
    name = f"name of {ID}"
    place.entries = {name: leftovers.render_session(marked)}
    place.endings = [ending("revoked")]
    assert leftovers.collect(Listed(place)) == [marked]
    assert leftovers.settle(marked, Listed(place), name, place.revoke_own, SYSTEM) == place.endings
    assert bool(place.entries) is stays


def test_a_file_that_another_process_removes_is_no_trouble(tmp_path: Path) -> None:
    """Two processes end one session at once."""

    class Slow(System):
        def unlink(self, *what: Any, **how: Any) -> None:  # noqa: ANN401 - as the call it stands for
            System().unlink(*what, **how)
            super().unlink(*what, **how)

        def rmdir(self, *what: Any, **how: Any) -> None:  # noqa: ANN401 - as above
            System().rmdir(*what, **how)
            super().rmdir(*what, **how)

    tmp_path.chmod(0o700)
    folder = str(tmp_path / f"brokerctl-{ID}")
    token_files.write_files(folder, {"A": Secret("a"), "B": Secret("b")}, SYSTEM)
    token_files.remove_files(folder, Slow())
    assert list(tmp_path.iterdir()) == []


def test_threads_note_grants_without_losing_one(tmp_path: Path) -> None:
    """Each thread that gets a token notes whose it is first; the entry has all of them."""
    place = Place(tmp_path)
    ends = place.ends()
    ends.begin()
    start = threading.Barrier(8)

    def note(number: int) -> None:
        tools = place.tools().replace(profiles={"p": None}, grants_of=lambda _: (f"g{number}",))
        start.wait()
        ends.note_grants(tools)

    real = place.find_sealed

    def find_slowly(kind: int, name: str) -> bytes | None:
        time.sleep(0.002)
        return real(kind, name)

    place.find_sealed = find_slowly  # type: ignore[assignment,method-assign]  # others get a turn

    threads = [threading.Thread(target=note, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(place.session().grants) == {f"g{number}" for number in range(8)}
