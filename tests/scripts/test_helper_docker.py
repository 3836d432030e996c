"""docker's helper as a process: an address is a URL, one outcome each time, and no wait."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

NOT_FOUND = "credentials not found in native keychain\n"
PLAIN, SAFE = "http://localhost:5000", "https://reg.example.com"


@pytest.fixture
def held(brokerctl: Program, http_issuer: OidcProvider) -> Program:
    """Return a program with a token for a registry on loopback, without TLS, and for another."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.service(brokerctl, http_issuer, hosts=json.dumps([PLAIN, SAFE]))
    return brokerctl


def ask(program: Program, operation: str, stdin: str = "") -> tuple[int, str, str]:
    """Ask the docker helper by its own name; the answer to `get` alone may hold a token."""
    script = os.path.join(os.path.dirname(program.path), "docker-credential-brokerctl")
    done = subprocess.run(
        [script, operation],
        input=stdin,
        env=program.environment(),
        cwd=program.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown = "" if operation == "get" else done.stdout
    program.keep(("docker-credential-brokerctl", operation), shown, done.stderr)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("reg.example.com", True),
        ("REG.example.com:443", True),
        ("https://reg.example.com", True),
        ("https://reg.example.com/v1/", True),
        ("localhost:5000", True),
        ("http://localhost:5000", True),
        ("https://localhost:5000", False),
        ("127.0.0.1:5000", False),
        ("localhost", False),
        ("http://reg.example.com", False),
        ("reg.example.com:5000", False),
        ("reg.example.com.", False),
        ("reg.example.com@evil.example", False),
        ("evil.example/reg.example.com", False),
        ("reg.example.com%2eevil.example", False),
        ("reg.example.com\\@evil.example", False),
        ("//reg.example.com", False),
        ("ftp://reg.example.com", False),
        ("r\u00e9g.example.com", False),
    ],
)
def test_which_address_is_ours(held: Program, address: str, *, is_ours: bool) -> None:
    """Security: a name means https, on loopback http too; another spelling is nobody's."""
    code, stdout, stderr = ask(held, "get", address)
    assert stderr == ""
    if is_ours:
        assert code == 0
        assert json.loads(stdout)["ServerURL"] == address
    else:
        assert (code, stdout) == (1, NOT_FOUND)


def test_https_is_the_first_reading(held: Program, http_issuer: OidcProvider) -> None:
    """Where two profiles share a name on loopback, the one with TLS is meant."""
    text = ""
    for name, host in (("plain", PLAIN), ("safe", "https://localhost:5000")):
        main_job.service(held, http_issuer, hosts=json.dumps([host]), username=f'"{name}"')
        with open(os.path.join(held.home, "config.toml"), encoding="utf-8") as file:
            text += file.read().replace("[profile.service]", f"[profile.{name}]")
    held.config(text)
    assert json.loads(ask(held, "get", "localhost:5000")[1])["Username"] == "safe"
    assert json.loads(ask(held, "get", PLAIN)[1])["Username"] == "plain"


def test_two_profiles_of_one_registry_are_never_either(held: Program) -> None:
    """It is an error that names both, and no absence: the tool must not go on as nobody."""
    keys = f'issuer = "https://i.example"\nclient_id = "a"\nflow = "code"\nhosts = ["{SAFE}"]\n'
    held.config(f"[profile.one]\n{keys}[profile.two]\n{keys}")
    code, stdout, stderr = ask(held, "get", "reg.example.com")
    assert code == 1
    assert stdout == "brokerctl: https://reg.example.com belongs to 'one' and 'two'\n"
    assert "'one' and 'two'" in stderr


def test_what_is_stored_may_be_ours(held: Program) -> None:
    """Docker's `login` stores what it got here; whatever else, and for anybody else, is refused."""
    given = {"ServerURL": "reg.example.com", "Username": "oauth2", "Secret": "a-password"}
    assert ask(held, "store", json.dumps(given))[1].startswith("brokerctl keeps no credentials")
    given = json.loads(ask(held, "get", "reg.example.com")[1])
    assert ask(held, "store", json.dumps(given)) == (0, "", "")
    for changes in (
        {"Secret": given["Secret"] + "x"},
        {"ServerURL": "evil.example"},
        {"ServerURL": "https://index.docker.io/v1/access-token"},
    ):
        code, stdout, stderr = ask(held, "store", json.dumps(given | changes))
        assert (code, stdout) == (1, "brokerctl keeps no credentials that another program made\n")
        assert "a login of the tool is not needed" in stderr
        assert given["Secret"] not in stderr
    events = held("audit", "log", "--json").stdout
    assert events.count('"token.handed_out"') == 1


def test_erase_is_for_that_registry_alone(held: Program, http_issuer: OidcProvider) -> None:
    """The next is a new one; who has nothing here is told nothing."""
    first = json.loads(ask(held, "get", "reg.example.com")[1])["Secret"]
    for address in ("evil.example", "https://index.docker.io/v1/refresh-token"):
        assert ask(held, "erase", address) == (0, "", "")
    assert json.loads(ask(held, "get", "reg.example.com")[1])["Secret"] == first
    for _ in range(2):  # docker's `logout` says it twice
        assert ask(held, "erase", "reg.example.com") == (0, "", "")
    assert json.loads(ask(held, "get", "reg.example.com")[1])["Secret"] != first
    assert http_issuer.counts()["grants"] == {"client_credentials": 2}


def test_what_is_no_request_is_said(held: Program) -> None:
    """In our words on stderr, without what was sent, and never as an absence."""
    code, stdout, stderr = ask(held, "get", "reg.example.com\nevil.example")
    assert (code, stdout) == (1, "brokerctl: not a request\n")
    assert "not a request of docker" in stderr
    assert "evil" not in stderr


@pytest.mark.parametrize("operation", ["list", "version"])
def test_a_person_s_terminal_is_not_waited_for(held: Program, operation: str) -> None:
    """Its stdin does not end, and nothing of it is wanted."""
    begun = time.monotonic()
    with held.start("helper", "docker", operation) as running:
        assert running.wait(15) == 0
        assert time.monotonic() - begun < 15


def test_a_closed_stdin_is_no_address(held: Program) -> None:
    """Docker's own text for it."""
    words = ["sh", "-c", 'exec "$0" helper docker get <&-', held.path]
    env = held.environment()
    done = subprocess.run(words, env=env, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, b"no credentials server URL\n")


@pytest.mark.parametrize(
    ("operation", "answer"), [("get", (1, NOT_FOUND)), ("list", (0, "{}\n")), ("erase", (0, ""))]
)
def test_without_a_configuration(
    brokerctl: Program, operation: str, answer: tuple[int, str]
) -> None:
    """There is nothing, and the tool goes on."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    assert ask(brokerctl, operation, "reg.example.com")[:2] == answer
