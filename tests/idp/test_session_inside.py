"""Inside a session: `get`, `exec` and helpers ask its socket; other commands are refused."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.idp.main_job import service
from tests.socket_room import HeldSession

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program, Result

REFUSED = "a session has no '{}': get, exec, helper alone are there"
GIT = "protocol=https\nhost={}\n\n"


@pytest.fixture
def session(brokerctl: Program, http_issuer: OidcProvider) -> HeldSession:
    """Return a session with the profile `service`; there is `other`, too, outside of it."""
    service(brokerctl, http_issuer, scopes='["read", "write"]', hosts='["https://api.example"]')
    path = os.path.join(brokerctl.home, "config.toml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    other = text.replace("profile.service", "profile.other").replace("//api.", "//other.")
    brokerctl.config(text + other)
    os.mkdir(os.path.join(brokerctl.home, "run"), 0o700)
    brokerctl.env["XDG_RUNTIME_DIR"] = os.path.join(brokerctl.home, "run")
    return HeldSession(brokerctl, "-p", "service", "--socket")


def inside(
    brokerctl: Program, session: HeldSession, *words: str, stdin: str = "", **env: str | None
) -> Result:
    """Run brokerctl as a child of the session would: without configuration, store and key."""
    nowhere = {"BROKERCTL_HOME": None, "BROKERCTL_CONFIG": None, "HOME": "/nonexistent"}
    variables = {**nowhere, "BROKERCTL_SOCKET": session.path, **env}
    return brokerctl(*words, stdin=stdin, env=variables, cwd="/")


@pytest.mark.parametrize("form", ["token", "header", "json", "env", "netrc", "curl"])
def test_each_form_of_get(brokerctl: Program, session: HeldSession, form: str) -> None:
    """It is as outside, in the token of the session."""
    with session:
        token = session.token()
        done = inside(brokerctl, session, "get", "service", "--format", form)
        assert (done.returncode, done.stderr) == (0, "")
        outside = brokerctl("get", "service", "--format", form).stdout
        shared = brokerctl("get", "service").stdout.strip()
        if form == "json":
            found, expected = json.loads(done.stdout), json.loads(outside)
            assert found.keys() == expected.keys()
            assert found["access_token"] == token
        else:
            assert done.stdout == outside.replace(shared, token)


def test_get_narrows_and_names_what_is_wrong(brokerctl: Program, session: HeldSession) -> None:
    """Exit codes and messages are the supervisor's; what exists outside is not told."""
    with session:
        narrow = inside(brokerctl, session, "get", "service", "--scope", "read", "--json")
        assert json.loads(narrow.stdout)["scopes"] == ["read"]
        by_url = inside(brokerctl, session, "get", "--for", "https://api.example/x", "--json")
        assert json.loads(by_url.stdout)["profile"] == "service"
        wide = inside(brokerctl, session, "get", "service", "--scope", "admin")
        assert (wide.returncode, "scope admin" in wide.stderr) == (4, True)
        for name in ("other", "nowhere"):
            done = inside(brokerctl, session, "get", name)
            assert (done.returncode, done.stdout) == (4, "")
            assert done.stderr == f"brokerctl: error: this session has no profile '{name}'\n"
        asked = inside(brokerctl, session, "get", "other", "--json")
        assert json.loads(asked.stderr)["error"]["code"] == 4
        whose = inside(brokerctl, session, "get", "service", "--subject", "bob")
        assert whose.returncode == 4


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("status",), "status"),
        (("login", "service"), "login"),
        (("revoke", "--all"), "revoke"),
        (("audit", "log"), "audit"),
        (("profile", "list"), "profile"),
        (("policy", "check"), "policy"),
        (("approve", "list"), "approve"),
        (("store", "key"), "store"),
        (("unlock",), "unlock"),
        (("trust",), "trust"),
        (("doctor",), "doctor"),
        (("demo",), "demo"),
        (("helper", "install", "git"), "helper install"),
        (("helper", "kept"), "helper kept"),
        (("nonsense",), "nonsense"),
    ],
)
def test_every_other_command(
    brokerctl: Program, session: HeldSession, words: tuple[str, ...], named: str
) -> None:
    """It ends 4 with one sentence, wherever its configuration would be."""
    with session:
        done = inside(brokerctl, session, *words)
        here = brokerctl(*words, env={"BROKERCTL_SOCKET": session.path})
    for one in (done, here):
        assert (one.returncode, one.stdout) == (4, "")
        assert one.stderr == f"brokerctl: error: {REFUSED.format(named)}\n"


