"""What the tests of the session room share: the driver as a process, and what it noted."""

from __future__ import annotations

import binascii
import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

DRIVER = os.path.join(os.path.dirname(__file__), "scripts", "session_driver.py")


class _Started(subprocess.Popen[Any]):
    """A driver that a failing test does not wait for: leaving the block kills its whole tree."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the end, which is ours to bring about where the test has failed."""
        if kind is not None:
            for pid in [*_below(self.pid), self.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        super().__exit__(kind, value, traceback)


def _below(pid: int) -> list[int]:
    """Return the process ids of all that a process has started, deepest first."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []
    return [found for child in children for found in (*_below(child), child)]


class NoLock:
    """The lock of a store that nobody else uses."""

    def __enter__(self) -> Self:
        """Take nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give nothing back."""

    def remove(self) -> None:
        """There is no file."""


class Room:
    """One folder of notes, and the ways to run the driver there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.runtime = os.path.join(folder, "run")
        os.mkdir(self.runtime, 0o700)

    def token(self, profile: str) -> str:
        """Return the token that the driver makes up; no other room has the same."""
        return f"token-of-{profile}-{binascii.crc32(self.folder.encode()):010}"

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of the driver."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        places = {"SESSION_TEST_FOLDER": self.folder, "XDG_RUNTIME_DIR": self.runtime}
        return {**kept, "LANG": "C.UTF-8", **places, **more}

    def words(self, *words: str) -> list[str]:
        """Return the driver's command line."""
        return [sys.executable, "-I", DRIVER, *words]

    def run(self, *words: str, env: dict[str, str] | None = None, **how: Any) -> Any:  # noqa: ANN401 - subprocess's own
        """Run the driver to its end."""
        how.setdefault("capture_output", True)
        how.setdefault("timeout", 60)
        how.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(self.words(*words), env=self.environ(**env or {}), check=False, **how)

    @staticmethod
    def plain(*words: str, env: dict[str, str], **how: Any) -> Any:  # noqa: ANN401 - as run
        """Run a command without the driver."""
        how.setdefault("capture_output", True)
        how.setdefault("timeout", 60)
        return subprocess.run(words, env=env, check=False, **how)

    def start(self, *words: str, env: dict[str, str] | None = None, **how: Any) -> Any:  # noqa: ANN401 - as run
        """Start the driver; the caller waits for it."""
        how.setdefault("stdin", subprocess.DEVNULL)
        return _Started(self.words(*words), env=self.environ(**env or {}), **how)

    def notes(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return what the driver noted, of one kind."""
        try:
            with open(os.path.join(self.folder, "notes"), encoding="utf-8") as file:
                lines = [json.loads(line) for line in file]
        except FileNotFoundError:
            return []
        return [line for line in lines if event in {None, line["event"]}]

    def entries(self) -> list[str]:
        """Return the names of session entries that are still there."""
        return [name for name in os.listdir(self.folder) if name.startswith("entry-")]
