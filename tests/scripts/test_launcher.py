"""bin/brokerctl finds the interpreter beside it, whatever way it is called, and never another.

It is a script for `sh`, or the static launcher: every test is for both. What a caller can do that
no shell does is in test_launcher_starts.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launcher import Form, form
from tests.program import PROGRAM, require_tool

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["form"]  # a fixture

SAYS = '#!/bin/sh\nprintf "%s|" "{name}" "$@"\n'
ARGS = ["get", "a b", "", "*", "$HOME", "-IS", "two\nlines"]


def write_script(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def installed(tmp_path: Path, form: Form) -> Path:
    """Install the script beside a `python` that says what it was called with."""
    folder = tmp_path / "a folder with $HOME" / "bin"
    folder.mkdir(parents=True)
    write_script(folder / "python", SAYS.format(name="beside"))
    return form.install(folder)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Make a working folder with interpreters and a program that must never be run."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in ("python", "python3", "readlink"):
        write_script(folder / name, SAYS.format(name="TRAP"))
    return folder


def run(argv: list[str], cwd: Path, path: str = "/usr/bin:/bin", form: Form | None = None) -> str:
    """Run a command and return what the interpreter that it found said."""
    env = {"PATH": path}
    argv = [*(form.wrapper if form else ()), *argv]
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def expected(form: Form, script: object, *args: str, called: object = None) -> str:
    """Return what the right interpreter says; `script` is the real one, `called` the way to it."""
    words = form.words(str(script), None if called is None else str(called))
    return "|".join(["beside", "-X", "utf8", "-IS", *words, *args, ""])


def test_arguments_arrive_as_they_are(installed: Path, trap: Path, form: Form) -> None:
    """Called by its path, from a folder with a space and a dollar sign."""
    said = run([str(installed), *ARGS], trap, form=form)
    assert said == expected(form, installed, *ARGS)


def test_through_links(installed: Path, trap: Path, tmp_path: Path, form: Form) -> None:
    """A chain of links, relative ones too, as pipx and uv make them."""
    (tmp_path / "one").symlink_to(os.path.relpath(installed, tmp_path))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    link = elsewhere / "two"
    link.symlink_to("../one")
    said = run([str(link), "x"], trap, form=form)
    assert said == expected(form, installed, "x", called=link)
    said = run(["./two", "x"], elsewhere, form=form)
    assert said == expected(form, installed, "x", called="./two")


def test_no_program_of_path_is_asked_where_the_script_lies(
    installed: Path, trap: Path, form: Form
) -> None:
    """The first folder of PATH may be anybody's: a link is read by the system's own program."""
    link = installed.parent / "link"
    link.symlink_to("brokerctl")
    path = f"{trap}:/usr/bin:/bin"
    for one in (path, ""):
        said = run([str(link), "x"], trap, one, form)
        assert said == expected(form, installed, "x", called=link)


def test_found_through_path(installed: Path, trap: Path, tmp_path: Path, form: Form) -> None:
    """By a shell, by `sh NAME` and by a link in PATH."""
    if form.wrapper:
        return  # an emulator looks for nothing in PATH
    links = tmp_path / "links"
    links.mkdir()
    (links / "brokerctl").symlink_to(installed)
    for folder in (installed.parent, links):
        path = f"{folder}:/usr/bin:/bin"
        found = expected(form, installed, "x", called=folder / "brokerctl")
        assert run(["sh", "-c", "brokerctl x"], trap, path) == found
        if form.arch is None:
            assert run(["bash", "brokerctl", "x"], trap, path) == found


@pytest.mark.parametrize("path", ["/usr/bin:/bin", ":/usr/bin:/bin", ".:/usr/bin:/bin"])
def test_no_interpreter_of_the_current_folder(
    installed: Path, trap: Path, path: str, form: Form
) -> None:
    """Not even where the script has none beside it, or PATH holds the current folder."""
    alone = trap.parent / "alone"
    alone.mkdir()
    shutil.copy(installed, alone)
    assert "TRAP" not in run([str(alone / "brokerctl"), "x"], trap, path, form)
    assert run([str(installed), "x"], trap, path, form) == expected(form, installed, "x")
    if form.arch is None:
        shutil.copy(installed, trap.parent / "elsewhere")
        assert "TRAP" not in run(["sh", "elsewhere", "x"], trap.parent, path)


def test_python3_where_there_is_no_python(installed: Path, trap: Path, form: Form) -> None:
    """Some environments have only the longer name."""
    (installed.parent / "python").rename(installed.parent / "python3")
    assert run([str(installed), "x"], trap, form=form) == expected(form, installed, "x")


def test_a_folder_that_is_a_link_stays_one(
    installed: Path, trap: Path, tmp_path: Path, form: Form
) -> None:
    """Who changes versions by it has a path of the interpreter, and so of our own, that lasts."""
    write_script(installed.parent / "python", '#!/bin/sh\nprintf "%s" "$0"\n')
    current = tmp_path / "current"
    current.symlink_to(installed.parent.parent)
    said = run([str(current / "bin" / "brokerctl")], trap, form=form)
    assert said == str(current / "bin" / "python")


@pytest.mark.parametrize(
    "tool", ["askpass", "bazel", "cargo", "docker", "git", "terraform", "vault"]
)
def test_a_tool_s_name_says_its_helper(
    installed: Path, trap: Path, tmp_path: Path, form: Form, tool: str
) -> None:
    """A script of a tool's name has Python run the one beside it, wherever it was called from."""
    script = form.install(installed.parent, SCRIPTS[tool])
    link = tmp_path / "link"
    link.symlink_to(script)
    wanted = expected(form, installed, "helper", tool, *ARGS)
    assert run([str(script), *ARGS], trap, form=form) == wanted
    assert run([str(link), *ARGS], trap, form=form) == wanted
    assert run([f"./{script.name}", "x"], script.parent, form=form) == expected(
        form, "./brokerctl", "helper", tool, "x"
    )
    (installed.parent / "python").rename(installed.parent / "python3")
    assert run([str(script), *ARGS], trap, form=form) == wanted


SCRIPTS = {
    "askpass": "brokerctl-askpass",
    "bazel": "brokerctl-bazel",
    "cargo": "cargo-credential-brokerctl",
    "docker": "docker-credential-brokerctl",
    "git": "git-credential-brokerctl",
    "terraform": "terraform-credentials-brokerctl",
    "vault": "brokerctl-vault",
}


def test_no_process_but_for_links(installed: Path, trap: Path, form: Form) -> None:
    """The usual call starts nothing on its way; a link costs the script one `readlink`."""
    if form.wrapper:
        return  # an emulator has processes of its own
    link = installed.parent / "link"
    link.symlink_to("brokerctl")
    for script, processes in ((installed, 0), (link, 1 if form.arch is None else 0)):
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
