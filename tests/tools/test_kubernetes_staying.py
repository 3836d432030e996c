"""Clients that run for longer than a token lives: kubectl's proxy, and the Python client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.tools.clients import require_client
from tests.tools.room import hosts, let_expire, long_but
from tests.tools.test_kubernetes import NAMED, Desk, desk, log_in, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer

__all__ = ["desk", "server"]  # the fixtures

TTL_S = 4
# One request for each line on stdin, and a line for each answer.
CLIENT = """
import sys
from kubernetes import client, config
config.load_kube_config()
api = client.CoreV1Api()
for _ in sys.stdin:
    try:
        print(*(one.metadata.name for one in api.list_namespace().items), flush=True)
    except client.ApiException as error:
        print(error.status, flush=True)
"""


@pytest.fixture
def script(desk: Desk) -> str:
    """Return the path of a program with the Python client."""
    path = os.path.join(desk.program.home, "client.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(CLIENT)
    return path


def ask(desk: Desk, script: str, times: int = 1) -> tuple[str, str]:
    """Run the Python client once with so many requests; return what it printed on each stream."""
    done = subprocess.run(
        [require_client("python"), script],
        env=desk.program.environment(),
        cwd=desk.program.home,
        input="\n" * times,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    desk.program.keep(("client",), done.stdout, done.stderr)
    return done.stdout, done.stderr


@pytest.fixture
def proxy(desk: Desk) -> Iterator[str]:
    """Have `kubectl proxy` run; return its socket."""
    path = os.path.join(desk.program.home, "proxy.sock")
    desk.write()
    with subprocess.Popen(
        [desk.kubectl, "proxy", f"--unix-socket={path}"],
        env=desk.program.environment(),
        cwd=desk.program.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = time.monotonic() + 20
        while not os.path.exists(path):
            assert time.monotonic() < end, "kubectl's proxy does not listen"
            time.sleep(0.05)
        yield path
        process.terminate()
        desk.program.keep(("kubectl", "proxy"), "", process.communicate()[1])


def status_by(path: str) -> int:
    """Ask through the proxy, on a connection of its own."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(path)
        link.sendall(b"GET /version HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return int(link.makefile("rb").readline().split()[1])


@pytest.mark.slow("it waits until tokens have ended")
def test_kubectl_never_sends_a_token_that_has_ended(
    desk: Desk, issuer: DemoIssuer, proxy: str
) -> None:
    """It asks again at the time that it was told, which is when there is another one, and once."""
    log_in(desk, issuer)
    issuer.change(access_ttl=TTL_S)
    assert desk.program("get", "person", "--fresh").returncode == 0
    end = time.monotonic() + 2.5 * TTL_S
    while time.monotonic() < end:
        assert status_by(proxy) == 200
        time.sleep(0.1)
    assert desk.server.tokens(401) == set()
    tokens = desk.server.tokens()
    assert len(tokens) >= 3
    refreshed = issuer.counts()["grants"]["refresh_token"]
    assert refreshed <= len(tokens) + 1
    handed_out = [one for one in desk.records("token.handed_out") if '"kubernetes"' in one]
    assert len(handed_out) <= refreshed + 2  # not one for each request


def test_kubectl_s_proxy_after_a_revoke(desk: Desk, issuer: DemoIssuer, proxy: str) -> None:
    """A refusal has it ask at once; it keeps the dead token while there is no other."""
    log_in(desk, issuer)
    assert status_by(proxy) == 200
    assert desk.program("revoke", "person").returncode == 0
    assert [status_by(proxy), status_by(proxy)] == [401, 401]
    log_in(desk, issuer)
    assert [status_by(proxy), status_by(proxy)] == [401, 200]


@pytest.mark.parametrize(
    ("version", "args"),
    long_but([("v1", NAMED), ("v1beta1", ("helper", "kubernetes"))], ("v1", NAMED)),
)
def test_the_python_client(
    desk: Desk, issuer: DemoIssuer, script: str, version: str, args: tuple[str, ...]
) -> None:
    """It runs the same line of the kubeconfig, and keeps the token for as long as it runs."""
    log_in(desk, issuer)
    desk.write(*args, version=version)
    for _ in range(2):
        assert ask(desk, script, 3) == ("shop\n" * 3, "")
    assert desk.server.tokens() == {desk.program("get", "person").stdout.strip()}
    assert issuer.counts()["grants"] == {}


def test_the_python_client_and_an_expired_token(
    desk: Desk, issuer: DemoIssuer, script: str
) -> None:
    """It is refreshed once, by whichever run comes first."""
    log_in(desk, issuer)
    let_expire(desk.program, issuer)
    desk.write()
    for _ in range(2):
        assert ask(desk, script)[0] == "shop\n"
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_the_python_client_after_a_revoke(desk: Desk, issuer: DemoIssuer, script: str) -> None:
    """It goes on as nobody, and what to do is in what it logs."""
    log_in(desk, issuer)
    desk.write()
    assert desk.program("revoke", "person").returncode == 0
    said, logged = ask(desk, script)
    assert said == "401\n"
    assert "exec: process returned 3" in logged
    assert "brokerctl: hint: run 'brokerctl login person'" in logged
    assert desk.server.tokens(401) == {None}


def test_the_python_client_and_another_server(desk: Desk, issuer: DemoIssuer, script: str) -> None:
    """Security: it names its cluster as kubectl does, and is told no."""
    main_job.person(desk.program, issuer, hosts=hosts("https://kube.example.com"))
    desk.write("helper", "kubernetes")
    said, logged = ask(desk, script)
    assert (said, "exec: process returned 2" in logged) == ("401\n", True)
    desk.write(trust=json.dumps("insecure-skip-tls-verify") + ": true")
    log_in(desk, issuer)
    said, logged = ask(desk, script)
    assert (said, "exec: process returned 4" in logged) == ("401\n", True)
    assert desk.server.tokens(401) == {None}
