"""The real cargo, a private registry on loopback, and brokerctl as its credential provider."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import BIN
from tests.tools.guarded import Guarded, Reply, make_archive
from tests.tools.room import PLACES, let_expire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

SCRIPT = os.path.join(BIN, "cargo-credential-brokerctl")
PACKAGE = '[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n'


def find_cargo() -> str:
    """Return its path; neither pip nor npm has it, and Debian 12's is too old to have providers."""
    found = shutil.which("cargo")
    if found is None:
        pytest.skip("no cargo on this machine")
    said = subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stdout
    minor = said.split()[1].split(".")[1] if said else "0"
    return found if int(minor) >= 74 else pytest.skip(f"too old to ask a provider: {said}")


@pytest.fixture
def registry(trace_dir: str, issuer: DemoIssuer) -> Iterator[Guarded]:
    """Return a sparse registry with one crate, open to who has a token of the issuer."""
    folder = tempfile.mkdtemp(prefix="cargo-", dir=trace_dir)
    with Guarded(folder, issuer) as running:
        put_crate(running)
        yield running


def put_crate(server: Guarded) -> None:
    """Serve the crate `demo` (the Cargo Book, Registry Index)."""
    files = {
        "demo-1.0.0/Cargo.toml": PACKAGE.format(name="demo").encode(),
        "demo-1.0.0/src/lib.rs": b"pub fn said() -> bool { true }\n",
    }
    crate = make_archive(files)
    line = {
        "name": "demo",
        "vers": "1.0.0",
        "deps": [],
        "cksum": hashlib.sha256(crate).hexdigest(),
        "features": {},
        "yanked": False,
    }
    config = {"dl": f"{server.url}/dl", "api": server.url, "auth-required": True}
    server.put_json("/index/config.json", config)
    server.put_json("/index/de/mo/demo", line)
    server.pages["/dl/demo/1.0.0/download"] = Reply(crate, "application/gzip")
    found = {"crates": [{"name": "demo", "max_version": "1.0.0", "description": "a demo"}]}
    server.put_json("/api/v1/crates", {**found, "meta": {"total": 1}})


def make_package(program: Program, name: str) -> str:
    """Make a package that needs the crate, if it is not there yet; return its folder."""
    folder = os.path.join(program.home, name)
    text = f"{PACKAGE.format(name=name)}[dependencies]\n"
    text += 'demo = { version = "1", registry = "corp" }\n'
    os.makedirs(os.path.join(folder, "src"), exist_ok=True)
    for path, content in (("Cargo.toml", text), ("src/lib.rs", "")):
        with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
            file.write(content)
    return folder


