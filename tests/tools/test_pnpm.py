"""The real pnpm, a private npm registry, and brokerctl as its token helper, set up by itself."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import ROOT, require_tool
from tests.tools.guarded import Guarded
from tests.tools.room import hosts, let_expire, long_but

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

PNPM = os.path.join(ROOT, "tests", "tools", "pnpm", "node_modules", ".bin", "pnpm")
CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": b"; mine\nsave-exact=true\n# a proxy\nfetch-retries=0\n",
    "without an end": b"fund=false\r\nsave-exact=true",
    "a token already": b"//HOST/:_authToken=old\n",
    "odd bytes": b"# caf\xe9\n//other.example/:_authToken=x\n",
}


@pytest.fixture
def registry(trace_dir: str, issuer: DemoIssuer) -> Iterator[Guarded]:
    """Return an npm registry that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="npm-", dir=trace_dir)
    with Guarded(folder, issuer) as running:
        running.put_package("left-padding")
        yield running


@pytest.fixture
def program(brokerctl: Program) -> Program:
    """Return a program whose keys are in a file."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    return brokerctl


def log_in(program: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """Have alice logged in."""
    main_job.person(program, issuer, hosts=hosts(registry.url))
    done = program("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr


def set_up(program: Program) -> None:
    """Install the helper."""
    done = program("helper", "install", "pnpm", "--yes")
    assert done.returncode == 0, done.stderr


def add(program: Program, registry: Guarded, name: str, code: int = 0) -> str:
    """Run `pnpm add` in a new folder; return what it printed on both streams."""
    require_tool("node")
    if not os.path.exists(PNPM):
        require_tool("pnpm")
    folder = os.path.join(program.home, name)
    os.mkdir(folder)
    with open(os.path.join(folder, "package.json"), "w", encoding="utf-8") as file:
        file.write('{"name": "mine", "version": "1.0.0"}\n')
    words = [PNPM, "add", "left-padding", f"--registry={registry.url}/"]
    variables = {"npm_config_manage_package_manager_versions": "false", "NO_COLOR": "1"}
    done = subprocess.run(
        words,
        env={**program.environment(), **variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    program.keep(tuple(words), done.stdout, done.stderr)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (code == 0), said
    package = os.path.join(folder, "node_modules", "left-padding", "index.js")
    assert os.path.exists(package) == (code == 0)
    return said


def test_a_private_package(program: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """First use and warm use, one request to the issuer over all of pnpm's calls."""
    main_job.service(program, issuer, hosts=hosts(registry.url))
    set_up(program)
    add(program, registry, "one")
    add(program, registry, "two")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert registry.statuses("Bearer") <= {200, 404}  # it looks for a newer pnpm too
    done = program("audit", "log", "--event", "token.handed_out", "--json")
    assert done.stdout.count('"tool":"pnpm"') == len(done.stdout.splitlines()) > 0


def test_an_expired_token_is_refreshed_once(
    program: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """However many of pnpm's calls meet it."""
    log_in(program, issuer, registry)
    set_up(program)
    let_expire(program, issuer)
    add(program, registry, "one")
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_token_that_the_registry_refused(
    program: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """It fails by itself, shows no token, and has no way to tell; `get --fresh` is the way on."""
    log_in(program, issuer, registry)
    set_up(program)
    token = program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = add(program, registry, "one", code=1)
    assert token not in said
    assert program("get", "person", "--fresh").returncode == 0
    add(program, registry, "two")


def test_a_revoked_grant_stops_pnpm(
    program: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """It keeps our words to itself and shows the exit code, which is the one for a login."""
    log_in(program, issuer, registry)
    set_up(program)
    assert program("revoke", "person").returncode == 0
    said = add(program, registry, "one", code=1)
    assert "ERR_PNPM_TOKEN_HELPER_ERROR_STATUS" in said
    assert "Exit code 3" in said
    assert not registry.statuses("Bearer")


def test_another_registry_gets_nothing(
    program: Program, issuer: DemoIssuer, registry: Guarded, trace_dir: str
) -> None:
    """The line names one registry, and the other one sees no token."""
    main_job.service(program, issuer, hosts=hosts(registry.url))
    set_up(program)
    folder = tempfile.mkdtemp(prefix="npm-", dir=trace_dir)
    with Guarded(folder, issuer) as other:
        other.put_package("left-padding")
        add(program, other, "one", code=1)
        assert {one.scheme for one in other.seen} == {""}


def test_a_failure_stops_pnpm_for_other_registries_too(
    program: Program, issuer: DemoIssuer, registry: Guarded, trace_dir: str
) -> None:
    """A limit that the page names: it asks its helpers before it knows whom it needs."""
    log_in(program, issuer, registry)
    set_up(program)
    assert program("revoke", "person").returncode == 0
    folder = tempfile.mkdtemp(prefix="npm-", dir=trace_dir)
    with Guarded(folder, issuer) as other:
        said = add(program, other, "one", code=1)
        assert "Exit code 3" in said
        assert not other.seen


def test_a_scheme_is_no_part_of_a_line(
    program: Program, issuer: DemoIssuer, registry: Guarded
) -> None:
    """A limit that the page names: the token goes to the same name in the clear as well."""
    main_job.service(program, issuer, hosts=hosts(registry.url.replace("http:", "https:")))
    set_up(program)
    add(program, registry, "one")


@pytest.mark.parametrize("name", long_but(CONFIGS, "usual", "a token already"))
def test_installed_used_and_gone(
    program: Program, issuer: DemoIssuer, registry: Guarded, name: str
) -> None:
    """The real pnpm finds it, and afterwards the file is byte for byte as before."""
    before, path = CONFIGS[name], os.path.join(program.home, ".npmrc")
    if before is not None:
        before = before.replace(b"HOST", registry.host.encode())
        with open(path, "wb") as file:
            file.write(before)
    main_job.service(program, issuer, hosts=hosts(registry.url))
    set_up(program)
    done = program("helper", "install", "pnpm")
    assert done == (0, f"pnpm: installed already, {path}\n", "")
    assert f"pnpm: installed, {path}" in program("helper", "list").stdout
    script = os.path.join(program.home, ".local/share/brokerctl/helpers/pnpm-token")
    assert os.stat(script).st_mode & 0o777 == 0o755
    add(program, registry, "one")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert program("helper", "uninstall", "pnpm", "--yes").returncode == 0
    assert not os.path.exists(script)
    assert os.path.exists(path) == (before is not None)
    if before is not None:
        with open(path, "rb") as file:
            assert file.read() == before
    assert not [one for one in os.listdir(program.home) if "before-brokerctl" in one]
