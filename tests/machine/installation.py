"""The wheel, installed into an environment without pip or `.pth` files, and its start-up image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from scripts.platform_wheels import START
from tests.program import ROOT, require_tool

if TYPE_CHECKING:
    from tests.machine.room import Machine

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARY = os.path.join(sys.prefix, "lib", VERSION, "site-packages")
OPENED = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)"')


BUILT = "builds the wheel, where the sources have changed"
GET = ("get", "person")


class Installation:
    """One environment: its folder, and what lies in it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.packages = os.path.join(prefix, "lib", VERSION, "site-packages")
        self.package = os.path.join(self.packages, "brokerctl")
        self.program = os.path.join(prefix, "bin", "brokerctl")
        platform = os.path.join(self.package, "platform")
        self.source = os.path.join(platform, "start_image.py")
        cached = f"start_image.{sys.implementation.cache_tag}.pyc"
        self.image = os.path.join(platform, "__pycache__", cached)
        self.bootstrap = self.image.replace("start_image", "bootstrap")  # which reads the image

    def make(self, brought: str) -> None:
        """Install a wheel of ours, its byte code compiled, beside links to what it depends on."""
        subprocess.run([sys.executable, "-Im", "venv", "--without-pip", self.prefix], check=True)
        pip = [sys.executable, "-m", "pip", "--isolated", "--python", self.python]
        install = ["install", "-q", "--no-index", "--no-deps", brought]
        subprocess.run([*pip, *install], check=True)
        for name in os.listdir(LIBRARY):
            if not name.endswith(".pth") and "brokerctl" not in name:
                os.symlink(os.path.join(LIBRARY, name), os.path.join(self.packages, name))

    def copy(self, prefix: str) -> Installation:
        """Return the same with files of its own, whose times stay."""
        shutil.copytree(self.prefix, prefix, symlinks=True)
        return Installation(prefix)

    @property
    def words(self) -> list[str]:
        """What its interpreter is told to run: the script; or the launcher's, and the launcher."""
        start = os.path.join(self.prefix, START)
        return [start, self.program] if os.path.exists(start) else [self.program]

    @property
    def python(self) -> str:
        """The path of its interpreter."""
        return os.path.join(self.prefix, "bin", "python")

    def read(self) -> bytes:
        """Return the bytes that lie where the image has its place."""
        with open(self.image, "rb") as file:
            return file.read()

    def write(self, data: bytes) -> None:
        """Put other bytes there, with the mode that is right."""
        self.remove()
        with open(self.image, "wb") as file:
            file.write(data)
        os.chmod(self.image, os.stat(self.source).st_mode & 0o7755)

    def remove(self) -> None:
        """Have nothing there at all."""
        if os.path.isdir(self.image) and not os.path.islink(self.image):
            os.rmdir(self.image)
        elif os.path.lexists(self.image):
            os.unlink(self.image)


def is_image(data: bytes) -> bool:
    """Return whether this is more than the byte code of one module."""
    return len(data) > 100_000


def opened(wrapper: list[str], argv: list[str], env: dict[str, str]) -> list[str]:
    """Run a program, which has to succeed, and return the paths that it opened or tried to."""
    traced = [*wrapper, require_tool("strace"), "-f", "-qq", "-e", "trace=open,openat", *argv]
    done = subprocess.run(traced, env=env, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return OPENED.findall(done.stderr)


def opened_by_get(machine: Machine, installation: Installation) -> list[str]:
    """Return the files of our package that a warm hand-out opens."""
    paths = opened([], [installation.program, *GET], machine.program.environment())
    return [path for path in paths if path.startswith(f"{installation.package}/")]
