"""Profiles for the test issuers, written as a user would write them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

BROWSER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "browser.py")


def service(program: Program, issuer: OidcProvider, auth: str = "basic", **keys: str) -> str:
    """Add a client-credentials profile and return its name."""
    secret = os.path.join(program.home, f"{auth}.secret")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(issuer.secrets[auth] or "")
    method = {"secret-jwt": "client_secret_jwt"}.get(auth, f"client_secret_{auth}")
    given = {
        "flow": '"client_credentials"',
        "client_id": f'"{auth}"',
        "client_auth": f'"{method}"',
        "client_secret": f'{{ file = "{secret}" }}',
        "scopes": '["read"]',
        "resource": '["https://api.example"]',
    }
    return add(program, issuer, "service", **{**given, **keys})


def person(program: Program, issuer: OidcProvider, flow: str = "code", **keys: str) -> str:
    """Add a public client's profile and return its name."""
    given = {
        "flow": f'"{flow}"',
        "client_id": '"device"' if flow == "device" else '"cli"',
        "scopes": '["openid", "offline_access", "read"]',
        "resource": '["https://api.example"]',
    }
    return add(program, issuer, "person", **{**given, **keys})


def add(program: Program, issuer: OidcProvider, name: str, **keys: str) -> str:
    """Write the configuration with one profile."""
    lines = [f"[profile.{name}]", f'issuer = "{issuer.url}"']
    if issuer.ca_file:
        lines.append(f'ca_file = "{issuer.ca_file}"')
    lines += [f"{key} = {value}" for key, value in keys.items()]
    program.config("\n".join(lines) + "\n")
    return name


def scripted_browser(issuer: OidcProvider) -> dict[str, str]:
    """Return the variables that make a login use the scripted browser.

    To an issuer that shows no form curl will do, where it is, which starts in no time.
    """
    curl = None if issuer.shows_forms or issuer.ca_file else shutil.which("curl")
    browser = f"{curl} -sSL -o /dev/null %s" if curl else f"/usr/bin/python3 {BROWSER} %s"
    variables = {"BROWSER": browser, "BROKERCTL_KEEPER": "file"}
    if issuer.ca_file:
        variables["SSL_CERT_FILE"] = issuer.ca_file
    return variables
