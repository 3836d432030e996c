"""Bazel's helper as the process that Bazel would start: none can be had to start it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import BIN, Result
from tests.tools.room import PLACES, let_expire, long_but

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

SCRIPT = os.path.join(BIN, "brokerctl-bazel")
HOST = "https://cache.example.com"
FILES = {
    "none": None,
    "empty": b"",
    "usual": b"# mine\nbuild --jobs=4\n\ncommon --credential_helper=x.example=/opt/x\ntest --x\n",
    "without an end": b"try-import %workspace%/user.bazelrc",
    "odd bytes": b"build --x=caf\xe9\r\n\n\n",
}


@pytest.fixture
def program(brokerctl: Program, issuer: DemoIssuer) -> Program:
    """Return a program with alice logged in, whose token is for one server."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.person(brokerctl, issuer, hosts=f'["{HOST}"]')
    done = brokerctl("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr
    issuer.reset()
    return brokerctl


def ask(program: Program, uri: str = f"{HOST}/blobs/1", script: str = SCRIPT) -> Result:
    """Start it as the specification has it: `get`, and JSON without a newline on stdin."""
    done = subprocess.run(
        [script, "get"],
        env=program.environment(),
        cwd=program.home,
        input=json.dumps({"uri": uri}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    program.keep((script, uri), done.stdout, done.stderr)
    return Result(done.returncode, done.stdout, done.stderr)


def token_of(said: Result) -> str:
    """Return the token of an answer that is as the specification wants it."""
    assert (said.returncode, said.stderr) == (0, "")
    found = json.loads(said.stdout)
    assert set(found) == {"headers", "expires"}
    time.strptime(found["expires"], "%Y-%m-%dT%H:%M:%SZ")
    (header,) = found["headers"]["Authorization"]
    scheme, _, token = header.partition(" ")
    assert scheme == "Bearer"
    return str(token)


def test_first_and_warm(program: Program, issuer: DemoIssuer) -> None:
    """The issuer takes the token, and is asked for none; each answer is in the record."""
    tokens = {token_of(ask(program, uri)) for uri in (f"{HOST}/a", f"{HOST}/b", HOST)}
    assert len(tokens) == 1
    assert issuer.use(tokens.pop()).status == 200
    assert not issuer.counts()["grants"]
    log = program("audit", "log", "--event", "token.handed_out", "--json").stdout.splitlines()
    assert len([line for line in log if '"tool":"bazel"' in line]) == 3


def test_an_expired_token_is_refreshed_once(program: Program, issuer: DemoIssuer) -> None:
    """However many of Bazel's downloads ask at once."""
    let_expire(program, issuer)
    words = [SCRIPT, "get"]
    pipe, env = subprocess.PIPE, program.environment()
    running = [subprocess.Popen(words, stdin=pipe, stdout=pipe, env=env) for _ in range(4)]
    answers = [one.communicate(json.dumps({"uri": HOST}).encode(), 60)[0] for one in running]
    assert len({json.loads(one)["headers"]["Authorization"][0] for one in answers}) == 1
    assert issuer.counts()["grants"] == {"refresh_token": 1}


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        f"{HOST}.evil.example/",
        f"{HOST}:8443/",
        "http://cache.example.com/",
        "grpc://cache.example.com/x",
        "https://a@cache.example.com/",
        "",
    ],
)
def test_another_host_gets_nothing(program: Program, uri: str) -> None:
    """No header and no error: Bazel's patterns take in more than ours, and some of it is public."""
    assert ask(program, uri) == (0, "{}\n", "")
    assert not program("audit", "log", "--event", "token.handed_out").stdout


def test_grpc_is_the_same_host(program: Program) -> None:
    """A remote cache is asked for by its service."""
    assert token_of(ask(program, "grpcs://cache.example.com/build.bazel.Service"))


def test_what_is_no_request(program: Program) -> None:
    """It fails with a line, and without a traceback."""
    done = subprocess.run(
        [SCRIPT, "get"],
        env=program.environment(),
        input="{",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "brokerctl: note: not a request of bazel: it is not JSON\n"


def test_a_revoked_grant(program: Program) -> None:
    """The exit code is the one for a login, and the hint is on stderr."""
    assert program("revoke", "person").returncode == 0
    said = ask(program)
    assert (said.returncode, said.stdout) == (3, "")
    assert "brokerctl: hint: run 'brokerctl login person'" in said.stderr


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    program: Program, place: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    folder = os.path.join(program.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, "helper")
    os.symlink(SCRIPT, link)
    assert token_of(ask(program, script=link))


@pytest.mark.parametrize("name", long_but(FILES, "usual"))
def test_installed_used_and_gone(program: Program, name: str) -> None:
    """What the line names is the script; afterwards the file is byte for byte as before."""
    before, path = FILES[name], os.path.join(program.home, ".bazelrc")
    if before is not None:
        with open(path, "wb") as file:
            file.write(before)
    done = program("helper", "install", "bazel", "--yes")
    assert (done.returncode, done.stdout) == (0, f"bazel: installed, {path}\n")
    assert program("helper", "install", "bazel").stdout == f"bazel: installed already, {path}\n"
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        line = next(line for line in file if "cache.example.com" in line)
    command, option = shlex.split(line)
    assert command == "common"
    name, host, script = option.split("=", 2)
    assert (name, host) == ("--credential_helper", "cache.example.com")
    assert token_of(ask(program, script=script))
    assert program("helper", "uninstall", "bazel", "--yes").returncode == 0
    assert os.path.exists(path) == (before is not None)
    if before is not None:
        with open(path, "rb") as file:
            assert file.read() == before
    assert not [one for one in os.listdir(program.home) if "before-brokerctl" in one]
