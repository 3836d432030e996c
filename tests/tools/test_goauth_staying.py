"""A GOAUTH of the user's own after `helper install`, and servers that the real go asks directly."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.tools.go_module import COMMAND, GoDesk, put_module
from tests.tools.guarded import Guarded, Reply
from tests.tools.test_goauth import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program

__all__ = ["proxy"]  # the fixtures

# A module's path has no port, so that 443 is needed: each test has an address of its own.
CHECKED, UNCHECKED = "127.0.0.87", "127.0.0.88"  # the certificate is for the first


@contextlib.contextmanager
def serving(trace_dir: str, issuer: DemoIssuer, host: str) -> Iterator[Guarded]:
    """Run a server that go asks by a module's path, at https's own port."""
    folder = tempfile.mkdtemp(prefix="go-", dir=trace_dir)
    try:
        server = Guarded(folder, issuer, tls=True, address=(host, 443))
    except OSError as error:
        pytest.skip(f"port 443 of {host} can't be had: {error.strerror}")
    with server as running:
        page = f'<meta name="go-import" content="{host}/team mod https://{host}">'
        running.pages["/team"] = Reply(page.encode(), "text/html")
        put_module(running, f"{host}/team")
        yield running


def read(path: str) -> str:
    """Return a file's text."""
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("before", ["", "GOAUTH=netrc\n"])
def test_a_newer_goauth_stays(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded, before: str
) -> None:
    """`go env -w GOAUTH=…` writes into our part: that is what the person wants now."""
    main_job.service(brokerctl, issuer, hosts=f'["{proxy.url}"]')
    desk = GoDesk(brokerctl, proxy, None)
    path = os.path.join(brokerctl.home, ".config", "go", "env")
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write(before)
    assert brokerctl("helper", "install", "go", "--yes").returncode == 0
    newer = f"git {brokerctl.home}"
    assert desk.run("env", "-w", f"GOAUTH={newer}").returncode == 0
    assert brokerctl("helper", "install", "go", "--yes").returncode == 0
    assert desk.run("env", "GOAUTH").stdout.endswith(f"/brokerctl helper goauth;{newer}\n")
    assert brokerctl("helper", "uninstall", "go", "--yes").returncode == 0
    assert read(path) == f"GOAUTH={newer}\n"


def test_a_host_of_goinsecure_gets_no_token(
    brokerctl: Program, issuer: DemoIssuer, trace_dir: str
) -> None:
    """Security: go would send it to whoever answers, whatever the certificate."""
    url, module = f"https://{UNCHECKED}", f"{UNCHECKED}/team"
    main_job.service(brokerctl, issuer, hosts=f'["{url}"]')
    with serving(trace_dir, issuer, UNCHECKED) as server:
        desk = GoDesk(brokerctl, server)
        desk.variables["GOPROXY"] = "direct"
        desk.download("one", code=1, module=module)
        assert not server.seen  # go checks the certificate first
        # In go's file, from where go puts it into our environment too.
        assert desk.run("env", "-w", f"GOINSECURE={module}").returncode == 0
        said = desk.download("two", code=1, module=module)
        assert {one.scheme for one in server.seen} == {""}
        assert "insecure_ok is not true" in said
        assert not desk.records("token.handed_out")
        main_job.service(brokerctl, issuer, hosts=f'["{url}"]', insecure_ok="true")
        desk.download("three", code=1, module=module)
        assert server.statuses("Bearer") == {200}


def test_a_server_that_is_asked_by_a_module_s_path(
    brokerctl: Program, issuer: DemoIssuer, trace_dir: str
) -> None:
    """`?go-get=1` and then what it names, both with the token."""
    main_job.service(brokerctl, issuer, hosts=f'["https://{CHECKED}"]')
    with serving(trace_dir, issuer, CHECKED) as server:
        desk = GoDesk(brokerctl, server)
        desk.variables["GOPROXY"] = "direct"
        desk.download("one", module=f"{CHECKED}/team")
        assert server.statuses("Bearer") == {200}
        assert len(desk.records("token.handed_out")) == 1


def test_a_password_in_netrc_goes_first(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """Go reads it without being refused anything; we are asked where it does not do."""
    main_job.service(brokerctl, issuer, hosts=f'["{proxy.url}"]')
    desk = GoDesk(brokerctl, proxy, f"{COMMAND};netrc")
    token = brokerctl("get", "service").stdout.strip()
    for name, password, schemes in (("one", token, {"Basic"}), ("two", "old", {"Basic", "Bearer"})):
        with open(os.path.join(brokerctl.home, ".netrc"), "w", encoding="utf-8") as file:
            file.write(f"machine {proxy.host} login alice password {password}\n")
        proxy.seen.clear()
        desk.download(name)
        assert {one.scheme for one in proxy.seen} == schemes


def test_a_redirect_to_another_port_takes_the_token_along(
    brokerctl: Program, issuer: DemoIssuer, trace_dir: str, proxy: Guarded
) -> None:
    """As the page says: this is go's own, and what the profile's host answers decides it."""
    main_job.service(brokerctl, issuer, hosts=f'["{proxy.url}"]')
    desk = GoDesk(brokerctl, proxy)
    with Guarded(tempfile.mkdtemp(dir=trace_dir), issuer, tls=True) as other:
        put_module(other)
        for path in proxy.pages:
            proxy.pages[path] = Reply(headers={"Location": other.url + path}, status=302)
        both = os.path.join(brokerctl.home, "both.pem")
        with open(both, "w", encoding="utf-8") as file:
            file.write(read(proxy.ca_file) + read(other.ca_file))
        desk.variables["SSL_CERT_FILE"] = both
        desk.download("one")
        assert other.statuses("Bearer") == {200}
