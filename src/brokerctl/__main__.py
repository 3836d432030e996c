"""The front door: a `get`, `exec` or `helper` in the written grammar, or the full Typer program."""

from __future__ import annotations

import sys

from brokerctl.platform.import_finder import find_at_once
from brokerctl.platform.system import hold_streams, last_words, os, read_environ

DOORS = {"get": "get", "exec": "session.start", "helper": "helpers.serve"}


def main() -> None:
    """Run one command and end the process with its exit code."""
    umask, words = os.umask(0o077), sys.argv[1:]
    sys.unraisablehook = lambda _: None  # it would print tracebacks of its own tidying up
    try:
        hold_streams()
        door, environ = DOORS.get(words[0]) if words else None, read_environ()
        is_inside = "BROKERCTL_SOCKET" in environ
        where = "session.inside" if is_inside else door
        find_at_once([f"brokerctl.{where}"] if is_inside else words if door else None)
        run = where and __import__(f"brokerctl.{where}", fromlist=("run_words",)).run_words
        code = run(words[not is_inside :], environ, umask) if run else None
        if code is None:
            code = __import__("brokerctl.cli.app", fromlist=("run",)).run(words, umask)
        if code == 0 and (words[0] == "status" or "brokerctl.effects.http" in sys.modules):
            try:
                __import__("brokerctl.cli.start_image", fromlist=("write",)).write(DOORS)
            except (Exception, KeyboardInterrupt):  # noqa: BLE001 - what was asked for is done
                code = 0
    except (KeyboardInterrupt, MemoryError) as error:  # nothing more may be allocated
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        os.write(2, b"" if code > 1 else b"brokerctl: error: not enough memory\n")
    except Exception as error:  # noqa: BLE001 - what prints errors may be what can't be loaded
        code = 1
        os.write(2, f"brokerctl: error: {last_words(error)}\n".encode("ascii", "replace"))
    leave(code)


def leave(code: int) -> None:
    """Flush what Python buffers, if anything was, and end at once, which nothing else does."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1  # an answer that could not be written is not a success
    os._exit(code)  # noqa: SLF001 - its public name


if __name__ == "__main__":
    main()
