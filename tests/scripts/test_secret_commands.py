"""The command of a secret reference that reaches brokerctl again, a terminal, or a signal."""

from __future__ import annotations

import os
import pty
import signal
import time
from typing import TYPE_CHECKING

import pytest

from brokerctl.helpers import HELPERS
from tests.program import BIN

if TYPE_CHECKING:
    from tests.program import Program

PROFILE = """
[profile.{name}]
issuer = "http://127.0.0.1:9"
token_endpoint = "http://127.0.0.1:9/token"
client_id = "app-{name}"
flow = "client_credentials"
hosts = ["https://{name}.example.com"]
client_secret = {{ command = {command} }}
"""
CIRCLE = "'p' is asked for by the command that fetches its own secret: {}"
KUBE = (
    '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":'
    '{"server":"https://p.example.com"},"interactive":false}}'
)
POOL = (
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/team/providers/login"
)
GOOGLE = {
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE": POOL,
    "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
}
# How each tool asks, and what says no in its protocol: exit code and what stdout begins with.
ASKED = {
    "askpass": (["Password for 'https://p.example.com': "], "", {}, 1, ""),
    "aws": (["--profile", "p"], "", {}, 2, ""),
    "bazel": (["get"], '{"uri":"https://p.example.com"}', {}, 2, ""),
    "cargo": (
        ["--cargo-plugin"],
        (
            '{"v":1,"registry":{"index-url":"sparse+https://p.example.com"},"kind":"get",'
            '"operation":"read"}\n'
        ),
        {},
        0,
        '{"v":[1]}\n{"Err":{"kind":"other","message":"brokerctl: \'p\' is asked for',
    ),
    "docker": (["get"], "https://p.example.com", {}, 1, "brokerctl: 'p' is asked for"),
    "gcp": (["--profile", "p"], "", GOOGLE, 0, '{"version":1,"success":false'),
    "git": (["get"], "protocol=https\nhost=p.example.com\n\n", {}, 0, "quit=1\n"),
    "goauth": (["https://p.example.com"], "", {}, 2, ""),
    "headers": (["--profile", "p", "--nested"], "", {}, 2, ""),
    "keyring": (["get", "https://p.example.com", "u"], "", {}, 1, ""),
    "kubernetes": ([], "", {"KUBERNETES_EXEC_INFO": KUBE}, 2, ""),
    "pnpm": (["--profile", "p"], "", {}, 2, ""),
    "terraform": (["get", "p.example.com"], "", {}, 1, ""),
    "vault": (["get"], "", {"VAULT_ADDR": "https://p.example.com"}, 2, ""),
}


