"""The real kubectl, an API server that asks the issuer about each token, and brokerctl between."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import PROGRAM
from tests.tools.kube_server import KubeServer
from tests.tools.room import PLACES, let_expire, long_but

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

CONFIG = """\
apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster: {{server: '{server}', {trust}}}
contexts:
- name: test
  context: {{cluster: test, user: {user}}}
users:
- name: by-hand
  user:
    exec:
      apiVersion: client.authentication.k8s.io/{version}
      command: '{command}'
      args: {args}
      interactiveMode: {mode}
      provideClusterInfo: {tells}
"""
STAMP = "expirationTimestamp"
BY_SERVER = ("helper", "kubernetes")
NAMED = (*BY_SERVER, "--profile", "person")


def find_kubectl() -> str:
    """Return its path; no usable one is in Debian, PyPI or npm, so elsewhere this is skipped."""
    return shutil.which("kubectl") or pytest.skip("no kubectl on this machine")


@pytest.fixture
def server(trace_dir: str, issuer: DemoIssuer) -> Iterator[KubeServer]:
    """Return an API server that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="kube-", dir=trace_dir)
    with KubeServer(folder, issuer) as running:
        yield running


class Desk:
    """A home with kubectl and a kubeconfig for one cluster."""

    def __init__(self, program: Program, server: KubeServer) -> None:
        self.program = program
        self.server = server
        self.kubectl = find_kubectl()
        self.path = os.path.join(program.home, ".kube", "config")
        program.env["BROKERCTL_KEEPER"] = "file"

    def write(self, *args: str, **changes: str) -> None:
        """Write a kubeconfig that names brokerctl, as somebody would by hand."""
        values = {
            "server": self.server.url,
            "trust": f"certificate-authority: '{self.server.ca_file}'",
            "user": "by-hand",
            "version": "v1",
            "command": PROGRAM,
            "args": json.dumps(args or NAMED),
            "mode": "Never",
            "tells": "true",
        }
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(**{**values, **changes}))

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run kubectl, which has nobody to ask; return what it printed on both streams."""
        done = subprocess.run(
            [self.kubectl, *words],
            env=self.program.environment(),
            cwd=self.program.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.program.keep(("kubectl", *words), done.stdout, done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def names(self) -> str:
        """Return the cluster's namespaces, as kubectl finds them: it looks about first."""
        return self("get", "namespaces", "-o", "name")

    def records(self, event: str) -> list[str]:
        """Return the log's lines of one event."""
        done = self.program("audit", "log", "--event", event, "--json")
        return done.stdout.splitlines()


@pytest.fixture
def desk(brokerctl: Program, server: KubeServer) -> Desk:
    """Return a desk with nothing in its kubeconfig yet."""
    return Desk(brokerctl, server)


def hosts(*urls: str) -> str:
    """Return a profile's hosts as TOML."""
    return json.dumps(urls)


def log_in(desk: Desk, issuer: DemoIssuer, **keys: str) -> None:
    """Have alice logged in, for the cluster unless other hosts are given."""
    main_job.person(desk.program, issuer, **{"hosts": hosts(desk.server.url), **keys})
    done = desk.program("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr
    issuer.reset()


@pytest.mark.parametrize(
    ("args", "version"),
    long_but(
        [(args, version) for args in (BY_SERVER, NAMED) for version in ("v1", "v1beta1")],
        *((BY_SERVER, "v1"), (NAMED, "v1beta1")),
    ),
)
def test_first_use_and_warm_use(
    desk: Desk, issuer: DemoIssuer, args: tuple[str, ...], version: str
) -> None:
    """Discovery and the list itself with one token; each hand-out is in the record."""
    log_in(desk, issuer)
    desk.write(*args, version=version)
    for _ in range(2):
        assert desk.names() == "namespace/shop\n"
    token = desk.program("get", "person").stdout.strip()
    assert desk.server.tokens() == {token}
    assert issuer.counts()["grants"] == {}
    handed_out = [
        line for line in desk.records("token.handed_out") if '"tool":"kubernetes"' in line
    ]
    assert len(handed_out) == 2
    assert all(f'"url":"{desk.server.url}"' in line for line in handed_out)


def test_the_time_to_ask_again_is_before_the_end(desk: Desk, issuer: DemoIssuer) -> None:
    """By what the profile wants a token to have left: a minute, if it says nothing."""
    for keys, left in ({}, 60), ({"min_ttl": '"10m"'}, 600):
        log_in(desk, issuer, **keys)
        answer = json.loads(desk.program(*NAMED).stdout)["status"]
        token = json.loads(desk.program("get", "person", "--json").stdout)
        assert answer["token"] == token["access_token"]
        said, end = (dt.datetime.fromisoformat(at) for at in (answer[STAMP], token["expires_at"]))
        assert left - 1 <= (end - said).total_seconds() <= left


def test_a_profile_without_a_person(desk: Desk, issuer: DemoIssuer) -> None:
    """A client's own token is got at first use, once."""
    main_job.service(desk.program, issuer, hosts=hosts(desk.server.url))
    desk.write("helper", "kubernetes")
    assert desk.names() == desk.names()
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_an_expired_token_is_refreshed_once(desk: Desk, issuer: DemoIssuer) -> None:
    """However many of kubectl's calls meet it, at once and one after the other."""
    log_in(desk, issuer)
    desk.write()
    let_expire(desk.program, issuer)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(desk.names) for _ in range(4)]
    assert {one.result() for one in found} == {desk.names()}
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_token_that_the_server_refused(desk: Desk, issuer: DemoIssuer) -> None:
    """Kubectl has no way to say so and shows its own failure; `--fresh` is the way on."""
    log_in(desk, issuer)
    desk.write()
    token = desk.program("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = desk("get", "--raw", "/version", code=1)
    assert "You must be logged in to the server" in said
    assert token not in said
    assert issuer.counts()["grants"] == {}
    assert desk.program("get", "person", "--fresh").returncode == 0
    assert desk.names() == "namespace/shop\n"


def test_a_revoked_grant(desk: Desk, issuer: DemoIssuer) -> None:
    """Kubectl names our exit code, and shows what to do; the server is not even asked."""
    log_in(desk, issuer)
    desk.write()
    assert desk.program("revoke", "person").returncode == 0
    said = desk("get", "--raw", "/version", code=1)
    assert "brokerctl: hint: run 'brokerctl login person'" in said
    assert "failed with exit code 3" in said
    assert not desk.server.seen


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (NAMED, 4, "the server that wants a token is not of its hosts"),
        (("helper", "kubernetes"), 2, "server is in no profile's hosts"),
    ],
    ids=["by name", "by server"],
)
def test_another_server_gets_nothing(
    desk: Desk, issuer: DemoIssuer, args: tuple[str, ...], code: int, why: str
) -> None:
    """Security: a kubeconfig that points a user of ours elsewhere has no token to send there."""
    log_in(desk, issuer, hosts=hosts("https://kube.example.com"))
    desk.write(*args)
    said = desk("get", "--raw", "/version", code=1)
    assert why in said
    assert f"failed with exit code {code}" in said
    assert desk.server.tokens() | desk.server.tokens(401) <= {None}
    assert not [line for line in desk.records("token.handed_out") if '"kubernetes"' in line]


