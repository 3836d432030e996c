"""The pin of an issuer's metadata: it holds for every flow and profile until the next login."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite
from brokerctl.broker.login import Login
from brokerctl.broker.request import grant_key
from brokerctl.errors import IssuerError
from brokerctl.model import Requester, TokenRequest
from brokerctl.oauth.message import HttpResponse
from brokerctl.platform.work_clock import work_time
from tests.audit_log import OneByOne
from tests.flows import ISSUER, profile
from tests.issuer_room import make_client
from tests.store_room import RING, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.oauth.message import HttpRequest

MOVED = "https://elsewhere.example/token"
OWN = "https://own.example/token"
KEY = grant_key(profile())


class Issuer:
    """An issuer's metadata, of which some fields can be changed."""

    def __init__(self) -> None:
        self.changes: dict[str, Any] = {}
        self.asked = 0
        self.deadlines: list[float] = []
        self.posted: list[str] = []

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer with the document, or with a token."""
        self.deadlines.append(deadline or 0.0)
        self.asked += 1
        if request.method == "POST":
            self.posted.append(request.url)
            token = b'{"access_token":"t","token_type":"Bearer","expires_in":60}'
            return HttpResponse(status=200, body=token, sent_at=time.time())
        body = {
            "issuer": ISSUER,
            "token_endpoint": f"{ISSUER}/token",
            "authorization_endpoint": f"{ISSUER}/auth",
            "device_authorization_endpoint": f"{ISSUER}/device",
            "revocation_endpoint": f"{ISSUER}/revoke",
            "introspection_endpoint": f"{ISSUER}/introspect",
            "code_challenge_methods_supported": ["S256"],
            **self.changes,
        }
        return HttpResponse(status=200, body=jsonlite.dumps(body).encode(), sent_at=time.time())


class Records(OneByOne):
    """A log that keeps nothing."""

    def append(self, *_: object, **__: object) -> int:
        """Count one."""
        return 1


def _no_person(*_: object) -> Any:  # noqa: ANN401 - a TokenAnswer
    raise AssertionError("nobody is asked")


@pytest.fixture
def issuer() -> Issuer:
    """Return an issuer."""
    return Issuer()


@pytest.fixture
def link(tmp_path: Path, issuer: Issuer) -> IssuerClient:
    """Return the way to it."""
    return make_client(open_store(str(tmp_path / "store")), lambda *_: issuer)


def soon() -> float:
    """Return a deadline that is not met here."""
    return work_time() + 10


@pytest.mark.parametrize(
    "later",
    [
        profile(),
        profile(name="another", client_id="x"),
        profile(endpoints=(("revocation_endpoint", f"{ISSUER}/revoke"),)),
    ],
    ids=["another flow", "another profile", "an endpoint more"],
)
def test_a_login_pins_for_all(link: IssuerClient, issuer: Issuer, later: Any) -> None:  # noqa: ANN401 - a Profile
    """A refresh after a login by device goes where that login went, whatever is said since."""
    link = link.for_login(profile(flow="device"), soon())
    issuer.changes = {"token_endpoint": MOVED}
    assert link.metadata(later, soon(), is_refresh=True).token_endpoint == f"{ISSUER}/token"
    assert issuer.asked == 1


def test_a_moved_endpoint_is_refused_until_a_login(
    link: IssuerClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too old is asked for again, and held against what was known."""
    login = link.for_login(profile(flow="device"), soon())
    login.known.pin(profile(flow="device"), KEY, time.time())
    issuer.changes = {"token_endpoint": MOVED}
    assert link.metadata(profile(), soon()).token_endpoint == f"{ISSUER}/token"
    later = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(IssuerError, match="moved"):
        link.metadata(profile(), soon())
    link = link.for_login(profile(), soon())
    assert link.metadata(profile(), soon()).token_endpoint == MOVED
    assert link.metadata(profile(flow="device"), soon(), is_refresh=True).token_endpoint == MOVED


def test_a_profiles_own_endpoint_is_its_own(link: IssuerClient, issuer: Issuer) -> None:
    """For that profile alone, and without a question where it is enough.

    Whether a grant that is there may go to it is another matter: test_endpoint_binding.
    """
    own = profile(flow="client_credentials", endpoints=(("token_endpoint", OWN),))
    assert link.metadata(own, soon()).token_endpoint == OWN
    assert issuer.asked == 0
    mixed = profile(endpoints=(("token_endpoint", OWN),))
    link = link.for_login(mixed, soon())
    assert link.metadata(mixed, soon()).token_endpoint == OWN
    assert link.metadata(profile(), soon(), is_refresh=True).token_endpoint == f"{ISSUER}/token"
    assert issuer.asked == 1


def test_a_login_that_failed_moves_no_pin(tmp_path: Path, issuer: Issuer) -> None:
    """What a login was told counts for it alone, until it has brought a grant."""
    store = open_store(str(tmp_path / "store"))

    def link() -> IssuerClient:
        return make_client(store, lambda *_: issuer)

    first = link().for_login(profile(), soon())
    first.known.pin(profile(), KEY, time.time())
    issuer.changes = {"token_endpoint": MOVED}
    given_up = link().for_login(profile(), soon())
    assert given_up.metadata(profile(), soon()).token_endpoint == MOVED
    assert link().metadata(profile(), soon(), is_refresh=True).token_endpoint == f"{ISSUER}/token"
    given_up.known.pin(profile(), KEY, time.time())
    assert link().metadata(profile(), soon(), is_refresh=True).token_endpoint == MOVED


def test_a_login_without_a_person_pins_too(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`login`, which the refusal of a moved endpoint names, is the way on for a client as well."""
    store, log = open_store(str(tmp_path / "store")), Records()
    client = profile(flow="client_credentials")
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))

    def log_in() -> None:
        link = make_client(store, lambda *_: issuer)
        Login(store, log, RING, link).log_in(client, request, _no_person, log)  # type: ignore[arg-type]  # a stand-in

    log_in()
    issuer.changes = {"token_endpoint": MOVED}
    later = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    log_in()
    assert issuer.posted == [f"{ISSUER}/token", MOVED]


def test_each_document_has_a_share_of_the_time(link: IssuerClient, issuer: Issuer) -> None:
    """One that never comes leaves time for the other, and both for what the token is asked with."""
    issuer.changes = {"revocation_endpoint": None}
    started = work_time()
    link.metadata(profile(), started + 900)
    first, second = (deadline - started for deadline in issuer.deadlines)
    assert 300 <= first < 400
    assert 450 <= second < 550


def test_what_lacks_an_endpoint_is_asked_for_again(link: IssuerClient, issuer: Issuer) -> None:
    """A slip of the issuer's ends with the slip, and not a day later."""
    issuer.changes = {"token_endpoint": None}
    assert link.metadata(profile(), soon()).token_endpoint is None
    issuer.changes = {}
    assert link.metadata(profile(), soon()).token_endpoint == f"{ISSUER}/token"
    assert link.metadata(profile(), soon()).token_endpoint == f"{ISSUER}/token"
    assert issuer.asked == 3, "the second document was asked for it too, once"


def test_a_profiles_own_endpoint_hides_no_move(
    link: IssuerClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that need not care about a move does not pin it for those that must."""
    link.metadata(profile(), soon())
    issuer.changes = {"token_endpoint": MOVED}
    later = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    own = profile(endpoints=(("token_endpoint", OWN),))
    assert link.metadata(own, soon()).token_endpoint == OWN
    assert link.metadata(profile(), soon(), is_refresh=True).token_endpoint == f"{ISSUER}/token"
