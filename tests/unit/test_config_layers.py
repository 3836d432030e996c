"""Where the layers lie, who may have written them, and what a hostile folder can do: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

import pytest

import brokerctl
from brokerctl.config import layers, paths, trust
from brokerctl.errors import UsageError
from brokerctl.platform.system import System

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = 'default_profile = "x"\n'
USER = '[profile.x]\nissuer = "https://a.example.com"\nflow = "code"\nclient_id = "c"\n'


class World:
    """A home, a working folder below it and an /etc of one's own."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.home = self.folder("home")
        self.cwd = self.folder("home/work")
        self.system_file = f"{self.folder('etc')}/config.toml"
        self.environ = {"HOME": self.home}
        self.user_file = paths.config_file(self.environ)

    def folder(self, name: str) -> str:
        """Make a private folder and return its path."""
        path = f"{self.root}/{name}"
        os.makedirs(path, 0o700)
        return path

    def write(self, path: str, text: str, mode: int = 0o600) -> str:
        """Write a file of ours with exactly this mode."""
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def read(self, cwd: str | None = None, system: System | None = None) -> layers.Layers:
        """Read the layers as a command in the working folder does."""
        return layers.read_layers(
            self.environ, cwd or self.cwd, system or RootIsUs(), self.system_file
        )


class RootIsUs(System):
    """The system's files belong to root, whoever runs this test."""

    @staticmethod
    def fstat(fd: int) -> os.stat_result:
        """Return what the system says, but for the owner."""
        found = list(os.fstat(fd))
        target = os.readlink(f"/proc/self/fd/{fd}")
        if "/etc/" in target:
            found[4] = 0
        return os.stat_result(found)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world of its own."""
    return World(tmp_path)


def test_our_variables_replace_the_folders() -> None:
    """BROKERCTL_CONFIG and BROKERCTL_HOME need no HOME, and must be absolute."""
    environ = {"BROKERCTL_CONFIG": "/c/x.toml", "BROKERCTL_HOME": "/s/"}
    assert (paths.config_file(environ), paths.state_home(environ)) == ("/c/x.toml", "/s")
    for bad in ({"BROKERCTL_CONFIG": "x.toml"}, {"HOME": "relative"}, {}, {"HOME": ""}):
        with pytest.raises(UsageError):
            paths.config_file(bad)


def test_absent_layers_are_absent(world: World) -> None:
    """No file at all is a configuration: an empty one."""
    found = world.read()
    assert [(layer.label, layer.content) for layer in found.files] == [
        ("system", None),
        ("user", None),
    ]
    assert found.notice is None


def test_every_edit_changes_the_fingerprint(world: World) -> None:
    """A layer's content, presence and path all name the plan."""
    seen = [world.read().fingerprint_parts()]
    world.write(world.user_file, "")
    seen.append(world.read().fingerprint_parts())
    world.write(world.user_file, USER)
    seen.append(world.read().fingerprint_parts())
    world.write(world.system_file, "")
    seen.append(world.read().fingerprint_parts())
    world.write(f"{world.cwd}/.brokerctl.toml", PROJECT)
    assert world.read().fingerprint_parts() == seen[-1]  # it does not count yet
    pin(world)
    seen.append(world.read().fingerprint_parts())
    assert len(set(seen)) == len(seen)
    assert all(isinstance(part, str) for parts in seen for part in parts)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("which", ["user_file", "system_file"])
def test_a_file_that_others_can_write_to_is_refused(world: World, which: str, mode: int) -> None:
    """Whoever can write to a configuration can name a command that we would run."""
    world.write(getattr(world, which), USER, mode)
    with pytest.raises(UsageError, match="can be written to by others") as caught:
        world.read()
    assert "chmod go-w" in (caught.value.hint or "")


def test_a_folder_that_others_can_write_to_is_refused(world: World) -> None:
    """Whoever can swap the file has written it."""
    world.write(world.user_file, USER)
    os.chmod(os.path.dirname(world.user_file), 0o777)  # noqa: S103 - what must be refused
    with pytest.raises(UsageError, match="can be written to by others"):
        world.read()


def test_a_foreign_owner_is_refused(world: World) -> None:
    """The user's file is ours or root's; the system's is root's alone."""

    class Foreign(System):
        fstat = staticmethod(
            lambda fd: os.stat_result([*os.fstat(fd)[:4], 4242, *os.fstat(fd)[5:]])
        )

    for path in (world.user_file, world.system_file):
        world.write(path, USER)
        with pytest.raises(UsageError, match=r"must belong to (you or )?root"):
            world.read(system=Foreign())
        os.unlink(path)


@pytest.mark.parametrize("kind", ["folder", "fifo", "huge"])
def test_what_is_no_configuration_is_refused_at_once(world: World, kind: str) -> None:
    """A folder, a pipe nobody writes to and an endless file end in an error, not in a wait."""
    os.makedirs(os.path.dirname(world.user_file), 0o700)
    if kind == "folder":
        os.mkdir(world.user_file)
    elif kind == "fifo":
        os.mkfifo(world.user_file, 0o600)
    else:
        world.write(world.user_file, "#" * (layers.MAX_LAYER_BYTES + 1))
    with pytest.raises(UsageError):
        world.read()


def test_a_linked_user_file_is_followed_and_checked(world: World) -> None:
    """Dotfile tools link; what counts is who can write to the target and its folder."""
    target = world.write(f"{world.folder('dotfiles')}/config.toml", USER)
    os.makedirs(os.path.dirname(world.user_file), 0o700)
    os.symlink(target, world.user_file)
    assert world.read().get_layer("user").content == USER.encode()
    os.chmod(os.path.dirname(target), 0o777)  # noqa: S103 - what must be refused
    with pytest.raises(UsageError):
        world.read()


