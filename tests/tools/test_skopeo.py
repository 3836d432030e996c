"""The real skopeo, a registry with a token realm behind TLS, and brokerctl as its helper."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import require_tool
from tests.tools.registry import Registry, make_image
from tests.tools.room import PLACES, hosts, let_expire
from tests.tools.test_git import Desk, log_in, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.git_server import GitServer

__all__ = ["server"]  # the fixtures


@pytest.fixture
def registry(trace_dir: str, issuer: DemoIssuer) -> Iterator[Registry]:
    """Return a registry that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="registry-", dir=trace_dir)
    with Registry(folder, issuer) as running:
        yield running


class Skopeo:
    """A home with skopeo, whose helper for one registry is brokerctl."""

    def __init__(self, program: Program, registry: Registry, *, is_set_up: bool = True) -> None:
        self.program = program
        self.skopeo = require_tool("skopeo")
        program.env.update({"BROKERCTL_KEEPER": "file", "SSL_CERT_FILE": registry.ca_file})
        self.image = make_image(program.home)
        self.auth_file = os.path.join(program.home, ".config", "containers", "auth.json")
        if is_set_up:
            self.set_up(registry.name)

    def set_up(self, *names: str) -> None:
        """Write its configuration by hand."""
        os.makedirs(os.path.dirname(self.auth_file))
        with open(self.auth_file, "w", encoding="utf-8") as file:
            json.dump({"credHelpers": dict.fromkeys(names, "brokerctl")}, file)

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        """Run skopeo; return what it printed on both streams."""
        done = subprocess.run(
            [self.skopeo, "--insecure-policy", *words],
            env=self.program.environment({"XDG_RUNTIME_DIR": self.program.home}),
            cwd=self.program.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("skopeo", *words), done.stdout, done.stderr)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr


def test_push_inspect_and_pull(brokerctl: Program, issuer: DemoIssuer, registry: Registry) -> None:
    """First use and warm use, one request to the issuer, each hand-out in the record."""
    skopeo = Skopeo(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url), username='"robot"')
    place = f"docker://{registry.name}/team/shop:1"
    skopeo("copy", skopeo.image, place)
    assert '"Architecture": "amd64"' in skopeo("inspect", place)
    skopeo("copy", place, "dir:pulled")
    assert os.path.exists(os.path.join(brokerctl.home, "pulled", "manifest.json"))
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert registry.users() == {"robot"}
    told = brokerctl("audit", "log", "--event", "token.handed_out", "--json").stdout.splitlines()
    assert len(told) >= 3
    assert all('"tool":"docker"' in line for line in told)


