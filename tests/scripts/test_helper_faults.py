"""Where our own configuration, keys or store are broken, a host of nobody's stays nobody's.

Every helper with every fault: an error would keep git from its next helper, and docker from what is
public. Each fault is one process that is asked by every tool.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.scripts.helper_answers import Asked, answers, asking

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.program import Program

CONFIG = """
[profile.forge]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://ours.example", "https://ours.example/index"]
"""
GOOGLE = {
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
}
NOT_FOUND = "credentials not found in native keychain\n"
CARGO = '{"Err":{"kind":"not-found"}}\n'


# What each says of a host that is nobody's; where it says nothing with exit code 0, it is not here.
NOBODY = {
    "docker get": (NOT_FOUND, 1),
    "docker store": ("brokerctl keeps no credentials that another program made\n", 1),
    "cargo get": (CARGO, 0),
    "cargo login": (CARGO, 0),
    "cargo logout": (CARGO, 0),
    "bazel get": ("{}\n", 0),
    "terraform get": ("{}\n", 0),
    "keyring get": ("", 1),
    "askpass password": ("", 1),
    "askpass user": ("", 1),
}
INFO = {
    "kind": "ExecCredential",
    "apiVersion": "client.authentication.k8s.io/v1",
    "spec": {"cluster": {"server": "https://foreign.example"}},
}
# Tools that have nobody else to ask: an empty answer would be an error that says nothing.
LAST: Asked = {
    "kubernetes": (["kubernetes"], "", {"KUBERNETES_EXEC_INFO": json.dumps(INFO)}),
    "aws": (["aws", "--profile", "forge"], "", {}),
    "gcp": (["gcp", "--profile", "forge"], "", GOOGLE),
    "pnpm": (["pnpm", "--profile", "forge"], "", {}),
}


def write(program: Program, data: bytes, mode: int = 0o600) -> str:
    """Write the configuration as it is."""
    path = program.config("")
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    return path


def folder(program: Program) -> None:
    """Have a folder in its place."""
    os.unlink(program.config(""))
    os.mkdir(os.path.join(program.home, "config.toml"))


def pipe(program: Program) -> None:
    """Have a pipe in its place, which nobody writes to."""
    os.unlink(program.config(""))
    os.mkfifo(os.path.join(program.home, "config.toml"))


def loop(program: Program) -> None:
    """Have a link in its place that leads to itself."""
    os.unlink(program.config(""))
    os.symlink("config.toml", os.path.join(program.home, "config.toml"))


def open_folder(program: Program) -> None:
    """Have it where others can swap it."""
    inner = os.path.join(program.home, "open")
    os.mkdir(inner)
    os.chmod(inner, 0o777)  # noqa: S103 - the fault
    with open(os.path.join(inner, "config.toml"), "w", encoding="utf-8") as file:
        file.write(CONFIG)
    program.env["BROKERCTL_CONFIG"] = f"{inner}/config.toml"


def no_home(program: Program, home: str | None = None) -> None:
    """Have no home, and no folder of our own named."""
    program.env |= {"HOME": home, "BROKERCTL_HOME": None, "BROKERCTL_CONFIG": None}
    program.env |= {"XDG_CONFIG_HOME": None, "XDG_STATE_HOME": None}


def foreign(program: Program) -> None:
    """Have a configuration of somebody else's, as `sudo -E` finds it."""
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(program.config(CONFIG), 4242, -1)


