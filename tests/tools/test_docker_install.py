"""`helper install docker` and `podman` in a scratch home, used by the real tools, and gone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from brokerctl.helpers.docker import HUB
from tests.idp import main_job
from tests.tools.room import hosts, long_but, read, write
from tests.tools.test_skopeo import Skopeo, registry

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.registry import Registry

__all__ = ["registry"]  # the fixtures

CONFIGS = {
    "none": None,
    "empty": b"",
    "an empty object": b"{}\n",
    "usual": b'{\n\t"auths": {\n\t\t"other.example": {\n\t\t\t"auth": "eDp5"\n\t\t}\n\t}\n}',
    "with a section": b'{"credHelpers": {"z.example": "pass"},\n "auths": {} }  \n',
    "an empty section": b'{\r\n  "credHelpers": { },\r\n  "HttpHeaders": {"X": "\xc3\xa9"}\r\n}',
    "odd bytes": b'{"auths": {}, "experimental": "caf\xe9"}',
}
PLACES = {"docker": (".docker", "config.json"), "podman": (".config", "containers", "auth.json")}


def path_of(program: Program, tool: str) -> str:
    """Return where a tool's configuration is."""
    return os.path.join(program.home, *PLACES[tool])


def put(program: Program, tool: str, data: bytes | None) -> str:
    """Write a tool's configuration, if there is to be one; return its path."""
    path = path_of(program, tool)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, data)
    return path


@pytest.mark.slow("seven runs of the program, and a push")
@pytest.mark.parametrize("name", long_but(CONFIGS, "usual"))
def test_installed_used_and_gone(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry, name: str
) -> None:
    """The real skopeo finds it, and afterwards the file is byte for byte as before."""
    skopeo = Skopeo(brokerctl, registry, is_set_up=False)
    before, path = CONFIGS[name], put(brokerctl, "podman", CONFIGS[name])
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    done = brokerctl("helper", "install", "skopeo", "--yes")
    assert (done.returncode, done.stdout) == (0, f"podman: installed, {path}\n"), done.stderr
    assert f'"{registry.name}": "brokerctl"' in done.stderr
    again = brokerctl("helper", "install", "podman")
    assert again == (0, f"podman: installed already, {path}\n", "")
    assert f"podman: installed, {path}" in brokerctl("helper", "list").stdout
    skopeo("copy", skopeo.image, f"docker://{registry.name}/team/shop:1")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert brokerctl("helper", "uninstall", "podman", "--yes").returncode == 0
    assert read(path) == before
    assert os.listdir(os.path.dirname(path)) == ([] if before is None else ["auth.json"])
    gone = brokerctl("helper", "uninstall", "buildah")
    assert gone.stdout == f"podman: uninstalled already, {path}\n"


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with one profile of several kinds of hosts."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.forge]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://reg.example.com", "http://localhost:5000", "https://*.example.com",'
        ' "https://git.example.com/team", "https://index.docker.io"]\n'
    )
    return brokerctl


@pytest.mark.parametrize(("tool", "hub"), [("docker", HUB), ("podman", "docker.io")])
def test_each_registry_is_named_as_its_tool_does(offline: Program, tool: str, hub: str) -> None:
    """What can't be named is said, and a new file is for its owner alone."""
    path = path_of(offline, tool)
    done = offline("helper", "install", tool, "--yes")
    assert f"{tool} has no name for https://*.example.com and https://git.example" in done.stderr
    names = ["localhost:5000", "reg.example.com", hub]
    assert json.loads(read(path) or b"") == {"credHelpers": dict.fromkeys(names, "brokerctl")}
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert offline("helper", "uninstall", tool, "--yes").returncode == 0
    assert read(path) is None


@pytest.mark.parametrize(
    ("tool", "variable", "value", "path"),
    [
        ("docker", "DOCKER_CONFIG", "{home}/other", "other/config.json"),
        ("podman", "REGISTRY_AUTH_FILE", "{home}/other.json", "other.json"),
        ("podman", "XDG_CONFIG_HOME", "{home}/other", "other/containers/auth.json"),
    ],
)
def test_the_tools_own_variables(
    offline: Program, tool: str, variable: str, value: str, path: str
) -> None:
    """Wherever the tool itself would look."""
    offline.env[variable] = value.format(home=offline.home)
    offline("helper", "install", tool, "--yes")
    assert b"reg.example.com" in (read(os.path.join(offline.home, path)) or b"")
    assert read(path_of(offline, tool)) is None


