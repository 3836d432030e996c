"""Checks the program: its versions, and whether byte code and start-up image are in place."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import brokerctl
from brokerctl.doctor import WARNING, Finding
from brokerctl.errors import shell_word
from brokerctl.platform import image_writer
from brokerctl.platform.commands import environ_for
from brokerctl.platform.import_finder import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PARTS = ("pynacl", "cryptography", "keyring", "httpx2", "authlib", "typer")
RUNS = 15
BUDGET = 1.5  # of the same environment's `python -I -c ''`


def check(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Report the versions, and what makes every start slower."""
    python = platform.python_version()
    system = f"{platform.system()} {platform.machine()}"
    yield Finding(what=f"brokerctl {brokerctl.__version__}, Python {python}, {system}")
    yield Finding(what=", ".join(_versions()))
    if sys.platform != "linux":
        yield Finding(what="only Linux was ever tried", state=WARNING)
    missing = _uncompiled()
    if missing:
        yield Finding(
            what=f"byte code is missing for {len(missing)} modules: every start is slower",
            state=WARNING,
            hint=f"run '{shell_word(sys.executable)} -m compileall -q {shell_word(_folder())}'",
        )
    else:
        yield Finding(what="byte code is compiled")
    yield from _start_image(environ)


def _start_image(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Report whether a whole image started this process; an editable install has none."""
    path = image_writer.find_place()
    if path is None:
        return
    if IMAGE in sys.modules and sys.modules[IMAGE].is_whole():
        yield Finding(what="the start-up image is current")
        return
    what, hint = "the start-up image is missing or out of date", "run 'brokerctl status'"
    if not image_writer.may_write(path, environ):
        what += ", and can't be written"
        hint += f" as the owner of {shell_word(os.path.dirname(path))}"
        hint += f", without {image_writer.SWITCH}" if environ.get(image_writer.SWITCH) else ""
    yield Finding(what=f"{what}: every start is slower", state=WARNING, hint=hint)


def _versions() -> Iterator[str]:
    for name in _PARTS:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} (unknown version)"


def _folder() -> str:
    return os.path.dirname(os.path.abspath(brokerctl.__file__))


def _uncompiled() -> list[str]:
    """Return the modules of all rooms but `demo` whose byte code is not next to them."""
    missing = []
    for folder, folders, names in os.walk(_folder()):
        folders[:] = [name for name in folders if name not in {"__pycache__", "demo"}]
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(path)):
                missing.append(path)
    return missing


def measure(runs: int = RUNS) -> float:
    """Return the median ratio of `get` of an unknown profile to a bare interpreter's start.

    Such a `get` opens configuration, keys, store and log, and hands nothing out.
    """
    script = os.path.join(os.path.dirname(sys.executable), "brokerctl")
    bare = [sys.executable, "-I", "-c", ""]
    ours = [script, "get", "no-such-profile-for-timing"]
    return round(statistics.median(_time(ours) / _time(bare) for _ in range(runs)), 2)


def _time(argv: list[str]) -> float:
    begun = time.perf_counter()
    kept = environ_for("brokerctl", os.environ)
    subprocess.run(argv, env=kept, check=False, capture_output=True)
    return time.perf_counter() - begun
