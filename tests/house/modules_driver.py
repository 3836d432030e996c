"""Runs the real front door and notes which modules it had loaded when it ended.

Arguments: the file to write, the folders to import from, joined by ':', then brokerctl's own. Run
with `-IS`, as bin/brokerctl runs.
"""

from __future__ import annotations

import os
import sys

path, folders = sys.argv.pop(1), sys.argv.pop(1)
sys.path += folders.split(":")
end = os._exit
first = os.getpid()


def leave(code: int) -> None:
    """Write the list and end."""
    if os.getpid() == first:
        names = "\n".join(sorted(sys.modules))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, names.encode())
        os.close(fd)
    end(code)


os._exit = leave  # type: ignore[assignment]  # the one way out of the front door

from brokerctl.__main__ import main  # noqa: E402 - after the way out is watched

main()
