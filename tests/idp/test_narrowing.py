"""Less than a login holds, from the real issuer: by an exchange, else by a refresh."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.idp.issuer import TOKEN_EXCHANGE, TYPE
from tests.idp.main_job import scripted_browser
from tests.idp.test_job_exchange import records

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

SCOPES = '["openid", "offline_access", "read", "write"]'
READ = ("get", "person", "--scope", "read")
SHOW = ("--", sys.executable, "-c", "import os; print(os.environ['PERSON_TOKEN'])")
PROCESSES = 64
FEW = 12


def log_in(program: Program, issuer: OidcProvider, **keys: str) -> str:
    """Log in by code for two scopes; return the whole token, the issuer's counts at nought."""
    name = main_job.person(program, issuer, scopes=SCOPES, **keys)
    program.env.update(scripted_browser(issuer))
    done = program("login", name)
    assert done.returncode == 0, done.stderr
    whole = program("get", name)
    assert whole.returncode == 0, whole.stderr
    issuer.send("/__reset", b"")
    return whole.stdout.strip()


def grants(issuer: OidcProvider) -> dict[str, int]:
    """Return what the token endpoint was asked for, by the last word of the grant's type."""
    counts = issuer.counts()["grants"]
    return {name.rpartition(":")[2]: count for name, count in counts.items()}


def test_an_exchange_gives_less(brokerctl: Program, exchange_issuer: OidcProvider) -> None:
    """The token can do what was asked for and no more; no refresh token was spent."""
    issuer = exchange_issuer
    assert TOKEN_EXCHANGE in issuer.metadata()["grant_types_supported"]
    whole = log_in(brokerctl, issuer)
    done = brokerctl(*READ, "--json")
    assert done.returncode == 0, done.stderr
    given = json.loads(done.stdout)
    assert (given["scopes"], given["resource"]) == (["read"], ["https://api.example"])
    narrow = given["access_token"]
    assert grants(issuer) == {"token-exchange": 1}
    assert issuer.use(narrow, "read").status == 200
    assert issuer.use(narrow, "write").status == 403
    assert issuer.use(whole, "write").status == 200
    assert brokerctl(*READ).stdout.strip() == narrow
    assert grants(issuer) == {"token-exchange": 1}
    assert brokerctl("get", "person", "--fresh").returncode == 0, "the grant is as it was"
    (handed, cached) = [
        one for one in records(brokerctl, {}, "token.handed_out") if one["scopes"] == ["read"]
    ]
    assert (handed["outcome"], cached["outcome"]) == ("exchange", "cache")
    assert handed["exchange"]["subject"] == "profile person"
    assert handed["exchange"]["issued_type"] == f"{TYPE}access_token"
    done = brokerctl("revoke", "person", "--verify", "--json")
    assert done.returncode == 0, done.stdout
    assert not issuer.is_active(narrow)
    assert not issuer.is_active(whole)
    assert brokerctl(*READ).returncode == 3
    assert brokerctl("audit", "verify").returncode == 0


def test_a_session_has_less_and_leaves_nothing(
    brokerctl: Program, exchange_issuer: OidcProvider
) -> None:
    """`exec --scope`: a token of its own, dead at the end; login and shared token live on."""
    issuer = exchange_issuer
    whole = log_in(brokerctl, issuer)
    done = brokerctl("exec", "--no-mask", "-p", "person", "--scope", "read", *SHOW)
    assert done.returncode == 0, done.stderr
    own = done.stdout.strip()
    assert own != whole
    assert grants(issuer) == {"token-exchange": 1}
    assert not issuer.is_active(own)
    assert issuer.is_active(whole)
    assert brokerctl("get", "person", "--fresh").returncode == 0


