"""A session's debts: in the store before the first token, said where they can't be paid."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.revoke import Ending
from brokerctl.errors import StoreError
from brokerctl.platform.process import find_process
from brokerctl.platform.system import SYSTEM
from brokerctl.session import Tools, leftovers
from brokerctl.session.cleanup import SessionEnd

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

    def put_sealed(self, _kind: int, name: str, data: bytes) -> None:
        """Keep a blob."""
        self.entries[name] = data

    def drop_sealed(self, _kind: int, name: str) -> None:
        """Drop a blob."""
        del self.entries[name]

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
        store: Any = self
        tools = Tools(
            profiles={},
            environ={"XDG_RUNTIME_DIR": str(self.folder)},
            default_profile=None,
            requester=lambda _: pytest.fail("nobody asks here"),
            get=lambda _: pytest.fail("no token is asked for here"),
            revoke_own=self.revoke_own,
            record=lambda *_: None,
            store=store,
            name_of=lambda session: f"name of {session}",
            say=self.said.append,
            warn=self.said.append,
            system=SYSTEM,
            is_kept=lambda _: is_kept,
        )
        return SessionEnd(ID, ("p",), tools, has_files=has_files, is_asked=is_asked)

    def session(self) -> leftovers.Session:
        """Return the one session that the store knows."""
        ((name, data),) = self.entries.items()
        assert name == f"name of {ID}"
        session = leftovers.parse_session(data)
        assert session is not None
        return session


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

    class Listed:
        def entries(self, _kind: int) -> Any:  # noqa: ANN401 - as the store's
            return [
                type("Entry", (), {"name": name, "value": data})
                for name, data in list(place.entries.items())
            ]

        drop_sealed = staticmethod(place.drop_sealed)
        put_sealed = staticmethod(place.put_sealed)

    def revoke_own(session: str, _profiles: tuple[str, ...]) -> list[Ending]:
        trouble = troubles[session]
        if trouble is not None:
            raise trouble
        return [ending("revoked")]

    ended, failed = leftovers.settle_all(Listed(), lambda name: name, revoke_own, SYSTEM)
    assert [one.outcome for one in ended] == ["revoked"]
    said = [error.message for error in failed]
    assert said == ["the store", "session two: input/output error"]
    assert sorted(place.entries) == ["one", "two"]
