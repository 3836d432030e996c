"""Requests of every tool for one host, and a process that answers many of them at once."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.program import BIN

if TYPE_CHECKING:
    from tests.program import Program

_DRIVER = os.path.join(os.path.dirname(__file__), "helper_driver.py")

Asked = dict[str, tuple[list[str], str, dict[str, str]]]  # words, stdin and variables, by name


def asking(host: str) -> Asked:
    """Return a request of each tool that has somebody else to ask, for a host."""
    url = f"https://{host}"
    git = f"protocol=https\nhost={host}\nusername=a\npassword=b\n\n"
    registry = {"index-url": f"sparse+{url}/index/"}
    line = {"v": 1, "operation": "read", "registry": registry}
    cargo = {
        kind: json.dumps({**line, "kind": kind, "token": "t"})
        for kind in ("get", "login", "logout")
    }
    offer = json.dumps({"ServerURL": host, "Username": "a", "Secret": "b"})
    return {
        "git get": (["git", "get"], git.replace("username=a\npassword=b\n", ""), {}),
        "git erase": (["git", "erase"], git, {}),
        "git store": (["git", "store"], git, {}),
        "docker get": (["docker", "get"], host, {}),
        "docker erase": (["docker", "erase"], host, {}),
        "docker store": (["docker", "store"], offer, {}),
        "cargo get": (["cargo"], cargo["get"], {}),
        "cargo login": (["cargo"], cargo["login"], {}),
        "cargo logout": (["cargo"], cargo["logout"], {}),
        "bazel get": (["bazel", "get"], json.dumps({"uri": f"{url}/x"}), {}),
        "terraform get": (["terraform", "get", host], "", {}),
        "terraform forget": (["terraform", "forget", host], "", {}),
        "keyring get": (["keyring", "get", url, "a"], "", {}),
        "goauth": (["goauth", url], "", {}),
        "goauth named": (["goauth", "--profile", "forge", url], "", {}),
        "vault get": (["vault", "get"], "", {"VAULT_ADDR": url}),
        "vault erase": (["vault", "erase"], "", {"VAULT_ADDR": url}),
        "askpass password": (["askpass", f"Password for '{url}': "], "", {}),
        "askpass user": (["askpass", f"Username for '{url}': "], "", {}),
    }


def answers(program: Program, asked: Asked) -> dict[str, tuple[str, int, str]]:
    """Ask all in one process, each time as if it were the first."""
    done = subprocess.run(
        [os.path.join(BIN, "python"), _DRIVER],
        input=json.dumps([[name, *request] for name, request in asked.items()]),
        env=program.environment(),
        cwd=program.home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {name: tuple(answer) for name, answer in found.items()}
