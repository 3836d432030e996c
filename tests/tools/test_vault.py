"""Vault's helper as the process that Vault would start: none can be had to be started with it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import BIN, Result
from tests.tools.room import PLACES

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

SCRIPT = os.path.join(BIN, "brokerctl-vault")
ADDRESS = "https://vault.example.com:8200"
CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": b"# mine\n\n// token_helper\n",
    "without an end": b"# mine",
}


@pytest.fixture
def program(brokerctl: Program, issuer: DemoIssuer) -> Program:
    """Return a program with alice logged in, whose token is for one server."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.person(brokerctl, issuer, hosts=f'["{ADDRESS}"]')
    done = brokerctl("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr
    issuer.reset()
    return brokerctl


def ask(
    program: Program, operation: str, address: str | None = ADDRESS, script: str = SCRIPT
) -> Result:
    """Start it as Vault does: by a shell, with the operation as the last word."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{script} {operation}"],
        env={**program.environment({"VAULT_ADDR": address})},
        cwd=program.home,
        input="hvs.foreign" if operation == "store" else "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    program.keep((script, operation), done.stdout, done.stderr)
    return Result(done.returncode, done.stdout, done.stderr)


def test_the_token_and_nothing_else(program: Program, issuer: DemoIssuer) -> None:
    """Without a newline, from the store, and live."""
    said = ask(program, "get")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == program("get", "person").stdout.rstrip("\n")
    assert issuer.use(said.stdout).status == 200
    assert not issuer.counts()["grants"]


@pytest.mark.parametrize(
    "address", [None, "", "https://vault.example.com", f"{ADDRESS}0", "unix:///run/vault", "x"]
)
def test_another_server_gets_nothing(program: Program, address: str | None) -> None:
    """No token is none, and no error: Vault asks its server without one."""
    assert ask(program, "get", address) == (0, "", "")


def test_a_slash_at_the_end_is_the_same_server(program: Program) -> None:
    """People write it."""
    assert ask(program, "get", f"{ADDRESS}/").stdout


def test_erase_makes_the_next_one_another(program: Program, issuer: DemoIssuer) -> None:
    """The grant stays."""
    before = ask(program, "get").stdout
    assert ask(program, "erase") == (0, "", "")
    after = ask(program, "get").stdout
    assert after
    assert after != before
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_what_login_stores_is_not_kept(program: Program) -> None:
    """Vault shows our line, and the token that it got."""
    said = ask(program, "store")
    assert (said.returncode, said.stdout) == (1, "")
    assert "keeps no token that another program made" in said.stderr


def test_a_revoked_grant(program: Program) -> None:
    """The exit code is the one for a login, and Vault shows our hint."""
    assert program("revoke", "person").returncode == 0
    said = ask(program, "get")
    assert (said.returncode, said.stdout) == (3, "")
    assert "brokerctl: hint: run 'brokerctl login person'" in said.stderr


@pytest.mark.parametrize("place", PLACES)
def test_the_script_through_a_link_and_from_a_folder_with_a_space(
    program: Program, place: str
) -> None:
    """New versions start it without a shell."""
    folder = os.path.join(program.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, "vault-helper")
    os.symlink(SCRIPT, link)
    assert ask(program, "get", script=f"'{link}'").stdout


@pytest.mark.parametrize("name", CONFIGS)
def test_installed_used_and_gone(program: Program, name: str) -> None:
    """What the line names is the script; afterwards the file is byte for byte as before."""
    before, path = CONFIGS[name], os.path.join(program.home, ".vault")
    if before is not None:
        with open(path, "wb") as file:
            file.write(before)
    done = program("helper", "install", "vault", "--yes")
    assert (done.returncode, done.stdout) == (0, f"vault: installed, {path}\n")
    assert program("helper", "install", "vault").stdout == f"vault: installed already, {path}\n"
    with open(path, encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("token_helper"))
    assert ask(program, "get", script=line.split('"')[1]).stdout
    assert program("helper", "uninstall", "vault", "--yes").returncode == 0
    assert os.path.exists(path) == (before is not None)
    if before is not None:
        with open(path, "rb") as file:
            assert file.read() == before
    assert not [one for one in os.listdir(program.home) if "before-brokerctl" in one]
