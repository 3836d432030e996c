"""The real terraform, a private module registry behind TLS, and brokerctl as its helper."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import BIN
from tests.tools.guarded import Guarded
from tests.tools.room import PLACES, hosts, let_expire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

SCRIPT = "terraform-credentials-brokerctl"


def find_terraform() -> str:
    """Return its path; it can't be had from Debian, PyPI or npm, so elsewhere this is skipped."""
    return shutil.which("terraform") or pytest.skip("no terraform on this machine")


@pytest.fixture
def registry(trace_dir: str, issuer: DemoIssuer) -> Iterator[Guarded]:
    """Return a module registry that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="terraform-", dir=trace_dir)
    with Guarded(folder, issuer, tls=True) as running:
        yield running


class Desk:
    """A home with terraform, whose credentials helper is brokerctl."""

    def __init__(self, program: Program, registry: Guarded, script: str | None = None) -> None:
        self.program = program
        self.terraform = find_terraform()
        self.source = registry.put_module("team/network/none")
        program.env.update({"BROKERCTL_KEEPER": "file", "SSL_CERT_FILE": registry.ca_file})
        if script is not None:
            plugins = os.path.join(program.home, ".terraform.d", "plugins")
            os.makedirs(plugins)
            os.symlink(script, os.path.join(plugins, SCRIPT))
            with open(os.path.join(program.home, ".terraformrc"), "w", encoding="utf-8") as file:
                file.write('credentials_helper "brokerctl" {\n}\n')

    def init(self, name: str, code: int = 0) -> str:
        """Run `terraform init` in a new folder; return what it printed on both streams."""
        folder = os.path.join(self.program.home, name)
        os.mkdir(folder)
        with open(os.path.join(folder, "main.tf"), "w", encoding="utf-8") as file:
            file.write(f'module "net" {{\n  source  = "{self.source}"\n  version = "1.0.0"\n}}\n')
        done = self.run("init", "-input=false", "-no-color", cwd=folder)
        assert done.returncode == code, done.stdout + done.stderr
        if code == 0:
            assert os.path.exists(os.path.join(folder, ".terraform/modules/net/main.tf"))
        return " ".join((done.stdout + done.stderr).replace("│", "").split())

    def run(self, *words: str, cwd: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run terraform."""
        done = subprocess.run(
            [self.terraform, *words],
            env={**self.program.environment(), "CHECKPOINT_DISABLE": "1"},
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("terraform", *words), done.stdout, done.stderr)
        return done

    def records(self, event: str) -> list[str]:
        """Return the log's lines of one event."""
        return self.program("audit", "log", "--event", event, "--json").stdout.splitlines()


def own_script() -> str:
    """Return the script that the development installation has."""
    return os.path.join(BIN, SCRIPT)


def log_in(program: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """Have alice logged in."""
    main_job.person(program, issuer, hosts=hosts(registry.url))
    browser = {**main_job.scripted_browser(issuer), "SSL_CERT_FILE": None}
    done = program("login", "person", env=browser)
    assert done.returncode == 0, done.stderr


def test_a_private_module(brokerctl: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """First use and warm use, one request to the issuer, and each hand-out in the record."""
    desk = Desk(brokerctl, registry, own_script())
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    desk.init("one")
    desk.init("two")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert registry.statuses("Bearer") == {200, 204}
    handed_out = desk.records("token.handed_out")
    assert len(handed_out) == 2
    assert all('"tool":"terraform"' in line for line in handed_out)


def test_an_expired_token_is_refreshed_once(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """However many of terraform's runs meet it."""
    desk = Desk(brokerctl, registry, own_script())
    log_in(brokerctl, issuer, registry)
    let_expire(brokerctl, issuer)
    for name in ("one", "two"):
        desk.init(name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_refused_token_is_terraform_s_own_failure(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """It has no way to say so; `terraform logout` does, and the next run has another token."""
    desk = Desk(brokerctl, registry, own_script())
    log_in(brokerctl, issuer, registry)
    token = brokerctl("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    assert token not in desk.init("one", code=1)
    done = desk.run("logout", registry.host, cwd=brokerctl.home)
    assert done.returncode == 0, done.stderr
    assert len(desk.records("token.rejected")) == 1
    desk.init("two")
    assert brokerctl("get", "person").stdout.strip() != token


def test_a_revoked_grant_fails_cleanly(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """Terraform goes on without a token and the registry refuses it; nothing hangs or asks."""
    desk = Desk(brokerctl, registry, own_script())
    log_in(brokerctl, issuer, registry)
    assert brokerctl("revoke", "person").returncode == 0
    desk.init("one", code=1)
    assert not registry.statuses("Bearer")


def test_another_host_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded, trace_dir: str
) -> None:
    """The helper is asked for a registry that no profile names: no token, and no hand-out."""
    folder = tempfile.mkdtemp(prefix="terraform-", dir=trace_dir)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    with Guarded(folder, issuer, tls=True) as other:
        desk = Desk(brokerctl, other, own_script())
        desk.init("one", code=1)
        assert {one.scheme for one in other.seen} == {""}
    assert not desk.records("token")


def test_what_terraform_stores_is_not_kept(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """It is refused, with the reason, and nothing is read or written."""
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    words = [own_script(), "store", registry.host]
    done = subprocess.run(
        words,
        env=brokerctl.environment(),
        input=b'{"token":"foreign"}',
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"keeps no token that another program made" in done.stderr
    assert not issuer.counts()["grants"]


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded, place: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    folder = os.path.join(brokerctl.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, SCRIPT)
    os.symlink(own_script(), link)
    desk = Desk(brokerctl, registry, link)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    desk.init("one")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
