"""`helper install` of uv, pip and keyring: what is written, what stays, and that it goes again."""

from __future__ import annotations

import configparser
import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.tools.clients import require_client
from tests.tools.python_tools import Desk
from tests.tools.room import long_but, read, write

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.index_server import Index

PATHS = {
    "uv": "uv/uv.toml",
    "pip": "pip/pip.conf",
    "keyring": "python_keyring/keyringrc.cfg",
}
OURS = {"uv": "keyring", "pip": "keyring", "keyring": "brokerctl_keyring.py"}
FILES: dict[str, dict[str, bytes | None]] = {
    "uv": {
        "none": None,
        "empty": b"",
        "usual": b"# mine\nnative-tls = true\n\n[pip]\nupgrade = true # always\n\nno-deps = true\n",
        "without an end": b'[pip]\r\nupgrade = true\r\nlink-mode = "copy"',
        "there already": b'offline = false\nkeyring-provider = "subprocess"\n[pip]\nupgrade = true',
    },
    "pip": {
        "none": None,
        "empty": b"",
        "usual": b"# mine\n[install]\nuser = no\n\n[global]\n; x\ntimeout = 60\n[list]\nnote = x\n",
        "without an end": b"[install]\r\nuser = no",
        "a header at the end": b"[install]\nuser = no\n[global]",
        "indented": b"[global]\n\n   timeout = 60\n   index-url =\n      https://a.example/\n",
        "a look-alike": b"[install]\nnote = x\n  [global]\n[global]\ntimeout = 60\n",
        "there already": b"[global]\nkeyring_provider = subprocess\n",
        "odd words": "# caf\xe9\n[global]\ntimeout = 60\n".encode(),
    },
    "keyring": {
        "none": None,
        "empty": b"",
        "usual": b"# mine\n[other]\na = b\n",
        "without an end": b"[backend]",
        "another key": b"[backend]\nnote = x\n",
    },
}
CASES = [(tool, name) for tool, files in FILES.items() for name in files]
REFUSED = [
    ("uv", b'keyring-provider = "disabled"\n', "has another 'keyring-provider'"),
    ("uv", b"nonsense = [\n", "is not TOML"),
    ("uv", b"\xef\xbb\xbf[pip]\n", "is not TOML"),
    ("pip", b"[global]\nkeyring-provider = import\n", "has another 'keyring-provider'"),
    ("pip", b"nonsense\n", "can't be read"),
    ("pip", b"[global]\n[global]\n", "can't be read"),
    ("keyring", b"[backend]\ndefault-keyring=a.b.Keyring\n", "has another 'default-keyring'"),
    ("keyring", b"nonsense\n", "can't be read"),
]


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with one profile that has hosts."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.forge]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://pypi.example.com"]\n'
    )
    return brokerctl


def path_of(program: Program, tool: str) -> str:
    """Return where a tool's own configuration is."""
    return os.path.join(program.home, ".config", PATHS[tool])


def says(tool: str, path: str) -> dict[str, object]:
    """Return what the tool reads in its file, of what was there before and of ours."""
    data = (read(path) or b"").decode("latin-1")
    if tool == "uv":
        return tomllib.loads(data)
    parser = configparser.RawConfigParser()
    parser.read_string(data)
    return {
        f"{name}.{key}": value for name in parser.sections() for key, value in parser[name].items()
    }


def use(desk: Desk, index: Index) -> None:
    """Use the tool that was set up."""
    if desk.tool == "keyring":
        desk.run(require_client("keyring"), "get", index.simple, "oauth2")
        return
    words = ("--target", desk.target("one"), "--index-url", index.simple_of("oauth2"), "shop")
    program = (require_client("uv"), "pip") if desk.tool == "uv" else (require_client("pip"),)
    desk.run(*program, "install", "--no-deps", "--no-cache-dir", *words)


@pytest.mark.parametrize(("tool", "name"), long_but(CASES, *((tool, "usual") for tool in FILES)))
def test_installed_used_and_gone(
    brokerctl: Program, issuer: DemoIssuer, index: Index, tool: str, name: str
) -> None:
    """The real tool finds it, all else stays, and the files are byte for byte as before."""
    before, path = FILES[tool][name], path_of(brokerctl, tool)
    write(path, before)
    said = says(tool, path)
    desk = Desk(brokerctl, tool)
    desk.serve(issuer, index)
    assert said.items() <= says(tool, path).items()
    assert brokerctl("helper", "install", tool).stdout == f"{tool}: installed already, {path}\n"
    assert f"{tool}: installed, {path}" in brokerctl("helper", "list").stdout
    use(desk, index)
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert brokerctl("helper", "uninstall", tool, "--yes").returncode == 0
    assert read(path) == before
    assert read(os.path.join(desk.folder, OURS[tool])) is None
    assert not [one for one in os.listdir(os.path.dirname(path)) if "before-brokerctl" in one]
    again = brokerctl("helper", "uninstall", tool)
    assert again.stdout == f"{tool}: uninstalled already, {path}\n"


@pytest.mark.parametrize("tool", PATHS)
def test_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, index: Index, tool: str
) -> None:
    """Whatever the folders are called, and through a link to the configuration."""
    brokerctl.env["XDG_DATA_HOME"] = os.path.join(brokerctl.home, "it's 100% my data")
    path, target = path_of(brokerctl, tool), os.path.join(brokerctl.home, "dotfiles", "a file")
    write(target, b"")
    os.makedirs(os.path.dirname(path))
    os.symlink(target, path)
    desk = Desk(brokerctl, tool)
    desk.serve(issuer, index)
    assert os.path.islink(path)
    use(desk, index)
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert brokerctl("helper", "uninstall", tool, "--yes").returncode == 0
    assert os.path.islink(path)
    assert read(target) == b""


