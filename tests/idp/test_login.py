"""Logging in, every way of it, on our own issuer and on the real oidc-provider."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.idp import main_job
from tests.idp.browser import Browser
from tests.idp.test_demo_issuer import DemoIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import OidcProvider
    from tests.program import Program

URL = re.compile(r"^brokerctl:   (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def demo_process(trace_dir: str) -> Iterator[DemoIssuer]:
    """One demo issuer for this file; its devices may poll every second."""
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir), interval=1) as running:
        yield running


@pytest.fixture
def demo(demo_process: DemoIssuer) -> DemoIssuer:
    """Return it with its counts at nought."""
    demo_process.reset()
    return demo_process


@pytest.fixture(params=["demo", "http_issuer", "tls_issuer"])
def idp(request: pytest.FixtureRequest) -> OidcProvider:
    """Run the test on our own issuer, and on oidc-provider over http and TLS."""
    running: OidcProvider = request.getfixturevalue(request.param)
    return running


@pytest.fixture(autouse=True)
def file_keeper(brokerctl: Program) -> None:
    """Keep the key in a file, as no keyring is there."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"


def scripted(issuer: Any, *options: str) -> dict[str, str]:  # noqa: ANN401 - any issuer
    """Return the variables that make a login use the scripted browser."""
    words = [sys.executable, main_job.BROWSER, *options]
    variables = {"BROWSER": f"{shlex.join(words)} %s"}
    if issuer.ca_file:
        variables["SSL_CERT_FILE"] = issuer.ca_file
    return variables


def test_code(brokerctl: Program, idp: OidcProvider) -> None:
    """A login by code says who it was, keeps the grant, and shows nothing of it."""
    name = main_job.person(brokerctl, idp)
    done = brokerctl("login", name, "--json", env=scripted(idp))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["profile"], answer["sub"]) == (1, name, "alice")
    assert answer["can_refresh"] is True
    assert answer["replaced"] == []
    assert "code=" not in done.stderr
    assert idp.is_active(brokerctl("get", name).stdout.strip())
    assert idp.counts()["grants"] == {"authorization_code": 1}
    log = brokerctl("audit", "log", "--json").stdout.splitlines()
    records = [json.loads(line) for line in log]
    record = next(each for each in records if each["event"] == "grant.obtained")
    assert record["requester"]["tool"] == "login"
    assert record["requester"]["uid"] == os.getuid()
    assert (record["sub"], record["decision"]["effect"]) == ("alice", "allow")
    assert "@" in record["owner"]


@pytest.mark.slow(reason="oidc-provider lets a device poll every five seconds")
def test_device(brokerctl: Program, idp: OidcProvider) -> None:
    """The device flow shows the code as the issuer wrote it, without a QR where no terminal is."""
    name = main_job.person(brokerctl, idp)
    process = brokerctl.start("login", name, "--flow", "device")
    assert process.stderr
    seen = [process.stderr.readline(), process.stderr.readline()]
    uri = seen[0].strip().rpartition(" ")[2]
    code = seen[1].split(" code ")[1].split(" ")[0]
    idp.approve_device(code, uri)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "logged in" in stdout
    assert stderr == ""
    assert brokerctl("get", name).returncode == 0


def test_no_browser(brokerctl: Program, idp: OidcProvider) -> None:
    """--no-browser prints the address on stderr and waits for the callback."""
    name = main_job.person(brokerctl, idp)
    process = brokerctl.start("login", name, "--no-browser")
    assert process.stderr
    seen = process.stderr.readline() + process.stderr.readline()
    found = URL.search(seen)
    assert found, seen
    page = Browser(idp.ca_file).open(found[1])
    assert "can be closed" in page.text
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr


@pytest.mark.parametrize("env", [{"CI": "true"}, {"CI": "true", "DISPLAY": ":0"}, {}])
def test_nobody_there(brokerctl: Program, demo: DemoIssuer, env: dict[str, str]) -> None:
    """In CI, or without a terminal, a login ends at once with 3 and asks the issuer nothing."""
    name = main_job.person(brokerctl, demo)
    before = time.monotonic()
    done = brokerctl("login", name, env=env)
    assert time.monotonic() - before < 5
    assert (done.returncode, done.stdout) == (3, "")
    assert "nobody is there" in done.stderr
    assert demo.counts()["paths"] == {}


def test_no_browser_starts(brokerctl: Program, demo: DemoIssuer) -> None:
    """A BROWSER that can't be started is said, with what to try."""
    name = main_job.person(brokerctl, demo)
    done = brokerctl("login", name, env={"BROWSER": "/nonexistent"})
    assert done.returncode == 3
    assert "BROWSER names '/nonexistent'" in done.stderr
    assert "--flow device" in done.stderr


@pytest.mark.parametrize("how", [("--no-browser",), ("--flow", "device")])
def test_wait(brokerctl: Program, demo: DemoIssuer, how: tuple[str, ...]) -> None:
    """A login waits as long as its profile says, or the command; it is said how to lengthen it."""
    name = main_job.person(brokerctl, demo, login_wait='"1s"')
    for more, said in (((), "within 1s"), (("--wait", "2s"), "within 2s")):
        done = brokerctl("login", name, *how, *more)
        assert (done.returncode, done.stdout) == (3, "")
        assert said in done.stderr
        assert "--wait" in done.stderr
    for wrong in ("0s", "10", "1w", "-1s"):
        assert brokerctl("login", name, f"--wait={wrong}").returncode == 2


def test_device_in_ci(brokerctl: Program, demo: DemoIssuer) -> None:
    """A profile's device flow waits for nobody in CI, unless the command asks for it."""
    name = main_job.person(brokerctl, demo, flow="device")
    assert brokerctl("login", name, env={"CI": "1"}).returncode == 3
    process = brokerctl.start("login", name, "--flow", "device", env={"CI": "1"})
    assert process.stderr
    assert "to log in, visit" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=10)


