"""The real program against an issuer that means harm, one way at a time: see table.py."""

from __future__ import annotations

import os
import re
import shutil
import time
import urllib.error
from typing import TYPE_CHECKING

import pytest

from tests.idp.browser import Browser
from tests.idp.hostile.issuer import CLIENT, SCOPES, Issuer
from tests.idp.hostile.table import AGAIN, ANEW, DEAD, ENDED, KILLED, LEFT, WORKS, Mode, modes
from tests.program import Program, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = re.compile(r"^brokerctl:   (\S+)$")
SHORT, USUAL = "2s", "20s"  # deadlines of the profile
SOON_S = 10.0  # for all that must not wait for the usual one; twice that where it is slow
PARAMETERS = [
    pytest.param(
        mode,
        id=f"{mode.scene.name}: {mode.name}",
        marks=pytest.mark.slow(mode.slow) if mode.slow else (),
    )
    for mode in modes()
]


class Stage:
    """The program, the issuer, and the two stores that a mode can start with."""

    def __init__(self, trace_dir: str) -> None:
        self.issuer = Issuer()
        self.program = Program(trace_dir)
        self.program.env["BROKERCTL_KEEPER"] = "file"
        self._secret = os.path.join(self.program.home, "secret")
        with open(os.open(self._secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(self.issuer.client_secret)
        self._state = os.path.join(self.program.home, "state")
        for deadline in (SHORT, USUAL):  # both are compiled here, once
            self.config(deadline)
            assert self.program("status").returncode == 0
        shutil.copytree(self._state, f"{self._state}.bare")
        done = self.log_in(["login", "person"], 1)
        assert done.returncode == 0, done.stderr
        shutil.copytree(self._state, f"{self._state}.full")
        self.issuer.keep()

    def config(self, deadline: str) -> None:
        """Write both profiles with this deadline."""
        person = f'flow = "code"\nscopes = {SCOPES.split()}'
        service = (
            'flow = "client_credentials"\nscopes = ["read"]\n'
            f'client_secret = {{ file = "{self._secret}" }}'
        )
        self.program.config(
            "".join(
                f'[profile.{name}]\nissuer = "{self.issuer.url}"\nclient_id = "{CLIENT}"\n'
                f'timeout = "{deadline}"\n{keys}\n'
                for name, keys in (("person", person), ("service", service))
            )
        )

    def restore(self, *, is_bare: bool) -> None:
        """Bring back a store as it was, and an issuer that behaves."""
        shutil.rmtree(self._state)
        shutil.copytree(f"{self._state}.{'bare' if is_bare else 'full'}", self._state)
        self.issuer.restore()

    def run(self, mode: Mode) -> Result:
        """Run the mode's command, with a short deadline where nothing else ends it."""
        words = mode.scene.words.split()
        self.config(SHORT if mode.is_endless else USUAL)
        if words[0] == "login" and "--flow" not in words:
            visits = len(mode.answers) if mode.scene.endpoint == "auth" else 1
            return self.log_in(words, visits)
        return self.program(*words)

    def log_in(self, words: list[str], visits: int) -> Result:
        """Log in with the scripted browser, which is sent to the issuer so many times."""
        process = self.program.start(*words, "--no-browser")
        assert process.stderr
        seen = []
        for line in process.stderr:
            seen.append(line)
            found = URL.match(line)
            if found:
                for _ in range(visits):
                    visit(found[1])
                break
        stdout, stderr = process.communicate(timeout=60)
        return Result(process.returncode, stdout, "".join(seen) + stderr)

    def leaks(self, done: Result) -> set[str]:
        """Return the secrets that a run printed, though nobody asked for them, or recorded."""
        is_get = done.returncode == 0 and done.stdout.strip() in self.issuer.access_tokens
        text = done.stderr if is_get else done.stdout + done.stderr
        with open(os.path.join(self._state, "v1", "audit", "log"), encoding="utf-8") as record:
            text += record.read()
        return {secret for secret in self.issuer.secrets if secret in text}

    def strays(self, mode: Mode) -> list[str]:
        """Return what went to another origin.

        A login may send its code or its client's secret there, where it was led, but never a token
        of the grant that is held.
        """
        if mode.scene not in {ANEW, AGAIN}:
            return self.issuer.trapped
        kinds = self.issuer.secrets.items()
        kept = [secret for secret, kind in kinds if kind.endswith("_token")]
        return [text for text in self.issuer.trapped if any(one in text for one in kept)]


def visit(url: str) -> None:
    """Send the scripted browser to the issuer; the client may have stopped listening."""
    try:
        Browser().open(url)
    except (urllib.error.URLError, ConnectionError):
        pass


@pytest.fixture(scope="module")
def stage(trace_dir: str) -> Iterator[Stage]:
    """One issuer and one home for all modes."""
    stage = Stage(trace_dir)
    yield stage
    stage.issuer.close()


@pytest.mark.parametrize("mode", PARAMETERS)
def test_mode(stage: Stage, mode: Mode) -> None:
    """The program ends as the table says, soon, shows and records no secret, and loses no grant."""
    stage.restore(is_bare=mode.scene.is_bare)
    stage.issuer.misbehave(mode.scene.endpoint, mode.answers)
    start = time.monotonic()
    done = stage.run(mode)
    took = time.monotonic() - start
    said = done.stdout + done.stderr
    first = said if mode.code in {0, 9} else error_line(done.stderr)
    assert (done.returncode, mode.says in first) == (mode.code, True), said
    assert mode.code in {0, 9} or done.stdout == ""
    assert all(char.isprintable() or char == "\n" for char in said), said
    assert not stage.leaks(done)
    assert took < (2 * SOON_S if mode.slow else SOON_S), took
    assert stage.issuer.asked[mode.scene.endpoint] == mode.asked
    stage.issuer.behave()
    stage.config(USUAL)
    CHECKS[mode.then](stage, mode.scene.words.split()[1])
    assert not stage.strays(mode)


def error_line(stderr: str) -> str:
    """Return the error's first line; there is one and no more."""
    (line,) = [line for line in stderr.splitlines() if line.startswith("brokerctl: error: ")]
    return line


def works(stage: Stage, profile: str) -> None:
    """The grant is as good as ever."""
    done = stage.program("get", profile, "--fresh")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in stage.issuer.access_tokens


def ended(stage: Stage, profile: str) -> None:
    """The grant is known to be dead: a person is needed, and nobody is asked in vain."""
    done = stage.program("get", profile, "--fresh")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert not stage.issuer.asked


def killed(stage: Stage, profile: str) -> None:
    """What could not be revoked was queued, and dies with the next revoke."""
    assert stage.issuer.refresh_tokens
    ended(stage, profile)
    done = stage.program("revoke", "--all")
    assert done.returncode == 0, done.stderr
    assert not stage.issuer.refresh_tokens | stage.issuer.access_tokens


def dead(stage: Stage, profile: str) -> None:
    """Nothing is left, here or at the issuer."""
    ended(stage, profile)
    assert not stage.issuer.refresh_tokens | stage.issuer.access_tokens


def left(stage: Stage, profile: str) -> None:
    """The issuer keeps what it does not revoke; nothing of it is here."""
    ended(stage, profile)
    assert stage.program("revoke", "--all").returncode == 0
    assert stage.issuer.refresh_tokens


CHECKS = {WORKS: works, ENDED: ended, KILLED: killed, LEFT: left, DEAD: dead}
