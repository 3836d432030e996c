"""The front door: a `get`, `exec` or `helper` in the written grammar, or the full Typer program.

An answer from the store needs no Typer and no network, which cost more than all of our own work:
hot commands are parsed by hand. Only this file leaves through `os._exit`, untidied.
"""

from __future__ import annotations

import gc
import sys

from brokerctl.loading import find_at_once
from brokerctl.system import hold_streams, os, read_environ

DOORS = {"get": "hot", "exec": "session.door", "helper": "helpers.door"}


def main() -> None:
    """Run one command and end the process with its exit code."""
    umask, words, code = os.umask(0o077), sys.argv[1:], None
    hold_streams()
    find_at_once()
    sys.unraisablehook = lambda _: None  # it would print tracebacks of its own tidying up
    try:
        if words and words[0] in DOORS:
            door = __import__(f"brokerctl.{DOORS[words[0]]}", fromlist=("run_words",))
            code = door.run_words(words[1:], read_environ(), umask)
        if code is None:
            gc.enable()
            from brokerctl.cli.app import run

            code = run(words, umask)
    except (KeyboardInterrupt, MemoryError) as error:  # not even what prints errors may be loaded
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        os.write(2, b"" if code > 1 else b"brokerctl: error: not enough memory\n")
    leave(code)


def leave(code: int) -> None:
    """Flush what Python buffers, if anything was, and end at once."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1  # an answer that could not be written is not a success
    os._exit(code)  # noqa: SLF001 - its public name


if __name__ == "__main__":
    main()
