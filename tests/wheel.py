"""Builds the wheel and installs it in clean environments, once for each state of the sources.

Everything lies below build/, which git ignores and `make clean` removes, in folders named by a
digest of what went into them: the second run finds them made. A lock lets one process of a run,
or of several runs, make them while the others wait. Only the first step uses the network: pip
fetches what requirements/run.txt pins, checks each file's hash, and both installers work from
that folder alone. (uv takes the pins, but no hashes, for a tool.)
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from scripts.platform_wheels import make_wheel
from tests.launcher import require_compiler
from tests.program import BIN, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUILD = os.path.join(ROOT, "build", "wheel-tests")
PINS = os.path.join(ROOT, "requirements", "run.txt")
PACKED = ("src", "bin", "man", "completions", "pyproject.toml", "README.md", "LICENSE")
STEP_S = 300.0  # downloads 20 MB, or compiles 40 packages, on a machine under load
RELEASE = os.path.join(ROOT, "requirements", "release.txt")
UNUSED_S = 3600.0
# Where packages come from, and how to get there; nothing that changes what is installed.
REGISTRY = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE")
NETWORK = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "PIP_DEFAULT_TIMEOUT", "HOME")


class Built(NamedTuple):
    """The two files of a release."""

    wheel: str
    sdist: str


class Installed(NamedTuple):
    """One clean environment: its folder, and the brokerctl that its user calls."""

    prefix: str
    program: str


@functools.cache  # the sources of the moment when a run first asks
def build() -> Built:
    """Build the sdist, and the wheel from the sdist, as a release does."""
    folder = _made("dist", _digest(*PACKED), _build)
    [wheel] = glob.glob(f"{folder}/*.whl")
    [sdist] = glob.glob(f"{folder}/*.tar.gz")
    return Built(wheel, sdist)


@functools.cache
def build_platform(arch: str = platform.machine()) -> str:
    """Make the platform wheel of this machine, or of another processor, of the pure one."""
    compiler, pure = require_compiler(arch), build().wheel

    def make(folder: str) -> None:
        make_wheel(pure, arch, compiler, folder)

    digest = _digest("scripts/launcher.c", "scripts/platform_wheels.py", pure)
    [wheel] = glob.glob(f"{_made(f'dist-{arch}', digest, make)}/*.whl")
    return wheel


@functools.cache
def install_by_pip() -> Installed:
    """Install the pins and then the wheel with pip, in a venv."""
    wheel, pins = build().wheel, _fetch_pins()

    def install(folder: str) -> None:
        _run(sys.executable, "-m", "venv", folder)
        pip = (f"{folder}/bin/python", "-m", "pip", "--isolated", "install", "-q", "--no-index")
        _run(*pip, f"--find-links={pins}", "--require-hashes", "-r", PINS)
        _run(*pip, "--no-deps", wheel)

    prefix = _made("pip", _digest(PINS, wheel), install)
    return Installed(prefix, f"{prefix}/bin/brokerctl")


@functools.cache
def install_by_uv(*, with_launcher: bool = False) -> Installed:
    """Install the wheel as a tool with uv; its program is a link in a folder of links."""
    wheel, pins = build_platform() if with_launcher else build().wheel, _fetch_pins()

    def install(folder: str) -> None:
        uv = (f"{BIN}/uv", "tool", "install", "-q", "--no-config", "--offline", "--no-index")
        choices = ("--compile-bytecode", "--no-python-downloads", f"--python={sys.executable}")
        pinned = (f"--find-links={pins}", f"--constraints={PINS}")
        places = {name: f"{folder}/{name.lower()}" for name in ("UV_TOOL_DIR", "UV_TOOL_BIN_DIR")}
        _run(*uv, *choices, *pinned, wheel, UV_CACHE_DIR=f"{folder}/cache", **places)
        shutil.rmtree(f"{folder}/cache")

    folder = _made("uv", _digest(PINS, wheel), install)
    return Installed(f"{folder}/uv_tool_dir/brokerctl", f"{folder}/uv_tool_bin_dir/brokerctl")


@functools.cache
def release_tools() -> str:
    """Install the release's own tools into a venv and return its folder."""
    given = _given()

    def install(folder: str) -> None:
        _run(sys.executable, "-m", "venv", folder)
        pip = (f"{folder}/bin/python", "-m", "pip", "install", "-q", "--require-hashes")
        _run(*pip, "-r", RELEASE, **given)

    return _made("release", _digest(RELEASE), install)


@functools.cache
def fetch(pins: str) -> str:
    """Fetch one pinned wheel, its hash checked, and return its path; it is not installed."""
    path, given = os.path.join(ROOT, "requirements", pins), _given()

    def download(folder: str) -> None:
        pip = (f"{BIN}/python", "-m", "pip", "download", "-q", "--require-hashes", "--no-deps")
        _run(*pip, "--only-binary=:all:", "-r", path, "-d", folder, **given)

    [wheel] = glob.glob(f"{_made('fetched', _digest(path), download)}/*.whl")
    return wheel


def _given() -> dict[str, str]:
    return {name: os.environ[name] for name in (*REGISTRY, *NETWORK) if name in os.environ}


def _build(folder: str) -> None:
    _run(f"{BIN}/python", "-m", "build", "--no-isolation", "-o", folder, ROOT)


def _fetch_pins() -> str:
    given = _given()

    def fetch_all(folder: str) -> None:
        pip = (f"{BIN}/python", "-m", "pip", "download", "-q", "--require-hashes", "-r", PINS)
        _run(*pip, "--only-binary=:all:", "-d", folder, **given)

    return _made("pins", _digest(PINS), fetch_all)


def _made(kind: str, digest: str, make: Callable[[str], None]) -> str:
    """Return the folder of that name, made by `make` if need be; long unused ones are removed."""
    folder = os.path.join(BUILD, f"{kind}-{digest}")
    with _locked():
        if not os.path.exists(f"{folder}/made"):
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            with open(f"{folder}/made", "w", encoding="utf-8"):
                pass
        os.utime(folder)
        for other in glob.glob(f"{BUILD}/*-*"):
            if time.time() - os.stat(other).st_mtime > UNUSED_S:
                shutil.rmtree(other, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    os.makedirs(BUILD, exist_ok=True)
    with open(f"{BUILD}/lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(*paths: str) -> str:
    """Digest names and contents below `paths`, and which Python it is."""
    digest = hashlib.sha256(f"{sys.version}\0{sys.prefix}".encode())
    for path in sorted(_files(paths)):
        with open(path, "rb") as file:
            digest.update(f"\0{path}\0".encode() + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:16]


def _files(paths: tuple[str, ...]) -> Iterator[str]:
    for top in (os.path.join(ROOT, path) for path in paths):
        if os.path.isfile(top):
            yield top
        for folder, _, names in os.walk(top):
            if not folder.endswith("__pycache__"):
                yield from (os.path.join(folder, name) for name in names)


def _run(*argv: str, **env: str) -> None:
    """Run one step in an environment of nothing but `env`; say what it said if it fails."""
    done = subprocess.run(
        argv,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    if done.returncode:
        message = f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-2000:]}"
        raise RuntimeError(message)
