"""A small log for the tests of the audit room: made, damaged and judged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from brokerctl.audit.append import Log
from brokerctl.audit.verify import verify
from brokerctl.keys.making import new_ring
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.audit.verify import Report
    from brokerctl.keys.ring import KeyRing
    from brokerctl.platform.system import System

START = 1_795_476_591.25
RING = new_ring()
SMALL = 1000


class Clock:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """Return the time."""
        self.now += 1
        return self.now


class SmallLog:
    """A log in a folder of its own, with its files at hand."""

    def __init__(
        self,
        path: Path,
        *,
        ring: KeyRing = RING,
        system: System = SYSTEM,
        rotate: int = 1 << 24,
    ) -> None:
        self.path = path / "audit"
        folder = open_folder(str(self.path))
        assert folder is not None
        folder.system = system
        self.clock = Clock()
        self.log = Log(folder, ring, system=system, clock=self.clock, rotate=rotate)

    def fill(self, count: int, **fields: object) -> SmallLog:
        """Append so many hand-outs."""
        for number in range(count):
            self.log.append("token.handed_out", {"profile": "p", "number": number, **fields})
        return self

    def read(self, name: str = "log") -> bytes:
        """Return a file's bytes."""
        return (self.path / name).read_bytes()

    def write(self, data: bytes, name: str = "log") -> None:
        """Replace a file's bytes, as an attacker or a crash does."""
        fd = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)

    def lines(self, name: str = "log") -> list[bytes]:
        """Return a file's lines with their newlines."""
        return self.read(name).splitlines(keepends=True)

    def names(self) -> list[str]:
        """Return the names of the files."""
        return sorted(path.name for path in self.path.iterdir())

    def verify(self, *, parse: bool = False) -> Report:
        """Judge the log."""
        return verify(self.log.folder, self.log.ring, parse=parse)

    def kinds(self) -> list[str]:
        """Return the kinds of the problems that verify finds."""
        return [problem.kind for problem in self.verify().problems]


class OneByOne:
    """What stands for a log takes several records as it takes one."""

    def append_all(self, records: list[tuple[str, dict[str, Any]]]) -> None:
        """Append each."""
        append: Any = getattr(self, "append")  # noqa: B009 - each has a signature of its own
        for event, fields in records:
            append(event, fields, durable=True)