def test_a_script_that_is_not_in_path_is_said(offline: Program) -> None:
    """Docker looks nowhere else, and a folder can't be written into its file."""
    script = os.path.join(os.path.dirname(offline.path), "docker-credential-brokerctl")
    offline.env["PATH"] = "/usr/bin:/bin"
    said = offline("helper", "install", "docker", "--yes").stderr
    assert f"link {script} into a folder of PATH" in said.replace("\n", " ")
    said = offline("helper", "list").stdout
    assert f"docker: docker-credential-brokerctl is not in PATH; link {script} into a" in said
    said = offline("doctor").stdout
    assert f"link {script} into a folder of PATH" in said.replace("\n", " ")
    folder = os.path.join(offline.home, "bin")
    os.mkdir(folder)
    os.symlink(script, os.path.join(folder, "docker-credential-brokerctl"))
    offline.env["PATH"] = f"{folder}:/usr/bin:/bin"
    assert "PATH" not in offline("helper", "install", "docker").stderr
    other = os.path.join(offline.home, "docker-credential-brokerctl")
    write(other, b"#!/bin/sh\n")
    os.chmod(other, 0o700)
    offline.env["PATH"] = f"{offline.home}:{folder}:/usr/bin:/bin"
    assert f"another installation's {other}" in offline("helper", "install", "docker").stderr


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"credHelpers": {"reg.example.com": "pass"}}', "another value for 'reg.example.com'"),
        (b'{"auths": {},}', "it is not JSON: line 1"),
        (b"[]", "it is not JSON"),
    ],
)
def test_what_is_not_understood_is_not_changed(offline: Program, data: bytes, said: str) -> None:
    """Another helper's entry, or what is no JSON, is for a person to change."""
    path = put(offline, "docker", data)
    done = offline("helper", "install", "docker", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}: " in done.stderr
    assert said in done.stderr
    assert read(path) == data


def test_a_file_that_broke_since_is_no_end_of_a_list(offline: Program) -> None:
    """The other tools are listed all the same."""
    path = put(offline, "docker", b'{"credHelpers": {"reg.example.com": "brokerctl"},}')
    done = offline("helper", "list")
    assert done.returncode == 0
    assert f"docker: {path}: it is not JSON: line 1" in done.stdout
    assert "git: not installed; run 'brokerctl helper install git'" in done.stdout
    assert offline("helper", "uninstall", "docker", "--yes").returncode == 2


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ('{"auths": {"reg.example.com": {"auth": "eDp5"}}}', True),
        ('{"auths": {"reg.example.com/team": {"auth": "eDp5"}}}', True),
        ('{"credHelpers": {"reg.example.com": "pass"}}', True),
        ('{"auths": {"reg.example.com.evil.example": {}}}', False),
        ('{"auths": null}', False),
        ("[1]", False),
        ("{", False),
    ],
)
def test_doctor_says_what_podman_believes_first(
    offline: Program, text: str, *, is_told: bool
) -> None:
    """A login of its own lies in a file that is read before; what it holds is not shown."""
    offline("helper", "install", "podman", "--yes")
    offline.env["XDG_RUNTIME_DIR"] = os.path.join(offline.home, "run")
    path = os.path.join(offline.home, "run", "containers", "auth.json")
    os.makedirs(os.path.dirname(path))
    write(path, text.encode())
    said = offline("doctor", "--offline").stdout
    told = f"podman: {path} has reg.example.com, and is read before"
    assert (told.replace(" ", "") in "".join(said.split())) == is_told
    assert "eDp5" not in said


def test_what_docker_wrote_since_stays(offline: Program) -> None:
    """A login elsewhere writes the whole file anew."""
    path = put(offline, "docker", b'{"auths": {}}')
    offline("helper", "install", "docker", "--yes")
    found = json.loads(read(path) or b"") | {"auths": {"other.example": {"auth": "eDp5"}}}
    write(path, json.dumps(found, indent="\t").encode())
    assert offline("helper", "uninstall", "docker", "--yes").returncode == 0
    assert json.loads(read(path) or b"") == {"auths": {"other.example": {"auth": "eDp5"}}}


def test_one_profile_of_two(offline: Program) -> None:
    """`-p` is for that one, and the next time for the other alone."""
    more = '[profile.two]\nissuer = "https://i.example"\nclient_id = "a"\nflow = "code"\n'
    with open(os.path.join(offline.home, "config.toml"), "a", encoding="utf-8") as file:
        file.write(more + 'hosts = ["https://two.example"]\n')
    for words in (("-p", "forge", "-p", "two"), ("-p", "two")):
        assert offline("helper", "install", "docker", *words, "--yes").returncode == 0
    found = json.loads(read(path_of(offline, "docker")) or b"")
    assert found == {"credHelpers": {"two.example": "brokerctl"}}
