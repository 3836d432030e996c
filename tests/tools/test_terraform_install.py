"""`helper install terraform` in a scratch home, used by the real terraform, and taken out again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.tools.room import hosts, long_but, read, write
from tests.tools.test_terraform import SCRIPT, Desk, registry

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.guarded import Guarded

__all__ = ["registry"]  # the fixtures

CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": b'# mine\ndisable_checkpoint = true\n\n/* credentials_helper "x" {} */\n'
    b'credentials "app.example.com" {\n  token = "x credentials_helper"\n}\n',
    "without an end": b"disable_checkpoint = true\r\n// credentials_helper",
    "odd bytes": b"# caf\xc3\xa9\n\n\ndisable_checkpoint=true\n",
}
OTHERS = {
    "a block": 'credentials_helper "other" {\n  args = []\n}\n',
    "quoted": '"credentials_helper" "other" {}\n',
    "without quotes": "disable_checkpoint = true\ncredentials_helper other {}\n",
    "JSON": '{"credentials_helper": {"other": {}}}\n',
}


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with one profile that has a host."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.tf]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://registry.example.com"]\n'
    )
    return brokerctl


def plugin_of(program: Program) -> str:
    """Return where terraform looks for the helper."""
    return os.path.join(program.home, ".terraform.d", "plugins", SCRIPT)


@pytest.mark.parametrize("name", long_but(CONFIGS, "usual"))
def test_installed_used_and_gone(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded, name: str
) -> None:
    """The real terraform finds it, and afterwards the file is byte for byte as before."""
    before, path = CONFIGS[name], os.path.join(brokerctl.home, ".terraformrc")
    write(path, before)
    desk = Desk(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    done = brokerctl("helper", "install", "terraform", "--yes")
    assert (done.returncode, done.stdout) == (0, f"terraform: installed, {path}\n")
    again = brokerctl("helper", "install", "terraform")
    assert again == (0, f"terraform: installed already, {path}\n", "")
    assert os.stat(plugin_of(brokerctl)).st_mode & 0o777 == 0o755
    assert f"terraform: installed, {path}" in brokerctl("helper", "list").stdout
    desk.init("one")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert brokerctl("helper", "uninstall", "terraform", "--yes").returncode == 0
    assert read(path) == before
    assert read(plugin_of(brokerctl)) is None
    assert not [one for one in os.listdir(brokerctl.home) if "before-brokerctl" in one]
    gone = brokerctl("helper", "uninstall", "terraform")
    assert gone.stdout == f"terraform: uninstalled already, {path}\n"


def test_terraform_s_other_place(brokerctl: Program, issuer: DemoIssuer, registry: Guarded) -> None:
    """Where TF_CLI_CONFIG_FILE is set, terraform reads that file, and so it is written."""
    other = os.path.join(brokerctl.home, "tf", "corp.tfrc")
    write(other, b"disable_checkpoint = true\n")
    brokerctl.env["TF_CLI_CONFIG_FILE"] = other
    desk = Desk(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    assert brokerctl("helper", "install", "terraform", "--yes").returncode == 0
    desk.init("one")
    assert registry.statuses("Bearer") == {200, 204}
    assert read(os.path.join(brokerctl.home, ".terraformrc")) is None


@pytest.mark.parametrize("name", ["login", "block"])
def test_what_terraform_believes_before_is_named(
    brokerctl: Program, issuer: DemoIssuer, registry: Guarded, name: str
) -> None:
    """An old token wins over the helper: without the word of `install` nobody would see why."""
    path, text = {
        "login": (
            ".terraform.d/credentials.tfrc.json",
            f'{{"credentials": {{"x.example": {{}}, "{registry.host}": {{"token": "old"}}}}}}',
        ),
        "block": (".terraformrc", f'credentials "{registry.host}" {{\n  token = "old"\n}}\n'),
    }[name]
    path = os.path.join(brokerctl.home, path)
    write(path, text.encode())
    desk = Desk(brokerctl, registry)
    main_job.service(brokerctl, issuer, hosts=hosts(registry.url))
    done = brokerctl("helper", "install", "terraform", "--yes")
    assert f"note: {path} has a token for {registry.host}" in done.stderr
    assert "old" not in done.stderr.replace(text, "")
    desk.init("one", code=1)
    assert {one.status for one in registry.seen if one.path.startswith("/v1/")} == {401}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("place", [".terraformrc", ".terraform.d/corp.tfrc"])
def test_another_helper_stays(offline: Program, name: str, place: str) -> None:
    """Terraform takes one, and refuses to start with two; so nothing is changed."""
    if name == "JSON" and place != ".terraformrc":
        place += ".json"
    path = os.path.join(offline.home, place)
    write(path, OTHERS[name].encode())
    done = offline("helper", "install", "terraform", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert path in done.stderr
    assert read(path) == OTHERS[name].encode()
    assert read(plugin_of(offline)) is None


def test_opentofu_s_own_file_is_written_where_there_is_one(offline: Program) -> None:
    """It does not read terraform's then; its program's name is an alias."""
    path = os.path.join(offline.home, ".tofurc")
    write(path, b"disable_checkpoint = true\n")
    assert offline("helper", "install", "tofu", "--yes").returncode == 0
    for name in (".tofurc", ".terraformrc"):
        assert b'credentials_helper "brokerctl" {}' in (
            read(os.path.join(offline.home, name)) or b""
        )
    assert offline("helper", "uninstall", "tofu", "--yes").returncode == 0
    assert read(path) == b"disable_checkpoint = true\n"
    assert read(os.path.join(offline.home, ".terraformrc")) is None
    assert read(plugin_of(offline)) is None


def test_somebody_else_s_plug_in_stays(offline: Program) -> None:
    """A file of that name which `install` has not made is refused, by either command."""
    write(plugin_of(offline), b"#!/bin/sh\necho mine\n")
    done = offline("helper", "install", "terraform", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not made by brokerctl" in done.stderr
    assert offline("helper", "uninstall", "terraform", "--yes").returncode == 0
    assert read(plugin_of(offline)) == b"#!/bin/sh\necho mine\n"


@pytest.mark.parametrize("host", ["https://registry.example.com/team", "http://127.0.0.1:8080"])
def test_hosts_that_terraform_can_t_ask_for(offline: Program, host: str) -> None:
    """It names no paths and speaks no plain http: said, and nothing is made."""
    offline.config(
        '[profile.tf]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        f'hosts = ["{host}"]\n'
    )
    done = offline("helper", "install", "terraform", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "terraform has nothing to ask for" in done.stderr
    assert read(plugin_of(offline)) is None
