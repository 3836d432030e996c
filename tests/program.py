"""The real installed brokerctl, run as a process of its own in a home of its own."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, ".venv", "bin")
PROGRAM = os.path.join(BIN, "brokerctl")
TIMEOUT_S = 240.0


class Result(NamedTuple):
    """What a run left: exit code (negative for a signal) and both streams as text."""

    returncode: int
    stdout: str
    stderr: str


def clean_env(home: str, *, ci: bool = False, **extra: str | None) -> dict[str, str]:
    """Build a child's whole environment: nothing of the caller's comes along.

    `extra` is added last; None takes a variable out.
    """
    variables: dict[str, str | None] = {
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": os.path.join(home, "tmp"),
        "LANG": "C.UTF-8",
        "BROKERCTL_HOME": os.path.join(home, "state"),
        "BROKERCTL_CONFIG": os.path.join(home, "config.toml"),
        "CI": "true" if ci else None,
        **extra,
    }
    return {name: value for name, value in variables.items() if value is not None}


def require_tool(name: str) -> str:
    """Return the path of a tool; without it, fail in CI and skip elsewhere."""
    path = shutil.which(name)
    if path:
        return path
    message = f"{name} is not installed; `make setup` installs it where it can"
    if os.environ.get("CI"):
        pytest.fail(message)
    return pytest.skip(message)


def clock(shift: str) -> dict[str, str]:
    """Return the variables of a run whose wall clock is wrong: by `-1h`, or `@` a time. None waits.

    faketime names shared memory by its process's number, and a program that leaves by `_exit`
    removes none: a later process of that number fails at it. So what dead ones left is removed.
    """
    require_tool("faketime")
    for path in glob.glob("/dev/shm/*faketime_s[he]m_*"):
        if not os.path.exists(f"/proc/{path.rpartition('_')[2]}"):
            with contextlib.suppress(OSError):  # another's, or another worker was faster
                os.unlink(path)
    (library,) = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return {"LD_PRELOAD": library, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class Program:
    """brokerctl with a private home: `program("get", "ci").stdout`.

    `home` holds all that its runs write; `config` writes the configuration; `env` is added to the
    environment of every run, `path` is what is run.
    """

    path = PROGRAM

    def __init__(self, trace_dir: str, *, ci: bool = False) -> None:
        self.home = tempfile.mkdtemp(prefix="home-", dir=trace_dir)
        os.mkdir(os.path.join(self.home, "tmp"), 0o700)
        self.ci = ci
        self.env: dict[str, str | None] = {}
        self.runs = 0

    def environment(self, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Return the environment of a run, with `env` on top."""
        return clean_env(self.home, ci=self.ci, **{**self.env, **(env or {})})

    def config(self, text: str) -> str:
        """Write the user's configuration, readable by its owner alone, and return its path."""
        path = os.path.join(self.home, "config.toml")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path

    def __call__(
        self,
        *args: str,
        stdin: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: str | None = None,
        timeout_s: float = TIMEOUT_S,
        umask: int = -1,
    ) -> Result:
        """Run it to its end, without a terminal; what it printed is kept for the canary test.

        In a session of its own, so that no run can ask at the terminal of whoever runs the tests.
        `umask` is the caller's; -1: as it is.
        """
        done = subprocess.run(
            [self.path, *args],
            input=stdin if stdin is not None else "",
            env=self.environment(env),
            cwd=cwd or self.home,
            timeout=timeout_s,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            umask=umask,
        )
        self.keep(args, done.stdout, done.stderr)
        return Result(done.returncode, done.stdout, done.stderr)

    def start(
        self, *args: str, env: Mapping[str, str | None] | None = None, cwd: str | None = None
    ) -> subprocess.Popen[str]:
        """Start it with pipes on all three streams; the caller waits for it.

        What `communicate` returns is kept for the canary test.
        """
        return Started(
            self,
            args,
            [self.path, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(env),
            cwd=cwd or self.home,
            text=True,
            start_new_session=True,
        )

    def keep(self, args: tuple[str, ...], stdout: str, stderr: str) -> None:
        """Write down what a run was asked and printed."""
        self.runs += 1
        for name, text in (("args", "\0".join(args)), ("stdout", stdout), ("stderr", stderr)):
            path = os.path.join(self.home, f"run-{self.runs}.{name}")
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)


class Started(subprocess.Popen[str]):
    """A running brokerctl whose output is kept by its program."""

    def __init__(self, program: Program, args: tuple[str, ...], *rest: Any, **options: Any) -> None:  # noqa: ANN401 - Popen's own
        super().__init__(*rest, **options)
        self._program = program
        self._words = args

    def communicate(self, *args: Any, **options: Any) -> tuple[str, str]:  # noqa: ANN401 - Popen's own
        """Wait for its end as Popen does, and keep what it printed."""
        stdout, stderr = super().communicate(*args, **options)
        self._program.keep(self._words, stdout, stderr)
        return stdout, stderr
