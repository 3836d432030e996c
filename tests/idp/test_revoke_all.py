"""`revoke` reaches all that it names and says what it did not reach."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

SHARED = """
[profile.other]
issuer = "{issuer}"
flow = "code"
client_id = "cli"
scopes = ["openid", "offline_access", "read"]
resource = ["https://api.example"]
max_ttl = "15m"
"""


def read_config(program: Program) -> str:
    """Return the user's configuration."""
    with open(os.path.join(program.home, "config.toml"), encoding="utf-8") as file:
        return file.read()


def log_in(program: Program, issuer: OidcProvider) -> str:
    """Log a person in and return a token of theirs."""
    name = main_job.person(program, issuer)
    done = program("login", name, env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr
    return program("get", name).stdout.strip()


@contextmanager
def locked(program: Program, grant: str) -> Iterator[None]:
    """Hold one grant's lock as a process does that is stopped."""
    path = os.path.join(program.home, "state", "v1", "locks", f"{grant}.lock")
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@pytest.fixture(autouse=True)
def keeper(brokerctl: Program) -> None:
    """Keep the key in a file."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"


def test_a_grant_that_two_profiles_share_ends_by_either_name(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """A profile that did not log in, and hands tokens out all the same, is revoked by name."""
    token = log_in(brokerctl, http_issuer)
    brokerctl.config(read_config(brokerctl) + SHARED.format(issuer=http_issuer.url))
    assert brokerctl("get", "other").stdout.strip() == token
    revoked = brokerctl("revoke", "other", "--json")
    assert revoked.returncode == 0, revoked.stderr
    kinds = {ending["kind"] for ending in json.loads(revoked.stdout)["endings"]}
    assert kinds == {"refresh_token", "access_token"}
    assert not http_issuer.is_active(token)
    assert brokerctl("get", "other").returncode == 3


@pytest.mark.parametrize("words", [("--all",), ("person",)])
def test_what_is_damaged_is_not_called_dead(
    brokerctl: Program, http_issuer: OidcProvider, words: tuple[str]
) -> None:
    """A grant that does not open may be alive at the issuer: not all is dead, and it is said."""
    token = log_in(brokerctl, http_issuer)
    grants = os.path.join(brokerctl.home, "state", "v1", "grants")
    (name,) = (name for name in os.listdir(grants) if "." not in name)
    with open(os.path.join(grants, name), "r+b") as file:
        file.seek(60)
        file.write(b"damage")
    revoked = brokerctl("revoke", *words, "--json")
    assert revoked.returncode == 9, revoked
    assert json.loads(revoked.stdout)["all_dead"] is False
    assert "1 damaged entry" in revoked.stderr
    assert not http_issuer.is_active(token)


@pytest.mark.slow("a lock is waited for as long as a holder may take")
def test_one_stuck_grant_keeps_no_other_alive(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """`--all` goes on past a grant whose holder is stopped, and exit code 9 says so."""
    first = log_in(brokerctl, http_issuer)
    text = read_config(brokerctl)
    main_job.service(brokerctl, http_issuer)
    brokerctl.config(read_config(brokerctl) + text)
    second = brokerctl("get", "service").stdout.strip()
    tokens = {"person": first, "service": second}
    stuck = min(os.listdir(os.path.join(brokerctl.home, "state", "v1", "tokens")))
    with locked(brokerctl, stuck):
        revoked = brokerctl("revoke", "--all")
    alive = [name for name, token in tokens.items() if http_issuer.is_active(token)]
    assert len(alive) == 1, revoked
    assert revoked.returncode == 9, revoked
    assert f"brokerctl: error: '{alive[0]}': the grant is locked" in revoked.stderr


@pytest.mark.parametrize("subject", [(), ("--subject", "ann")])
@pytest.mark.parametrize("change", [('scopes = ["read"]', 'scopes = ["read", "openid"]'), None])
def test_a_killed_sessions_token_ends_though_its_profile_was_changed(
    brokerctl: Program,
    http_issuer: OidcProvider,
    change: tuple[str, str] | None,
    subject: tuple[str, ...],
) -> None:
    """What a killed supervisor left is found by its session, whatever its profile is now."""
    main_job.service(brokerctl, http_issuer)
    words = (
        "exec",
        *subject,
        "-p",
        "service",
        "--",
        "sh",
        "-c",
        "echo $SERVICE_TOKEN; exec sleep 2",
    )
    with brokerctl.start(*words) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert http_issuer.is_active(token)
        text = read_config(brokerctl)
        brokerctl.config(text.replace(*change) if change else text.replace(".service]", ".new]"))
        told = brokerctl("status").stderr
        assert "a killed session's token of 'service': revoked" in told
    assert not http_issuer.is_active(token)


def test_a_request_without_an_answer_may_have_brought_a_token(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """A client's token that nobody knows is told of, and not all is called dead."""
    main_job.service(brokerctl, http_issuer)
    http_issuer.mode(token="lost*2")
    assert brokerctl("get", "service").returncode == 5
    http_issuer.reset()
    assert "queued" not in brokerctl("status").stdout
    revoked = brokerctl("revoke", "service")
    assert revoked.returncode == 9, revoked
    assert revoked.stdout.count("a request that got no answer may have brought it") == 2
    assert "a token of it may be alive" in brokerctl("audit", "log", "--json").stdout
    assert brokerctl("revoke", "service").returncode == 0
