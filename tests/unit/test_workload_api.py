"""The question to a SPIFFE agent: what it brings, how each no is told, and that it always ends.

The agent is emulated, over real gRPC on a real socket.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.effects import workload_api
from brokerctl.effects.workload_api import fetch_svid
from brokerctl.errors import BrokerError, IssuerError, UnsentError, UsageError
from brokerctl.oauth.steps import FetchSvid
from tests.emulations.authority import unverified_claims
from tests.emulations.service import SILENCE_S
from tests.emulations.spiffe_agent import ID, SpiffeAgent
from tests.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from brokerctl.oauth.steps import Svid

AUDIENCE = "https://issuer.example/a?b=c&d"
LONG_S = 120.0  # of a machine that is busy
CHILD = os.path.join(os.path.dirname(workload_api.__file__), "workload_api_child.py")
NOISE = {"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "all", "PATH": os.defpath}


@pytest.fixture(scope="module")
def agent_process() -> Iterator[SpiffeAgent]:
    """One agent for all tests here."""
    with SpiffeAgent() as running:
        yield running


@pytest.fixture
def agent(agent_process: SpiffeAgent) -> SpiffeAgent:
    """Return it as it was at the start."""
    agent_process.set(fault="", ids=[ID])
    return agent_process


def ask(path: str, environ: Mapping[str, str] | None = None, timeout_s: float = LONG_S) -> Svid:
    """Ask for the audience."""
    return fetch_svid(FetchSvid(socket=path, audience=AUDIENCE), environ or {}, timeout_s)


def test_the_first_svid_is_the_default(agent: SpiffeAgent) -> None:
    """The audience arrives as it is; of two identities the first is taken (Workload API, 5.3)."""
    agent.set(ids=["spiffe://example.org/first", ID])
    before = len(agent.seen)
    svid = ask(agent.socket)
    claims = unverified_claims(svid.token.reveal())
    assert svid.id == claims["sub"] == "spiffe://example.org/first"
    assert claims["aud"] == [AUDIENCE]
    assert agent.seen[before:] == [[AUDIENCE]]
    assert svid.token.reveal() not in repr(svid)


def test_a_home_is_meant_by_a_tilde(agent: SpiffeAgent) -> None:
    """As in every path of a profile."""
    folder, name = os.path.split(agent.socket)
    assert ask(f"~/{name}", {"HOME": folder}).id == ID


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("permission", UsageError, r"knows no identity of this workload \(PermissionDenied\)"),
        ("unavailable", UnsentError, "can't be reached, or is not ready"),
        ("unimplemented", UnsentError, "has no JWT-SVIDs"),
        ("internal", UnsentError, "answered INTERNAL"),
        ("garbage", UnsentError, "answered INTERNAL"),
        ("huge", UnsentError, "answered with too much"),
        ("empty", IssuerError, "answered without a JWT-SVID"),
    ],
)
def test_each_no_is_told(
    agent: SpiffeAgent, fault: str, kind: type[BrokerError], text: str
) -> None:
    """By the class that has its exit code; PermissionDenied with what is missing."""
    agent.fault(fault)
    with pytest.raises(kind, match=text) as caught:
        ask(agent.socket)
    assert type(caught.value) is kind
    assert agent.socket in caught.value.message
    if fault == "permission":
        assert "registration entry" in (caught.value.hint or "")


def test_silence_ends_at_the_deadline(agent: SpiffeAgent) -> None:
    """An agent that says nothing for 40 s is not waited for longer than there is time."""
    agent.fault("silence")
    begin = time.monotonic()
    with pytest.raises(UnsentError, match="did not answer in time"):
        ask(agent.socket, timeout_s=1.0)
    assert time.monotonic() - begin < SILENCE_S
    with pytest.raises(UnsentError, match="no time is left"):
        ask(agent.socket, timeout_s=0.0)


def test_a_listener_that_says_nothing_at_all(short_folder: str) -> None:
    """It is given up at the deadline, if not before."""
    path = f"{short_folder}/s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(UnsentError, match=r"did not answer in time|can't be reached"):
            ask(path, timeout_s=2.0)


@pytest.fixture
def short_folder() -> Iterator[str]:
    """Return a folder whose path leaves room for a socket's: pytest's are often too long."""
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        yield folder


def test_what_is_no_socket_is_named(short_folder: str) -> None:
    """Nothing there, a file, one that nobody listens at, and a path that is too long for one."""
    file, dead, deep = (f"{short_folder}/{name}" for name in ("file", "dead", "d" * 110))
    with open(file, "w", encoding="utf-8"):
        pass
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(dead)
    os.mkdir(deep)
    os.rename(dead, f"{deep}/s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(dead)
    cases: list[tuple[str, type[BrokerError], str]] = [
        (f"{short_folder}/none", UsageError, "no such file"),
        (file, UsageError, "it is no socket"),
        (f"{deep}/s", UsageError, "can't be that long"),
        (dead, UnsentError, "can't be reached"),
    ]
    for path, kind, text in cases:
        with pytest.raises(kind, match=text) as caught:
            ask(path)
        assert path in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_socket_of_others_is_named(agent: SpiffeAgent) -> None:
    """A user who may not write to it hears that, and not that nobody is there."""
    os.chmod(os.path.dirname(agent.socket), 0o711)  # noqa: S103 - another user passes through
    code = (
        "import sys; from brokerctl.effects.workload_api import fetch_svid\n"
        "from brokerctl.oauth.steps import FetchSvid\n"
        "from brokerctl.errors import UsageError\n"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: fetch_svid(FetchSvid(socket=sys.argv[1], audience='a'), {}, 60.0)\n"
        "except UsageError as error: print(error.message)\n"
    )
    for mode in (0o700, 0o755):
        os.chmod(agent.socket, mode)
        done = subprocess.run(
            [sys.executable, "-c", code, agent.socket],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert "this user may not write to that socket" in done.stdout, done.stderr
    os.chmod(agent.socket, 0o700)


def test_variables_change_nothing(
    agent: SpiffeAgent, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Security: gRPC's own would print what is sent; SPIFFE's names a socket of no profile."""
    noise = NOISE | {"SPIFFE_ENDPOINT_SOCKET": f"unix://{tmp_path}/none", "http_proxy": "http://x"}
    assert ask(agent.socket, noise).id == ID
    assert capfd.readouterr() == ("", "")


def test_the_process_alone_prints_no_token_either(agent: SpiffeAgent) -> None:
    """Security: whoever starts it with gRPC's variables set sees its answer alone."""
    asked = {"socket": agent.socket, "audience": AUDIENCE, "timeout_s": LONG_S}
    done = subprocess.run(
        [sys.executable, "-I", CHILD],
        input=json.dumps(asked),
        env=NOISE,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert (found["id"], found["count"]) == (ID, 1)
    assert done.stderr == ""  # GRPC_TRACE=all has everything that was sent, in hexadecimal


def test_without_the_extra_it_says_so(agent: SpiffeAgent) -> None:
    """The process alone, by a Python that has no packages (-S); tests/idp/test_wheel.py has all."""
    asked = {"socket": agent.socket, "audience": AUDIENCE, "timeout_s": LONG_S}
    done = subprocess.run(
        [sys.executable, "-I", "-S", CHILD],
        input=json.dumps(asked),
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"missing": "grpc"}