OF_CONFIGURATION: dict[str, Callable[[Program], object]] = {
    "a typo": lambda program: write(program, CONFIG.encode() + b"nonsense = [\n"),
    "an unknown key": lambda program: write(program, CONFIG.encode() + b"usrname = 'a'\n"),
    "a key of a newer brokerctl": lambda program: write(program, b"[later]\nx = 1\n"),
    "a wrong value": lambda program: write(program, CONFIG.encode() + b"max_ttl = 7\n"),
    "a missing key": lambda program: write(program, b"[profile.forge]\nflow = 'code'\n"),
    "a host that is none": lambda program: write(program, CONFIG.replace("://", ":").encode()),
    "no text": lambda program: write(program, b"\xff\xfe\0"),
    "too large": lambda program: write(program, b"#" * (1 << 20) + b"#"),
    "others can write": lambda program: write(program, CONFIG.encode(), 0o666),
    "others can swap it": open_folder,
    "somebody else's": foreign,
    "a folder": folder,
    "a pipe": pipe,
    "a loop": loop,
    "no HOME": no_home,
    "a relative HOME": lambda program: no_home(program, "home"),
    "a relative BROKERCTL_CONFIG": lambda program: program.env.update(BROKERCTL_CONFIG="c.toml"),
}


def state(program: Program, *names: str) -> str:
    """Return the path of something that the program keeps, which it has made."""
    assert program("status").returncode == 0
    return os.path.join(program.environment()["BROKERCTL_HOME"], "v1", *names)


def open_state(program: Program) -> None:
    """Let others write to the store's folder."""
    os.chmod(state(program), 0o777)  # noqa: S103 - the fault


def damaged_ring(program: Program) -> None:
    """Cut the key ring."""
    path = state(program, "keys", "ring")
    os.truncate(path, 7)


def lost_key(program: Program) -> None:
    """Lose the key of the ring."""
    folder = state(program, "keys")
    for name in os.listdir(folder):
        if name not in {"ring", "keeper.json"}:
            os.unlink(os.path.join(folder, name))


def locked(program: Program) -> None:
    """Lock the ring with a passphrase that nobody gives."""
    program.env["BROKERCTL_KEEPER"] = "passphrase"
    once = {"BROKERCTL_PASSPHRASE": "correct horse"}
    assert program("status", env=once).returncode == 0
    program("lock")


def another_key(program: Program) -> None:
    """Have another key in the variable than the one that the store was made with."""
    program.env |= {"BROKERCTL_KEEPER": None, "BROKERCTL_KEY": "A" * 43}
    state(program)
    program.env["BROKERCTL_KEY"] = "Q" * 42 + "A"


