"""Runs the front door many times from one process that has loaded all of it: a fork each.

A full start costs 100 ms, a fork 10. Everything that is ours is imported before the first, by
walking the package: no name of a module stands here, so that a move needs no change. Each line of
stdin is a JSON object `{words, env, cwd, stdin, stdout, stderr, size_limit}` (files for the three
streams); each line of stdout is the exit code.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import posix
import resource
import sys
from typing import Any

import brokerctl

NOT_ALONE = "demo"  # the embedded issuer: it has a process of its own
OTHERS = ("httpx2", "pydantic", "asyncio", "nacl.pwhash")  # what is loaded late, at some cost


def load_all() -> None:
    """Import whatever the program could need."""
    for found in pkgutil.walk_packages(brokerctl.__path__, "brokerctl."):
        if f".{NOT_ALONE}" not in found.name:
            with contextlib.suppress(ImportError):
                importlib.import_module(found.name)
    for name in OTHERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run(asked: dict[str, Any]) -> None:
    """Be one run of the program, in a session of its own; never returns."""
    os.setsid()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_RDWR | os.O_CREAT | os.O_TRUNC
        if asked[name] == "/dev/full":
            flags = os.O_WRONLY
        fd = os.open(asked[name], flags, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(asked["env"])
    posix.environ.clear()
    posix.environ.update(
        {os.fsencode(name): os.fsencode(value) for name, value in asked["env"].items()}
    )
    os.chdir(asked["cwd"])
    if asked["size_limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["size_limit"],) * 2)
    sys.argv[:] = ["brokerctl", *asked["words"]]
    front = importlib.import_module("brokerctl.__main__")
    front.main()


def main() -> None:
    """Answer until there is no more."""
    load_all()
    os.write(1, b"ready\n")
    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            try:
                run(json.loads(line))
            finally:
                os._exit(70)  # what was asked for could not even begin
        _, status = os.waitpid(pid, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))


main()
