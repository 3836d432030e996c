"""The real program and what issuers do beside the protocol: words of their own, more than asked."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.program import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program

CODE = {
    "device_code": "d",
    "user_code": "U",
    "verification_uri": "https://v.example",
    "interval": 1,
}


class Issuer(ThreadingHTTPServer):
    """An issuer with the device flow: `token` is what its token endpoint answers."""

    token: dict[str, Any]
    status = 200
    mark = ""  # what stands before each answer

    @property
    def url(self) -> str:
        """Its issuer's URL, as GitHub writes it."""
        return f"http://127.0.0.1:{self.server_address[1]}/login/oauth"


class Handler(BaseHTTPRequestHandler):
    """Answers every POST alike, as GitHub does with 200."""

    server: Issuer

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(CODE if self.path.startswith("/login/device") else self.server.token)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write((self.server.mark + body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """Start one."""
    with Issuer(("127.0.0.1", 0), Handler) as server:
        server.token = {
            "access_token": "at-1-of-the-tests",
            "refresh_token": "rt-1-of-the-tests",
            "token_type": "bearer",
            "scope": "read",
            "expires_in": 3600,
        }
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def log_in(
    program: Program, issuer: Issuer, more: str = "", scopes: str = '"read", "write"'
) -> str:
    """Configure the profile and log in; return what was printed."""
    program.env["BROKERCTL_KEEPER"] = "file"
    program.config(
        f'[profile.p]\npreset = "github"\nissuer = "{issuer.url}"\nclient_id = "c"\n'
        f"scopes = [{scopes}]\n{more}"
    )
    done = program("login", "p", "--flow", "device")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_odd_answers_are_answers(brokerctl: Program, issuer: Issuer) -> None:
    """201, a byte order mark and an empty `error`: the login and each refresh take what came."""
    issuer.status, issuer.mark = 201, "\ufeff"
    issuer.token |= {"error": None, "token_type": "", "scope": ["read", "write"]}
    log_in(brokerctl, issuer)
    for number in (2, 3):
        issuer.token |= {
            "access_token": f"at-{number}-of-the-tests",
            "refresh_token": f"rt-{number}-of-the-tests",
        }
        done = brokerctl("get", "p", "--fresh")
        assert (done.returncode, done.stdout) == (0, f"at-{number}-of-the-tests\n"), done.stderr


def test_what_can_t_be_used_is_kept_or_queued(brokerctl: Program, issuer: Issuer) -> None:
    """After a refresh the new refresh token is stored, after a login it is to be revoked."""
    log_in(brokerctl, issuer)
    issuer.token |= {"token_type": "DPoP", "refresh_token": "rt-2-of-the-tests"}
    for words, said in (
        (["get", "p", "--fresh"], "is kept"),
        (["login", "p", "--flow", "device"], "is queued to be revoked"),
    ):
        issuer.token["refresh_token"] += "x"
        done = brokerctl(*words)
        assert done.returncode == 5
        assert "answered with a token of type DPoP, not Bearer; the refresh token" in done.stderr
        assert f"that came with it {said}" in done.stderr
        assert "cut off" not in done.stderr
    told = brokerctl("status").stderr  # this issuer has no endpoint for it
    assert told == "brokerctl: note: a queued revocation of 'p': local_only\n"


def test_github_says_that_a_grant_is_dead(brokerctl: Program, issuer: Issuer) -> None:
    """`bad_refresh_token` in a 200 ends the grant: every command leads to a login from there."""
    log_in(brokerctl, issuer)
    issuer.token = {"error": "bad_refresh_token", "error_description": "is incorrect or expired"}
    told = (
        "brokerctl: error: the grant for 'p' has ended: the issuer no longer honours it "
        "(bad_refresh_token)\nbrokerctl: hint: run 'brokerctl login p'\n"
    )
    for words in ([], [], ["--login"]):
        done = brokerctl("get", "p", "--fresh", *words)
        assert (done.returncode, done.stderr) == (3, told), words
    found = brokerctl("doctor", "--offline")
    assert "'p': ended: the issuer no longer honours it (bad_refresh_token)" in found.stdout
    assert "run 'brokerctl login p'" in found.stdout
    assert "get p --fresh" not in found.stdout


def test_an_unknown_refusal_leads_to_a_login(brokerctl: Program, issuer: Issuer) -> None:
    """An error of which we don't know that it ends a grant ends none, and the hint is no circle."""
    log_in(brokerctl, issuer)
    issuer.token = {"error": "purple"}
    done = brokerctl("get", "p", "--fresh")
    assert done.returncode == 5
    assert "hint: if it stays so, run 'brokerctl login p'" in done.stderr
    assert "if it stays so, run 'brokerctl login p'" in brokerctl("doctor", "--offline").stdout


def test_more_than_was_asked_for(brokerctl: Program, issuer: Issuer) -> None:
    """Said at login and once at a hand-out, listed by `doctor`, recorded; refused if narrowed."""
    issuer.token["scope"] = "read,write,admin"
    said = "the issuer of 'p' gave admin too, which was not asked for"
    assert f"warning: {said}" in log_in(brokerctl, issuer)
    first, second = brokerctl("get", "p"), brokerctl("get", "p")
    assert first.stdout == second.stdout == "at-1-of-the-tests\n"
    assert first.stderr == f"brokerctl: warning: {said}\n"
    assert second.stderr == ""
    records = [json.loads(line) for line in brokerctl("audit", "log", "--json").stdout.splitlines()]
    reasons = [one["decision"]["reason"] for one in records if one["event"] == "token.handed_out"]
    assert reasons == [f"a subset of what the profile allows; {said}"] * 2
    assert "gives more than is asked for: admin" in brokerctl("doctor", "--offline").stdout
    issuer.token["access_token"] = "at-2-of-the-tests"
    narrow = brokerctl("get", "p", "--scope", "read")
    assert (narrow.returncode, narrow.stdout) == (4, "")
    assert "gave admin write too" in narrow.stderr


@pytest.mark.parametrize("way", ["exec", "git", "docker"])
def test_each_way_out_says_it_once(brokerctl: Program, issuer: Issuer, way: str) -> None:
    """Whoever gets the first token of more scopes than were asked for, and nobody after that."""
    issuer.token["scope"] = "read,write,admin"
    log_in(brokerctl, issuer)
    host = issuer.url.removeprefix("http://").partition("/")[0]
    words, stdin = {
        "exec": (["exec", "-p", "p", "--", "true"], ""),
        "git": (["helper", "git", "get"], f"protocol=http\nhost={host}\n\n"),
        "docker": (["helper", "docker", "get"], f"http://{host}"),
    }[way]
    for line in (
        "brokerctl: warning: the issuer of 'p' gave admin too, which was not asked for\n",
        "",
    ):
        done = brokerctl(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, line)


@pytest.mark.parametrize("allow", ["true", "false"])
def test_what_the_profile_says_of_it(brokerctl: Program, issuer: Issuer, allow: str) -> None:
    """`allow_broader` serves in silence, or not at all."""
    issuer.token["scope"] = "read,write,admin"
    log_in(brokerctl, issuer, f"allow_broader = {allow}\n")
    done = brokerctl("get", "p")
    assert done.returncode == (0 if allow == "true" else 4)
    assert (done.stderr == "") is (allow == "true")
    found = brokerctl("doctor", "--offline").stdout
    assert ("gives more than is asked for and is kept from tools: admin" in found) is (
        allow == "false"
    )


def test_a_lifetime_that_nobody_named(brokerctl: Program, issuer: Issuer) -> None:
    """It is assumed, and said so: by `login`, and in JSON as long as the token lives."""
    del issuer.token["expires_in"]
    assert "names no lifetime" in log_in(brokerctl, issuer)
    assert json.loads(brokerctl("get", "p", "--json").stdout)["expires_at_assumed"] is True
    issuer.token["expires_in"] = 60
    told = json.loads(brokerctl("get", "p", "--json", "--fresh").stdout)
    assert "expires_at_assumed" not in told


@pytest.mark.parametrize("has_refresh", [True, False])
def test_offline_access_is_granted_with_the_refresh_token(
    brokerctl: Program, issuer: Issuer, *, has_refresh: bool
) -> None:
    """Many issuers leave the words of OpenID out of what they say they granted."""
    if not has_refresh:
        del issuer.token["refresh_token"]
    told = log_in(brokerctl, issuer, scopes='"read", "write", "openid", "email", "offline_access"')
    missing = "write" if has_refresh else "offline_access write"
    assert f"not granted: {missing}\n" in told


@pytest.mark.parametrize("is_rolling", [False, True])
def test_a_login_that_ends_within_the_week_is_said(
    brokerctl: Program, issuer: Issuer, *, is_rolling: bool
) -> None:
    """Once on stderr, at a refresh; `status` and `doctor` show it. Use may put an end off."""
    issuer.token["refresh_token_expires_in"] = 3 * 86400
    log_in(brokerctl, issuer)
    assert "its login ends at" in brokerctl("status").stdout
    issuer.token["access_token"] = "at-2-of-the-tests"
    issuer.token["refresh_token_expires_in"] = 3 * 86400 - (0 if is_rolling else 7200)
    first = brokerctl("get", "p", "--fresh", env=clock("+2h"))
    assert (first.returncode, first.stdout) == (0, "at-2-of-the-tests\n")
    assert ("the login of 'p' ends on" in first.stderr) is not is_rolling
    issuer.token["refresh_token_expires_in"] -= 0 if is_rolling else 3600
    second = brokerctl("get", "p", "--fresh", env=clock("+3h"))
    assert (second.returncode, second.stderr) == (0, "")
    row = json.loads(brokerctl("status", "--json").stdout)["profiles"][0]
    assert row["login_ends_at"] > row["expires_at"]
    assert "'p': its login ends at" in brokerctl("doctor").stdout