def configure(program: Program, **scripts: str) -> None:
    """Write a profile for each shell script that fetches its secret."""
    program.env["BROKERCTL_KEEPER"] = "file"
    texts = []
    for name, script in scripts.items():
        path = os.path.join(program.home, f"secret-of-{name}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        os.chmod(path, 0o700)
        texts.append(PROFILE.format(name=name, command=f'["{path}"]'))
    program.config("".join(texts))


def left_of(program: Program) -> list[str]:
    """Return the processes that still run with a home of this test."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if f"HOME={program.home}".encode() in file.read().split(b"\0"):
                    found.append(entry)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "script",
    [
        "exec {bin}/brokerctl get p",
        "exec {bin}/brokerctl get p --fresh",
        "exec {bin}/brokerctl exec -p p -- true",
        "exec {bin}/brokerctl login p",
        "exec {bin}/brokerctl revoke p",
        (
            "printf 'protocol=https\\nhost=p.example.com\\n\\n' | git -c credential.helper="
            "{bin}/git-credential-brokerctl credential fill"
        ),
    ],
)
def test_a_command_that_asks_for_its_own_profile(brokerctl: Program, script: str) -> None:
    """It is refused at once, with the circle's name, and nothing is left running."""
    configure(brokerctl, p=script.format(bin=BIN))
    done = brokerctl("get", "p")
    assert (done.returncode, done.stdout) == (2, "")
    assert "secret-of-p, asked for a secret, ended with" in done.stderr
    assert CIRCLE.format("'p' → 'p'") in done.stderr
    assert left_of(brokerctl) == []


def test_a_circle_of_three_is_named_whole(brokerctl: Program) -> None:
    """Each of them is on the way, and the record has a refusal of each."""
    get = f"exec {BIN}/brokerctl get"
    configure(brokerctl, p=f"{get} q", q=f"{get} r", r=f"{get} p")
    done = brokerctl("get", "p")
    assert done.returncode == 2
    assert CIRCLE.format("'p' → 'q' → 'r' → 'p'") in done.stderr
    log = brokerctl("audit", "log", "--json").stdout
    assert log.count("token.refused") == 4


def test_a_role_that_waits_for_another_profile_is_part_of_the_circle(brokerctl: Program) -> None:
    """Its grant's lock is held while the token that it exchanges is asked for."""
    configure(brokerctl, q=f"exec {BIN}/brokerctl get p")
    with open(f"{brokerctl.home}/config.toml", "a", encoding="utf-8") as file:
        file.write(
            '[profile.p]\nflow = "aws_web_identity"\nexchange = { subject = { profile = "q" } }\n'
            'aws = { role = "arn:aws:iam::123456789012:role/r", endpoint = "http://127.0.0.1:9" }\n'
        )
    done = brokerctl("get", "p")
    assert CIRCLE.format("'p' → 'q' → 'p'") in done.stderr


def test_one_profile_may_need_another(brokerctl: Program) -> None:
    """Only a circle is refused: here the second profile's own command is what fails."""
    configure(brokerctl, p=f"exec {BIN}/brokerctl get q", q="exit 7")
    done = brokerctl("get", "p")
    assert "secret-of-q, asked for a secret, ended with 7" in done.stderr
    assert "asked for by the command" not in done.stderr


def test_a_circle_without_its_variable_ends_with_its_command(brokerctl: Program) -> None:
    """Whoever cleans the environment waits for the lock, and is ended with the command's group."""
    home = f"HOME={brokerctl.home} BROKERCTL_KEEPER=file BROKERCTL_HOME={brokerctl.home}/state"
    place = f"{home} BROKERCTL_CONFIG={brokerctl.home}/config.toml"
    configure(brokerctl, p=f"exec env -i {place} {BIN}/brokerctl get p & sleep 1; exit 3")
    done = brokerctl("get", "p")
    assert done.returncode == 2
    deadline = time.monotonic() + 10
    while left_of(brokerctl) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_of(brokerctl) == []


@pytest.mark.parametrize("tool", sorted(HELPERS))
def test_each_helper_answers_a_circle_in_its_protocol(brokerctl: Program, tool: str) -> None:
    """A tool that a secret's command runs is told no in the words that it knows."""
    configure(brokerctl, p="exit 7")
    words, stdin, env, code, begin = ASKED[tool]
    brokerctl.env |= {"BROKERCTL_WITHIN": "p"} | env
    if tool == "gcp":
        with open(f"{brokerctl.home}/config.toml", "a", encoding="utf-8") as file:
            file.write(f'google = {{ pool = "{POOL}" }}\n')
    done = brokerctl("helper", tool, *words, stdin=stdin)
    assert (done.returncode, done.stdout[: len(begin)]) == (code, begin), done
    said = done.stdout if tool in {"cargo", "gcp"} else done.stderr
    assert "asked for by the command that fetches its own secret" in said


def test_a_command_may_ask_at_the_terminal(brokerctl: Program) -> None:
    """It has a group of its own, and is lent the terminal when it asks there; we get it back."""
    script = "stty -echo < /dev/tty; read -r word < /dev/tty; test $word = yes || exit 9; exit 8"
    configure(brokerctl, p=script)
    pid, terminal = pty.fork()
    if pid == 0:
        words = ["sh", "-c", "brokerctl get p; read -r after && echo [$after]"]
        os.execvpe("sh", words, brokerctl.environment())  # noqa: S606 - it is one
    os.write(terminal, b"yes\nmore\n")
    said = b""
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk
    except OSError:
        pass  # the terminal is gone with its last process
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"asked for a secret, ended with 8" in said
    assert b"[more]" in said


def test_a_signal_ends_the_command_too(brokerctl: Program) -> None:
    """Nothing has been sent yet: whoever stops us stops at once, and leaves no command behind."""
    mark = f"{brokerctl.home}/started"
    configure(brokerctl, p=f"touch {mark}; exec sleep 600")
    running = brokerctl.start("get", "p")
    while not os.path.exists(mark):
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGTERM
    assert left_of(brokerctl) == []


def test_a_command_that_says_who_a_job_is(brokerctl: Program) -> None:
    """It is run for the profile by its name; one that asks for that profile again is refused."""
    configure(brokerctl, p=f"echo $BROKERCTL_WITHIN >&2; {BIN}/brokerctl get p; echo no-jwt")
    with open(os.path.join(brokerctl.home, "config.toml"), encoding="utf-8") as file:
        text = file.read()
    text = text.replace("client_credentials", "token_exchange")
    brokerctl.config(text.replace("client_secret = {", "identity = {"))
    done = brokerctl("get", "p")
    assert done.returncode == 5, done.stderr
    assert done.stderr.splitlines()[0] == "p"
    assert CIRCLE.format("'p' → 'p'") in done.stderr
    assert "gave no signed token (JWT)" in done.stderr
