"""The pin of an issuer's metadata: it holds for every flow and profile until the next login."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite
from brokerctl.errors import IssuerError
from brokerctl.issuing import IssuerLink
from brokerctl.oauth.message import HttpResponse
from tests.flows import ISSUER, profile
from tests.store_room import RING, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.oauth.message import HttpRequest

MOVED = "https://elsewhere.example/token"
OWN = "https://own.example/token"


class Issuer:
    """An issuer's metadata, of which some fields can be changed."""

    def __init__(self) -> None:
        self.changes: dict[str, Any] = {}
        self.asked = 0

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer with the document."""
        del request, deadline
        self.asked += 1
        body = {
            "issuer": ISSUER,
            "token_endpoint": f"{ISSUER}/token",
            "authorization_endpoint": f"{ISSUER}/auth",
            "device_authorization_endpoint": f"{ISSUER}/device",
            **self.changes,
        }
        return HttpResponse(status=200, body=jsonlite.dumps(body).encode(), sent_at=time.time())


@pytest.fixture
def issuer() -> Issuer:
    """Return an issuer."""
    return Issuer()


@pytest.fixture
def link(tmp_path: Path, issuer: Issuer) -> IssuerLink:
    """Return the way to it."""
    return IssuerLink({}, open_store(str(tmp_path / "store")), RING, lambda *_: issuer)


def soon() -> float:
    """Return a deadline that is not met here."""
    return time.monotonic() + 10


@pytest.mark.parametrize(
    "later",
    [
        profile(),
        profile(name="another", client_id="x"),
        profile(endpoints=(("revocation_endpoint", f"{ISSUER}/revoke"),)),
    ],
    ids=["another flow", "another profile", "an endpoint more"],
)
def test_a_login_pins_for_all(link: IssuerLink, issuer: Issuer, later: Any) -> None:  # noqa: ANN401 - a Profile
    """A refresh after a login by device goes where that login went, whatever is said since."""
    link.metadata(profile(flow="device"), soon(), is_login=True)
    issuer.changes = {"token_endpoint": MOVED}
    assert link.metadata(later, soon(), is_refresh=True).token_endpoint == f"{ISSUER}/token"
    assert issuer.asked == 1


def test_a_moved_endpoint_is_refused_until_a_login(
    link: IssuerLink, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too old is asked for again, and held against what was known."""
    link.metadata(profile(flow="device"), soon(), is_login=True)
    issuer.changes = {"token_endpoint": MOVED}
    assert link.metadata(profile(), soon()).token_endpoint == f"{ISSUER}/token"
    later = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(IssuerError, match="moved"):
        link.metadata(profile(), soon())
    assert link.metadata(profile(), soon(), is_login=True).token_endpoint == MOVED
    assert link.metadata(profile(flow="device"), soon(), is_refresh=True).token_endpoint == MOVED


def test_a_profiles_own_endpoint_is_its_own(link: IssuerLink, issuer: Issuer) -> None:
    """It counts at once, for that profile alone, and needs no question where it is enough."""
    own = profile(flow="client_credentials", endpoints=(("token_endpoint", OWN),))
    assert link.metadata(own, soon()).token_endpoint == OWN
    assert issuer.asked == 0
    mixed = profile(endpoints=(("token_endpoint", OWN),))
    assert link.metadata(mixed, soon(), is_login=True).token_endpoint == OWN
    assert link.metadata(profile(), soon(), is_refresh=True).token_endpoint == f"{ISSUER}/token"
    assert issuer.asked == 1
