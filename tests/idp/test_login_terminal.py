"""Logging in on a terminal: the pasted answer, and the QR code."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pexpect
import pytest

from tests.idp import main_job, test_login
from tests.idp.browser import Browser, Page
from tests.program import PROGRAM

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.idp.test_demo_issuer import DemoIssuer
    from tests.program import Program

# The same fixtures as for every login: pytest finds them by these names.
file_keeper = test_login.file_keeper
demo_process = test_login.demo_process
demo = test_login.demo
idp = test_login.idp


def on_terminal(brokerctl: Program, *words: str, **env: str) -> pexpect.spawn[str]:
    """Start brokerctl on a terminal of its own."""
    return pexpect.spawn(
        PROGRAM,
        list(words),
        env=brokerctl.environment({"TERM": "xterm", **env}),
        cwd=brokerctl.home,
        encoding="utf-8",
        dimensions=(50, 1000),
        timeout=20,
    )


def test_pasted(brokerctl: Program, idp: OidcProvider) -> None:
    """With a terminal and no browser, the address is shown and the answer can be pasted."""
    name = main_job.person(brokerctl, idp)
    terminal = on_terminal(brokerctl, "login", name)
    terminal.expect(r"brokerctl:   (\S+)\r\n")
    url = matched(terminal)
    terminal.expect("paste the address")
    redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
    terminal.sendline("nonsense")
    terminal.expect("copy it whole")
    terminal.sendline(f"{redirect}?code=evil&state=wrong")
    terminal.expect("copy it whole")
    terminal.sendline(Elsewhere(idp.ca_file).end_of(url))
    terminal.expect("logged in")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


class Elsewhere(Browser):
    """A browser on another machine: it can't reach our loopback."""

    end = ""

    def _fetch(self, url: str, body: bytes | None = None) -> Page:
        if urlsplit(url).path == "/callback":
            self.end = url
            return Page("http://elsewhere/", io_page())
        return super()._fetch(url, body)

    def end_of(self, url: str) -> str:
        """Return the address that it would end at."""
        self.open(url)
        return self.end


def io_page() -> SimpleNamespace:
    """Return the browser's own page for an address that can't be opened."""
    return SimpleNamespace(status=200, headers={}, read=lambda: b"can't connect")


def matched(terminal: pexpect.spawn[str]) -> str:
    """Return the group of the last match."""
    assert isinstance(terminal.match, re.Match)
    return str(terminal.match[1])


@pytest.mark.parametrize(
    ("env", "has_qr"),
    [({}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)],
)
def test_qr(brokerctl: Program, demo: DemoIssuer, env: dict[str, str], *, has_qr: bool) -> None:
    """A terminal gets a QR code without escape sequences, a dumb one none."""
    name = main_job.person(brokerctl, demo)
    terminal = on_terminal(brokerctl, "login", name, "--flow", "device", **env)
    terminal.expect(r"enter the code (\S+) within")
    demo.approve_device(matched(terminal), f"{demo.url}/device")
    terminal.expect("logged in")
    assert ("█" in str(terminal.before)) == has_qr
    assert "\x1b" not in str(terminal.before)
    terminal.expect(pexpect.EOF)


def test_preset_is_asked_for(brokerctl: Program) -> None:
    """`login github` without a profile first asks for the client id, then goes on."""
    no_way_out = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    terminal = on_terminal(brokerctl, "login", "github", **no_way_out)
    terminal.expect("(?i)client.id")
    terminal.sendline("Iv1.0123")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 5
    assert 'client_id = "Iv1.0123"' in brokerctl("profile", "show", "github").stdout


def handed_out(brokerctl: Program) -> int:
    """Return how many hand-outs are in the record."""
    said = brokerctl("audit", "log", "--event", "token.handed_out", "--json")
    return len(said.stdout.splitlines())


def test_get_logs_in_first(brokerctl: Program, idp: OidcProvider) -> None:
    """With `--login` and a person there; one token is one record, also where none was needed."""
    name = main_job.person(brokerctl, idp)
    refused = brokerctl("get", name, "--login")
    assert (refused.returncode, refused.stdout) == (3, "")
    terminal = on_terminal(brokerctl, "get", name, "--login")
    terminal.expect(r"brokerctl:   (\S+)\r\n")
    url = matched(terminal)
    terminal.sendline(Elsewhere(idp.ca_file).end_of(url))
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    token = str(terminal.before).split()[-1]
    assert idp.use(token).status == 200
    assert handed_out(brokerctl) == 1
    assert brokerctl("get", name, "--login").stdout.strip() == token
    assert handed_out(brokerctl) == 2