def project(program: Program) -> None:
    """Have a trusted project's file that fits no more: it is wrong, and says nothing of hosts."""
    path = os.path.join(program.home, ".brokerctl.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write('[profile.forge]\nscopes = ["read"]\n')
    program.config(CONFIG + 'scopes = ["read", "write"]\n')
    assert program("trust", program.home).returncode == 0
    program.config(CONFIG)


def no_folder(program: Program) -> None:
    """Have a file where the store's folder would be."""
    path = os.path.join(program.home, "file")
    with open(path, "w", encoding="utf-8") as file:
        file.write("x")
    program.env["BROKERCTL_HOME"] = path


OF_THE_STORE: dict[str, Callable[[Program], object]] = {
    "others can write": open_state,
    "a ring that is cut": damaged_ring,
    "a key that is gone": lost_key,
    "a locked ring": locked,
    "a file for a folder": no_folder,
    "another key": another_key,
    "a trusted project that fits no more": project,
    "a relative BROKERCTL_HOME": lambda program: program.env.update(BROKERCTL_HOME="home"),
}


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return a program with one profile, and paths of its own for all that it keeps."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.env["BROKERCTL_CONFIG"] = brokerctl.config(CONFIG)
    brokerctl.env["BROKERCTL_HOME"] = os.path.join(brokerctl.home, "state")
    return brokerctl


@pytest.mark.parametrize("fault", OF_CONFIGURATION)
def test_a_wrong_configuration_makes_nothing_ours(program: Program, fault: str) -> None:
    """Each tool hears that the host is nobody's, and a person in one line what is wrong."""
    OF_CONFIGURATION[fault](program)
    for host in ("foreign.example", "ours.example"):
        for name, (stdout, code, stderr) in answers(program, asking(host)).items():
            assert (stdout, code) == NOBODY.get(name, ("", 0)), name
            lines = stderr.splitlines()
            assert [line.startswith("brokerctl: warning: ") for line in lines[:1]] == [True], name
            assert "so nothing is known to be brokerctl's" in lines[0], name
            assert len(lines) == (2 if name == "docker store" else 1), name


@pytest.mark.parametrize("fault", OF_CONFIGURATION)
def test_a_wrong_configuration_is_told_where_nobody_else_is_asked(
    program: Program, fault: str
) -> None:
    """An empty answer would be an error that names nothing."""
    OF_CONFIGURATION[fault](program)
    listed: Asked = {"docker list": (["docker", "list"], "", {})}
    found = answers(program, {**LAST, **listed})
    stdout, code, stderr = found.pop("docker list")
    assert (stdout, code, "so nothing is known" in stderr) == ("{}\n", 0, True)
    for name, (stdout, code, stderr) in found.items():
        if name == "gcp":
            assert (code, json.loads(stdout)["success"], stderr) == (0, False, "")
        else:
            assert (stdout, code) == ("", 2), name
            assert stderr.startswith("brokerctl: error: "), name


@pytest.mark.parametrize("fault", OF_THE_STORE)
def test_without_keys_or_store_the_hosts_are_known_all_the_same(
    program: Program, fault: str
) -> None:
    """Nobody's are passed on in silence; for ours the tool is stopped, and the reason told."""
    OF_THE_STORE[fault](program)
    for name, (stdout, code, stderr) in answers(program, asking("foreign.example")).items():
        assert (stdout, code) == NOBODY.get(name, ("", 0)), name
        assert len(stderr.splitlines()) == (1 if name == "docker store" else 0), name
    asked = {name: one for name, one in asking("ours.example").items() if "get" in name.split()}
    for name, (stdout, code, stderr) in answers(program, asked).items():
        is_told = '"kind":"other"' in stdout or stderr.startswith("brokerctl: error: ")
        assert is_told, (name, stdout, stderr)
        if name == "git get":
            assert (stdout, code) == ("quit=1\n", 0)


@pytest.mark.parametrize("fault", ["writable", "a link"])
def test_what_is_kept_and_can_t_be_read_is_unknown(program: Program, fault: str) -> None:
    """The same where the store is whole, and the folder of what is kept is not."""
    program.config(CONFIG + '\n[helpers]\nkeep = ["git"]\n')
    path = state(program, "kept")
    if fault == "writable":
        os.chmod(path, 0o777)  # noqa: S103 - the fault
    else:
        os.rmdir(path)
        os.symlink("/tmp", path)
    asked = asking("foreign.example")
    [(stdout, code, stderr)] = answers(program, {"git get": asked["git get"]}).values()
    assert (stdout, code) == ("", 0)
    assert "so nothing is known to be brokerctl's" in stderr


def test_what_is_kept_is_unknown_without_a_store(program: Program) -> None:
    """A host of no profile may be one that something is kept for: so that is said."""
    program.config(CONFIG + '\n[helpers]\nkeep = ["git"]\n')
    open_state(program)
    asked = asking("foreign.example")
    found = answers(program, {name: asked[name] for name in ("git get", "docker get")})
    assert found["git get"][:2] == ("", 0)
    assert "so nothing is known to be brokerctl's" in found["git get"][2]
    assert found["docker get"] == (NOT_FOUND, 1, "")


def test_a_fault_is_shown_by_list_and_doctor(program: Program) -> None:
    """Whoever wonders why nothing is answered finds the reason where helpers are looked at."""
    write(program, b"nonsense = [\n")
    done = program("helper", "list")
    assert (done.returncode, "no tool gets a token until that is mended" in done.stderr) == (
        0,
        True,
    )
    assert "invalid value" in program("doctor", "--offline").stdout


def test_the_real_helpers_pass_on_what_is_nobody_s(program: Program) -> None:
    """The same through the front door: git goes on, and so does docker."""
    write(program, b"nonsense = [\n")
    asked = "protocol=https\nhost=foreign.example\n\n"
    done = program("helper", "git", "get", stdin=asked)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)
    done = program("helper", "docker", "get", stdin="foreign.example")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, NOT_FOUND, 1)
