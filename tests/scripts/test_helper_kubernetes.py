"""kubectl's helper as a process, without kubectl: nothing on stdout but a credential, no wait."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.program import Program

VARIABLE = "KUBERNETES_EXEC_INFO"
CONFIG = """
[profile.kube]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://kube.example.com", "https://many.example.com/k8s"]
"""
NAMED = ("--profile", "kube")


@pytest.fixture
def kube(brokerctl: Program) -> Program:
    """Return a program with one profile, nobody logged in."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(CONFIG)
    assert brokerctl("status").returncode == 0
    return brokerctl


def ask(program: Program, text: str | None, *words: str) -> tuple[int, str]:
    """Ask the helper; return its exit code and what it said, which is never on stdout."""
    done = program("helper", "kubernetes", *words, env={VARIABLE: text})
    assert done.stdout == ""
    return done.returncode, done.stderr


def info(server: str) -> str:
    """Return the variable for a server."""
    version = "client.authentication.k8s.io/v1"
    spec = {"cluster": {"server": server}, "interactive": True}
    return json.dumps({"kind": "ExecCredential", "apiVersion": version, "spec": spec})


@pytest.mark.parametrize(
    "server",
    [
        "https://kube.example.com.",
        "https://kube.example.com:6443",
        "https://kube.example.com@evil.example",
        "https://evil.example#kube.example.com",
        "https://evil.example/https://kube.example.com",
        "https://kube.example.com\\@evil.example",
        "https://kube.example.com\n.evil.example",
        "https://kube.example.com%2eevil.example",
        "https://k\u0131be.example.com",
        "http://kube.example.com",
        "kube.example.com",
        "//kube.example.com",
        "https://many.example.com",
        "https://many.example.com/k8s/../admin",
        "https://many.example.com/k8s%2f..%2fadmin",
        "https://many.example.com/k8sx",
    ],
)
def test_another_spelling_is_nobody_s(kube: Program, server: str) -> None:
    """Security: whatever is not the very server gets nothing, with a profile named and without."""
    code, said = ask(kube, info(server))
    assert (code, "server is in no profile's hosts" in said) == (2, True)
    code, said = ask(kube, info(server), *NAMED)
    assert (code, "the server that wants a token is not of its hosts" in said) == (4, True)


@pytest.mark.parametrize(
    "server", ["https://KUBE.example.com:443", "https://many.example.com/k8s/clusters/c-1"]
)
def test_the_very_server(kube: Program, server: str) -> None:
    """Case and the default port are the same server, and a path may go on; a person must log in."""
    for words in ((), NAMED):
        code, said = ask(kube, info(server), *words)
        assert (code, "run 'brokerctl login kube'" in said) == (3, True)


@pytest.mark.parametrize("text", ["[" * 50_000, '"' + "x" * 100_000 + '"', "\udcff", "{}"])
def test_no_request_at_all(kube: Program, text: str) -> None:
    """One line that says so, in which nothing of it is repeated."""
    code, said = ask(kube, text, *NAMED)
    assert code == 2
    assert said.startswith("brokerctl: note: not a request of kubernetes: KUBERNETES_EXEC_INFO is")
    assert len(said) < 120


def test_an_empty_variable_is_none(kube: Program) -> None:
    """Whoever can't unset it may empty it: the named profile is asked for, and no other."""
    assert ask(kube, "", *NAMED)[0] == 3
    code, said = ask(kube, "")
    assert (code, "give '--profile NAME' in its args" in said) == (2, True)


def test_an_unknown_profile(kube: Program) -> None:
    """A name that no profile has is a slip in the kubeconfig, and said so."""
    code, said = ask(kube, info("https://kube.example.com"), "--profile", "other")
    assert (code, "no profile 'other'" in said) == (2, True)


def test_stdin_is_left_alone(kube: Program) -> None:
    """It may be a terminal that somebody types at: nothing is read from it, nor waited for."""
    with subprocess.Popen(
        [kube.path, "helper", "kubernetes", *NAMED],
        env=kube.environment({VARIABLE: info("https://kube.example.com")}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.wait(20) == 3
        assert process.stdout is not None
        assert process.stdout.read() == b""
