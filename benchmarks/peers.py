"""Warm answers of brokerctl's helpers beside those of others on this machine, as ratios to U.

What is not installed is left out and said. Native programs are faster, and do less: none of these
decides, narrows or writes a record, and each line says what its peer does. Nobody has a budget here
but brokerctl (benchmarks/warm.py).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from common import ROOT, Issuer, clean_install, paired, show, time_once, workplace
from warm import REQUEST, set_up

CLIENTS = ROOT / "build/test-tools/bin"
GIT, DOCKER, HOST = "git-credential-brokerctl", "docker-credential-brokerctl", b"git.example.com"
KEYRING = """
import keyring, keyring.backends.null
keyring.set_keyring(keyring.backends.null.Keyring())
keyring.get_password("service", "alice")
"""
KEY = """%no-protection
Key-Type: eddsa
Key-Curve: ed25519
Subkey-Type: ecdh
Subkey-Curve: cv25519
Name-Real: bench
%commit
"""


class Peer(NamedTuple):
    """One command to time, and what it reads."""

    name: str
    argv: list[str]
    stdin: bytes = b""


def quiet(argv: list[str], env: dict[str, str], stdin: str = "") -> None:
    """Run a step of a set-up."""
    subprocess.run(argv, env=env, input=stdin, text=True, check=True, capture_output=True)


def git_peers(home: Path) -> list[Peer]:
    """Git's own store in plain text, and git-credential-oauth, which stores nothing.

    For a host that it has no client for it runs `git config` for each of its settings, six or more
    times as its version has them, and answers nothing; `version` is a start of it and no more.
    """
    (home / ".git-credentials").write_text("https://alice:s3cret@git.example.com\n")
    return [
        Peer("git credential-store (plain text)", ["git", "credential-store", "get"], REQUEST),
        Peer("git-credential-oauth, no answer", ["git-credential-oauth", "get"], REQUEST),
        Peer("git-credential-oauth, its start alone", ["git-credential-oauth", "version"]),
    ]


def pass_peers(home: Path, env: dict[str, str]) -> list[Peer]:
    """The password store with a key without a passphrase, by itself and as docker's helper."""
    if not all(map(shutil.which, ("pass", "gpg", "docker-credential-pass"))):
        return [Peer(name, []) for name in ("pass show", "docker-credential-pass get")]
    (home / ".gnupg").mkdir(mode=0o700)
    quiet(["gpg", "--batch", "--generate-key"], env, KEY)
    quiet(["pass", "init", "bench"], env)
    quiet(["pass", "insert", "-m", "git.example.com"], env, "s3cret\n")
    entry = '{"ServerURL":"registry.example","Username":"alice","Secret":"s3cret"}'
    quiet(["docker-credential-pass", "store"], env, entry)
    return [
        Peer("pass show (gpg, its agent warm)", ["pass", "show", "git.example.com"]),
        Peer(
            "docker-credential-pass get (pass, gpg)",
            ["docker-credential-pass", "get"],
            b"registry.example",
        ),
    ]


def other_peers(home: Path) -> list[Peer]:
    """Command lines that print a token which lies in a file of theirs."""
    gh = home / ".config/gh"
    gh.mkdir(parents=True)
    (gh / "hosts.yml").write_text("github.com:\n    user: alice\n    oauth_token: s3cret\n")
    aws = home / ".aws"
    aws.mkdir()
    keys = "aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = s3cret\n"
    (aws / "credentials").write_text(f"[default]\n{keys}")
    keyring = [str(CLIENTS / "python"), "-I", "-c", KEYRING]
    read = ["configure", "get", "aws_access_key_id"]  # version 1 has no export-credentials
    return [
        Peer("gh auth token (plain text)", ["gh", "auth", "token"]),
        Peer("keyring, its null back end: no answer", keyring),
        Peer("aws configure get (plain text)", [str(CLIENTS / "aws"), *read]),
    ]


def main() -> int:
    """Measure what is here, in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=40)
    parser.add_argument(
        "--bin", type=Path, help="a clean installation's bin, instead of making one"
    )
    options = parser.parse_args()
    with workplace() as name:
        folder = Path(name)
        own = options.bin or clean_install(folder)
        with Issuer(own, "--access-ttl", "3600") as issuer:
            home = folder / "home"
            home.mkdir(mode=0o700)
            env = set_up(home, issuer)
            time_once([str(own / "brokerctl"), "get", "warm"], env)
            time_once([str(own / "brokerctl"), "status"], env)  # writes the start-up image
            peers = [
                Peer("brokerctl get", [str(own / "brokerctl"), "get", "warm"]),
                Peer("git-credential-brokerctl get", [str(own / GIT), "get"], REQUEST),
                Peer("docker-credential-brokerctl get", [str(own / DOCKER), "get"], HOST),
                *git_peers(home),
                *pass_peers(home, env),
                *other_peers(home),
            ]
            unit = [str(own / "python"), "-I", "-c", ""]
            for number, peer in enumerate(peers):
                time_peer(peer, number, unit, env, options.runs)
            if shutil.which("gpgconf"):
                quiet(["gpgconf", "--kill", "all"], env)
    return 0


def time_peer(peer: Peer, number: int, unit: list[str], env: dict[str, str], runs: int) -> None:
    """Print one ratio, or that the program is not here."""
    program = shutil.which(peer.argv[0], path=env["PATH"]) if peer.argv else None
    if program is None:
        print(f"{peer.name:<48}   not installed here", flush=True)
        return
    asked = Path(env["HOME"]) / f"request-{number}"
    asked.write_bytes(peer.stdin)
    argv = [program, *peer.argv[1:]]
    show(peer.name, paired(argv, unit, env, runs, stdin=str(asked)), "U")


if __name__ == "__main__":
    raise SystemExit(main())
