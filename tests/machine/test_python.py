"""Nothing that steers a Python, and nothing in the working folder, gets into the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launcher import FORMS
from tests.machine.room import answers, write_private
from tests.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.machine.room import Machine

MODULES = (
    *("brokerctl", "nacl", "httpx2", "anyio", "typer", "rich", "cryptography", "keyring"),
    *("sitecustomize", "usercustomize", "site", "startup", "encodings", "_cffi_backend"),
    *("json", "os", "io", "ssl", "gc", "time", "fcntl", "posix", "_stat", "_json", "asyncio"),
)
PROGRAMS = ("python", "python3", "readlink", "sh", "id", "true")
TRAP = """\
import sys
sys.stderr.write("TRAPPED\\n")
raise SystemExit(99)
"""
RUNS = (
    ("get", "person"),
    ("get", "person", "--fresh"),
    ("status",),
    ("exec", "-p", "person", "--", "/bin/true"),
)


@pytest.fixture
def trap(machine: Machine) -> str:
    """Make a folder in which every name that might be imported or run is a trap."""
    folder = os.path.join(machine.home, "trap")
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    for below in ("", library, f"{library}/site-packages"):
        for name in MODULES:
            package = os.path.join(folder, below, name)
            os.makedirs(package, exist_ok=True)
            write_private(os.path.join(package, "__init__.py"), TRAP)
            write_private(f"{package}.py", TRAP)
        write_private(os.path.join(folder, below, "trap.pth"), "import sitecustomize\n")
    os.mkdir(os.path.join(folder, "bin"))
    for name in PROGRAMS:
        for path in (os.path.join(folder, name), os.path.join(folder, "bin", name)):
            write_private(path, "#!/bin/sh\necho TRAPPED >&2\nexit 99\n")
            os.chmod(path, 0o700)
    return folder


def keeps_out(machine: Machine, env: dict[str, str], cwd: str | None = None) -> None:
    """Show that every way into the program is as it always is."""
    for words in RUNS:
        done = machine.under([], *words, env=env, cwd=cwd or machine.home)
        assert (done.returncode, done.stderr) == (0, ""), (words, done)


VARIABLES = {
    "PYTHONPATH": "{trap}",
    "PYTHONHOME": "{trap}",
    "PYTHONSTARTUP": "{trap}/startup.py",
    "PYTHONUSERBASE": "{trap}",
    "PYTHONEXECUTABLE": "{trap}/bin/python",
    "__PYVENV_LAUNCHER__": "{trap}/bin/python",
    "PYTHONPLATLIBDIR": "{trap}",
    "PYTHONPYCACHEPREFIX": "{trap}",
    "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "utf-16",
    "PYTHONWARNINGS": "error",
    "PYTHONBREAKPOINT": "sitecustomize.x",
    "PYTHONVERBOSE": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONTRACEMALLOC": "9",
    "PYTHONPROFILEIMPORTTIME": "1",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONOPTIMIZE": "2",
    "VIRTUAL_ENV": "{trap}",
}
GROUPS = (
    *((name,) for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")),
    tuple(VARIABLES),
)


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0] if len(names) == 1 else "all")
def test_variables(machine: Machine, trap: str, names: tuple[str, ...]) -> None:
    """Security: what an environment says to a Python is not for this one."""
    keeps_out(machine, {name: VARIABLES[name].format(trap=trap) for name in names})


def test_a_hostile_working_folder(machine: Machine, trap: str) -> None:
    """Security: a helper is started in whatever somebody cloned, also with it in PATH."""
    write_private(os.path.join(trap, ".brokerctl.toml"), "this is no TOML ]")
    keeps_out(machine, {}, trap)
    keeps_out(machine, {"PATH": f".:{machine.program.environment()['PATH']}:"}, trap)


def _make_endless(path: str) -> None:
    write_private(path, "")
    os.truncate(path, 1 << 33)


PROJECT_FILES: dict[str, Callable[[str], None]] = {
    "a fifo": os.mkfifo,
    "a folder": os.mkdir,
    "a link": lambda path: os.symlink("/dev/zero", path),
    "endless": _make_endless,
    "a profile": lambda path: write_private(path, '[profile.person]\nscopes = ["admin"]\n'),
}


@pytest.mark.parametrize("kind", PROJECT_FILES)
def test_a_hostile_project_file(machine: Machine, kind: str) -> None:
    """What is not trusted neither acts nor stops anything, whatever it is."""
    folder = os.path.join(machine.home, "cloned")
    os.mkdir(folder)
    PROJECT_FILES[kind](os.path.join(folder, ".brokerctl.toml"))
    answers(machine("get", "person", cwd=folder, timeout_s=20))
    assert machine("status", cwd=folder, timeout_s=20).stderr == ""


def test_a_working_folder_that_was_deleted(machine: Machine) -> None:
    """There is no project then; what needs one says so."""
    script = 'mkdir gone && cd gone && rmdir "$PWD" && exec "$@" 2>&1'
    for words in (*RUNS, ("doctor",), ("profile", "list")):
        done = machine.under(["sh", "-c", script, "sh"], *words)
        assert done.returncode == 0, done
        assert "brokerctl: error" not in done.stdout
        assert "Traceback" not in done.stdout
    done = machine.under(["sh", "-c", script, "sh"], "trust")
    assert done.returncode == 2, done
    assert "working folder" in done.stdout


# The same with the wheel's own layout.


@pytest.fixture(scope="module", params=["script", "launcher"])
def installed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> str:
    """Lay the program out as a wheel does: a venv's bin and site-packages, nothing editable."""
    folder = tmp_path_factory.mktemp("wheel")
    made = str(folder / "venv")
    subprocess.run([sys.executable, "-Im", "venv", "--without-pip", made], check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = os.path.join(made, "lib", version, "site-packages")
    ours = os.path.join(sys.prefix, "lib", version, "site-packages")
    for name in os.listdir(ours):
        if not name.endswith(".pth") and "brokerctl" not in name:
            os.symlink(os.path.join(ours, name), os.path.join(packages, name))
    os.symlink(os.path.join(ROOT, "src", "brokerctl"), os.path.join(packages, "brokerctl"))
    return str(FORMS[request.param]().install(Path(made) / "bin"))


def test_the_wheel_s_layout(machine: Machine, trap: str, installed: str) -> None:
    """Installed and not editable, it keeps the same out."""
    machine.program.path = installed
    keeps_out(machine, {name: value.format(trap=trap) for name, value in VARIABLES.items()}, trap)