def test_the_search_ends_at_git_or_home(world: World) -> None:
    """The nearest project file, and none above the repository or the home folder."""
    deep = world.folder("home/work/repo/src")
    above = world.write(f"{world.root}/.brokerctl.toml", PROJECT)
    assert layers.find_project(deep, world.home) is None
    at_work = world.write(f"{world.cwd}/.brokerctl.toml", PROJECT)
    assert layers.find_project(deep, world.home) == at_work
    os.mkdir(f"{world.cwd}/repo/.git")
    assert layers.find_project(deep, world.home) is None
    here = world.write(f"{deep}/.brokerctl.toml", PROJECT)
    assert layers.find_project(deep, world.home) == here
    assert layers.find_project(world.root, world.home) == above


@pytest.mark.parametrize("how", ["plain", "broken", "open", "link", "folder", "fifo", "secret"])
def test_an_untrusted_project_is_ignored_and_never_an_error(world: World, how: str) -> None:
    """Whatever a cloned repository holds, a command in it works and one line says what is there."""
    path = f"{world.cwd}/.brokerctl.toml"
    world.write(world.user_file, USER)
    if how == "folder":
        os.mkdir(path)
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "link":
        os.symlink(world.user_file, path)
    else:
        text = {"broken": "\0[[[", "secret": '[profile.x]\nissuer = "https://evil.com"\n'}
        world.write(path, text.get(how, PROJECT), 0o666 if how == "open" else 0o600)
    found = world.read()
    assert [layer.label for layer in found.files] == ["system", "user"]
    assert found.notice is not None
    assert "is ignored" in found.notice


def pin(world: World) -> str:
    """Trust the working folder's project file as it is, and return its path."""
    project = trust.find_candidate(world.cwd, world.environ)
    trust.pin(project, world.environ)
    return project.path


def test_trust_pins_the_digest(world: World) -> None:
    """A project counts as it was when it was trusted, and any edit ends that."""
    path = world.write(f"{world.cwd}/.brokerctl.toml", PROJECT)
    world.write(world.user_file, USER)
    assert pin(world) == path
    assert world.read().get_layer("project").content == PROJECT.encode()
    assert trust.find_pinned(world.environ) == [(world.cwd, "trusted")]
    world.write(path, PROJECT + "#")
    assert "has changed" in (world.read().notice or "")
    assert trust.find_pinned(world.environ) == [(world.cwd, "changed")]
    pin(world)
    assert trust.unpin(world.cwd, world.environ) == world.cwd
    assert world.read().notice is not None
    with pytest.raises(UsageError):
        trust.unpin(world.cwd, world.environ)


def test_trust_refuses_what_can_not_count(world: World) -> None:
    """A project that widens, is open to others or is missing is not pinned."""
    world.write(world.user_file, USER)
    with pytest.raises(UsageError, match="there is no"):
        pin(world)
    path = world.write(f"{world.cwd}/.brokerctl.toml", '[profile.x]\nissuer = "https://e.com"\n')
    with pytest.raises(UsageError, match="can't set issuer"):
        pin(world)
    world.write(path, PROJECT, 0o666)
    with pytest.raises(UsageError, match="can be written to by others"):
        pin(world)
    assert trust.find_pinned(world.environ) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trusted":[]}', '{"trusted":{"/x":3}}', "\0"])
def test_a_damaged_trust_list_trusts_nothing(world: World, text: str) -> None:
    """A list that can't be read is an empty one."""
    world.write(paths.trust_file(world.environ), text)
    assert layers.read_trust(world.environ) == {}


def test_a_trust_list_of_somebody_else_trusts_nothing(world: World) -> None:
    """A list that others can write to pins nothing."""
    world.write(f"{world.cwd}/.brokerctl.toml", PROJECT)
    world.write(world.user_file, USER)
    pin(world)
    os.chmod(paths.trust_file(world.environ), 0o666)  # noqa: S103 - what must not count
    assert layers.read_trust(world.environ) == {}


# A new line needs a reason: see the budget in the design.
ALLOWED = {
    "__future__",
    "_cffi_backend",
    "_json",
    "_operator",
    "_sodium",
    "_sodium.lib",
    "_socket",
    "brokerctl",
    "brokerctl.config",
    "brokerctl.config.hosts",
    "brokerctl.config.layers",
    "brokerctl.config.paths",
    "brokerctl.config.plan",
    "brokerctl.errors",
    "brokerctl.platform.private_files",
    "brokerctl.jsonlite",
    "brokerctl.model",
    "brokerctl.secret",
    "brokerctl.sodium",
    "brokerctl.platform",
    "brokerctl.platform.system",
    "errno",
    "fcntl",
    "nacl",
    "nacl._sodium",
}
SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:3]
before = set(sys.modules)
from brokerctl.config import hosts, layers, paths, plan
found = layers.read_layers({"HOME": sys.argv[3]}, sys.argv[3])
assert found.notice, found
found.fingerprint_parts()
assert plan.parse_plan(plan.render_plan(plan.Plan(profiles={}))) is not None
hosts.find_profile("https://[2001:db8::1]/", {})
print(*sorted(set(sys.modules) - before), sep="\\n")
"""


def test_the_warm_half_loads_the_listed_modules_alone(tmp_path: Any) -> None:  # noqa: ANN401 - a path
    """Layers, trust list, plan and hosts cost no import that the warm road can't afford."""
    (tmp_path / ".brokerctl.toml").write_text(PROJECT)
    source = os.path.dirname(os.path.dirname(brokerctl.__file__))
    argv = [sys.executable, "-I", "-c", SCRIPT, source, sysconfig.get_path("platlib")]
    done = subprocess.run([*argv, str(tmp_path)], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) <= ALLOWED
