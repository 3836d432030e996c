"""Runs every ```console block of the papers against the embedded issuer and writes what it printed.

`python scripts/sessions.py` writes, `--check` only says which paper is out of date, with exit code
1. A paper is one shell, from its first block to its last, in a fresh home with the profiles `work`
and `ci` and a `release.sh` that uses its token. Times, tokens, fingerprints, process ids and ports
are replaced by fixed ones, in order, and what a long address asks for is cut.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

from brokerctl.demo.stage import Stage

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
PORT = 8765  # of the issuer, as the papers show it
OWN_PORT = 8766  # of one that a paper starts itself, to stop it
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
FROM_NOTHING = {"docs/tutorial.md"}  # starts without a profile
TIMEOUT_S = 120.0
MARK = "\x01"  # stands before each command's output
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TOKEN = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")
PRINT = re.compile(r"(?<![\w/-])(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}(?![\w-])")
CONFIG = """[profile.work]
issuer    = "{issuer}"
client_id = "cli"
flow      = "code"
scopes    = ["openid", "offline_access", "read", "write"]

[profile.ci]
issuer        = "{issuer}"
client_id     = "post"
client_auth   = "client_secret_post"
client_secret = {{ env = "CI_SECRET" }}
flow          = "client_credentials"
scopes        = ["read"]

[keys]
keeper = "file"
"""

RELEASE = """#!/bin/sh
# Stands for a tool of yours: it shows its token to a resource, and not to `ps`.
said=$(printf 'header = "Authorization: Bearer %s"' "${{WORK_TOKEN:-$CI_TOKEN}}" |
    curl -s -K - {issuer}/__resource)
echo "$said" | sed 's/.*"sub": "\\([^"]*\\)".*"scope": "\\([^"]*\\)".*/released by \\1, may \\2/'
"""


class Shown:
    """Makes one paper's output the same in every run."""

    def __init__(self, stage: Stage, own_port: int) -> None:
        self._started = datetime.now(UTC)
        self._stage = stage
        self._own_port = own_port
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Replace what differs from run to run."""
        issuer_port = self._stage.issuer.rpartition(":")[2]
        text = text.replace(self._stage.environ["HOME"], "/home/alice")
        text = text.replace(self._stage.folder, "/tmp")  # noqa: S108 - shown, never opened
        text = re.sub(rf"(127\.0\.0\.1(?::|%3A)){issuer_port}\b", rf"\g<1>{PORT}", text)
        text = re.sub(rf"(127\.0\.0\.1:){self._own_port}\b", rf"\g<1>{OWN_PORT}", text)
        text = re.sub(r"(127\.0\.0\.1%3A)(?!8765)\d+", r"\g<1>54321", text)
        text = re.sub(r"(&client_id=\w+)&redirect_uri=[^\s\x1b]+", r"\1&...", text)
        text = re.sub(r"(/brokerctl-(?:log-)?)[0-9a-f]{32}(?=/)", r"\g<1>0f1e2d3c", text)
        text = re.sub(r"(/keys/key-)[0-9a-f]{32}", r"\g<1>0f1e2d3c", text)
        text = re.sub(r"(?<= bash )\d+$", "4242", text, flags=re.MULTILINE)
        text = re.sub(r'(?<="expires_in":)35\d\d', "3599", text)
        text = TIME.sub(self._time, text)
        text = TOKEN.sub(lambda found: self._value(found[0], len(found[0])), text)
        return PRINT.sub(lambda found: self._print(found[0]), text)

    def _time(self, found: re.Match[str]) -> str:
        then = datetime.fromisoformat(found[0])
        hours = round((then - self._started) / timedelta(hours=1))
        return f"{START + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"

    def _value(self, real: str, size: int) -> str:
        number = self._known.setdefault(real, str(len(self._known)))
        digest = hashlib.sha256(number.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode()[:size]

    def _print(self, real: str) -> str:
        number = self._known.setdefault(real[:8], str(len(self._known)))
        return hashlib.sha256(number.encode()).hexdigest()[: len(real)]


def make(path: str) -> str:
    """Return a paper with the output that its commands have now."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    blocks = BLOCK.findall(text)
    lines = [command for block in blocks for command in commands(block)]
    outputs = iter(run(lines, "" if path in FROM_NOTHING else CONFIG))

    def again(found: re.Match[str]) -> str:
        return "".join(
            "$ " + command.replace("\n", "\n> ") + "\n" + next(outputs)
            for command in commands(found[0])
        )

    return BLOCK.sub(again, text)


