"""Many subjects of one profile, with the real program: `status`, `doctor`, `revoke --subject`."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.request import grant_key
from brokerctl.platform.work_clock import work_time
from brokerctl.store.entry import GRANT, TOKEN
from tests import subjects
from tests.store_room import make_queued
from tests.subjects import PROFILE, tenants

if TYPE_CHECKING:
    from tests.program import Program, Result

DAY_S = 86400.0


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return a program with the profile of the subjects."""
    subjects.begin(brokerctl)
    return brokerctl


def lines(done: Result) -> list[str]:
    """Return what `status` says of grants: the key has a line of its own."""
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("key: ")]


def rows(program: Program, *words: str) -> list[dict[str, Any]]:
    """Return the rows of `status --json`."""
    found: list[dict[str, Any]] = json.loads(program("status", "--json", *words).stdout)["profiles"]
    return found


def test_a_few_subjects_have_a_line_each(program: Program) -> None:
    """Beside the profile's own grant, which is not missed where only subjects are logged in."""
    assert lines(program("status")) == ["work: no grant (run 'brokerctl login work')"]
    subjects.fill(program.home, ["ann", "ben"])
    until = rows(program)[1]["expires_at"]
    assert sorted(lines(program("status"))) == [
        f"work for {name}: logged in as sub-{name}, 1 token until {until}"
        for name in ("ann", "ben")
    ]
    assert {(row["profile"], row["subject"], row["sub"]) for row in rows(program)} == {
        ("work", None, None),
        ("work", "ann", "sub-ann"),
        ("work", "ben", "sub-ben"),
    }


def test_many_are_counted_and_who_needs_care_is_named(program: Program) -> None:
    """Ended by the issuer, or by its word within a week; what was revoked here needs nobody."""
    subjects.fill(program.home, tenants(40))
    subjects.fill(program.home, tenants(2, 50), dead_why="the issuer ended it", refresh_token=None)
    subjects.fill(program.home, tenants(3, 60), dead_why="revoked here", refresh_token=None)
    subjects.fill(program.home, tenants(11, 70), ends_at=time.time() + DAY_S)
    first, *care = lines(program("status"))
    assert first == "work: 56 subjects: 2 ended, 51 logged in, 3 revoked; 56 tokens"
    *named, more = care
    assert more == "work: 3 more that need care: 'brokerctl status --json' has all"
    assert len(named) == 10
    assert all("its login ends at" in line or "--subject tenant-5" in line for line in named)
    assert {row["subject"] for row in rows(program)} == {
        None,
        *tenants(40),
        *tenants(2, 50),
        *tenants(3, 60),
        *tenants(11, 70),
    }
    said = program("doctor", "--offline").stdout
    assert "warning: 'work': 53 subjects, of them 2 ended, 11 to end within a week" in said
    assert "nobody is logged in" not in said


def test_one_subject_can_be_picked(program: Program) -> None:
    """Of every profile that holds something for it; of nobody there is nothing, and no error."""
    subjects.fill(program.home, ["ann", "ben"])
    assert [line.partition(",")[0] for line in lines(program("status", "--subject", "ann"))] == [
        "work for ann: logged in as sub-ann"
    ]
    assert [row["subject"] for row in rows(program, "--subject", "ann")] == ["ann"]
    assert lines(program("status", "--subject", "eve")) == ["no profile holds anything for eve"]
    assert rows(program, "--subject", "eve") == []


def test_a_client_s_subjects_are_shown_too(program: Program) -> None:
    """A flow without a person has tokens and no grant."""
    text = subjects.CONFIG.replace('"device"', '"client_credentials"')
    program.config(text + 'client_secret = { env = "X" }\n')
    client = PROFILE.replace(flow="client_credentials")
    subjects.fill(program.home, ["ann"], client)
    store = subjects.open_store(program.home)
    assert store.disk.remove(GRANT, store.name_of(grant_key(client, "ann")))
    found = [(row["subject"], row["state"], row["tokens"]) for row in rows(program)]
    assert found == [(None, "ready", 0), ("ann", "ready", 1)]


