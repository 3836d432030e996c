"""The front door: a `get` or an `exec` in the written grammar, or the full Typer program.

An answer from the store needs no Typer and no network, which cost more than all of our own work:
the two hot commands are parsed by hand. Only this file leaves through `os._exit`, untidied.
"""

from __future__ import annotations

import gc
import sys

from brokerctl import wire
from brokerctl.system import hold_streams, os, read_environ


def main() -> None:
    """Run one command and end the process with its exit code."""
    umask, words, code = os.umask(0o077), sys.argv[1:], None
    hold_streams()
    sys.unraisablehook = lambda _: None  # it would print tracebacks of its own tidying up
    try:
        if words[:1] == ["get"]:
            code = wire.run_get_words(words[1:], read_environ())
        elif words[:1] == ["exec"]:
            from brokerctl.session.door import run_words

            code = run_words(words[1:], read_environ(), umask)
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
