"""`session list`, `show` and `end` from another terminal; the issuer says which tokens are dead."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.answers import find_faults, read_document
from tests.idp.main_job import service
from tests.program import require_tool
from tests.schema import Schema

if TYPE_CHECKING:
    import subprocess

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

HOLD = "echo $SERVICE_TOKEN; trap 'exit 9' TERM; while read line; do :; done"
EXEC = ("exec", "-p", "service", "--purpose", "release\x1b[2J", "--", "sh", "-c", HOLD)


@pytest.fixture(autouse=True)
def profile(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Make the profile `service` of each test."""
    service(brokerctl, http_issuer)


def token_of(process: subprocess.Popen[str]) -> str:
    """Return what the session's command printed first: its token."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(brokerctl: Program, *words: str, code: int = 0) -> dict[str, Any]:
    """Return the JSON answer of `session`, which is as the schema has it."""
    done = brokerctl("session", *words, "--json")
    assert done.returncode == code, done
    answer: dict[str, Any] = json.loads(done.stdout)
    assert find_faults(Schema(read_document()), f"session {words[0]}", answer) == []
    return answer


def sessions(brokerctl: Program) -> list[dict[str, Any]]:
    """Return what is listed."""
    found: list[dict[str, Any]] = ask(brokerctl, "list")["sessions"]
    return found


def story(brokerctl: Program, start: str) -> list[dict[str, Any]]:
    """Return the records of one session."""
    done = brokerctl("audit", "log", "--session", start, "--json")
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_another_terminal_sees_and_ends_it(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """What runs, for whom and until when; its end is the issuer's word, and the record has it."""
    with brokerctl.start(*EXEC) as process:
        token = token_of(process)
        (one,) = sessions(brokerctl)
        assert (one["state"], one["supervisor"], one["command"]) == ("running", "alive", "sh")
        assert (one["profiles"], one["own"], one["pid"]) == (["service"], ["service"], process.pid)
        assert one["started_at"] < one["expires_at"]
        line = brokerctl("session", "list").stdout
        assert line.startswith(f"{one['id'][:8]} running since ")
        assert r"sh, release\x1b[2J with service (process " in line
        shown = ask(brokerctl, "show", one["id"][:5])
        (held,) = shown["tokens"]
        assert (held["status"], held["scopes"]) == ("live", ["read"])
        assert [(u["profile"], u["handed_out"], u["refused"]) for u in shown["used"]] == [
            ("service", 1, 0)
        ]
        body = ask(brokerctl, "end", one["id"][:4])
        (ended,) = body["sessions"]
        assert (body["all_dead"], ended["state"], ended["signal"]) == (True, "running", None)
        assert [(e["fingerprint"], e["outcome"]) for e in ended["endings"]] == [
            (held["fingerprint"], "revoked")
        ]
        assert not http_issuer.is_active(token)
        (after,) = sessions(brokerctl)
        assert (after["state"], after["supervisor"]) == ("ended", "alive")
        again = brokerctl("session", "end", one["id"])
        assert (again.returncode, "ended, again" in again.stdout) == (0, True)
        _, said = process.communicate()
    assert (process.returncode, "Traceback" in said, "token" in said) == (0, False, False)
    assert sessions(brokerctl) == []
    late = brokerctl("session", "end", one["id"][:8])
    assert (late.returncode, late.stdout) == (0, f"session {one['id'][:8]} had ended already\n")
    events = [record["event"] for record in story(brokerctl, one["id"][:8])]
    assert events == [
        *("session.started", "token.issued", "token.handed_out"),
        *("session.ended", "token.revoked", "exec.end"),
    ]
    assert brokerctl("audit", "verify").returncode == 0


