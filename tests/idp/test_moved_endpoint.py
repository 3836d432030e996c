"""A profile's endpoint is edited to another origin: no refresh token goes there before a login."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.idp import main_job

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

GET = ("get", "person", "--fresh")


def test_an_edited_endpoint_gets_no_refresh_token(
    brokerctl: Program, http_issuer: OidcProvider
) -> None:
    """Refused as a move in the metadata is; what is held can be revoked where it came from."""
    main_job.person(brokerctl, http_issuer)
    browser = main_job.scripted_browser(http_issuer)
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    assert brokerctl("login", "person", env=browser).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as thief:
        origin = f"http://127.0.0.1:{thief.getsockname()[1]}"
        main_job.person(brokerctl, http_issuer, token_endpoint=f'"{origin}/token"')
        done = brokerctl(*GET)
        host = urlsplit(http_issuer.url).hostname
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr == (
            f"brokerctl: error: the token_endpoint of {host} moved to {origin}\n"
            "brokerctl: hint: if that is right, run 'brokerctl login person'\n"
        )
        token = brokerctl("get", "person").stdout.strip()
        assert http_issuer.is_active(token)  # what is held is served, and can be revoked
        assert brokerctl("revoke", "person", "--verify").returncode == 0
        assert not http_issuer.is_active(token)
        assert select.select([thief], [], [], 0)[0] == []  # nobody called


def test_a_login_accepts_the_endpoint(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """Another name of the same machine is another origin, until a person says that it is right."""
    main_job.person(brokerctl, http_issuer)
    browser = main_job.scripted_browser(http_issuer)
    assert brokerctl("login", "person", env=browser).returncode == 0
    url = urlsplit(http_issuer.url)
    other = "localhost" if url.hostname == "127.0.0.1" else "127.0.0.1"
    main_job.person(brokerctl, http_issuer, token_endpoint=f'"http://{other}:{url.port}/token"')
    assert brokerctl(*GET).returncode == 5
    assert brokerctl("login", "person", env=browser).returncode == 0
    done = brokerctl(*GET)
    assert (done.returncode, done.stderr) == (0, "")