def test_an_expired_token_is_refreshed_once(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """However many of skopeo's calls meet it."""
    skopeo = Skopeo(brokerctl, registry)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    place = f"docker://{registry.name}/team/shop:1"
    let_expire(brokerctl, issuer)
    skopeo("copy", skopeo.image, place)
    skopeo("copy", place, f"docker://{registry.name}/team/other:1")
    skopeo("list-tags", f"docker://{registry.name}/team/other")
    assert issuer.counts()["grants"] == {"refresh_token": 1}


@pytest.mark.slow("the issuer answers slowly, so that both are waiting")
def test_git_and_skopeo_meet_one_expired_token(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry, server: GitServer
) -> None:
    """Two tools at the same moment, one refresh: the other waits for it and takes what came."""
    skopeo = Skopeo(brokerctl, registry)
    url = server.make("shop.git")
    git = Desk(brokerctl, server)
    log_in(brokerctl, issuer, hosts=hosts(registry.url, server.url))
    place = f"docker://{registry.name}/team/shop:1"
    skopeo("copy", skopeo.image, place)
    let_expire(brokerctl, issuer)
    issuer.mode(token="slow:1000")  # so that each is asking while the other's refresh is under way
    with ThreadPoolExecutor() as both:
        done = [both.submit(git, "clone", "-q", url, "work"), both.submit(skopeo, "inspect", place)]
        assert "team/shop" in done[1].result() + done[0].result()
    assert issuer.counts()["grants"] == {"refresh_token": 1}
    told = [json.loads(line) for line in git.records("token.handed_out")]
    told = [one for one in told if one["fingerprint"] == told[-1]["fingerprint"]]
    assert {one["requester"]["tool"] for one in told} == {"docker", "git"}


def test_a_token_that_the_registry_refused(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """Nobody tells the helper of it, so that it is served until `logout` says to forget it."""
    skopeo = Skopeo(brokerctl, registry)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    place = f"docker://{registry.name}/team/shop:1"
    skopeo("copy", skopeo.image, place)
    token = brokerctl("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    assert "unauthorized" in skopeo("inspect", place, code=1)
    said = skopeo("logout", "--authfile", skopeo.auth_file, registry.name)
    assert "Removed login credentials" in said
    assert '"reason":"its tool forgets it"' in brokerctl("audit", "log", "--json").stdout
    assert "team/shop" in skopeo("inspect", place)
    assert brokerctl("get", "person").stdout.strip() != token


def test_a_revoked_grant_leaves_what_is_public(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """Skopeo goes on as nobody: what is private fails in its own words, what to do is in ours."""
    skopeo = Skopeo(brokerctl, registry)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    for name in ("team/shop:1", "public/shop:1"):
        skopeo("copy", skopeo.image, f"docker://{registry.name}/{name}")
    assert brokerctl("revoke", "person").returncode == 0
    registry.seen.clear()
    said = skopeo("inspect", f"docker://{registry.name}/team/shop:1", code=1)
    assert "denied: requested access" in said
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "public/shop" in skopeo("inspect", f"docker://{registry.name}/public/shop:1")
    assert registry.users() == {None}
    brokerctl.config("nonsense = [")  # no more does a slip of ours
    assert "public/shop" in skopeo("inspect", f"docker://{registry.name}/public/shop:1")


def test_an_issuer_that_is_down_is_not_nobody(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """Skopeo must not go on as if no helper had been asked: it stops, and says why."""
    skopeo = Skopeo(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    issuer.mode(token="503")
    said = skopeo("inspect", f"docker://{registry.name}/public/shop:1", code=1)
    assert "error getting credentials" in said
    assert "brokerctl: " in said
    assert registry.seen == []


def test_another_registry_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """The helper is asked for a name that no profile has: nobody's, and no hand-out."""
    skopeo = Skopeo(brokerctl, registry, is_set_up=False)
    skopeo.set_up(registry.name, f"localhost:{registry.port}")
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    place = f"docker://localhost:{registry.port}/team/shop:1"
    assert "unauthorized" in skopeo("inspect", place, code=1)
    assert registry.users() == {None}
    assert "handed_out" not in brokerctl("audit", "log", "--json").stdout


def test_a_foreign_password_is_not_kept(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """`login` fails, since whoever is told that it succeeded relies on what was stored."""
    skopeo = Skopeo(brokerctl, registry)
    log_in(brokerctl, issuer, hosts=hosts(registry.url))
    older = brokerctl("get", "person", "--fresh").stdout.strip()
    assert brokerctl("get", "person", "--fresh").stdout.strip() != older
    words = ("login", "--authfile", skopeo.auth_file, "-u", "alice", "--password-stdin")
    said = skopeo(*words, registry.name, code=1, stdin=older)
    assert "keeps no credentials that another program made" in said
    said = skopeo("login", "--authfile", skopeo.auth_file, registry.name)
    assert "Already logged in" in said


def test_an_imported_password_still_logs_in(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry
) -> None:
    """What skopeo had in plain text it gets from brokerctl, for a registry of no profile."""
    skopeo = Skopeo(brokerctl, registry, is_set_up=False)
    skopeo.set_up("other.example.com")
    log_in(brokerctl, issuer, hosts=hosts("https://other.example.com"))
    token = brokerctl("get", "person").stdout.strip()
    with open(brokerctl.home + "/config.toml", "a", encoding="utf-8") as file:
        file.write('\n[helpers]\nkeep = ["docker"]\n')
    auth = base64.b64encode(f"robot:{token}".encode()).decode()
    with open(skopeo.auth_file, "w", encoding="utf-8") as file:
        json.dump({"auths": {registry.name: {"auth": auth}}}, file)
    place = f"docker://{registry.name}/team/shop:1"
    skopeo("copy", skopeo.image, place)
    done = brokerctl("helper", "import", "docker", "--yes")
    assert done.stdout == f"docker: 1 kept, and removed from {skopeo.auth_file}\n", done.stderr
    with open(skopeo.auth_file, encoding="utf-8") as file:
        assert json.load(file) == {"auths": {}, "credHelpers": {registry.name: "brokerctl"}}
    registry.seen.clear()
    assert "team/shop" in skopeo("inspect", place)
    assert registry.users() == {"robot"}
    assert "credential.handed_out" in brokerctl("audit", "log", "--json").stdout


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, registry: Registry, place: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    folder = os.path.join(brokerctl.home, place)
    os.mkdir(folder)
    script = os.path.join(os.path.dirname(brokerctl.path), "docker-credential-brokerctl")
    os.symlink(script, os.path.join(folder, "docker-credential-brokerctl"))
    brokerctl.env["PATH"] = f"{folder}:/usr/bin:/bin"
    skopeo = Skopeo(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    skopeo("copy", skopeo.image, f"docker://{registry.name}/team/shop:1")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