@pytest.mark.parametrize(("tool", "data", "said"), REFUSED)
def test_what_is_somebody_s_choice_stays(
    offline: Program, tool: str, data: bytes, said: str
) -> None:
    """Another value, or a file that the tool can't read: said, and nothing is changed."""
    path = path_of(offline, tool)
    write(path, data)
    done = offline("helper", "install", tool, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path} {said}" in done.stderr
    assert read(path) == data
    assert not os.path.exists(os.path.join(offline.home, ".local", "share", "brokerctl"))


@pytest.mark.parametrize("tool", PATHS)
def test_a_person_s_own_lines_stay(offline: Program, tool: str) -> None:
    """What was written since, above and below, is there after `uninstall`."""
    path = path_of(offline, tool)
    offline("helper", "install", tool, "--yes")
    more = b"[tool-of-mine]\na = 1\n"
    write(path, b"# first\n" + (read(path) or b"") + more)
    again = offline("helper", "install", tool)
    assert again.stdout == f"{tool}: installed already, {path}\n"
    assert offline("helper", "uninstall", tool, "--yes").returncode == 0
    assert read(path) == b"# first\n" + more


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_path_is_said(offline: Program, tool: str) -> None:
    """The command must be found: what is to be done is said until it is."""
    desk = Desk(offline, tool)
    assert f"looks for a 'keyring' in PATH: put {desk.folder} there" in desk.install().stderr
    assert "PATH" not in offline("helper", "install", tool).stderr
    assert f"{tool}: asks brokerctl" in offline("doctor", "--offline").stdout
    client = os.path.dirname(require_client("keyring"))
    offline.env["PATH"] = f"{client}:{offline.env['PATH']}"
    fault = f"put {desk.folder} there, before {client}"
    assert fault in offline("helper", "install", tool).stderr
    assert fault in offline("doctor", "--offline").stdout


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_the_command_is_a_tiny_script(offline: Program, tool: str) -> None:
    """Executable, with the absolute path of brokerctl, and another file is never replaced."""
    path = os.path.join(Desk(offline, tool).folder, "keyring")
    write(path, b"#!/bin/sh\necho mine\n")
    done = offline("helper", "install", tool, "--yes")
    assert done.returncode == 2
    assert f"{path} is there already" in done.stderr
    os.unlink(path)
    assert offline("helper", "install", tool, "--yes").returncode == 0
    assert os.stat(path).st_mode & 0o777 == 0o755
    assert f"\nexec {offline.path} helper keyring" in (read(path) or b"").decode()


@pytest.mark.parametrize("tool", ["twine", "poetry"])
def test_the_library_s_users_mean_the_library(offline: Program, tool: str) -> None:
    """One set-up for all that import it."""
    path = path_of(offline, "keyring")
    done = offline("helper", "install", tool, "--yes")
    assert done.stdout == f"keyring: installed, {path}\n"
    note = offline("helper", "install", tool, env={"PYTHON_KEYRING_BACKEND": "a.b"}).stderr
    assert "PYTHON_KEYRING_BACKEND is set" in note


def test_without_brokerctl_the_library_goes_on(offline: Program) -> None:
    """Where brokerctl was removed and `uninstall` forgotten, nothing is raised."""
    desk = Desk(offline, "keyring")
    desk.install()
    path = os.path.join(desk.folder, OURS["keyring"])
    text = (read(path) or b"").replace(f"{offline.path}'".encode(), b"/gone/brokerctl'")
    assert b"/gone/brokerctl" in text
    write(path, text)
    said = desk.run(require_client("keyring"), "get", "https://pypi.example.com/", "a", code=1)
    assert said == ""


@pytest.mark.parametrize("tool", PATHS)
def test_a_profile_without_hosts_is_nothing(offline: Program, tool: str) -> None:
    """There would be nothing to answer for."""
    offline.config(
        '[profile.forge]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
    )
    done = offline("helper", "install", tool, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no profile has hosts" in done.stderr
    assert read(path_of(offline, tool)) is None


@pytest.mark.parametrize(("tool", "name"), [("uv", "UV_CONFIG_FILE"), ("pip", "PIP_CONFIG_FILE")])
def test_the_tool_s_own_variable(offline: Program, tool: str, name: str) -> None:
    """Where it names a file, that is the one that the tool reads."""
    path = os.path.join(offline.home, "mine", "file")
    done = offline("helper", "install", tool, "--yes", env={name: path})
    assert done.stdout == f"{tool}: installed, {path}\n"
    assert b"keyring-provider" in (read(path) or b"")


def test_what_is_no_file_is_never_replaced(offline: Program) -> None:
    """Security: for root, /dev/null would be a file afterwards."""
    path = os.path.join(offline.home, "device")
    os.mkfifo(path)
    done = offline("helper", "install", "pip", "--yes", env={"PIP_CONFIG_FILE": path})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path} is not a file" in done.stderr
    assert not os.path.isfile(path)


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("uv", "UV_INDEX_OURS_PASSWORD"),
        ("uv", "UV_KEYRING_PROVIDER"),
        ("pip", "PIP_KEYRING_PROVIDER"),
        ("keyring", "TWINE_PASSWORD"),
        ("keyring", "POETRY_HTTP_BASIC_OURS_PASSWORD"),
        ("keyring", "PYTHON_KEYRING_BACKEND"),
    ],
)
def test_doctor_names_what_is_believed_first(offline: Program, tool: str, name: str) -> None:
    """A variable that somebody set once, and not what it holds."""
    Desk(offline, tool).install()
    said = offline("doctor", "--offline", env={name: "hunter2"}).stdout
    assert f"{tool}: {name} is set" in said
    assert "hunter2" not in said
