"""`exec` against a real issuer: own tokens die with their session, shared ones live on."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp.main_job import person, scripted_browser, service
from tests.idp.test_demo_issuer import DemoIssuer

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

SHOW = ("--", "sh", "-c", "echo $SERVICE_TOKEN; exit 7")


@pytest.fixture(autouse=True)
def profile(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Make the profile `service` of each test."""
    service(brokerctl, http_issuer)


def test_own_token_dies_with_its_session(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Each session has a token of its own, which `get` never sees and introspection calls dead."""
    kept = brokerctl("get", "service").stdout.strip()
    seen = [brokerctl("exec", "-p", "service", *SHOW) for _ in range(2)]
    assert [(done.returncode, done.stderr) for done in seen] == [(7, "")] * 2
    tokens = {done.stdout.strip() for done in seen}
    assert len(tokens | {kept}) == 3
    assert not any(http_issuer.is_active(token) for token in tokens)
    assert http_issuer.is_active(kept)
    assert brokerctl("get", "service").stdout.strip() == kept


def test_a_subject_s_own_token_dies_with_its_session_too(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """It lies with the subject's grant, where the session's end finds it; nobody else's is lost."""
    kept = [brokerctl("get", "service", "--subject", name).stdout.strip() for name in "ab"]
    assert len(set(kept)) == 2
    for words in (("--subject", "a"), ("--subject", "a", "--resource", "https://api.example")):
        done = brokerctl("exec", "-p", "service", *words, *SHOW)
        assert (done.returncode, done.stderr) == (7, "")
        assert done.stdout.strip() not in kept
        assert not http_issuer.is_active(done.stdout.strip())
    assert all(map(http_issuer.is_active, kept))
    shared = brokerctl("exec", "--keep", "--subject", "b", "-p", "service", *SHOW)
    assert shared.stdout.strip() == kept[1]


@pytest.mark.parametrize("words", [("--resource", "https://other.example"), ("--audience", "x")])
def test_what_a_profile_has_not_is_refused(brokerctl: Program, words: tuple[str, str]) -> None:
    """Exit code 4, before the command starts, by the words that `get` has for it."""
    said = brokerctl("get", "service", *words).stderr.splitlines()[-2:]
    done = brokerctl("exec", "-p", "service", *words, *SHOW)
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (4, "", said)


def test_nothing_is_left_of_a_session_that_ended(brokerctl: Program) -> None:
    """Own tokens that were revoked leave no file; the shared one of `get` stays."""
    brokerctl("get", "service")
    for _ in range(3):
        assert brokerctl("exec", "-p", "service", *SHOW).returncode == 7
    held = json.loads(brokerctl("audit", "tokens", "--json").stdout)
    assert [(one["session"], one["status"]) for one in held["held"]] == [(None, "live")]


def test_own_token_lives_while_the_child_does(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """It is good inside the session, and a SIGTERM to the supervisor ends it."""
    with brokerctl.start(
        "exec", "-p", "service", "--", "sh", "-c", "echo $SERVICE_TOKEN; sleep 60"
    ) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        assert http_issuer.is_active(token)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert not http_issuer.is_active(token)


def test_shared_token_is_the_one_of_get(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """`--keep` hands out what `get` does, and revokes nothing."""
    token = brokerctl("get", "service").stdout.strip()
    done = brokerctl("exec", "-p", "service", "--keep", *SHOW)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{token}\n", "")
    assert http_issuer.is_active(token)


def test_both_parsers_run_the_same_session(brokerctl: Program) -> None:
    """A command line for Typer (no `--`) gives the child what the written grammar gives."""
    script = "umask; env | grep -v SERVICE_TOKEN | sort; ls /proc/$$/fd"
    fast = brokerctl("exec", "-p", "service", "--", "sh", "-c", script)
    full = brokerctl("exec", "-p", "service", "sh", "-c", script)
    assert (full.returncode, full.stdout, full.stderr) == (0, fast.stdout, "")


@pytest.mark.parametrize("words", [["--"], []], ids=["written grammar", "typer"])
def test_child_has_the_umask_of_the_caller(brokerctl: Program, words: list[str]) -> None:
    """Ours is 077; what the child makes is as open as whoever ran us wants it, both ways."""
    script = "umask; touch made; stat -c %a made"
    done = brokerctl("exec", "-p", "service", *words, "sh", "-c", script, umask=0o027)
    assert (done.returncode, done.stdout) == (0, "0027\n640\n")


def test_runs_have_no_terminal(brokerctl: Program) -> None:
    """A run of the tests can never wait for whoever sits at the terminal they were started from."""
    words = ("exec", "-p", "service", "--", "cut", "-d", " ", "-f", "6", "/proc/self/stat")
    with brokerctl.start(*words) as process:
        started, _ = process.communicate(timeout=60)
    sessions = [int(text) for text in (brokerctl(*words).stdout, started)]
    assert os.getsid(0) not in sessions
    assert len(set(sessions)) == 2


def test_revocation_that_cannot_be_sent(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """With the issuer's revocation down the child's code stays, and the token is said to live."""
    http_issuer.mode(revocation="503")
    done = brokerctl("exec", "-p", "service", *SHOW)
    assert done.returncode == 7
    assert "may still be alive" in done.stderr
    http_issuer.reset()
    assert http_issuer.is_active(done.stdout.strip())
    brokerctl("revoke", "service")
    assert not http_issuer.is_active(done.stdout.strip())


def test_end_is_recorded(brokerctl: Program) -> None:
    """Hand-out, revocation and end of a session are in a record that verifies."""
    brokerctl("exec", "-p", "service", *SHOW)
    log = brokerctl("audit", "log").stdout
    assert ["token.handed_out" in log, "token.revoked" in log, "exec.end" in log] == [True] * 3
    assert brokerctl("audit", "verify").returncode == 0


def test_a_token_that_no_child_got_is_recorded_so(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """Where the second profile fails, the record of the first one's hand-out is not the last."""
    with open(brokerctl.home + "/config.toml", encoding="utf-8") as file:
        first = file.read()
    person(brokerctl, http_issuer)
    with open(brokerctl.home + "/config.toml", encoding="utf-8") as file:
        brokerctl.config(first + file.read())
    done = brokerctl("exec", "-p", "service", "--keep", "-p", "person", "--", "true")
    assert done.returncode == 3, done
    lines = brokerctl("audit", "log", "--json").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    (handed_out,) = (one for one in records if one["event"] == "token.handed_out")
    session = handed_out["requester"]["session"]
    ends = [one for one in records if one["event"] == "exec.end"]
    assert [(one["requester"]["session"], one["outcome"]) for one in ends] == [
        (session, "not started")
    ]


def log_in(brokerctl: Program, issuer: OidcProvider) -> None:
    """Log a person in, with a consent of its own."""
    done = brokerctl("login", "person", env=scripted_browser(issuer))
    assert done.returncode == 0, done.stderr


def test_a_session_ends_a_login_at_most_once(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """oidc-provider ends a grant with an access token: said, learnt, and never done again."""
    person(brokerctl, http_issuer)
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    log_in(brokerctl, http_issuer)
    shared = brokerctl("get", "person").stdout.strip()
    first = brokerctl("exec", "-p", "person", "--ttl", "5m", "--", "sh", "-c", "exit 7")
    assert first.returncode == 7
    assert "the grant for 'person' has ended" in first.stderr
    assert 'revoke_at_exit = "none"' in first.stderr
    assert not http_issuer.is_active(shared)
    asked = brokerctl("get", "person"), brokerctl("exec", "-p", "person", "--", "env")
    assert [(done.returncode, done.stdout) for done in asked] == [(3, "")] * 2
    log_in(brokerctl, http_issuer)
    for words in (["--revoke"], ["--ttl", "5m"], ["--scope", "read"]):
        done = brokerctl("exec", "-p", "person", *words, "--", "true")
        assert (done.returncode, "the grant for" in done.stderr) == (0, False)
        assert ("lives until" in done.stderr) is (words == ["--revoke"])
    assert http_issuer.is_active(brokerctl("get", "person", "--fresh").stdout.strip())
    outcomes = [
        json.loads(line)["outcome"]
        for line in brokerctl("audit", "log", "--json").stdout.splitlines()
        if '"token.revoked"' in line
    ]
    # The shared token of the grant that ended, and one of each session.
    assert outcomes == ["revoked", *["local_only"] * 4]


def test_a_login_outlives_its_sessions_elsewhere(brokerctl: Program, trace_dir: str) -> None:
    """An issuer that keeps the grant is found out too: its tokens end with their sessions."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir)) as demo:
        person(brokerctl, demo)
        brokerctl.env["BROKERCTL_KEEPER"] = "file"
        log_in(brokerctl, demo)
        asked = []
        for words in (["--revoke"], ["--ttl", "5m"]):
            demo.reset()
            done = brokerctl("exec", "-p", "person", *words, "--", "printenv", "PERSON_TOKEN")
            assert (done.returncode, done.stderr) == (0, "")
            asked.append(sum("introspect" in path for path in demo.counts()["paths"]))
            assert not demo.is_active(done.stdout.strip())
        assert asked == [1, 0]
        assert brokerctl("get", "person", "--fresh").returncode == 0