def test_an_exchange_that_narrows_nothing(
    brokerctl: Program, exchange_issuer: OidcProvider
) -> None:
    """The next way is taken: a refresh with fewer scopes. From then on it is the first."""
    issuer = exchange_issuer
    log_in(brokerctl, issuer)
    issuer.habits(scope="read write")
    done = brokerctl(*READ, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scopes"] == ["read"]
    assert grants(issuer) == {"token-exchange": 1, "refresh_token": 1}
    assert brokerctl(*READ, "--fresh").returncode == 0
    assert grants(issuer) == {"token-exchange": 1, "refresh_token": 2}
    (issued,) = records(brokerctl, {}, "token.issued")
    assert issued["broader"] == ["write"]
    done = brokerctl("revoke", "person", "--verify", "--json")
    assert done.returncode == 0, done.stdout
    assert {one["outcome"] for one in json.loads(done.stdout)["endings"]} == {"revoked"}


def test_an_answer_without_a_scope(brokerctl: Program, http_exchange: OidcProvider) -> None:
    """It means what was asked for (RFC 8693, section 2.2.1)."""
    log_in(brokerctl, http_exchange)
    http_exchange.habits(answer={"scope": None})
    done = brokerctl(*READ, "--json")
    assert json.loads(done.stdout)["scopes"] == ["read"]
    assert http_exchange.use(json.loads(done.stdout)["access_token"], "write").status == 403


def test_a_refresh_token_that_comes_with_it(
    brokerctl: Program, exchange_issuer: OidcProvider
) -> None:
    """It is stored nowhere as a grant, and is dead when the login is."""
    issuer = exchange_issuer
    log_in(brokerctl, issuer)
    issuer.habits(refresh_token=True)
    assert brokerctl(*READ).returncode == 0
    (told,) = records(brokerctl, {}, "grant.revoked")
    assert told["outcome"] == "unknown"
    assert brokerctl("get", "person", "--fresh").returncode == 0
    done = brokerctl("revoke", "person", "--verify", "--json")
    assert done.returncode == 0, done.stdout
    ended = {one["fingerprint"]: one["outcome"] for one in json.loads(done.stdout)["endings"]}
    assert ended[told["fingerprint"]] == "revoked"


def test_an_issuer_in_trouble(brokerctl: Program, http_exchange: OidcProvider) -> None:
    """Exit 5 after two requests; the next one goes by a refresh, and nothing is lost."""
    whole = log_in(brokerctl, http_exchange)
    http_exchange.mode(token="lost*2")
    done = brokerctl(*READ)
    assert (done.returncode, done.stdout) == (5, "")
    assert grants(http_exchange) == {"token-exchange": 2}
    assert brokerctl("get", "person").stdout.strip() == whole
    assert brokerctl(*READ, "--fresh").returncode == 0
    assert grants(http_exchange) == {"token-exchange": 2, "refresh_token": 1}
    done = brokerctl("revoke", "person")
    assert done.returncode == 9
    assert "may have brought it" in done.stdout + done.stderr


@pytest.mark.slow("oidc-provider lets a device poll every five seconds")
def test_a_client_that_may_not_exchange(brokerctl: Program, exchange_issuer: OidcProvider) -> None:
    """It is told so once: from then on a refresh with fewer scopes is the first way."""
    issuer = exchange_issuer
    name = main_job.person(brokerctl, issuer, flow="device", scopes=SCOPES)
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    process = brokerctl.start("login", name)
    assert process.stderr is not None
    seen = [process.stderr.readline(), process.stderr.readline()]
    code = seen[1].split(" code ")[1].split(" ")[0]
    issuer.approve_device(code, seen[0].strip().rpartition(" ")[2])
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    issuer.send("/__reset", b"")
    for scope in ("read", "write"):
        done = brokerctl("get", name, "--scope", scope, "--json")
        assert json.loads(done.stdout)["scopes"] == [scope]
    assert grants(issuer) == {"token-exchange": 1, "refresh_token": 2}


@pytest.mark.slow("64 processes on two cores")
def test_one_exchange_for_64(brokerctl: Program, exchange_issuer: OidcProvider) -> None:
    """Processes that want the same part of one login cause one request, and print one token."""
    log_in(brokerctl, exchange_issuer)
    exchange_issuer.mode(token="slow:300")
    running = [brokerctl.start(*READ) for _ in range(PROCESSES)]
    answers = {process.communicate(timeout=110) for process in running}
    assert {process.returncode for process in running} == {0}, answers
    assert len({stdout for stdout, _ in answers}) == 1
    assert grants(exchange_issuer) == {"token-exchange": 1}
    assert brokerctl("audit", "verify").returncode == 0


@pytest.mark.slow("rounds of killed processes")
def test_killed_at_random(brokerctl: Program, http_exchange: OidcProvider) -> None:
    """The others have a token, the login lives, and `revoke` ends or tells all that was issued."""
    issuer = http_exchange
    log_in(brokerctl, issuer)
    issuer.mode(token="slow:150")
    given: set[str] = set()
    for pause_s in (0.3, 0.5, 0.8):
        running = [brokerctl.start(*READ, "--fresh") for _ in range(FEW)]
        time.sleep(pause_s)
        for process in running[::2]:
            process.send_signal(signal.SIGKILL)
        ended = [process.communicate(timeout=60) for process in running]
        assert {process.returncode for process in running[1::2]} == {0}, ended
        given |= {stdout.strip() for stdout, _ in ended if stdout}
    assert "refresh_token" not in grants(issuer), "no refresh token was spent"
    issuer.mode(token="ok")
    assert brokerctl("get", "person", "--fresh").returncode == 0
    brokerctl("revoke", "person")
    assert not any(issuer.is_active(token) for token in given)
    assert brokerctl("audit", "verify").returncode == 0
