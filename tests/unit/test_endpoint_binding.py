"""A profile's own endpoint that is edited after a login: no secret goes there before the next."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl import jsonlite, policy
from brokerctl.broker.held_grants import profile_for
from brokerctl.broker.known_issuers import KnownIssuers
from brokerctl.broker.login import Login
from brokerctl.broker.redeem import Redeemer
from brokerctl.broker.request import DecidedRequest, grant_key
from brokerctl.broker.revoke import Revoker
from brokerctl.errors import IssuerError, StoreError
from brokerctl.model import Profile, Requester, TokenRequest
from brokerctl.oauth.message import HttpResponse
from brokerctl.store.values import Change
from tests.audit_log import OneByOne
from tests.flows import ISSUER, profile
from tests.issuer_room import make_client
from tests.store_room import RING, make_grant, open_store, soon

if TYPE_CHECKING:
    from pathlib import Path

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.oauth.message import HttpRequest

OWN, OTHER = "https://own.example", "https://other.example"
TOKEN, REVOKE = f"{ISSUER}/token", f"{ISSUER}/revoke"


def own(base: str, **changes: Any) -> Profile:  # noqa: ANN401 - fields of Profile
    """Return a profile with its own endpoints at this origin."""
    names = ("token", "revocation", "authorization")
    return profile(
        endpoints=tuple((f"{one}_endpoint", f"{base}/{one}") for one in names), **changes
    )


class World(OneByOne):
    """An issuer that answers at every address, the log, and the store that both work on."""

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - a FileStore, or what stands for it
        self.store = store
        self.posted: list[str] = []

    def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
        """Answer with the metadata, or with a token."""
        del deadline
        body: dict[str, Any] = {"issuer": ISSUER, "token_endpoint": TOKEN}
        body |= {"revocation_endpoint": REVOKE, "authorization_endpoint": f"{ISSUER}/auth"}
        if request.method == "POST":
            self.posted.append(request.url)
            body = {"access_token": f"t{len(self.posted)}", "token_type": "Bearer"}
            body |= {"expires_in": 60, "refresh_token": "r2"}
        return HttpResponse(status=200, body=jsonlite.dumps(body).encode(), sent_at=time.time())

    def append(self, *_: object, **__: object) -> int:
        """Count one."""
        return 1

    @property
    def link(self) -> IssuerClient:
        """The way to the issuer, as each process makes it anew."""
        return make_client(self.store, lambda *_: self)

    def obtained(self, by: Profile, *, is_noted: bool = True) -> None:
        """Store what a person's login leaves."""
        key, link = grant_key(by), self.link
        with self.store.lock_grant(key, soon()) as locked:
            locked.commit(Change(grant=make_grant("r1", key)))
        if is_noted:
            link.for_login(by, soon()).known.pin(by, key, time.time())

    def redeem(self, by: Profile) -> str:
        """Get a new token; return where it was asked for."""
        request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
        order, log = DecidedRequest(by, request, policy.decide(by, request)), self
        with self.store.lock_grant(order.grant_key, soon()) as locked:
            Redeemer(self.store, log, RING, self.link)(order, locked)  # type: ignore[arg-type]  # a stand-in
        return self.posted[-1]

    def revoke(self, by: Profile) -> list[tuple[str, str]]:
        """Revoke what is held; return how and why each ended."""
        revoker = Revoker(self.store, self, RING, self.link)  # type: ignore[arg-type]  # as above
        return [(one.outcome, one.reason) for one in revoker.revoke(by, grant_key(by))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world without a grant."""
    return World(open_store(str(tmp_path / "store")))


CHANGES = pytest.mark.parametrize(
    ("before", "after"),
    [(profile(), own(OTHER)), (own(OWN), own(OTHER)), (own(OWN), profile())],
    ids=["one of its own", "another", "the issuer's again"],
)


@CHANGES
def test_no_refresh_token_goes_to_an_edited_endpoint(
    world: World, before: Profile, after: Profile
) -> None:
    """Promise 1: it is refused with the hint to log in, as a move in the metadata is."""
    world.obtained(before)
    with pytest.raises(IssuerError, match=r"the token_endpoint of .* moved to") as caught:
        world.redeem(after)
    assert caught.value.hint == "if that is right, run 'brokerctl login p'"
    assert world.posted == []
    assert world.redeem(before).startswith(OWN if before.endpoints else ISSUER)


@CHANGES
def test_no_token_is_revoked_at_an_edited_endpoint(
    world: World, before: Profile, after: Profile
) -> None:
    """It stays queued, and says why, until the endpoint is right again."""
    world.obtained(before)
    ((outcome, reason),) = world.revoke(after)
    assert (outcome, world.posted) == ("unknown", [])
    assert reason.startswith(f"the revocation_endpoint of {ISSUER[8:]} moved to")
    assert world.revoke(before) == [("revoked", "")]


def test_what_is_not_used_keeps_no_token_alive(world: World) -> None:
    """An edited token_endpoint is no reason not to revoke where the issuer always did."""
    world.obtained(profile())
    edited = profile(endpoints=(("token_endpoint", f"{OTHER}/token"),))
    assert world.revoke(edited) == [("revoked", "")]
    assert world.posted == [REVOKE]


def test_no_client_secret_goes_to_an_edited_endpoint(world: World) -> None:
    """A client needs no login: its first request binds, and `login` accepts another origin."""
    client, edited = (own(base, flow="client_credentials") for base in (OWN, OTHER))
    assert world.redeem(client) == f"{OWN}/token"
    with pytest.raises(IssuerError, match="moved"):
        world.redeem(edited)
    request = TokenRequest(profile="p", requester=Requester(uid=os.geteuid(), pid=1))
    login = Login(world.store, world, RING, world.link)  # type: ignore[arg-type]  # a stand-in
    login.log_in(edited, request, lambda *_: pytest.fail("nobody is asked"), world)  # type: ignore[arg-type]  # as above
    assert world.redeem(edited) == f"{OTHER}/token"
    with pytest.raises(IssuerError, match="moved"):
        world.redeem(client)


def test_a_login_accepts_another_origin(world: World) -> None:
    """What a person asks for counts; a login that brought nothing does not."""
    world.obtained(own(OWN))
    world.link.for_login(own(OTHER), soon())
    with pytest.raises(IssuerError, match="moved"):
        world.redeem(own(OTHER))
    world.obtained(own(OTHER))
    assert world.redeem(own(OTHER)) == f"{OTHER}/token"


def test_a_grant_without_a_note_is_bound_at_its_next_refresh(world: World) -> None:
    """One of an earlier version, or of a backup, is accepted as it is."""
    world.obtained(own(OWN), is_noted=False)
    assert world.redeem(own(OWN)) == f"{OWN}/token"
    with pytest.raises(IssuerError, match="moved"):
        world.redeem(own(OTHER))


def test_another_address_of_the_same_origin_is_no_move(world: World) -> None:
    """A path may change, and an endpoint may be written down that the metadata had anyway."""
    world.obtained(profile())
    here = profile(endpoints=(("token_endpoint", f"{ISSUER}/v2/token"),))
    assert world.redeem(here) == f"{ISSUER}/v2/token"


def test_a_profile_that_shares_the_grant_is_held_to_it_too(world: World) -> None:
    """Another name leads to the same refresh token, and no further than the first."""
    world.obtained(own(OWN))
    with pytest.raises(IssuerError, match="moved"):
        world.redeem(own(OTHER, name="another"))
    other = own(OTHER, name="another", scopes=("x",))  # a grant of its own
    world.obtained(other)
    assert world.redeem(other) == f"{OTHER}/token"
    assert world.redeem(own(OWN)) == f"{OWN}/token"


def test_without_its_profile_a_grant_is_revoked_where_it_came_from(world: World) -> None:
    """The profile's own endpoints went with it; the note still has them."""
    world.obtained(own(OWN))
    world.revoke(profile_for({}, "p", grant_key(own(OWN))))
    assert world.posted == [f"{OWN}/revocation"]


def test_a_full_disk_costs_the_note_and_no_token(world: World) -> None:
    """The next refresh makes it."""

    class Full:
        """A store that nothing can be written to."""

        def find_sealed(self, *_: object) -> None:
            """Find nothing."""

        def put_sealed(self, *_: object) -> None:
            """Fail."""
            raise StoreError("the disk is full")

    known = KnownIssuers(Full(), RING)  # type: ignore[arg-type]  # a stand-in
    known.bind(own(OWN), grant_key(own(OWN)), time.time())
    world.obtained(own(OWN), is_noted=False)
    world.link.known.bind(own(OWN), grant_key(own(OWN)), time.time())
    with pytest.raises(IssuerError, match="moved"):
        world.redeem(own(OTHER))
