"""The real go, a module proxy behind TLS, and brokerctl as its GOAUTH command."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job
from tests.tools.go_module import COMMAND, GoDesk, put_module
from tests.tools.guarded import Guarded
from tests.tools.room import PLACES, hosts, let_expire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.idp.issuer import DemoIssuer
    from tests.program import Program


@pytest.fixture
def proxy(trace_dir: str, issuer: DemoIssuer) -> Iterator[Guarded]:
    """Return a module proxy that takes the issuer's tokens."""
    folder = tempfile.mkdtemp(prefix="go-", dir=trace_dir)
    with Guarded(folder, issuer, tls=True) as running:
        put_module(running)
        yield running


def log_in(program: Program, issuer: DemoIssuer, proxy: Guarded) -> None:
    """Have alice logged in."""
    main_job.person(program, issuer, hosts=hosts(proxy.url))
    done = program("login", "person", env=main_job.scripted_browser(issuer))
    assert done.returncode == 0, done.stderr


def test_a_private_module(brokerctl: Program, issuer: DemoIssuer, proxy: Guarded) -> None:
    """First use and warm use, one request to the issuer, and each hand-out in the record."""
    desk = GoDesk(brokerctl, proxy)
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    desk.download("one")
    desk.download("two")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
    assert proxy.statuses("Bearer") == {200}
    handed_out = desk.records("token.handed_out")
    assert len(handed_out) == 2
    assert all('"tool":"goauth"' in line for line in handed_out)


def test_a_named_profile_is_asked_before_the_first_request(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """So that no request goes out without the token."""
    desk = GoDesk(brokerctl, proxy, f"{COMMAND} --profile service")
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    desk.download("one")
    assert {one.scheme for one in proxy.seen} == {"Bearer"}
    assert issuer.counts()["grants"] == {"client_credentials": 1}


def test_an_expired_token_is_refreshed_once(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """However many of go's runs meet it."""
    desk = GoDesk(brokerctl, proxy)
    log_in(brokerctl, issuer, proxy)
    let_expire(brokerctl, issuer)
    for name in ("one", "two"):
        desk.download(name)
    assert issuer.counts()["grants"] == {"refresh_token": 1}


def test_a_refused_token_is_go_s_own_failure(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """It does not say that the token was refused; a fresh one is had by hand."""
    desk = GoDesk(brokerctl, proxy)
    log_in(brokerctl, issuer, proxy)
    token = brokerctl("get", "person").stdout.strip()
    issuer.post("/token/revocation", "cli", token=token)  # behind our back
    said = desk.download("one", code=1)
    assert token not in said
    assert "401 Unauthorized" in said
    assert brokerctl("get", "person", "--fresh").returncode == 0
    desk.download("two")


def test_a_revoked_grant_says_what_to_do(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """With -x, which is all that go shows of a command's errors; the request fails at once."""
    desk = GoDesk(brokerctl, proxy)
    log_in(brokerctl, issuer, proxy)
    assert brokerctl("revoke", "person").returncode == 0
    said = desk.download("one", code=1)
    assert "run 'brokerctl login person'" in said
    assert not proxy.statuses("Bearer")


@pytest.mark.parametrize("words", ["", " --profile service"])
def test_another_host_gets_nothing(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded, trace_dir: str, words: str
) -> None:
    """A proxy that no profile names: no token, no error and no hand-out for it."""
    folder = tempfile.mkdtemp(prefix="go-", dir=trace_dir)
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    with Guarded(folder, issuer, tls=True) as other:
        put_module(other)
        desk = GoDesk(brokerctl, other, COMMAND + words)
        said = desk.download("one", code=1)
        assert {one.scheme for one in other.seen} == {""}
    assert "brokerctl: " not in said
    assert len(desk.records("token.handed_out")) == (1 if words else 0)  # go's call without a URL


def test_a_path_of_a_host_is_kept_to(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """A profile for one team's modules has none for another's on the same proxy."""
    put_module(proxy, "corp.example.com/other/demo")
    desk = GoDesk(brokerctl, proxy)
    main_job.service(brokerctl, issuer, hosts=hosts(f"{proxy.url}/corp.example.com/team"))
    desk.download("one")
    desk.download("two", code=1, module="corp.example.com/other/demo")
    assert not [one for one in proxy.seen if "/other/" in one.path and one.scheme]


def test_netrc_is_asked_after_us(brokerctl: Program, issuer: DemoIssuer, proxy: Guarded) -> None:
    """Of two credentials for one host go takes the one that is named first."""
    desk = GoDesk(brokerctl, proxy, f"{COMMAND};netrc")
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    path = os.path.join(brokerctl.home, ".netrc")
    with open(path, "w", encoding="utf-8") as file:
        file.write("machine 127.0.0.1 login alice password old\n")
    desk.download("one")
    assert 200 in proxy.statuses("Bearer")


def test_the_answer_of_the_server_need_not_be_read(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded
) -> None:
    """A head that fills a pipe does not stop go, nor us."""
    desk = GoDesk(brokerctl, proxy)
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    said = brokerctl(
        "helper", "goauth", f"{proxy.url}/x", stdin=f"HTTP/1.1 401 x\nA: {'a' * 200000}\n\n"
    )
    assert said.returncode == 0
    assert said.stdout.startswith(f"{proxy.url}\n\nAuthorization: Bearer ")
    assert said.stdout.endswith("\n\n")
    assert desk.ask() == (0, "", "")


@pytest.mark.parametrize("place", PLACES)
def test_the_program_through_a_link_and_from_a_folder_with_a_space(
    brokerctl: Program, issuer: DemoIssuer, proxy: Guarded, place: str
) -> None:
    """In quotes, as go wants a word with a space."""
    folder = os.path.join(brokerctl.home, place)
    os.mkdir(folder)
    link = os.path.join(folder, "brokerctl")
    os.symlink(COMMAND.split()[0], link)
    desk = GoDesk(brokerctl, proxy, f"'{link}' helper goauth")
    main_job.service(brokerctl, issuer, hosts=hosts(proxy.url))
    desk.download("one")
    assert issuer.counts()["grants"] == {"client_credentials": 1}
