"""A grant whose profile was edited is named until somebody ends it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.idp import main_job

if TYPE_CHECKING:
    from tests.idp.issuer import OidcProvider
    from tests.program import Program

MORE = '["openid", "offline_access", "read", "write"]'


@pytest.fixture
def stray(brokerctl: Program, http_issuer: OidcProvider) -> Program:
    """Return a program whose person logged in twice, with other scopes the second time."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    for scopes in ({}, {"scopes": MORE}):
        main_job.person(brokerctl, http_issuer, **scopes)
        done = brokerctl("login", "person", env=main_job.scripted_browser(http_issuer))
        assert done.returncode == 0, done.stderr
    return brokerctl


def strays(program: Program) -> list[dict[str, object]]:
    """Return what `status` knows of them."""
    found: list[dict[str, object]] = json.loads(program("status", "--json").stdout)["strays"]
    return found


def test_status_and_doctor_name_it_until_it_is_revoked(stray: Program) -> None:
    """Security: it lives at the issuer, and nothing else would say so."""
    found = strays(stray)
    assert [(one["profile"], one["sub"]) for one in found] == [("person", "alice")]
    line = "person: also an older grant as alice, of other settings (run 'brokerctl revoke person')"
    assert line in stray("status").stdout
    assert "an older grant, of other settings" in stray("doctor", "--offline").stdout
    assert stray("revoke", "person", "--verify").returncode == 0
    assert strays(stray) == []


def test_a_removed_profile_s_grant_is_one(stray: Program) -> None:
    """Both grants are, and `revoke --all` still knows how to reach the issuer."""
    stray.config("")
    assert len(strays(stray)) == 2
    assert "brokerctl revoke person" in stray("status").stdout


def test_a_subject_s_grant_is_none(brokerctl: Program, http_issuer: OidcProvider) -> None:
    """One profile holds many people, and `--subject` leads to each."""
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    main_job.person(brokerctl, http_issuer)
    browser = main_job.scripted_browser(http_issuer)
    assert brokerctl("login", "person", "--subject", "bob", env=browser).returncode == 0
    assert strays(brokerctl) == []


def test_what_was_set_aside_is_not_called_dead(stray: Program) -> None:
    """A damaged grant that an earlier command set aside may be alive: exit code 9 says so."""
    folder = os.path.join(stray.home, "state", "v1", "grants")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"damaged")
    assert stray("store", "check", "--mend").returncode != 0
    assert os.listdir(folder) == []
    done = stray("revoke", "--all")
    assert done.returncode == 9
    assert "2 damaged entries may be alive at the issuer" in done.stderr
