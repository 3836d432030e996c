"""`helper install go` in a scratch home, used by the real go, and taken out again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.tools.go_module import GoDesk
from tests.tools.room import hosts, long_but, read
from tests.tools.test_goauth import proxy

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer
    from tests.program import Program
    from tests.tools.guarded import Guarded

__all__ = ["proxy"]  # the fixtures

FILES = {
    "none": None,
    "empty": b"",
    "usual": b"# mine\n\nGOTELEMETRY=off\nGOPRIVATE=x.example\n",
    "without an end": b"GOPRIVATE=x.example",
    "a line of its own": b"# odd \xc3\xa9\nGOPRIVATE=x.example\nGOAUTH=netrc\n\nGOBIN=/tmp\r\n",
    "a last line of its own": b"GOAUTH=old\nGOPRIVATE=x.example\nGOAUTH=netrc",
}


def write(program: Program, data: bytes | None) -> str:
    """Write go's file, if there is to be one; return its path."""
    path = os.path.join(program.home, ".config", "go", "env")
    if data is not None:
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(data)
    return path


@pytest.mark.slow("go's own start, and six of ours")
@pytest.mark.parametrize("name", long_but(FILES, "usual", "a line of its own"))
def test_installed_used_and_gone(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded, name: str
) -> None:
    """The real go asks us, and afterwards the file is byte for byte as before."""
    path = write(brokerctl, FILES[name])
    desk = GoDesk(brokerctl, proxy, None)
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    done = brokerctl("helper", "install", "go", "--yes")
    assert (done.returncode, done.stdout) == (0, f"goauth: installed, {path}\n")
    again = brokerctl("helper", "install", "goauth")
    assert again == (0, f"goauth: installed already, {path}\n", "")
    assert f"goauth: installed, {path}" in brokerctl("helper", "list").stdout
    assert desk.run("env", "GOAUTH").stdout.endswith("helper goauth;netrc\n")
    desk.download("one")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert brokerctl("helper", "uninstall", "go", "--yes").returncode == 0
    assert read(path) == FILES[name]
    assert not os.path.exists(f"{path}.before-brokerctl")
    gone = brokerctl("helper", "uninstall", "go")
    assert gone.stdout == f"goauth: uninstalled already, {path}\n"


def test_go_itself_writes_its_file_meanwhile(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """`go env -w` sorts lines and drops doubles; our part stays whole, and the old line returns."""
    path = write(brokerctl, b"GOPRIVATE=x.example\nGOAUTH=netrc\nGOBIN=/tmp\n")
    desk = GoDesk(brokerctl, proxy, None)
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    assert brokerctl("helper", "install", "go", "--yes").returncode == 0
    assert desk.run("env", "-w", "GONOPROXY=none", "GOBIN=/opt").returncode == 0
    desk.download("one")
    assert brokerctl("helper", "uninstall", "go", "--yes").returncode == 0
    found = read(path)
    assert found is not None
    assert sorted(found.split()) == [
        b"GOAUTH=netrc",
        b"GOBIN=/opt",
        b"GONOPROXY=none",
        b"GOPRIVATE=x.example",
    ]


def test_another_file_and_a_variable(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """GOENV is written where it leads; GOAUTH in the environment wins, and is named."""
    path = os.path.join(brokerctl.home, "go.env")
    brokerctl.env.update({"GOENV": path, "GOAUTH": "s3cret-command"})
    desk = GoDesk(brokerctl, proxy, None)
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    done = brokerctl("helper", "install", "go", "--yes")
    assert (done.returncode, done.stdout) == (0, f"goauth: installed, {path}\n")
    assert "GOAUTH is set in the environment" in done.stderr
    assert "s3cret" not in done.stderr
    del brokerctl.env["GOAUTH"]
    desk.download("one")


@pytest.mark.parametrize("text", [b"GOAUTH=off\n", b"GOAUTH=/x/brokerctl helper goauth\n"])
def test_what_can_t_be_combined_stays(brokerctl: Program, text: bytes) -> None:
    """Nothing is changed."""
    path = write(brokerctl, text)
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(
        '[profile.go]\nissuer = "https://issuer.example"\nclient_id = "app"\nflow = "code"\n'
        'hosts = ["https://go.example.com"]\n'
    )
    done = brokerctl("helper", "install", "go", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert path in done.stderr
    assert read(path) == text
