"""docker's `list` names what `get` answers, and nothing else; it hands out and mints nothing."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from brokerctl.broker import Broker
from brokerctl.broker.request import grant_key
from brokerctl.config.hosts import parse_pattern
from brokerctl.config.plan import Plan
from brokerctl.errors import BrokerError
from brokerctl.helpers import find_owners
from brokerctl.helpers.answers_without_token import answer_list
from brokerctl.helpers.docker import Docker
from brokerctl.helpers.serve import ParentProcess
from brokerctl.home import make_token_request
from brokerctl.model import Profile, Requester, Token, TokenKey, TokenRequest
from brokerctl.store.file import FileStore
from brokerctl.store.file.memory import MemorySystem
from brokerctl.store.values import Change, Failure
from tests.contracts.helper_contract import check, credential
from tests.store_room import RING, make_grant, make_token, soon

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ISSUER = "https://issuer.example"
REG = "https://reg.example.com"


class Room:
    """As much of a house as a listing needs: a plan, a store in memory and a broker."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self.environ: dict[str, str] = {}
        self.plan = Plan(profiles={one.name: one for one in profiles})
        self.offered, self.kept_for = self.plan.profiles, self.plan.keep
        self.store = FileStore(MemorySystem().folder("store"), RING)
        self.events: list[str] = []
        log: Any = self
        self.broker = Broker(self.plan, self.store, log, self.redeem)

    def append(self, event: str, _: object) -> int:
        """Record an event."""
        self.events.append(event)
        return len(self.events)

    def redeem(self, order: Any, _: object) -> Token:  # noqa: ANN401 - the broker's own
        """Be an issuer that gives what is asked for."""
        self.events.append("asked")
        return make_token(issued_at=time.time()).replace(scopes=order.decision.scopes)

    def hold(self, name: str, state: str) -> None:
        """Have a grant in some state."""
        if state == "none":
            return
        profile = self.plan.profiles[name]
        key, now = grant_key(profile), time.time()
        token = make_token(name, 1 if state == "stuck" else 3600, now - 60)
        scopes = ("write",) if state == "broader" else profile.scopes
        grant = make_grant(name, key).replace(profile=name, obtained_at=now - 60)
        if state == "stuck":
            grant = grant.replace(refresh_token=None)
        change = Change(
            grant=grant,
            token_key=TokenKey(grant=key, scopes=profile.scopes),
            token=token.replace(scopes=scopes),
            profile=name,
        )
        with self.store.lock_grant(key, soon()) as locked:
            locked.commit(change)
            if state == "dead":
                locked.end(1, "revoked")
            if state == "failing":
                locked.settle(token.fingerprint, "superseded")
                locked.record_failure(failure(now))

    def make_request(self, profile: str, tool: str) -> TokenRequest:
        """Make a tool's request."""
        return make_token_request(profile, self.environ, tool)

    def listed(self) -> dict[str, str]:
        """Return what `list` says; nothing is recorded and nobody asked for it."""
        house: Any = self
        found = json.loads(
            answer_list(ParentProcess(self.environ), house, Docker(), "docker").stdout
        )
        assert self.events == []
        return dict(found)

    def got(self, address: str) -> str | None:
        """Return the user that `get` answers with; None if it has no answer."""
        wanted = Docker().read(["get"], address.encode(), {})
        assert wanted.reply is None
        wanted, owners = find_owners(Docker(), wanted, self.plan.profiles)
        if len(owners) != 1:
            return None
        requester = Requester(uid=os.geteuid(), pid=1, tool="docker")
        request = TokenRequest(profile=owners[0].name, requester=requester, url=wanted.url)
        try:
            check(Docker(), wanted, owners[0])
            token = self.broker.get(request)
            answer = credential(Docker(), wanted, token, owners[0])
        except BrokerError:
            return None
        return str(json.loads(answer.stdout)["Username"])


def failure(now: float) -> Failure:
    """Make a failure that is remembered for a while."""
    return Failure(
        attempt=1, serial=1, at=now, retry_at=now + 30, exit_code=5, name="issuer", message="down"
    )


def make(name: str, *hosts: str, flow: str = "code", **keys: Any) -> Profile:  # noqa: ANN401 - a profile's
    """Make a profile with hosts."""
    return Profile(
        name=name,
        issuer=ISSUER,
        flow=flow,
        client_id=name,
        scopes=("read",),
        hosts=tuple(map(parse_pattern, hosts)),
        **keys,
    )


