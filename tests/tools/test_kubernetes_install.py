"""`helper install kubernetes` in a scratch home, used by the real kubectl, and taken out again."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.tools.room import hosts, long_but, read, write
from tests.tools.test_kubernetes import Desk, desk, log_in, server

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

__all__ = ["desk", "server"]  # the fixtures

USUAL = """\
# mine
apiVersion: v1
clusters:
- cluster: {server: https://other.example}
  name: other   # not ours
users:
- name: admin
  user:
    token: x
kind: Config
contexts:
- context:
    cluster: other
    user: admin
  name: other
current-context: other
"""
CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": USUAL.encode(),
    "without an end": USUAL.rstrip("\n").encode(),
    "no users": b"kind: Config\napiVersion: v1\npreferences: {}\n",
    "an empty list": b"kind: Config\nusers: []  # none yet\nclusters: []",
    "null": b"apiVersion: v1\nclusters: null\ncontexts: null\nkind: Config\nusers: null\n",
    "indented": USUAL.replace(
        "- name: admin\n  user:\n    ", "   - name: admin\n     user:\n      "
    )
    .replace("\n", "\r\n")
    .encode(),
}
PROFILE = """
[profile.{name}]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = {hosts}
"""


def use(desk: Desk) -> str:
    """Have kubectl list the namespaces as our user, whatever else the file holds."""
    trust = f"--certificate-authority={desk.server.ca_file}"
    flags = (f"--server={desk.server.url}", trust, "--user=brokerctl")
    return desk(*flags, "get", "namespaces", "-o", "name")


def view(desk: Desk) -> dict[str, Any]:
    """Return what kubectl reads of its file."""
    found: dict[str, Any] = json.loads(desk("config", "view", "--raw", "-o", "json"))
    return found


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with one profile that has a host."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(PROFILE.format(name="kube", hosts=hosts("https://kube.example.com")))
    return brokerctl


@pytest.mark.parametrize("name", long_but(CONFIGS, "usual"))
def test_installed_used_and_gone(desk: Desk, issuer: DemoIssuer, name: str) -> None:
    """The real kubectl takes the user, and afterwards the file is byte for byte as before."""
    before = CONFIGS[name]
    write(desk.path, before)
    log_in(desk, issuer)
    done = desk.program("helper", "install", "kubectl", "--yes")
    assert (done.returncode, done.stdout) == (0, f"kubernetes: installed, {desk.path}\n")
    assert "--current --user=brokerctl'" in done.stderr
    again = desk.program("helper", "install", "kubernetes")
    assert again[:2] == (0, f"kubernetes: installed already, {desk.path}\n")
    assert f"kubernetes: installed, {desk.path}" in desk.program("helper", "list").stdout
    assert use(desk) == "namespace/shop\n"
    if before is None:
        assert os.stat(desk.path).st_mode & 0o777 == 0o600
    assert desk.program("helper", "uninstall", "kubernetes", "--yes").returncode == 0
    assert read(desk.path) == before
    assert not [one for one in os.listdir(os.path.dirname(desk.path)) if "before-" in one]
    gone = desk.program("helper", "uninstall", "kubernetes")
    assert gone.stdout == f"kubernetes: uninstalled already, {desk.path}\n"


@pytest.mark.parametrize("name", long_but(["none", "usual", "null"], "usual"))
def test_once_kubectl_has_written_the_file(desk: Desk, issuer: DemoIssuer, name: str) -> None:
    """It drops all comments, ours too: the user is found by name, and nothing else is harmed."""
    write(desk.path, CONFIGS[name])
    log_in(desk, issuer)
    assert desk.program("helper", "install", "kubernetes", "--yes").returncode == 0
    where = (f"--server={desk.server.url}", f"--certificate-authority={desk.server.ca_file}")
    desk("config", "set-cluster", "test", *where)
    desk("config", "set-context", "test", "--cluster=test", "--user=brokerctl")
    desk("config", "use-context", "test")
    assert b"# brokerctl" not in (read(desk.path) or b"")
    assert desk.names() == "namespace/shop\n"
    written = read(desk.path)
    again = desk.program("helper", "install", "kubernetes")
    assert again.stdout == f"kubernetes: installed already, {desk.path}\n"
    assert read(desk.path) == written
    assert f"kubernetes: installed, {desk.path}" in desk.program("helper", "list").stdout
    had = view(desk)
    assert desk.program("helper", "uninstall", "kubernetes", "--yes").returncode == 0
    had["users"] = [one for one in had["users"] or [] if one["name"] != "brokerctl"] or None
    left = view(desk)
    left["users"] = left["users"] or None
    assert left == had
    assert "uninstalled already" in desk.program("helper", "uninstall", "kubernetes").stdout


def test_a_file_that_is_no_plain_yaml(desk: Desk, issuer: DemoIssuer) -> None:
    """It is left as it is; the line that the hint has does the same, put in by hand."""
    before: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "users": []}
    write(desk.path, json.dumps(before).encode())
    log_in(desk, issuer)
    done = desk.program("helper", "install", "kubernetes", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(read(desk.path) or b"") == before
    _, _, line = done.stderr.partition("brokerctl: hint: add to its users: ")
    write(desk.path, json.dumps({**before, "users": [json.loads(line)]}).encode())
    assert use(desk) == "namespace/shop\n"
    rest = line.strip()
    write(desk.path, f"apiVersion: v1\nkind: Config\nusers:\n- {rest}\n".encode())
    assert use(desk) == "namespace/shop\n"
    assert desk.program("helper", "uninstall", "kubernetes", "--yes").returncode == 0
    assert read(desk.path) == b"apiVersion: v1\nkind: Config\nusers: []\n"


def test_kubectl_s_other_place(desk: Desk, issuer: DemoIssuer) -> None:
    """The first file that KUBECONFIG names is changed, and the default is not made."""
    first, second = (os.path.join(desk.program.home, name) for name in ("one.yaml", "two.yaml"))
    write(second, USUAL.encode())
    desk.program.env["KUBECONFIG"] = f":{first}:{second}"
    log_in(desk, issuer)
    assert desk.program("helper", "install", "kubernetes", "--yes").returncode == 0
    assert use(desk) == "namespace/shop\n"
    assert read(second) == USUAL.encode()
    assert desk.program("helper", "uninstall", "kubernetes", "--yes").returncode == 0
    assert read(first) is None
    assert read(desk.path) is None


def test_a_link_stays_one(desk: Desk, issuer: DemoIssuer) -> None:
    """As whoever keeps such files elsewhere has it."""
    real = os.path.join(desk.program.home, "dotfiles", "kube")
    write(real, USUAL.encode())
    os.makedirs(os.path.dirname(desk.path))
    os.symlink(real, desk.path)
    log_in(desk, issuer)
    assert desk.program("helper", "install", "kubernetes", "--yes").returncode == 0
    assert use(desk) == "namespace/shop\n"
    assert desk.program("helper", "uninstall", "kubernetes", "--yes").returncode == 0
    assert os.path.islink(desk.path)
    assert read(real) == USUAL.encode()


def test_somebody_else_s_user_stays(offline: Program) -> None:
    """A user of that name which `install` has not made is refused, by either command."""
    path = os.path.join(offline.home, ".kube", "config")
    before = USUAL.replace("name: admin", "name: brokerctl").encode()
    write(path, before)
    done = offline("helper", "install", "kubernetes", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "it has another user 'brokerctl'" in done.stderr
    assert offline("helper", "uninstall", "kubernetes", "--yes").returncode == 0
    assert read(path) == before


def test_one_profile_with_a_host(offline: Program) -> None:
    """Of two one is named, and one without a host would get a token nowhere."""
    profiles = [
        ("kube", ["https://kube.example.com"]),
        ("bare", []),
        ("loop", ["http://127.0.0.1"]),
    ]
    offline.config("".join(PROFILE.format(name=one, hosts=hosts(*its)) for one, its in profiles))
    done = offline("helper", "install", "kubernetes", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "kubernetes needs one profile (bare, kube, loop)" in done.stderr
    for name in ("bare", "loop"):
        done = offline("helper", "install", "kubernetes", "--yes", "-p", name)
        assert done.returncode == 2
        assert f"'{name}' has no https host" in done.stderr
    assert not os.path.exists(os.path.join(offline.home, ".kube"))
    assert offline("helper", "install", "kubernetes", "--yes", "-p", "kube").returncode == 0
