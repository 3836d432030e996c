"""`helper install cargo` in a scratch home, used by the real cargo, and taken out again."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from brokerctl.helpers.cargo.setup import CargoSetup
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.setups import Part
from brokerctl.model import Profile
from tests.idp import main_job
from tests.tools.room import read
from tests.tools.test_cargo import SCRIPT, Desk, index, registry

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.guarded import Guarded

__all__ = ["registry"]  # the fixtures

CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": b'# mine\n[build]\njobs = 2 # few\n\n[net]\nretry = 1\n\n[alias]\nb = "build"\n',
    "a table": b'[registry]\n# which one\ndefault = "corp"\n\n[net]\nretry = 1\n',
    "a table at the end": b"[net]\nretry = 1\n  [registry]  # mine\n",
    "a table without an end": b"[registry]",
    "without an end": b"[net]\r\nretry = 1",
    "odd text": b'# caf\xc3\xa9\n[env]\nX = """\n[registry]\n"""\n[registry]\ndefault = "corp"\n',
    "dotted": b"net.retry = 1\n",
}
REFUSED = {
    "another provider": b'[registry]\nglobal-credential-providers = ["cargo:token"]\n',
    "an inline table": b'registry = { default = "corp" }\n',
    "a dotted table": b'registry.default = "corp"\n',
    "no TOML": b"[registry\n",
    "an alias": b'[credential-alias]\nbrokerctl = ["x"]\n',
}
PROFILE = Profile(
    name="p", issuer="https://i.example", flow="code", client_id="x", hosts=("https://c.example",)
)


def path_of(program: Program) -> str:
    """Return where cargo's own configuration is."""
    return os.path.join(program.home, ".cargo", "config.toml")


def write(program: Program, data: bytes | None) -> None:
    """Write the configuration, if there is to be one."""
    if data is not None:
        os.makedirs(os.path.dirname(path_of(program)), exist_ok=True)
        with open(path_of(program), "wb") as file:
            file.write(data)


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with one profile that has hosts."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.crates]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://crates.example.com"]\n'
    )
    return brokerctl


@pytest.mark.parametrize("name", CONFIGS)
def test_installed_and_gone(offline: Program, name: str) -> None:
    """What cargo reads is what is meant, and afterwards the file is byte for byte as before."""
    before, path = CONFIGS[name], path_of(offline)
    write(offline, before)
    done = offline("helper", "install", "cargo", "--yes")
    assert (done.returncode, done.stdout) == (0, f"cargo: installed, {path}\n"), done.stderr
    after = tomllib.loads((read(path) or b"").decode())
    assert after["registry"].pop("global-credential-providers") == ["cargo:token", SCRIPT]
    was = tomllib.loads((before or b"").decode())
    assert {**after, "registry": None} == {**was, "registry": None}
    assert after["registry"] == was.get("registry", {})
    assert offline("helper", "install", "cargo").stdout == f"cargo: installed already, {path}\n"
    assert f"cargo: installed, {path}" in offline("helper", "list").stdout
    assert offline("helper", "uninstall", "cargo", "--yes").returncode == 0
    assert read(path) == before
    folder = os.path.dirname(path)
    assert not [one for one in os.listdir(folder) if "before-brokerctl" in one]


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_t_be_changed_safely(offline: Program, name: str) -> None:
    """It says what to do by hand, and the file stays as it is."""
    write(offline, REFUSED[name])
    done = offline("helper", "install", "cargo", "--yes")
    if name == "an alias":  # which is in the way of a path with a space alone
        assert "already" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint:" in done.stderr
    assert read(path_of(offline)) == REFUSED[name]


def test_the_older_name_of_the_file(offline: Program) -> None:
    """Where only `config` is there, cargo reads that."""
    write(offline, b"")
    older = path_of(offline).removesuffix(".toml")
    os.rename(path_of(offline), older)
    assert offline("helper", "install", "cargo", "--yes").stdout == f"cargo: installed, {older}\n"
    assert read(path_of(offline)) is None


def test_a_path_with_a_space_gets_an_alias() -> None:
    """Cargo takes a provider's text apart at spaces."""
    part = Part("cargo", (PROFILE,), "/a b/cargo-credential-brokerctl", {})
    place = SetupFile("/home/config.toml")
    found = tomllib.loads(CargoSetup().put(place, "[net]\n", part))
    assert found["credential-alias"] == {"brokerctl": [part.script]}
    assert found["registry"]["global-credential-providers"] == ["cargo:token", "brokerctl"]


def test_used_by_the_real_cargo(brokerctl: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """It is asked before cargo's own provider, and passes on what is not ours."""
    cargo = Desk(brokerctl, registry, None)
    before = read(path_of(brokerctl))
    main_job.service(brokerctl, issuer, hosts=index(registry))
    assert brokerctl("helper", "install", "cargo", "--yes").returncode == 0
    cargo("fetch")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    with open(path_of(brokerctl), "ab") as file:
        file.write(b'[registries.other]\nindex = "sparse+https://127.0.0.1:9/index/"\n')
    assert brokerctl("helper", "uninstall", "cargo", "--yes").returncode == 0
    assert (read(path_of(brokerctl)) or b"").startswith(before or b"")


def test_a_registry_with_a_provider_of_its_own_is_told(offline: Program) -> None:
    """It is believed before any provider for all."""
    write(offline, b'[registries.corp]\nindex = "x"\ncredential-provider = "cargo:token"\n')
    done = offline("helper", "install", "cargo", "--yes")
    assert "corp has a provider of its own" in done.stderr