def test_its_process_is_signalled_by_choice(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """The supervisor passes it on to the command, whose exit code is its own."""
    with brokerctl.start(*EXEC) as process:
        token = token_of(process)
        done = brokerctl("session", "end", "--all", "--signal", "SIGTERM")
        assert (done.returncode, f"{process.pid} was sent TERM" in done.stdout) == (0, True), done
        process.wait(timeout=60)
    assert process.returncode == 9
    assert not http_issuer.is_active(token)
    assert sessions(brokerctl) == []


@pytest.mark.parametrize("how", ["list", "end", "get"])
def test_a_killed_supervisor_s_session(
    brokerctl: Program, http_issuer: OidcProvider, how: str
) -> None:
    """The next command ends what it left, whichever it is, and the record says so."""
    with brokerctl.start(*EXEC) as process:
        token = token_of(process)
        (one,) = sessions(brokerctl)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert http_issuer.is_active(token)
        if how == "end":
            done = brokerctl("session", "end", one["id"])
            assert "(its process has ended)" in done.stdout
        else:
            done = brokerctl(*{"list": ("session", "list"), "get": ("status",)}[how])
            assert "a killed session's token of 'service': revoked" in done.stderr
        assert done.returncode == 0
        assert process.stdin is not None
        process.stdin.close()
    assert not http_issuer.is_active(token)
    assert sessions(brokerctl) == []
    events = [record["event"] for record in story(brokerctl, one["id"])]
    assert sorted(events[3:]) == ["session.ended", "token.revoked"]


def test_what_cannot_be_revoked_is_said(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Exit code 9 and a queue, as `revoke` does; the next command goes on."""
    with brokerctl.start(*EXEC) as process:
        token = token_of(process)
        (one,) = sessions(brokerctl)
        http_issuer.mode(revocation="503")
        done = brokerctl("session", "end", one["id"][:6])
        assert (done.returncode, "unknown, queued" in done.stdout) == (9, True)
        http_issuer.reset()
        assert http_issuer.is_active(token)
        assert brokerctl("session", "list").returncode == 0
        assert not http_issuer.is_active(token)
        process.communicate()


def test_one_that_cannot_be_seen_is_ended_too(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """A supervisor in another pid namespace: its tokens die, and a signal is refused."""
    brokerctl("status")  # makes the key
    inner, brokerctl.path = brokerctl.path, require_tool("unshare")
    process = brokerctl.start("--user", "--map-root-user", "--pid", "--fork", inner, *EXEC)
    brokerctl.path = inner
    with process:
        token = token_of(process)
        (one,) = sessions(brokerctl)
        assert one["supervisor"] == "unseen"
        done = brokerctl("session", "end", one["id"], "--signal", "TERM")
        assert done.returncode == 9
        assert "can't be seen from here, and got no signal" in done.stderr
        assert not http_issuer.is_active(token)
        process.communicate()
    assert sessions(brokerctl) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("end",), "name one session, or say --all"),
        (("end", "ab", "--all"), "name one session, or say --all"),
        (("end", "abcd"), "no session 'abcd'"),
        (("show", "abcd"), "no session 'abcd'"),
        (("end", "abcd", "--signal", "KILL"), "'KILL' is no signal for this"),
    ],
)
def test_what_is_refused(brokerctl: Program, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, and nothing is changed."""
    done = brokerctl("session", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"brokerctl: error: {said}" in done.stderr


def test_nothing_runs(brokerctl: Program) -> None:
    """Also beside an `exec` with a shared token, which has nothing to end."""
    words = ("exec", "--keep", "-p", "service", "--", "sh", "-c", "echo up; read line")
    with brokerctl.start(*words) as process:
        assert token_of(process) == "up"
        for way in (("list",), ("end", "--all")):
            done = brokerctl("session", *way)
            assert (done.returncode, done.stdout) == (0, "no session has anything to end\n")
        process.communicate()
    assert os.path.isdir(brokerctl.home)


@pytest.mark.parametrize("nested", [(), ("--nested",)])
def test_headers_for_a_client(
    brokerctl: Program, http_issuer: OidcProvider, nested: tuple[str, ...]
) -> None:
    """A token that the issuer knows, decided and recorded; what is refused prints no headers."""
    words = ("helper", "headers", "--profile", "service", "--scope", "read", *nested)
    done = brokerctl(*words)
    assert done.returncode == 0, done
    answer = json.loads(done.stdout)
    (value,) = (answer["headers"] if nested else answer).values()
    assert http_issuer.is_active(value.removeprefix("Bearer "))
    record = json.loads(brokerctl("audit", "log", "--limit", "1", "--json").stdout)
    assert (record["event"], record["requester"]["tool"]) == ("token.handed_out", "headers")
    refused = brokerctl(*words[: -1 if nested else None], "--scope", "admin")
    assert (refused.returncode, refused.stdout) == (4, "")