LOCAL, LOCAL_TLS = "http://localhost:5000", "https://localhost:5000"
CASES: dict[str, tuple[list[tuple[Profile, str]], dict[str, str]]] = {
    "a live grant": ([(make("a", REG), "live")], {"reg.example.com": "oauth2"}),
    "no grant": ([(make("a", REG), "none")], {}),
    "a grant that has ended": ([(make("a", REG), "dead")], {}),
    "an old token that nothing renews": ([(make("a", REG), "stuck")], {}),
    "more than was asked for": ([(make("a", REG, allow_broader=False), "broader")], {}),
    "an issuer that was down just now": ([(make("a", REG), "failing")], {}),
    "no person": (
        [(make("a", REG, flow="client_credentials", username="bot"), "none")],
        {"reg.example.com": "bot"},
    ),
    "two of one host": ([(make("a", REG), "live"), (make("b", REG), "live")], {}),
    "two of one host, one in": ([(make("a", REG), "live"), (make("b", REG), "none")], {}),
    "a user that is an identity token": ([(make("a", REG, username="<token>"), "live")], {}),
    "a port": ([(make("a", f"{REG}:5000"), "live")], {"reg.example.com:5000": "oauth2"}),
    "an underscore": (
        [(make("a", "https://my_reg.example"), "live")],
        {"my_reg.example": "oauth2"},
    ),
    "IPv6": ([(make("a", "https://[::1]:5000"), "live")], {"[::1]:5000": "oauth2"}),
    "a path or a wildcard": ([(make("a", f"{REG}/team", "https://*.example.com"), "live")], {}),
    "a path beside a host": (
        [(make("a", REG), "live"), (make("b", f"{REG}/team"), "none")],
        {"reg.example.com": "oauth2"},
    ),
    "Hub": (
        [(make("a", "https://index.docker.io"), "live")],
        {"https://index.docker.io/v1/": "oauth2"},
    ),
    "Hub by a path": (
        [(make("a", "https://index.docker.io/v1"), "live")],
        {"https://index.docker.io/v1/": "oauth2"},
    ),
    "Hub, the path another's": (
        [
            (make("a", "https://index.docker.io"), "live"),
            (make("b", "https://index.docker.io/v1"), "none"),
        ],
        {},
    ),
    "loopback without TLS": ([(make("a", LOCAL), "live")], {"localhost:5000": "oauth2"}),
    "loopback, TLS is another's": (
        [(make("a", LOCAL), "live"), (make("b", LOCAL_TLS), "none")],
        {},
    ),
    "loopback, TLS is the live one": (
        [(make("a", LOCAL), "none"), (make("b", LOCAL_TLS, username="b"), "live")],
        {"localhost:5000": "b"},
    ),
    "loopback, both live": (
        [(make("a", LOCAL, username="a"), "live"), (make("b", LOCAL_TLS, username="b"), "live")],
        {"localhost:5000": "b"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_list_names_what_get_answers(name: str) -> None:
    """With the user that `get` answers with, and without a host that it refuses."""
    held, expected = CASES[name]
    room = Room(profile for profile, _ in held)
    for profile, state in held:
        room.hold(profile.name, state)
    assert room.listed() == expected
    assert {address: room.got(address) for address in expected} == expected


def test_what_its_tool_would_not_check_is_not_listed(tmp_path: Path) -> None:
    """As `get`, which gives no token to a registry whose certificate nobody looks at."""
    room = Room([make("a", REG)])
    room.hold("a", "live")
    path = tmp_path / "containers" / "registries.conf"
    path.parent.mkdir()
    path.write_text('[[registry]]\nlocation = "reg.example.com"\ninsecure = true\n')
    room.environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert room.listed() == {}


HOSTS = (REG, f"{REG}/team", LOCAL, LOCAL_TLS, "https://index.docker.io", "https://*.example.com")
PROFILES = some.lists(
    some.tuples(
        some.lists(some.sampled_from((*HOSTS, "https://index.docker.io/v1")), unique=True),
        some.sampled_from(("code", "client_credentials")),
        some.sampled_from((None, "bot", "<token>")),
        some.sampled_from(("none", "live", "dead", "stuck", "failing")),
    ),
    max_size=4,
)


@given(PROFILES)
def test_whatever_is_listed_is_answered(
    drawn: list[tuple[list[str], str, str | None, str]],
) -> None:
    """Whatever profiles there are, in whatever state: each name of the list has its answer."""
    room = Room(
        make(f"p{at}", *hosts, flow=flow, username=username)
        for at, (hosts, flow, username, _) in enumerate(drawn)
    )
    for at, (*_, state) in enumerate(drawn):
        room.hold(f"p{at}", state)
    listed = room.listed()
    assert {address: room.got(address) for address in listed} == listed
