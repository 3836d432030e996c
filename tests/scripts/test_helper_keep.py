"""Credentials of git's own in our store: to whom they go back, under which record, until when."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import clock

if TYPE_CHECKING:
    from tests.program import Program, Result

KEEP = '[helpers]\nkeep = ["git"]\n'
PROFILE = """
[profile.work]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://ours.example.com"]
username = "alice-work"
"""
PASSWORD = "hunter2-of-alice"
ALICE = "username=alice\n"
SECRET = f"{ALICE}password={PASSWORD}\n"
EVENTS = ("credential.kept", "credential.handed_out", "credential.dropped")


@pytest.fixture
def keeping(brokerctl: Program) -> Program:
    """Return a program that keeps what git stores."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(KEEP + PROFILE)
    return brokerctl


def git(
    program: Program, word: str, lines: str = "", place: str = "https git.example.com", *more: str
) -> Result:
    """Run one operation of the helper for a place: `PROTOCOL HOST [PATH]`."""
    protocol, host, path = [*place.split(), ""][:3]
    asked = f"protocol={protocol}\nhost={host}\n" + (f"path={path}\n" if path else "")
    return program("helper", "git", *more, word, stdin=f"{asked}{lines}\n")


def records(program: Program, event: str) -> list[dict[str, Any]]:
    """Return the log's records of an event."""
    lines = program("audit", "log", "--event", event, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_what_is_stored_comes_back(keeping: Program) -> None:
    """To its place, as it was, without a user named or with its own."""
    assert git(keeping, "store", SECRET) == (0, "", "")
    assert git(keeping, "get") == (0, SECRET, "")
    assert git(keeping, "get", ALICE) == (0, SECRET, "")
    assert git(keeping, "get", "", "https GIT.example.com:443") == (0, SECRET, "")


def test_by_default_nothing_is_kept(keeping: Program) -> None:
    """Without `keep` all of it is silent, and what was kept before is not handed out."""
    git(keeping, "store", SECRET)
    keeping.config(PROFILE)
    assert git(keeping, "get") == (0, "", "")
    assert git(keeping, "store", SECRET, "https other.example.com") == (0, "", "")
    assert git(keeping, "erase", SECRET) == (0, "", "")
    assert len(records(keeping, "credential")) == 1
    keeping.config(KEEP)
    assert git(keeping, "get", "", "https other.example.com") == (0, "", "")
    assert git(keeping, "get").stdout == SECRET


@pytest.mark.parametrize(
    ("place", "lines"),
    [
        ("http git.example.com", ""),
        ("https git.example.org", ""),
        ("https sub.git.example.com", ""),
        ("https example.com", ""),
        ("https git.example.com:8443", ""),
        ("https git.example.com team", ""),
        ("https git.example.com", "username=bob\n"),
        ("https git.example.com", "username=\n"),
        ("https git.example.com", "username=ALICE\n"),
        ("https git.example.com.", ""),
        ("https git.example.com%2f", ""),
        ("https alice@git.example.com", ""),
        ("https *.example.com", ""),
        ("https g\u0131t.example.com", ""),
    ],
)
def test_it_goes_nowhere_else(keeping: Program, place: str, lines: str) -> None:
    """Security: protocol, host, port, path and user are those that it was stored for."""
    git(keeping, "store", SECRET)
    assert git(keeping, "get", lines, place) == (0, "", "")
    assert not records(keeping, "credential.handed_out")


@pytest.mark.parametrize("place", ["https git.example.com team", "https git.example.com"])
def test_a_path_is_part_of_the_place(keeping: Program, place: str) -> None:
    """What was stored for one path is not for the host, nor for another path."""
    git(keeping, "store", SECRET, "https git.example.com team/shop.git")
    assert git(keeping, "get", "", place) == (0, "", "")
    assert git(keeping, "get", "", "https git.example.com team/shop.git").stdout == SECRET


@pytest.mark.parametrize("host", ["git.example.com.", "*.example.com", "u@git.example.com", "a%b"])
def test_a_spelling_with_two_readings_is_not_kept(keeping: Program, host: str) -> None:
    """Security: and nobody is told so, since git has other helpers."""
    assert git(keeping, "store", SECRET, f"https {host}") == (0, "", "")
    assert not records(keeping, "credential")


def test_a_profile_s_host_is_the_profile_s(keeping: Program) -> None:
    """Nothing is kept for it, and what was kept before it had a profile is not handed out."""
    keeping.config(KEEP)
    git(keeping, "store", SECRET, "https ours.example.com")
    git(keeping, "store", SECRET.replace("alice", "alice-work"), "https ours.example.com")
    keeping.config(KEEP + PROFILE)
    code, stdout, stderr = git(keeping, "get", "", "https ours.example.com")
    assert (code, stdout) == (0, "quit=1\n")
    assert "no grant for 'work'" in stderr
    assert git(keeping, "get", "username=alice-work\n", "https ours.example.com").stdout == stdout
    own = "username=alice-work\npassword=x\n"
    assert git(keeping, "store", own, "https ours.example.com") == (0, "", "")
    assert len(records(keeping, "credential.kept")) == 2
    # Another user of that host, named in so many words, is nobody's but its own.
    assert git(keeping, "get", ALICE, "https ours.example.com").stdout == SECRET


def test_each_step_is_recorded_without_the_value(keeping: Program) -> None:
    """Kept, handed out and dropped, all by one fingerprint."""
    git(keeping, "store", SECRET)
    git(keeping, "get")
    git(keeping, "erase", SECRET)
    found = [records(keeping, event) for event in EVENTS]
    assert [len(one) for one in found] == [1, 1, 1]
    kept, handed_out, dropped = (one[0] for one in found)
    assert kept["fingerprint"] == handed_out["fingerprint"] == dropped["fingerprint"]
    assert kept["url"] == "https://git.example.com"
    assert kept["username"] == "alice"
    assert handed_out["requester"]["tool"] == "git"
    assert handed_out["decision"]["rule"] == "helpers.keep"
    assert dropped["reason"] == "a server refused it"
    assert PASSWORD not in keeping("audit", "log", "--json").stdout
    assert keeping("audit", "verify").returncode == 0


def test_no_record_no_credential(keeping: Program) -> None:
    """A log that can't be written keeps it in, and keeps a new one out."""
    git(keeping, "store", SECRET)
    log = os.path.join(keeping.home, "state", "v1", "audit", "log")
    os.rename(log, log + ".away")
    os.mkdir(log)
    code, stdout, stderr = git(keeping, "get")
    assert (code, stdout) == (0, "quit=1\n")
    assert stderr.startswith("brokerctl: error: ")
    assert "error" in git(keeping, "store", SECRET, "https other.example.com").stderr
    os.rmdir(log)
    os.rename(log + ".away", log)
    assert git(keeping, "get").stdout == SECRET
    assert git(keeping, "get", "", "https other.example.com") == (0, "", "")


def test_git_stores_what_it_was_given_after_each_use(keeping: Program) -> None:
    """The same again is no news; another password is, and replaces it."""
    for _ in range(3):
        git(keeping, "store", SECRET)
    assert len(records(keeping, "credential.kept")) == 1
    git(keeping, "store", SECRET.replace(PASSWORD, "new"))
    assert len(records(keeping, "credential.kept")) == 2
    assert git(keeping, "get").stdout == SECRET.replace(PASSWORD, "new")


def test_an_end_and_a_refresh_token(keeping: Program) -> None:
    """Both come back; what ended is dropped, unless something can renew it."""
    past, future = int(time.time()) - 5, int(time.time()) + 3600
    git(keeping, "store", f"{SECRET}password_expiry_utc={past}\n")
    assert not records(keeping, "credential.kept")
    more = f"password_expiry_utc={future}\noauth_refresh_token=xyzzy\n"
    git(keeping, "store", SECRET + more)
    assert git(keeping, "get").stdout == SECRET + more
    more = f"password_expiry_utc={past}\noauth_refresh_token=xyzzy\n"
    git(keeping, "store", SECRET + more)
    assert git(keeping, "get").stdout == SECRET + more


def test_a_timeout(keeping: Program) -> None:
    """As that of git's cache: forgotten when it is over, and recorded."""
    an_hour_ago = clock("-1h")
    keeping.env.update(an_hour_ago)
    git(keeping, "store", SECRET, "https git.example.com", "--timeout=1800")
    assert keeping("status").stdout.splitlines().count("kept for other tools: 1 credential") == 1
    for name in an_hour_ago:
        del keeping.env[name]
    assert "kept for" not in keeping("status").stdout
    assert git(keeping, "get") == (0, "", "")
    assert [one["reason"] for one in records(keeping, "credential.dropped")] == ["its time is over"]


def test_a_bad_timeout_keeps_nothing(keeping: Program) -> None:
    """And says so, without what was to be kept."""
    done = git(keeping, "store", SECRET, "https git.example.com", "--timeout=never")
    assert done == (
        0,
        "",
        "brokerctl: note: not a request of git: --timeout is not a number of seconds\n",
    )
    assert git(keeping, "get") == (0, "", "")


def test_status_check_and_json(keeping: Program) -> None:
    """They are counted, in one line, and opened by `store check`."""
    git(keeping, "store", SECRET)
    git(keeping, "store", SECRET.replace("alice", "bob"))
    assert "kept for other tools: 2 credentials" in keeping("status").stdout.splitlines()
    assert json.loads(keeping("status", "--json").stdout)["kept"] == 2
    assert json.loads(keeping("store", "check", "--json").stdout)["entries"]["kept"] == 2


def test_backup_restore_and_new_keys(keeping: Program) -> None:
    """What is kept is still there after each."""
    keeping.env["BROKERCTL_PASSPHRASE"] = "correct horse"
    git(keeping, "store", SECRET)
    file = os.path.join(keeping.home, "all.backup")
    assert keeping("store", "backup", file).returncode == 0
    assert keeping("store", "rekey", "--new-keys").returncode == 0
    assert git(keeping, "get").stdout == SECRET
    git(keeping, "erase")
    assert git(keeping, "get").stdout == ""
    assert keeping("store", "restore", file).returncode == 0
    assert git(keeping, "get").stdout == SECRET


def test_many_at_once(keeping: Program) -> None:
    """Each user of one place is kept, whoever else is being kept."""
    names = [f"user{at}" for at in range(6)]
    keeping("status")
    threads = [
        threading.Thread(target=git, args=(keeping, "store", SECRET.replace("alice", name)))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert git(keeping, "get", f"username={name}\n").stdout.startswith(f"username={name}\n")
    assert len(records(keeping, "credential.kept")) == len(names)


def test_the_same_at_once(keeping: Program) -> None:
    """Who looks whether it is news holds the entry's lock: one record, however many store it."""
    keeping("status")
    threads = [threading.Thread(target=git, args=(keeping, "store", SECRET)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(keeping, "credential.kept")) == 1