def test_denied(brokerctl: Program, idp: OidcProvider) -> None:
    """A person who says no ends the login; nothing is stored."""
    name = main_job.person(brokerctl, idp)
    done = brokerctl("login", name, env=scripted(idp, "--deny"))
    assert done.returncode == 5
    assert "access_denied" in done.stderr
    assert brokerctl("get", name).returncode == 3


def test_again(brokerctl: Program, idp: OidcProvider) -> None:
    """A second login replaces the first grant and ends it at the issuer, after it is stored."""
    name = main_job.person(brokerctl, idp)
    assert brokerctl("login", name, env=scripted(idp)).returncode == 0
    first = brokerctl("get", name).stdout.strip()
    again = brokerctl("login", name, "--json", env=scripted(idp))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["replaced"] == ["revoked", "revoked"]
    second = brokerctl("get", name).stdout.strip()
    assert (idp.is_active(first), idp.is_active(second)) == (False, True)
    assert brokerctl("get", name, "--fresh").returncode == 0


def test_again_in_the_same_browser(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """An issuer that ends the new grant with the old one is found out at once, and said."""
    name = main_job.person(brokerctl, http_issuer)
    browser, codes = Browser(), []
    for _ in range(3):
        process = brokerctl.start("login", name, "--no-browser")
        assert process.stderr
        found = URL.search(process.stderr.readline() + process.stderr.readline())
        assert found
        browser.open(found[1])
        _, stderr = process.communicate(timeout=30)
        codes.append(process.returncode)
        assert process.returncode == 0 or "together with the grant before" in stderr
        if process.returncode == 0:
            assert brokerctl("get", name, "--fresh").returncode == 0
            continue
        # Nor is the token handed out that was just found dead, by any way in.
        asked = brokerctl("get", name), brokerctl("exec", "-p", name, "--", "env")
        assert [(done.returncode, done.stdout) for done in asked] == [(3, "")] * 2
    assert codes == [0, 3, 0]


def test_somebody_else(brokerctl: Program, idp: OidcProvider) -> None:
    """Another `sub` is refused, its new grant revoked and the old one kept; --force accepts it."""
    name = main_job.person(brokerctl, idp)
    assert brokerctl("login", name, env=scripted(idp)).returncode == 0
    as_bob = scripted(idp, "--account", "bob")
    other = brokerctl("login", name, env=as_bob)
    assert (other.returncode, other.stdout) == (4, "")
    assert "somebody else" in other.stderr
    assert brokerctl("get", name, "--fresh").returncode == 0
    forced = brokerctl("login", name, "--force", env=as_bob)
    assert forced.returncode == 0, forced.stderr
    assert "as bob" in forced.stdout


def test_subjects(brokerctl: Program, demo: DemoIssuer) -> None:
    """A profile holds one grant for each subject."""
    name = main_job.person(brokerctl, demo)
    for subject in ("work", "home"):
        done = brokerctl("login", name, "--subject", subject, env=scripted(demo))
        assert done.returncode == 0, done.stderr
    tokens = {brokerctl("get", name, "--subject", who).stdout for who in ("work", "home")}
    assert len(tokens) == 2
    assert brokerctl("get", name).returncode == 3


def test_url(brokerctl: Program, demo: DemoIssuer) -> None:
    """`login URL` stores a profile named by host and port, says its name, and uses it."""
    words = ("login", demo.url, "--client-id", "cli", "--scope", "openid offline_access read")
    done = brokerctl(*words, env=scripted(demo))
    assert done.returncode == 0, done.stderr
    name = "127.0.0.1-" + demo.url.rpartition(":")[2]
    assert f"stored profile '{name}'" in done.stderr
    assert brokerctl("get", name).returncode == 0
    assert brokerctl("login", demo.url, env=scripted(demo)).returncode == 0
    clash = brokerctl("login", demo.url, "--client-id", "device", env=scripted(demo))
    assert clash.returncode == 2
    literal = brokerctl("login", demo.url, "--profile", "x", "--client-id", "a",
                        "--client-secret", "hunter2")  # fmt: skip
    assert literal.returncode == 2
    assert "hunter2" not in literal.stderr


def test_without_person(brokerctl: Program, demo: DemoIssuer) -> None:
    """A login of a flow without a person shows that its credentials work, in CI too."""
    name = main_job.service(brokerctl, demo)
    done = brokerctl("login", name, env={"CI": "1"})
    assert done.returncode == 0, done.stderr
    assert brokerctl("get", name).returncode == 0
    assert demo.counts()["grants"] == {"client_credentials": 1}


@pytest.mark.parametrize("words", [["--acr", "x"], ["--flow", "password"]])
def test_not_in_this_version(brokerctl: Program, demo: DemoIssuer, words: list[str]) -> None:
    """Options and flows whose room does not exist yet are refused."""
    name = main_job.person(brokerctl, demo)
    done = brokerctl("login", name, *words)
    assert done.returncode == 2
    assert "not in this version" in done.stderr


def test_preset_without_a_terminal(brokerctl: Program) -> None:
    """`login github` without a profile says what to run where nobody can be asked."""
    done = brokerctl("login", "github")
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: run 'brokerctl profile add github --preset github'" in done.stderr


def test_no_profile(brokerctl: Program) -> None:
    """A login of nothing names what is missing; a name that is not there says which there are."""
    assert "no profile named" in brokerctl("login").stderr
    unknown = brokerctl("login", "unknown")
    assert unknown.returncode == 2
    assert "profile add unknown" in unknown.stderr