def test_a_wrong_command_line_and_help(brokerctl: Program, session: HeldSession) -> None:
    """They are explained as outside; what Typer parses asks the socket too."""
    with session:
        assert inside(brokerctl, session, "get", "--nonsense").returncode == 2
        assert "Usage: brokerctl get" in inside(brokerctl, session, "get", "--help").stdout
        assert inside(brokerctl, session, "--version").returncode == 0
        done = inside(brokerctl, session, "get", "service", "--min-ttl=1s")
        assert (done.returncode, done.stdout.strip()) == (0, session.token())
        done = inside(brokerctl, session, "get", "other", "--min-ttl=1s")
        assert done.returncode == 4


def test_a_helper_inside(brokerctl: Program, session: HeldSession) -> None:
    """Git gets the session's token for the session's hosts, and nothing for any other."""
    with session:
        token = session.token()
        done = inside(brokerctl, session, "helper", "git", "get", stdin=GIT.format("api.example"))
        assert f"password={token}\n" in done.stdout
        for host in ("other.example", "nowhere.example"):
            done = inside(brokerctl, session, "helper", "git", "get", stdin=GIT.format(host))
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_after_the_end(brokerctl: Program, session: HeldSession) -> None:
    """Whoever lives on is told so, and gets nothing."""
    with session:
        pass
    done = inside(brokerctl, session, "get", "service")
    assert (done.returncode, done.stdout) == (4, "")
    assert "this session has ended" in done.stderr
    helper = inside(brokerctl, session, "helper", "git", "get", stdin=GIT.format("api.example"))
    assert (helper.returncode, "password" in helper.stdout) == (0, False)


def test_an_exec_inside_narrows(
    brokerctl: Program, session: HeldSession, http_issuer: OidcProvider
) -> None:
    """Its child sees a socket of its own, with what it was given; its own tokens end with it."""
    script = (
        'echo "$SERVICE_TOKEN"; brokerctl get service; brokerctl get service --scope write;'
        ' echo "$? $BROKERCTL_SOCKET"'
    )
    with session:
        wide = session.token()
        words = ("exec", "-p", "service", "--scope", "read", "--", "sh", "-c", script)
        folder = os.path.dirname(os.path.dirname(session.path))
        done = inside(brokerctl, session, *words, XDG_RUNTIME_DIR=folder)
        first, second, last = done.stdout.splitlines()
        code, path = last.split()
        assert (first, code) == (second, "4")
        assert path != session.path
        assert first != wide
        assert not http_issuer.is_active(first)
        assert http_issuer.is_active(wide)
        assert not os.path.exists(os.path.dirname(path))
        deep = ("exec", "-p", "service", "--", "brokerctl", *words)
        done = inside(brokerctl, session, *deep, XDG_RUNTIME_DIR=folder)
        assert done.stdout.splitlines()[2].startswith("4 "), done.stderr
        other = inside(brokerctl, session, "exec", "-p", "other", "--", "true")
        assert (other.returncode, "no profile 'other'" in other.stderr) == (4, True)
        gateway = inside(brokerctl, session, "exec", "-p", "service", "--gateway", "--", "true")
        assert gateway.returncode == 2


def test_exit_codes_and_files_inside(
    brokerctl: Program, session: HeldSession, http_issuer: OidcProvider
) -> None:
    """A command's exit code is `exec`'s; a file is private, and gone afterwards."""
    script = 'cat "$T"; stat -c " %a" "$T"; echo "$T"; exit 7'
    with session:
        folder = os.path.dirname(os.path.dirname(session.path))
        words = ("exec", "--file", "T=service", "--", "sh", "-c", script)
        done = inside(brokerctl, session, *words, XDG_RUNTIME_DIR=folder)
        assert done.returncode == 7, done.stderr
        content, path = done.stdout.splitlines()
        token, mode = content.split()
        assert (mode, token != session.token()) == ("600", True)
        assert not http_issuer.is_active(token)
        assert not os.path.exists(path)