class Desk:
    """A home with cargo, whose registry `corp` is the one on loopback."""

    def __init__(self, program: Program, registry: Guarded, script: str | None = SCRIPT) -> None:
        self.program = program
        self.cargo = find_cargo()
        program.env["BROKERCTL_KEEPER"] = "file"
        self.folder = os.path.join(program.home, ".cargo")
        os.makedirs(self.folder, exist_ok=True)
        text = f'[registries.corp]\nindex = "sparse+{registry.url}/index/"\n'
        if script is not None:
            text += f"credential-provider = {json.dumps([script])}\n"
        with open(os.path.join(self.folder, "config.toml"), "w", encoding="utf-8") as file:
            file.write(text)

    def __call__(self, *words: str, code: int = 0, name: str = "work") -> str:
        """Run cargo in a package that needs the crate; return what it printed on both streams."""
        folder = make_package(self.program, name)
        done = subprocess.run(
            [self.cargo, *words],
            env={**self.program.environment(), **self.variables(name)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        self.program.keep(("cargo", *words), done.stdout, done.stderr)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def variables(self, name: str) -> dict[str, str]:
        """Return what the real cargo needs beside a home of its own, with a cache for each use."""
        rustup = os.environ.get("RUSTUP_HOME") or os.path.expanduser("~/.rustup")
        home = os.path.join(self.program.home, f"cargo-{name}")
        os.makedirs(home, exist_ok=True)
        shutil.copy(os.path.join(self.folder, "config.toml"), home)
        path = f"{self.program.environment()['PATH']}:{os.path.dirname(self.cargo)}"
        own = {"CARGO_HOME": home, "CARGO_TERM_COLOR": "never", "PATH": path}
        return {**own, "RUSTUP_HOME": rustup}

    def records(self, event: str) -> list[str]:
        """Return the log's lines of one event."""
        return self.program("audit", "log", "--event", event, "--json").stdout.splitlines()


def index(registry: Guarded) -> str:
    """Return a profile's hosts as TOML: the index, path and all."""
    return json.dumps([f"{registry.url}/index"])


def log_in(program: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """Have alice logged in."""
    main_job.person(program, issuer, hosts=index(registry))
    done = program("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr


def test_a_private_crate(brokerctl: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """First use and warm use, one request to the issuer, and each hand-out in the record."""
    cargo = Desk(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=index(registry))
    cargo("fetch", name="one")
    cargo("fetch", name="two")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert 200 in registry.statuses("Bearer")
    handed_out = cargo.records("token.handed_out")
    assert len(handed_out) >= 2
    assert all('"tool":"cargo"' in line for line in handed_out)
    assert "demo" in cargo("search", "demo", "--registry", "corp", name="one")


def test_an_expired_token_is_refreshed_once(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """However many of cargo's runs meet it."""
    cargo = Desk(brokerctl, registry)
    log_in(brokerctl, issuer, registry)
    let_expire(brokerctl, issuer)
    for name in ("one", "two"):
        cargo("fetch", name=name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_refused_token_is_cargo_s_own_failure(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """It has no way to say so to a provider; a fresh one is had by hand."""
    cargo = Desk(brokerctl, registry)
    log_in(brokerctl, issuer, registry)
    token = brokerctl("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = cargo("fetch", code=101)
    assert token not in said
    assert "401" in said
    assert brokerctl("get", "person", "--fresh").returncode == 0
    cargo("fetch", name="again")


def test_a_revoked_grant_says_what_to_do(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """Cargo shows the reason and the command, and asks nobody."""
    cargo = Desk(brokerctl, registry)
    log_in(brokerctl, issuer, registry)
    assert brokerctl("revoke", "person").returncode == 0
    said = cargo("fetch", code=101)
    assert "run 'brokerctl login person'" in said
    assert not registry.statuses("Bearer")


def test_another_host_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded, trace_dir: str
) -> None:
    """Whatever `args` a repository's own configuration hands on."""
    folder = tempfile.mkdtemp(prefix="cargo-", dir=trace_dir)
    main_job.service(brokerctl, issuer, hosts=index(registry))
    with Guarded(folder, issuer) as other:
        put_crate(other)
        cargo = Desk(brokerctl, other, None)
        work = os.path.join(brokerctl.home, "work", ".cargo")
        os.makedirs(work)
        with open(os.path.join(work, "config.toml"), "w", encoding="utf-8") as file:
            words = json.dumps([SCRIPT, "--profile", "service", registry.url])
            file.write(f"[registries.corp]\ncredential-provider = {words}\n")
        said = cargo("fetch", code=101)
        assert "no token found" in said
        assert {one.scheme for one in other.seen} == {""}
    assert not cargo.records("token")


def test_an_index_below_a_host_of_ours_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """Security: whoever can put files there could name the server that the token is sent to."""
    cargo = Desk(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=json.dumps([registry.url]))
    said = cargo("fetch", code=101)
    assert f"the index {registry.url}/index is not among the hosts of 'service'" in said
    assert not registry.statuses("Bearer")
    assert cargo.records("token.refused")
    assert not cargo.records("token.handed_out")


def test_cargo_login_is_refused(brokerctl: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """Nothing foreign is kept, and it says what to do instead."""
    cargo = Desk(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=index(registry))
    said = cargo("login", "--registry", "corp", code=101)
    assert "brokerctl login" in said or "please paste" in said.lower()


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded, place: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    folder = os.path.join(brokerctl.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, os.path.basename(SCRIPT))
    os.symlink(SCRIPT, link)
    cargo = Desk(brokerctl, registry, link)
    main_job.service(brokerctl, issuer, hosts=index(registry))
    cargo("fetch")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