def test_without_cluster_information_a_profile_is_named(desk: Desk, issuer: DemoIssuer) -> None:
    """Kubectl then tells no server: nothing is guessed, and a name is taken at its word."""
    log_in(desk, issuer)
    desk.write("helper", "kubernetes", tells="false")
    said = desk("get", "--raw", "/version", code=1)
    assert "brokerctl: hint: set 'provideClusterInfo: true'" in said
    assert "failed with exit code 2" in said
    desk.write(*NAMED, tells="false")
    assert desk.names() == "namespace/shop\n"


@pytest.mark.parametrize("args", [("helper", "kubernetes"), NAMED], ids=["by server", "by name"])
def test_a_certificate_that_is_not_checked(
    desk: Desk, issuer: DemoIssuer, args: tuple[str, ...]
) -> None:
    """Security: whoever is on the way would get the token; the profile has to say that it may."""
    log_in(desk, issuer)
    desk.write(*args, trust="insecure-skip-tls-verify: true")
    said = desk("get", "--raw", "/version", code=1)
    assert "certificate would not be checked, and insecure_ok is not true" in said
    assert "failed with exit code 4" in said
    assert not desk.server.seen
    assert '"rule":"insecure_ok of the profile"' in desk.records("token.denied")[0]
    main_job.person(desk.program, issuer, hosts=hosts(desk.server.url), insecure_ok="true")
    assert desk.names() == "namespace/shop\n"


def test_how_kubectl_gets_there_stands_in_the_record(desk: Desk, issuer: DemoIssuer) -> None:
    """Whether by file or by option: its CA as a digest, the name that it wants, and its proxy."""
    log_in(desk, issuer)
    desk.write()
    assert desk.names() == "namespace/shop\n"
    with open(desk.server.ca_file, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    assert json.loads(desk.records("token.handed_out")[-1])["route"] == {"ca_sha256": digest}
    trust = f"certificate-authority: '{desk.server.ca_file}', proxy-url: 'http://u:p@127.0.0.1:9'"
    desk.write(trust=trust)
    desk("--tls-server-name=kube.internal", "get", "--raw", "/version", code=1)
    assert json.loads(desk.records("token.handed_out")[-1])["route"] == {
        "ca_sha256": digest,
        "proxy": "http://127.0.0.1:9",
        "tls_server_name": "kube.internal",
    }
    desk.write()
    said = desk("--insecure-skip-tls-verify", "get", "--raw", "/version", code=1)
    assert "certificate would not be checked, and insecure_ok is not true" in said


@pytest.mark.parametrize("mode", ["Never", "IfAvailable"])
def test_nobody_is_ever_asked(desk: Desk, issuer: DemoIssuer, mode: str) -> None:
    """Whatever the mode, who has to log in is told so at once."""
    main_job.person(desk.program, issuer, hosts=hosts(desk.server.url))
    desk.write(mode=mode)
    started = time.monotonic()
    said = desk("get", "--raw", "/version", code=1)
    assert "brokerctl login person" in said
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("folder", PLACES)
def test_through_a_link_and_from_a_folder_with_a_space(
    desk: Desk, issuer: DemoIssuer, folder: str
) -> None:
    """As uv and pipx install it, and wherever somebody puts a link."""
    log_in(desk, issuer)
    link = os.path.join(desk.program.home, folder, "brokerctl")
    os.mkdir(os.path.dirname(link))
    os.symlink(PROGRAM, link)
    desk.write(command=link)
    assert desk.names() == "namespace/shop\n"
