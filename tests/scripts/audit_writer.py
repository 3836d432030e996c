"""One writer of the log, run with `-I` many times at once: whole, or dying in mid-write.

Arguments: source folder, packages folder, log folder, how many records, whether to die.
"""

# ruff: noqa: E402 - it runs isolated, so it must find its modules itself
from __future__ import annotations

import os
import sys

SOURCE, PACKAGES, FOLDER, COUNT, DIES = sys.argv[1:]
sys.path[:0] = [SOURCE, PACKAGES]

from brokerctl.audit.append import Log
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import SYSTEM, System


class Ring:
    """The log key of the test."""

    log_id = 1

    def log_key(self, _: int, /) -> bytes:
        """Return the key."""
        return b"k" * 32


class Dying(System):
    """Writes half of a record and is gone, as with SIGKILL."""

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]  # ends the process
        """Write the half."""
        os.write(fd, data[: len(data) // 2])
        os._exit(1)


folder = open_folder(FOLDER)
assert folder is not None
folder.system = Dying() if DIES == "yes" else SYSTEM
log = Log(folder, Ring(), system=folder.system)
os.write(1, b"ready\n")
sys.stdin.readline()  # all begin at once
for number in range(int(COUNT)):
    log.append("token.handed_out", {"pid": os.getpid(), "number": number})
