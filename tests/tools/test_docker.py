"""The real docker CLI, which needs no engine for these, and brokerctl as its helper."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from brokerctl.helpers.docker import HUB
from tests.idp import main_job
from tests.tools.room import hosts, let_expire
from tests.tools.test_git import log_in
from tests.tools.test_skopeo import Skopeo, registry

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.registry import Registry

__all__ = ["registry"]  # the fixtures


class Docker:
    """A home with docker, whose helper for one registry is brokerctl, installed by itself."""

    def __init__(self, program: Program, registry: Registry) -> None:
        docker = shutil.which("docker")
        if docker is None:
            pytest.skip("docker is not here, and Debian's is too old to be without an engine")
        self.docker = docker
        self.program = program
        self.registry = registry
        program.env.update({"BROKERCTL_KEEPER": "file", "SSL_CERT_FILE": registry.ca_file})
        self.path = os.path.join(program.home, ".docker", "config.json")

    def install(self) -> None:
        """Have brokerctl write itself into docker's configuration."""
        done = self.program("helper", "install", "docker", "--yes")
        assert done.returncode == 0, done.stderr

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        """Run docker; return what it printed on both streams."""
        done = subprocess.run(
            [self.docker, *words],
            env=self.program.environment({"DOCKER_HOST": "unix:///nowhere.sock"}),
            cwd=self.program.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("docker", *words), done.stdout, done.stderr)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def docker(brokerctl: Program, issuer: DemoIssuer, registry: Registry) -> Docker:
    """Return a docker whose user has logged in, and a registry that has two images."""
    found = Docker(brokerctl, registry)
    skopeo = Skopeo(brokerctl, registry)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    for name in ("team/shop:1", "public/shop:1"):
        skopeo("copy", "--format", "v2s2", skopeo.image, f"docker://{registry.name}/{name}")
    found.install()
    registry.seen.clear()
    issuer.reset()
    return found


def test_first_use_and_warm_use(docker: Docker, issuer: DemoIssuer, registry: Registry) -> None:
    """A manifest is read as the profile's user, with the token that is there."""
    for _ in range(2):
        said = docker("manifest", "inspect", f"{registry.name}/team/shop:1")
        assert json.loads(said)["schemaVersion"] == 2
    assert registry.users() == {"oauth2"}
    assert issuer.counts()["grants"] == {}


def test_an_expired_token_is_refreshed_once(
    docker: Docker, issuer: DemoIssuer, registry: Registry
) -> None:
    """However many of docker's calls meet it."""
    let_expire(docker.program, issuer)
    for _ in range(2):
        docker("manifest", "inspect", f"{registry.name}/team/shop:1")
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_token_that_the_registry_refused(
    docker: Docker, issuer: DemoIssuer, registry: Registry
) -> None:
    """`docker logout` has the helper forget it; the grant stays, and the next has another."""
    token = docker.program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = docker("manifest", "inspect", f"{registry.name}/team/shop:1", code=1)
    assert "unauthorized" in said
    said = docker("logout", registry.name)
    assert said == f"Removing login credentials for {registry.name}\n"
    docker("manifest", "inspect", f"{registry.name}/team/shop:1")
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_revoked_grant(docker: Docker, registry: Registry) -> None:
    """Docker goes on as nobody, and what to do is shown."""
    assert docker.program("revoke", "person").returncode == 0
    said = docker("manifest", "inspect", f"{registry.name}/team/shop:1", code=1)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "denied" in said
    said = docker("manifest", "inspect", f"{registry.name}/public/shop:1")
    assert '"schemaVersion": 2' in said
    assert registry.users() == {None}


def test_an_issuer_that_is_down(docker: Docker, issuer: DemoIssuer, registry: Registry) -> None:
    """Docker keeps the error to itself and goes on as nobody; why is shown."""
    let_expire(docker.program, issuer)
    issuer.mode(token="503")
    said = docker("manifest", "inspect", f"{registry.name}/public/shop:1")
    assert '"schemaVersion": 2' in said
    assert "brokerctl: error: " in said
    assert registry.users() == {None}


def test_another_registry_gets_nothing(docker: Docker, registry: Registry) -> None:
    """The helper is asked for a name that no profile has: nobody's, and no hand-out."""
    other = f"localhost:{registry.port}"
    with open(docker.path, "w", encoding="utf-8") as file:
        json.dump({"credHelpers": {other: "brokerctl"}}, file)
    before = docker.program("audit", "log", "--json").stdout.count("handed_out")
    docker("manifest", "inspect", f"{other}/team/shop:1", code=1)
    assert registry.users() <= {None}
    assert docker.program("audit", "log", "--json").stdout.count("handed_out") == before


def test_a_login_of_docker_s_own(docker: Docker, registry: Registry) -> None:
    """Docker asks for what is there and stores it again, which is ours; a password is not kept."""
    words = ("login", "-u", "alice", "--password-stdin", registry.name)
    assert "Login Succeeded" not in docker(*words, stdin="wrong", code=1)
    token = docker.program("get", "person").stdout.strip()
    assert "Login Succeeded" in docker(*words, stdin=token)
    assert docker.program("get", "person", "--fresh").stdout.strip() != token
    said = docker(*words, stdin=token, code=1)
    assert "out: `brokerctl keeps no credentials that another program made`" in said
    assert "brokerctl: note: a login of the tool is not needed" in said


def test_hub_s_own_keys_and_logout(docker: Docker) -> None:
    """`docker logout` asks for Hub's identity tokens; a profile for Hub gives it none."""
    docker.program.config(
        '[profile.hub]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://index.docker.io"]\n'
    )
    docker.install()
    with open(docker.path, encoding="utf-8") as file:
        assert json.load(file) == {"credHelpers": {HUB: "brokerctl"}}
    assert docker("logout") == f"Removing login credentials for {HUB}\n"


def test_list_has_what_is_held(brokerctl: Program, issuer: DemoIssuer) -> None:
    """A server with a live grant is listed with its user; nothing is asked and handed out."""
    script = os.path.join(os.path.dirname(brokerctl.path), "docker-credential-brokerctl")

    def listed() -> str:
        words = [script, "list"]
        env = brokerctl.environment()
        done = subprocess.run(
            words, env=env, input=b"unused", capture_output=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    assert listed() == "{}\n"
    main_job.person(
        brokerctl, issuer, hosts=hosts("https://reg.example.com", "https://*.e.example")
    )
    assert listed() == "{}\n"
    log_in(brokerctl, issuer, hosts=hosts("https://reg.example.com", "https://*.e.example"))
    before = issuer.counts()
    assert listed() == '{"reg.example.com":"oauth2"}\n'
    assert brokerctl("revoke", "person").returncode == 0
    assert listed() == "{}\n"
    assert issuer.counts()["grants"] == before["grants"]
    assert "handed_out" not in brokerctl("audit", "log", "--json").stdout
