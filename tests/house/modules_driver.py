"""Runs the real front door and notes which modules it had loaded when it ended.

Arguments: the file to write, the folders to import from, joined by ':', then brokerctl's own. Run
with `-IS`, as bin/brokerctl runs.
"""

from __future__ import annotations

import posix
import sys

path, folders = sys.argv.pop(1), sys.argv.pop(1)
sys.path += folders.split(":")
end = posix._exit  # noqa: SLF001 - the one way out, which is watched
first = posix.getpid()


def leave(code: int) -> None:
    """Write the list and end."""
    if posix.getpid() == first:
        names = "\n".join(sorted(sys.modules))
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
        posix.write(fd, names.encode())
        posix.close(fd)
    end(code)


posix._exit = leave  # type: ignore[assignment]  # noqa: SLF001 - the one way out

from brokerctl.__main__ import main  # noqa: E402 - after the way out is watched

main()
