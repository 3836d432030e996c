"""Two processes end a session at once, or one is killed in the middle: no token lives."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.idp.main_job import service
from tests.idp.test_session_elsewhere import EXEC, sessions, token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

ROUNDS = 2


@pytest.fixture(autouse=True)
def profile(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Make the profile `service` of each test, and the key."""
    service(brokerctl, http_issuer)
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    assert brokerctl("session", "list").returncode == 0


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait for something that will be, however slow the machine is."""
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def entries(brokerctl: Program) -> list[str]:
    """Return the names of the sessions' entries."""
    folder = os.path.join(brokerctl.home, "state", "v1", "sessions")
    return [name for name in os.listdir(folder) if not name.startswith(".")]


def records(brokerctl: Program, event: str) -> list[dict[str, Any]]:
    """Return the records of one event."""
    lines = brokerctl("audit", "log", "--event", event, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def assert_over(brokerctl: Program, issuer: OidcProvider, token: str) -> None:
    """The issuer calls the token dead, no entry and no lock of one is left, the record is whole."""
    assert not issuer.is_active(token)
    assert entries(brokerctl) == []
    assert sessions(brokerctl) == []
    assert brokerctl("audit", "verify").returncode == 0


@pytest.mark.slow("some twenty commands")
def test_two_end_it_at_once(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Each says 0, one of them has revoked it, and the record has one end by another."""
    for number in range(ROUNDS):
        with brokerctl.start(*EXEC) as process:
            token = token_of(process)
            (one,) = sessions(brokerctl)
            enders = [brokerctl.start("session", "end", one["id"]) for _ in range(3)]
            done = [ender.communicate(timeout=120) for ender in enders]
            assert [ender.returncode for ender in enders] == [0] * 3, done
            assert "Traceback" not in str(done)
            assert sum(out.count(": revoked") for out, _ in done) == 1
            assert not http_issuer.is_active(token)
            _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
        assert_over(brokerctl, http_issuer, token)
        assert len(records(brokerctl, "session.ended")) == number + 1


@pytest.mark.slow("four sessions, and what is left after each")
def test_its_own_end_at_the_same_time(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Whoever is faster: the same outcome, no traceback, and no entry that comes back."""
    for pause_s in (0.0, 0.1, 0.2, 0.3):
        with brokerctl.start(*EXEC) as process:
            token = token_of(process)
            (one,) = sessions(brokerctl)
            ender = brokerctl.start("session", "end", one["id"])
            time.sleep(pause_s)  # whichever of them is first then
            _, said = process.communicate(timeout=120)
            out, err = ender.communicate(timeout=120)
        assert (process.returncode, said, ender.returncode) == (0, "", 0), (out, err)
        assert "Traceback" not in err
        assert_over(brokerctl, http_issuer, token)


def test_one_that_is_killed_after_its_mark(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """The next command goes on, also while the supervisor lives."""
    with brokerctl.start(*EXEC) as process:
        token = token_of(process)
        (session,) = sessions(brokerctl)
        locks = os.path.join(brokerctl.home, "state", "v1", "locks")
        (name,) = entries(brokerctl)
        others = {f"{name}.lock"}

        def written() -> int:
            return os.stat(f"{brokerctl.home}/state/v1/sessions/{name}").st_ino

        before = written()
        held = [os.open(f"{locks}/{one}", os.O_RDWR) for one in {*os.listdir(locks)} - others]
        for fd in held:  # the grant's: nothing is queued before it is had
            fcntl.flock(fd, fcntl.LOCK_EX)
        with brokerctl.start("session", "end", session["id"]) as ender:
            wait_until(lambda: written() != before)
            ender.send_signal(signal.SIGKILL)
        for fd in held:
            os.close(fd)
        assert http_issuer.is_active(token)
        done = brokerctl("status")
        assert done.returncode == 0
        assert "an ended session's token of 'service': revoked" in done.stderr
        assert not http_issuer.is_active(token)
        (after,) = sessions(brokerctl)
        assert (after["state"], after["supervisor"]) == ("ended", "alive")
        process.communicate(timeout=120)
    assert_over(brokerctl, http_issuer, token)


@pytest.mark.slow("an issuer that takes seconds")
def test_one_that_is_ended_while_it_starts(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Its token was on its way: no command is started with it, and it is dead."""
    made = os.path.join(brokerctl.home, "made")
    code, said = 0, ""
    for wait_ms in (3000, 9000, 15000):  # on a busy machine the end may come too late
        http_issuer.mode(token=f"slow:{wait_ms}")
        with brokerctl.start("exec", "-p", "service", "--", "touch", made) as process:
            wait_until(lambda: entries(brokerctl))
            done = brokerctl("session", "end", "--all")
            assert done.returncode == 0, done
            _, said = process.communicate(timeout=120)
            code = process.returncode
        if records(brokerctl, "session.ended"):
            break
        os.unlink(made)
    assert (code, os.path.exists(made)) == (4, False), said
    assert "this session was ended by another command" in said
    issued = {record["fingerprint"] for record in records(brokerctl, "token.issued")}
    ended = {
        record["fingerprint"]
        for record in records(brokerctl, "token.revoked")
        if record["outcome"] == "revoked"
    }
    assert issued == ended
    assert (entries(brokerctl), sessions(brokerctl)) == ([], [])


@pytest.mark.parametrize("stage", ["request", "child", "marked", "end"])
@pytest.mark.parametrize("next_", [("session", "list"), ("session", "end", "--all"), ("status",)])
def test_a_supervisor_that_is_killed(
    brokerctl: Program, http_issuer: OidcProvider, stage: str, next_: tuple[str, ...]
) -> None:
    """At whatever stage: what the store knows of is dead after the next command, and said once."""
    if stage == "request":
        http_issuer.mode(token="slow:2000")
    with brokerctl.start(*EXEC) as process:
        token = "" if stage == "request" else token_of(process)
        wait_until(lambda: entries(brokerctl))
        if stage == "marked":
            http_issuer.mode(revocation="503")
            assert brokerctl("session", "end", "--all").returncode == 9
            assert http_issuer.is_active(token)
        if stage == "end":
            http_issuer.mode(revocation="hang")
            assert process.stdin is not None
            process.stdin.close()
            wait_until(lambda: http_issuer.counts()["paths"].get("/token/revocation"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        http_issuer.reset()
        done = brokerctl(*next_)
        assert done.returncode in {0, 9}, done
        assert "Traceback" not in done.stderr
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
    brokerctl("status")  # what was queued while nobody answered is tried again
    assert (entries(brokerctl), sessions(brokerctl)) == ([], [])
    assert token == "" or not http_issuer.is_active(token)
    assert brokerctl("audit", "verify").returncode == 0
