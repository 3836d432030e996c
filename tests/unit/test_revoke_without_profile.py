"""Revoking what a profile left behind that was renamed or removed since."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.broker.held_grants import keys_of, profile_for
from brokerctl.model import GrantKey, Profile, Reference
from brokerctl.oauth.message import HttpResponse
from brokerctl.platform.work_clock import work_time
from brokerctl.secret import Secret
from brokerctl.store.values import Change
from tests.issuer_room import make_client
from tests.store_room import make_grant, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.message import HttpRequest

ISSUER = "https://issuer.example"
KEY = GrantKey(issuer=ISSUER, client_id="app")
SECRET = Reference(kind="env", target=("APP_SECRET",))
PROFILE = Profile(
    name="old",
    issuer=ISSUER,
    flow="code",
    client_id="app",
    client_auth="client_secret_post",
    client_secret=SECRET,
)
METADATA = {
    "issuer": ISSUER,
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
}


class Issuer:
    """An issuer that wants to know the client's secret."""

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer one request."""
        del deadline
        body: dict[str, Any] = METADATA
        status = 200
        if request.body is not None:
            is_right = "client_secret=s3cret" in request.body.reveal()
            status, body = (200, {}) if is_right else (401, {"error": "invalid_client"})
        return HttpResponse(status=status, body=json.dumps(body).encode(), sent_at=time.time())


@pytest.mark.parametrize(
    ("profiles", "outcome"),
    [
        ([PROFILE], "revoked"),
        ([PROFILE.replace(name="new")], "revoked"),
        ([PROFILE.replace(name="other", client_id="x"), PROFILE.replace(name="new")], "revoked"),
        ([PROFILE.replace(client_id="x"), PROFILE.replace(name="new")], "revoked"),
        ([PROFILE.replace(client_id="x")], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_client_is_looked_for(tmp_path: Path, profiles: list[Profile], outcome: str) -> None:
    """Any profile of the same client can revoke; without one it is queued and never given up."""
    link = make_client(
        open_store(str(tmp_path / "store")), lambda *_: Issuer(), {"APP_SECRET": "s3cret"}
    )
    profile = profile_for({one.name: one for one in profiles}, "old", KEY)
    assert (profile.name, profile.client_id) == ("old", "app")
    said = link.revoke(profile, Secret("rt"), "refresh_token", work_time() + 10, KEY)
    assert said.outcome == outcome
    assert ("profile is gone" in said.reason) == (outcome == "unknown")


@pytest.mark.parametrize(
    ("name", "subject", "found"),
    [
        ("all", None, {"home", "work"}),
        ("all", "home", {"home"}),
        ("works", None, {"work"}),
        ("works", "home", set()),
        (None, None, {"home", "work"}),
        ("stranger", None, set()),
    ],
)
def test_a_profile_of_one_subject_reaches_no_other_s(
    tmp_path: Path, name: str | None, subject: str | None, found: set[str]
) -> None:
    """Two profiles of one client share its grants; one that has a subject shares its alone."""
    store = open_store(str(tmp_path / "store"))
    profiles = {
        one.name: one
        for one in (
            PROFILE.replace(name="all"),
            PROFILE.replace(name="works", subject="work"),
            PROFILE.replace(name="stranger", client_id="x"),
        )
    }
    for who in ("home", "work"):
        key = KEY.replace(subject=who)
        with store.lock_grant(key, soon()) as locked:
            locked.commit(Change(grant=make_grant(key=key).replace(profile="gone")))
    chosen = keys_of(store, profiles, None if name is None else {name}, subject)
    assert {key.subject for _, key in chosen} == found