def test_a_grant_that_does_not_open_is_counted(program: Program) -> None:
    """Nobody can tell whose it is: `status` says that there is one."""
    subjects.fill(program.home, ["ann", "ben"])
    store = subjects.open_store(program.home)
    name = store.name_of(grant_key(PROFILE, "ann"))
    folder, file_name = store.disk.place(GRANT, name)
    folder.write(file_name, b"nonsense")
    shutil.rmtree(os.path.join(program.home, "state", "v1", "tokens", name))
    assert json.loads(program("status", "--json").stdout)["damaged"] == 1
    assert "1 grant that does not open: run 'brokerctl store check'" in program("status").stdout
    done = program("revoke", "work", "--subject", "ann")
    assert "what is in 1 damaged entry may be alive at the issuer" in done.stderr


@pytest.mark.parametrize("is_listed", ["as this version does", None])
def test_revoke_finds_an_older_grant_of_its_subject(
    program: Program, is_listed: str | None
) -> None:
    """Made with other settings, also by a version that listed nothing; nobody else loses one."""
    subjects.fill(program.home, ["ann", "ben"], PROFILE.replace(scopes=("read", "write")))
    subjects.fill(program.home, ["ann", "ben"])
    if is_listed is None:
        shutil.rmtree(os.path.join(program.home, "state", "v1", "subjects"))
    found = json.loads(program("status", "--json", "--subject", "ann").stdout)
    assert [stray["subject"] for stray in found["strays"]] == ["ann"]
    endings = json.loads(program("revoke", "work", "--subject", "ann", "--json").stdout)["endings"]
    kinds = [(ending["subject"], ending["kind"]) for ending in endings]
    assert sorted(kinds) == [("ann", "access_token")] * 2 + [("ann", "refresh_token")] * 2
    store = subjects.open_store(program.home)
    for profile in (PROFILE, PROFILE.replace(scopes=("read", "write"))):
        ended, live = (store.find_grant(grant_key(profile, name)) for name in ("ann", "ben"))
        assert ended is not None
        assert ended.dead_why == "revoked here"
        assert live is not None
        assert live.dead_why is None


def test_many_older_grants_are_counted(program: Program) -> None:
    """An edited profile leaves one for each subject: ten have a line."""
    subjects.fill(program.home, tenants(12), PROFILE.replace(scopes=("other",)))
    said = lines(program("status"))
    assert sum("also an older grant" in line for line in said) == 10
    assert "2 more older grants: 'brokerctl status --json' has all" in said
    assert len(json.loads(program("status", "--json").stdout)["strays"]) == 12


def test_a_revoke_of_one_is_not_delayed_by_all_that_is_queued(program: Program) -> None:
    """It tries that of its profile for 10 s, here all; `status` and `revoke --all` try all.

    How long and in which order, `tests/unit/test_queues_in_order.py` holds.
    """
    names = tenants(40)
    subjects.fill(program.home, ["ann", *names])
    store = subjects.open_store(program.home, subjects.Unsynced())
    for name in names:
        with store.lock_grant(grant_key(PROFILE, name), work_time() + 20) as locked:
            locked.enqueue(make_queued(f"gone-of-{name}"), profile="work")
    counts = [
        program(*words).stderr.count("a queued revocation of 'work': unknown")
        for words in (("revoke", "work", "--subject", "ann"), ("status",))
    ]
    assert 1 <= counts[0] <= 40
    assert counts[1] == 42, "of ann's two tokens as well"


def test_gc_forgets_whose_nothing_is_left(program: Program) -> None:
    """The list by subject grows with what is held, and not with what was."""
    subjects.fill(program.home, ["ann", "ben"])
    listed = os.path.join(program.home, "state", "v1", "subjects")
    assert len(os.listdir(listed)) == 3
    store = subjects.open_store(program.home)
    name = store.name_of(grant_key(PROFILE, "ann"))
    for entry in list(store.entries_of(TOKEN, name)):
        store.disk.remove(TOKEN, entry.name)
    store.disk.remove(GRANT, name)
    assert program("store", "gc").returncode == 0
    assert len(os.listdir(listed)) == 2
    assert [row["subject"] for row in rows(program, "--subject", "ben")] == ["ben"]
