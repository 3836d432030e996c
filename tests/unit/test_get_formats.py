"""The forms of an answer: what a hostile issuer puts into a token stays text."""

from __future__ import annotations

import base64
import netrc
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import UsageError
from brokerctl.get import render
from brokerctl.model import AccessToken, Profile
from brokerctl.secret import Secret
from tests.program import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROFILE = Profile(name="ci", issuer="https://issuer.example", flow="code", client_id="app")


def line(value: str, form: str, profile: Profile = PROFILE) -> str:
    """Return the line that is printed for a token."""
    answer = AccessToken(
        value=Secret(value),
        token_type="Bearer",
        expires_at=None,
        scopes=(),
        profile="ci",
        issuer=PROFILE.issuer,
        subject=None,
        resource=(),
        fingerprint="f",
        source="cache",
    )
    return render(answer, profile, form, 0).decode()


def test_an_ordinary_token_is_not_quoted() -> None:
    """What reads NAME=VALUE without a shell sees what it always saw."""
    assert line("eyJ.a-b_c~d+e/f==", "env") == "CI_TOKEN=eyJ.a-b_c~d+e/f==\n"


ODD_TOKENS = (
    "$(exit${IFS}7)", "a;exit${IFS}7", "`exit`", "a'b", "'", "a\\b", "\\", "\\n", "a\\\\", '"',
    '""', 'a"b', '\\"', "x&y|z>w", "#", "a#b", "a#", "~", "~root", "~/x", "~+", "a=~root", "=~root",
    "a~b", "=ls", "==", "a==", "*", "?", "[a]", "{a,b}", "!!", "a!b", "(a)", "<a", "%", "^",
    "a:~root", ":", "-n", "--", "@a", ",", "$HOME", "${HOME}", "$'a'", "a|b",
)  # fmt: skip
SHELLS = [path for path in map(shutil.which, ("dash", "bash", "zsh")) if path]


@pytest.mark.parametrize("shell", SHELLS)
def test_an_evaluated_token_runs_nothing(shell: str) -> None:
    """`eval "$(brokerctl get ci --format env)"` sets the variable to the token, whatever it is."""
    shown = [line(value, "env").removesuffix("\n") for value in ODD_TOKENS]
    script = 'for one; do eval "$one"; printf "%s\\n" "$CI_TOKEN"; eval "export $one"; '
    script += 'printf "%s\\n" "$CI_TOKEN"; done'
    words = [shell, "-c", script, "sh", *shown]
    env = {"HOME": "/home/somebody", "PATH": os.environ["PATH"]}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [value for value in ODD_TOKENS for _ in range(2)]


def test_python_reads_a_netrc_line_back(tmp_path: Path) -> None:
    """Requests, pip and all that use the standard library's reader send the very token."""
    path = tmp_path / "netrc"
    hosts = tuple(f"https://v{at}.example" for at in range(len(ODD_TOKENS)))
    text = "".join(
        line(value, "netrc", PROFILE.replace(hosts=(host,)))
        for value, host in zip(ODD_TOKENS, hosts, strict=True)
    )
    path.write_text(text)
    found = netrc.netrc(str(path)).hosts
    assert [entry[2] for entry in found.values()] == list(ODD_TOKENS)


@pytest.fixture
def echo() -> Iterator[str]:
    """Return the port of a server that says which Authorization it was sent, a line each."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["Authorization"].encode() + b"\n")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield str(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


def test_curl_reads_a_netrc_line_back(tmp_path: Path, echo: str) -> None:
    """As it reads the line, so it sends the password."""
    curl = require_tool("curl")
    urls = [f"http://v{at}.localhost:{echo}/" for at in range(len(ODD_TOKENS))]
    lines = [
        line(value, "netrc", PROFILE.replace(hosts=(url.rstrip("/"),)))
        for value, url in zip(ODD_TOKENS, urls, strict=True)
    ]
    (tmp_path / "netrc").write_text("".join(lines))
    words = [curl, "-q", "-sS", "--noproxy", "*", "--netrc-file", str(tmp_path / "netrc"), *urls]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    sent = [base64.b64decode(one.removeprefix("Basic ")) for one in done.stdout.splitlines()]
    assert sent == [f"oauth2:{value}".encode() for value in ODD_TOKENS]


@pytest.mark.parametrize("form", ["curl", "header"])
def test_curl_sends_a_header_as_it_is(tmp_path: Path, echo: str, form: str) -> None:
    """`-K` and `-H @file` are two grammars, and a token means nothing in either."""
    curl = require_tool("curl")
    sent = ""
    for value in ODD_TOKENS:
        path = tmp_path / "said"
        path.write_text(line(value, form))
        words = ["-K", str(path)] if form == "curl" else ["-H", f"@{path}"]
        words = [curl, "-q", "-sS", "--noproxy", "*", *words, f"http://127.0.0.1:{echo}/"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        sent += done.stdout
    assert sent == "".join(f"Bearer {value}\n" for value in ODD_TOKENS)


@pytest.mark.parametrize("username", ["josé", "a b", "a\u00a0b", '"a"', "a\\", "#a"])
def test_a_netrc_line_has_the_words_that_were_meant(username: str) -> None:
    """A username that would be read as more, less or other words is refused, with its key named."""
    profile = PROFILE.replace(hosts=("https://a.example",), username=username)
    with pytest.raises(UsageError, match="no single word") as refused:
        line("t", "netrc", profile)
    assert "--set username=" in str(refused.value.hint)
    plain = profile.replace(username="x-access-token")
    assert line("t", "netrc", plain) == "machine a.example login x-access-token password t\n"


def test_a_netrc_line_has_no_port() -> None:
    """The form has none, and who reads it looks for the name alone; once is enough."""
    hosts = ("https://a.example:8443/team", "https://a.example", "http://127.0.0.1:8080")
    said = line("t", "netrc", PROFILE.replace(hosts=(*hosts, "https://[::1]:8443")))
    assert [row.split()[1] for row in said.splitlines()] == ["a.example", "127.0.0.1", "::1"]
