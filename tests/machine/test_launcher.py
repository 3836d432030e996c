"""The launcher, installed, in surroundings that a shell before the program knew how to take."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.machine.installation import BUILT, GET
from tests.machine.room import WITHOUT_RIGHTS, answers
from tests.machine.test_surroundings import FINE

if TYPE_CHECKING:
    from tests.machine.installation import Installation
    from tests.machine.room import Machine

pytestmark = [
    pytest.mark.slow(reason=BUILT),
    pytest.mark.parametrize("way_in", ["script", "launcher"], indirect=True),
]


def test_environments(machine: Machine, image: Installation) -> None:
    """Two megabytes, bytes that are no text, nothing at all: the token is had."""
    token = answers(machine(*GET))
    for env in FINE.values():
        answers(machine.under([], *GET, env=env), token)
    done = subprocess.run(
        [image.program, "get", "nobody"], env={}, capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("brokerctl: error: ")
    assert done.returncode == 2


@pytest.mark.usefixtures("image")
def test_streams(machine: Machine) -> None:
    """Whichever are closed: a token on stdout, or none and an error."""
    token = answers(machine(*GET))
    for closed in ("<&-", "2>&-", "<&- 2>&-"):
        answers(machine.under(["sh", "-c", f'exec "$@" {closed}', "sh"], *GET), token)
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-"):
        done = machine.under(["sh", "-c", f'exec "$@" {closed}', "sh"], *GET)
        assert (done.returncode, done.stdout) == (1, "")


def test_a_link_and_a_tool_s_script(machine: Machine, image: Installation) -> None:
    """As uv and pipx install it: found through PATH and links, with the same answers."""
    token = answers(machine(*GET))
    links = f"{machine.home}/links"
    os.mkdir(links)
    for name in ("brokerctl", "git-credential-brokerctl"):
        os.symlink(f"{image.prefix}/bin/{name}", f"{links}/{name}")
    machine.program.path = f"{links}/brokerctl"
    assert answers(machine(*GET)) == token
    env = machine.program.environment({"PATH": f"{links}:/usr/bin:/bin"})
    done = subprocess.run(
        ["sh", "-c", "git-credential-brokerctl get"],
        env=env,
        input="protocol=https\nhost=api.example\n\n",
        capture_output=True,
        text=True,
        check=False,
    )
    asked = machine("helper", "git", "get", stdin="protocol=https\nhost=api.example\n\n")
    assert (done.returncode, done.stdout, done.stderr) == asked


def test_what_helper_install_writes(machine: Machine, image: Installation) -> None:
    """The path of the script itself, not that of what Python runs, nor of a link."""
    hosts = 'resource = ["https://api.example"]\nhosts = ["https://crates.example.com"]\n'
    with open(machine.config, encoding="utf-8") as file:
        text = file.read()
    machine.program.config(text.replace('resource = ["https://api.example"]\n', hosts, 1))
    os.symlink(image.program, f"{machine.home}/link")
    machine.program.path = f"{machine.home}/link"
    assert machine("helper", "install", "cargo", "--yes").returncode == 0
    with open(f"{machine.home}/.cargo/config.toml", encoding="utf-8") as file:
        assert f'"{image.prefix}/bin/cargo-credential-brokerctl"' in file.read()


def test_a_folder_that_nobody_may_write(machine: Machine, image: Installation) -> None:
    """As in a container's image, without any right."""
    token = answers(machine(*GET))
    os.chmod(f"{image.prefix}/bin", 0o555)  # noqa: S103 - as there
    assert answers(machine.under(WITHOUT_RIGHTS, *GET)) == token