def commands(block: str) -> list[str]:
    """Return a block's commands; one goes on in lines that begin with `> `."""
    found = re.findall(r"^\$ (.*(?:\n> .*)*)$", block, re.MULTILINE)
    return [command.replace("\n> ", "\n") for command in found]


def run(lines: list[str], config_text: str, columns: int = 0) -> list[str]:
    """Run commands in one shell and return each one's output, made the same for every run.

    With `columns` they are run on a terminal of that width, else in a pipe.
    """
    script = "".join(f"{line}\nprintf '{MARK}'\n" for line in lines)
    with Stage() as stage:
        own_port = find_port()
        shown = Shown(stage, own_port)
        port = stage.issuer.rpartition(":")[2]
        env = furnish(stage, config_text)
        if columns:
            env |= {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        script = script.replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{port}")
        script = script.replace(str(OWN_PORT), str(own_port))
        printed = play(["bash", "--norc", "-c", script], env, is_terminal=bool(columns))
        outputs = printed.split(MARK)[:-1]
        if len(outputs) != len(lines):
            message = f"{len(outputs)} of {len(lines)} commands were run:\n{printed}"
            raise RuntimeError(message)
        return [shown(output) for output in outputs]


def find_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def furnish(stage: Stage, config_text: str) -> dict[str, str]:
    """Write configuration and tool into the home; return the environment of the commands."""
    home = stage.environ["HOME"]
    config = os.path.join(home, ".config", "brokerctl", "config.toml")
    os.makedirs(os.path.dirname(config), 0o700)
    for path, text, mode in (
        (config, config_text, 0o600),
        (os.path.join(home, "release.sh"), RELEASE, 0o700),
    ):
        with open(path, "x", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text.format(issuer=stage.issuer))
    ours = ["BROKERCTL_HOME", "BROKERCTL_CONFIG", *(["BROKERCTL_KEEPER"] if config_text else [])]
    env = {name: value for name, value in stage.environ.items() if name not in ours}
    return env | {"CI_SECRET": stage._secret}  # noqa: SLF001 - what a CI job would be given


def play(words: list[str], env: dict[str, str], *, is_terminal: bool) -> str:
    """Run a program in its home and return all that it printed.

    It has a session of its own: whoever runs us on a terminal is not asked there.
    """
    ours, theirs = os.openpty() if is_terminal else os.pipe()
    child = subprocess.Popen(
        words,
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    alarm = threading.Timer(TIMEOUT_S, child.kill)
    alarm.start()
    printed = b""
    try:
        while piece := os.read(ours, 65536):
            printed += piece
    except OSError:  # EIO: how a terminal says that nobody writes any more
        pass
    finally:
        os.close(ours)
        child.wait()
        alarm.cancel()
    return printed.decode().replace("\r\n", "\n")


def papers() -> list[str]:
    """Return the papers that have sessions."""
    found = ["README.md", *sorted(glob.glob("docs/**/*.md", root_dir=ROOT, recursive=True))]
    return [path for path in found if _has_session(path)]


def _has_session(path: str) -> bool:
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return BLOCK.search(file.read()) is not None


def main(words: list[str]) -> int:
    """Write or check the papers that are named, or all; return the exit code."""
    is_check = "--check" in words
    stale = False
    for path in [word for word in words if not word.startswith("-")] or papers():
        made = make(path)
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            if made == file.read():
                continue
        stale = True
        if is_check:
            print(f"{path} is out of date: run 'make papers'")
            continue
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write(made)
        print(path)
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
