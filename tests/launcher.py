"""The two ways in: the scripts for `sh` of bin/, and the static launcher in place of each."""

from __future__ import annotations

import functools
import os
import platform
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from scripts.platform_wheels import (
    HELPER,
    START,
    compile_launcher,
    find_compiler,
    start_script,
)
from tests.program import ROOT, require_tool

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = "aarch64"


class Form(NamedTuple):
    """How the installed scripts are made; `arch` is None where `sh` runs them."""

    arch: str | None = None
    wrapper: tuple[str, ...] = ()  # what runs a program of another architecture

    def install(self, folder: Path, name: str = "brokerctl") -> Path:
        """Put a script into a folder `bin`, and what belongs to it beside that; return its path."""
        script = folder / name
        if self.arch is None:
            shutil.copy(os.path.join(ROOT, "bin", name), script)
            return script
        script.write_bytes(launcher(self.arch, name))
        script.chmod(0o755)
        start = folder.parent / START
        start.parent.mkdir(parents=True, exist_ok=True)
        start.write_text(start_script(read_script("brokerctl")))
        return script

    def words(self, script: str, called: str | None = None) -> list[str]:
        """Return what the interpreter is told to run; `called`: how, if not by its own path."""
        own = script if called is None else called
        if self.arch is None:
            return [own]
        return [f"{os.path.dirname(script)}/../{START}", own]


def read_script(name: str) -> str:
    """Return the text of a script for `sh`."""
    with open(os.path.join(ROOT, "bin", name), encoding="utf-8") as file:
        return file.read()


@functools.cache
def launcher(arch: str, name: str) -> bytes:
    """Return the launcher in place of a script."""
    helper = HELPER.search(read_script(name))
    return compile_launcher(require_compiler(arch), helper[1] if helper else None)


def require_compiler(arch: str) -> list[str]:
    """Return the first words of what compiles; without gcc, fail in CI and skip elsewhere."""
    return find_compiler(arch) or [require_tool(f"{arch}-linux-gnu-gcc")]


def script_form() -> Form:
    """Return the form that every platform has."""
    return Form()


def launcher_form() -> Form:
    """Return the form of this machine's platform wheel."""
    return Form(platform.machine())


def foreign_form() -> Form:
    """Return that of another processor's, run by an emulator."""
    return Form(FOREIGN, (require_tool(f"qemu-{FOREIGN}"),))


FORMS = {"script": script_form, "launcher": launcher_form, "another processor": foreign_form}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    """Return each form in turn."""
    return FORMS[request.param]()
