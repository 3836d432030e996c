"""`helper install aws` in a scratch home, used by the real tools, and taken out again."""

from __future__ import annotations

import configparser
import os
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.program import BIN
from tests.tools.room import long_but, read, write
from tests.tools.test_aws import ROLE
from tests.tools.test_aws import Desk as UsedDesk

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.sts_server import Sts

CONFIGS = {
    "none": None,
    "empty": b"",
    "usual": b"# mine\n[default]\nregion = eu-west-1\n; x\n[profile other]\ns3 =\n  a = b\n\n",
    "without an end": b"[sso-session x]\r\nsso_region = eu-west-1",
    "odd words": "[profile caf\xe9]\nregion = x\n[services y]\n".encode(),
}
TAKEN = ("[profile deploy]", "[profile 'deploy']", '[profile "deploy"]', "[profile \t deploy]")


@pytest.fixture
def offline(brokerctl: Program) -> Program:
    """Return a program with two roles and a profile that is none."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    aws = f'flow = "aws_web_identity"\naws = {{ role = "{ROLE}" }}\n'
    brokerctl.config(
        '[profile.login]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        f'[profile.deploy]\n{aws}exchange = {{ subject = {{ profile = "login" }} }}\n'
        f'[profile.audit]\n{aws}exchange = {{ subject = {{ file = "/run/token" }} }}\n'
    )
    return brokerctl


def config_of(program: Program) -> str:
    """Return where AWS's configuration is."""
    return os.path.join(program.home, ".aws", "config")


@pytest.mark.parametrize("name", long_but(CONFIGS, "usual"))
def test_installed_used_and_gone(
    brokerctl: Program, issuer: DemoIssuer, sts: Sts, name: str
) -> None:
    """The real command line finds it; afterwards the file is byte for byte as before."""
    before, desk = CONFIGS[name], UsedDesk(brokerctl, sts)
    write(desk.aws, before)
    main_job.service(brokerctl, issuer)
    desk.add()
    done = brokerctl("helper", "install", "aws", "--yes")
    assert (done.returncode, done.stdout) == (0, f"aws: installed, {desk.aws}\n")
    again = brokerctl("helper", "install", "awscli", "-p", "deploy")
    assert again.stdout == f"aws: installed already, {desk.aws}\n"
    assert desk.who().endswith("/deploy/alice")
    done = brokerctl("helper", "uninstall", "aws", "--yes")
    assert done.returncode == 0, done.stderr
    assert read(desk.aws) == before
    assert [one for one in os.listdir(os.path.dirname(desk.aws)) if "brokerctl" in one] == []
    assert "could not be found" in desk.who(code=1)


def test_a_section_for_each_role(offline: Program) -> None:
    """Without `-p` all that have one; with it the one, and the other goes again."""
    own = os.path.join(BIN, "brokerctl")
    assert offline("helper", "install", "aws", "--yes").returncode == 0
    lines = (read(config_of(offline)) or b"").decode().splitlines()
    assert lines[1:-1] == [
        "[profile audit]",
        f"credential_process = {own} helper aws --profile audit",
        "[profile deploy]",
        f"credential_process = {own} helper aws --profile deploy",
    ]
    assert os.stat(config_of(offline)).st_mode & 0o777 == 0o600
    assert offline("helper", "install", "aws", "-p", "deploy", "--yes").returncode == 0
    assert b"audit" not in (read(config_of(offline)) or b"")


@pytest.mark.parametrize("head", TAKEN)
def test_a_section_that_is_there_already(offline: Program, head: str) -> None:
    """It is somebody's, whatever its quotes, and stays: nothing is written."""
    before = f"{head}\nregion = x\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = y\n".encode()
    write(config_of(offline), before)
    done = offline("helper", "install", "aws", "-p", "deploy", "--yes")
    assert done.returncode == 2
    assert "has a section for 'deploy' already" in done.stderr
    assert read(config_of(offline)) == before
    assert offline("helper", "install", "aws", "-p", "audit", "--yes").returncode == 0


def test_a_section_without_credentials_gets_ours(offline: Program) -> None:
    """`aws configure set region` made it, before us or while we were gone; it is left as it was."""
    before = b"[default]\nregion = a\n\n[profile deploy]\nregion = x\n"
    write(config_of(offline), before)
    for _ in range(2):
        done = offline("helper", "install", "aws", "-p", "deploy", "--yes")
        assert done.returncode == 0, done.stderr
        found = configparser.ConfigParser()
        found.read(config_of(offline))
        assert found["profile deploy"]["region"] == "x"
        assert "helper aws --profile deploy" in found["profile deploy"]["credential_process"]
        assert offline("helper", "uninstall", "aws", "--yes").returncode == 0
        assert read(config_of(offline)) == before


@pytest.mark.parametrize("text", [b"nonsense\n", b"[a]\n[a]\n", b"[a]\nx = 1\nx = 2\n"])
def test_a_file_that_aws_could_not_read_either(offline: Program, text: bytes) -> None:
    """It is mended by whoever wrote it, first."""
    write(config_of(offline), text)
    done = offline("helper", "install", "aws", "--yes")
    assert (done.returncode, read(config_of(offline))) == (2, text)


def test_a_profile_without_a_role(offline: Program) -> None:
    """There is nothing that AWS could be told of it."""
    done = offline("helper", "install", "aws", "-p", "login", "--yes")
    assert done.returncode == 2
    assert "no profile has the flow aws_web_identity" in done.stderr


def test_keys_that_go_before_are_named(offline: Program) -> None:
    """AWS's tools prefer the keys of a credentials file to any process."""
    write(
        os.path.join(offline.home, ".aws", "credentials"),
        b"[deploy]\naws_access_key_id = AKIA\naws_secret_access_key = x\n",
    )
    done = offline("helper", "install", "aws", "--yes")
    assert done.returncode == 0
    assert "has keys of deploy, which go before: take them out" in done.stderr


def test_a_profile_by_a_command(offline: Program) -> None:
    """The whole way without an editor; what is missing is named, and nothing is asked."""
    words = ("profile", "add", "new", "--flow", "aws_web_identity")
    assert "aws is missing" in offline(*words).stderr
    aws = f'aws={{ role = "{ROLE}", duration = "30m" }}'
    done = offline(*words, "--set", aws, "--set", 'exchange={ subject = { profile = "login" } }')
    assert done.returncode == 0, done.stderr
    assert "next: run 'brokerctl get new'" in done.stdout + done.stderr
    shown = offline("profile", "show", "new").stdout
    assert 'exchange = { subject = { profile = "login" } }  # user' in shown


def test_the_file_may_be_elsewhere(offline: Program) -> None:
    """Where AWS_CONFIG_FILE says, and nowhere else."""
    path = os.path.join(offline.home, "a folder", "aws.ini")
    env = {"AWS_CONFIG_FILE": path}
    assert offline("helper", "install", "aws", "--yes", env=env).returncode == 0
    assert b"[profile deploy]" in (read(path) or b"")
    assert read(config_of(offline)) is None
    assert offline("helper", "uninstall", "aws", "--yes", env=env).returncode == 0
    assert read(path) is None
