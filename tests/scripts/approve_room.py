"""A program whose rule asks, its terminals, and what its record says of questions and leases."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pexpect

from tests.idp import main_job
from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

RULE = """
[policy]
default = "profile"
[[policy.rule]]
name = "a person decides"
effect = "ask"
{more}
"""
PROMPT = "allow it? [n] "
WAIT_S = 60


class AskingProgram:
    """A home with a profile `service` whose token is asked for, and terminals to be asked at."""

    def __init__(self, program: Program, demo: DemoIssuer) -> None:
        self.program, self.demo = program, demo
        program.env["BROKERCTL_KEEPER"] = "file"
        self.rules()

    def rules(self, more: str = "", approve: str = "", **keys: str) -> None:
        """Write the configuration: the profile, a rule that asks, and the table `approve`."""
        main_job.service(self.program, self.demo, **keys)
        path = os.path.join(self.program.home, "config.toml")
        with open(path, "a", encoding="utf-8") as file:
            file.write(RULE.format(more=more))
            file.write(f"[approve]\n{approve}\n" if approve else "")

    def spawn(self, *words: str, path: str = PROGRAM, **env: str | None) -> Terminal:
        """Run something at a terminal of its own."""
        return Terminal(path, list(words), self.program.environment(env), self.program.home)

    def get(self, *more: str) -> Terminal:
        """Ask for the token at a terminal."""
        return self.spawn("get", "service", *more)

    def records(self, *events: str) -> list[dict[str, Any]]:
        """Return the records of these events, the oldest first."""
        done = self.program("audit", "log", "--json", "--limit", "1000")
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return sorted((one for one in found if one["event"] in events), key=lambda one: one["seq"])

    def listed(self) -> dict[str, Any]:
        """Return what `approve list` says."""
        done = self.program("approve", "list", "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def open_question(self) -> str:
        """Wait until a question is open, and return its id."""
        wait_until(lambda: bool(self.listed()["questions"]))
        return str(self.listed()["questions"][0]["id"])

    def waiting(self) -> int:
        """Return how many processes have the lock of a question open, as asker or behind one."""
        locks = os.path.join(self.program.home, "state", "v1", "locks")
        count = 0
        for folder in glob.glob("/proc/[0-9]*/fd"):
            with contextlib.suppress(OSError):
                links = (os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))
                count += any(link.startswith(locks) for link in links)
        return count


class Terminal:
    """One program at a pty: its foreground, and what was shown."""

    def __init__(self, path: str, words: list[str], env: dict[str, str], cwd: str) -> None:
        self.child = pexpect.spawn(
            path, words, env=env, cwd=cwd, encoding="utf-8", timeout=WAIT_S, dimensions=(40, 80)
        )
        self.shown = ""

    def prompt(self) -> str:
        """Wait for the question; return what was shown before its prompt."""
        self.child.expect_exact(PROMPT)
        self.shown += str(self.child.before) + PROMPT
        return str(self.child.before)

    def answer(self, line: str) -> None:
        """Type an answer."""
        self.child.sendline(line)

    def end(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        self.child.expect(pexpect.EOF)
        self.shown += str(self.child.before)
        self.child.close()
        code, number = self.child.exitstatus, self.child.signalstatus
        return int(code) if code is not None else -int(number or 0)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for a minute at most."""
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.05)


def lines_of(text: str) -> Iterator[str]:
    """Yield the lines that a terminal showed."""
    yield from text.replace("\r", "").split("\n")
