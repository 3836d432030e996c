"""bin/brokerctl finds the interpreter beside it, whatever way it is called, and never another."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.program import PROGRAM, ROOT, require_tool

if TYPE_CHECKING:
    from pathlib import Path

SAYS = '#!/bin/sh\nprintf "%s|" "{name}" "$@"\n'
ARGS = ["get", "a b", "", "*", "$HOME", "-IS", "two\nlines"]


def write_script(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install the script beside a `python` that says what it was called with."""
    folder = tmp_path / "a folder with $HOME" / "bin"
    folder.mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, "bin", "brokerctl"), folder)
    write_script(folder / "python", SAYS.format(name="beside"))
    return folder / "brokerctl"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Make a working folder with interpreters and a program that must never be run."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in ("python", "python3", "readlink"):
        write_script(folder / name, SAYS.format(name="TRAP"))
    return folder


def run(argv: list[str], cwd: Path, path: str = "/usr/bin:/bin") -> str:
    """Run a command and return what the interpreter that it found said."""
    env = {"PATH": path}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def expected(script: object, *args: str) -> str:
    """Return what the right interpreter says."""
    return "|".join(["beside", "-X", "utf8", "-IS", str(script), *args, ""])


def test_arguments_arrive_as_they_are(installed: Path, trap: Path) -> None:
    """Called by its path, from a folder with a space and a dollar sign."""
    assert run([str(installed), *ARGS], trap) == expected(installed, *ARGS)


def test_through_links(installed: Path, trap: Path, tmp_path: Path) -> None:
    """A chain of links, relative ones too, as pipx and uv make them."""
    (tmp_path / "one").symlink_to(os.path.relpath(installed, tmp_path))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    link = elsewhere / "two"
    link.symlink_to("../one")
    assert run([str(link), "x"], trap) == expected(link, "x")
    assert run(["./two", "x"], elsewhere) == expected("./two", "x")


def test_no_program_of_path_is_asked_where_the_script_lies(installed: Path, trap: Path) -> None:
    """The first folder of PATH may be anybody's: a link is read by the system's own program."""
    link = installed.parent / "link"
    link.symlink_to("brokerctl")
    path = f"{trap}:/usr/bin:/bin"
    assert run([str(link), "x"], trap, path) == expected(link, "x")
    assert run([str(link), "x"], trap, "") == expected(link, "x")


def test_found_through_path(installed: Path, trap: Path, tmp_path: Path) -> None:
    """By a shell, by `sh NAME` and by a link in PATH."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "brokerctl").symlink_to(installed)
    for folder in (installed.parent, links):
        path = f"{folder}:/usr/bin:/bin"
        found = expected(folder / "brokerctl", "x")
        assert run(["sh", "-c", "brokerctl x"], trap, path) == found
        assert run(["bash", "brokerctl", "x"], trap, path) == found


@pytest.mark.parametrize("path", ["/usr/bin:/bin", ":/usr/bin:/bin", ".:/usr/bin:/bin"])
def test_no_interpreter_of_the_current_folder(installed: Path, trap: Path, path: str) -> None:
    """Not even where the script has none beside it, or PATH holds the current folder."""
    alone = trap.parent / "alone"
    alone.mkdir()
    shutil.copy(installed, alone)
    assert "TRAP" not in run([str(alone / "brokerctl"), "x"], trap, path)
    assert run([str(installed), "x"], trap, path) == expected(installed, "x")
    shutil.copy(installed, trap.parent / "elsewhere")
    assert "TRAP" not in run(["sh", "elsewhere", "x"], trap.parent, path)


def test_python3_where_there_is_no_python(installed: Path, trap: Path) -> None:
    """Some environments have only the longer name."""
    (installed.parent / "python").rename(installed.parent / "python3")
    assert run([str(installed), "x"], trap) == expected(installed, "x")


def test_a_tool_s_name_says_its_helper(installed: Path, trap: Path, tmp_path: Path) -> None:
    """A script of a tool's name has Python run the one beside it, wherever it was called from."""
    script = installed.parent / "git-credential-brokerctl"
    shutil.copy(os.path.join(ROOT, "bin", script.name), script)
    link = tmp_path / "link"
    link.symlink_to(script)
    wanted = expected(installed, "helper", "git", *ARGS)
    assert run([str(script), *ARGS], trap) == wanted
    assert run([str(link), *ARGS], trap) == wanted
    assert run(["./git-credential-brokerctl", "x"], script.parent) == expected(
        "./brokerctl", "helper", "git", "x"
    )
    (installed.parent / "python").rename(installed.parent / "python3")
    assert run([str(script), *ARGS], trap) == wanted


def test_no_process_but_for_links(installed: Path, trap: Path) -> None:
    """The usual call starts nothing on its way; a link costs one `readlink`."""
    link = installed.parent / "link"
    link.symlink_to("brokerctl")
    for script, processes in ((installed, 0), (link, 1)):
        log = trap / "log"
        traced = ["-f", "-o", str(log), "-e", "trace=clone,clone3,fork,vfork", str(script)]
        run([require_tool("strace"), *traced], trap)
        started = [
            line for line in log.read_text().splitlines() if "fork(" in line or "clone" in line
        ]
        assert len([line for line in started if "resumed" not in line]) == processes


def test_the_real_one_is_isolated(trap: Path) -> None:
    """PYTHONPATH and the current folder have no say in what the installed program imports."""
    for name in ("sitecustomize.py", "brokerctl.py", "os.py", "site.py"):
        (trap / name).write_text("print('TRAP')\n")
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(trap), "PYTHONSTARTUP": "site.py"}
    done = subprocess.run(
        [PROGRAM, "--version"], cwd=trap, env=env, capture_output=True, text=True, check=False
    )
    assert "TRAP" not in done.stdout + done.stderr
