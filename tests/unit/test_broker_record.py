"""What the record says of a request: every refusal is in it, and nothing that it must not say."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import BrokerError
from tests.issuer_room import PERSON, SERVICE, House

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Log a person in."""
    profile = PERSON.replace(hosts=("https://api.example",))
    made = House(str(tmp_path / "store"), profile, SERVICE)
    made.log_in()
    made.log.records.clear()
    return made


def outside(_: House) -> dict[str, Any]:
    """A scope that the profile has not."""
    return {"scopes": ("admin",)}


def elsewhere(_: House) -> dict[str, Any]:
    """A server that is none of the profile's."""
    return {"url": "https://other.example/x"}


def one_at_a_time(house: House) -> dict[str, Any]:
    """A session's own token of a profile that has one."""
    house.profiles["p"] = house.profiles["p"].replace(refresh_ends_previous=True)
    return {"session": "s1", "is_own": True}


def in_a_circle(house: House) -> dict[str, Any]:
    """The command that fetches its own secret asks for it."""
    house.broker.within = ("p",)
    return {}


def not_logged_in(_: House) -> dict[str, Any]:
    """Nobody has logged in as this subject."""
    return {"subject": "nobody"}


def down(house: House) -> dict[str, Any]:
    """No answer, and nothing that is still good enough."""
    house.issuer.is_down = True
    return {"is_fresh": True}


def dead(house: House) -> dict[str, Any]:
    """The issuer has ended it."""
    house.issuer.alive.clear()
    return {"is_fresh": True}


REFUSALS: dict[Callable[[House], dict[str, Any]], tuple[int, str]] = {
    outside: (4, "token.denied"),
    elsewhere: (4, "token.denied"),
    one_at_a_time: (2, "token.refused"),
    in_a_circle: (2, "token.refused"),
    not_logged_in: (3, "token.refused"),
    down: (5, "token.refused"),
    dead: (3, "token.refused"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_is_recorded_once(
    house: House, refusal: Callable[[House], dict[str, Any]]
) -> None:
    """Whoever refuses: who asked, for what, and why not; and no token is handed out."""
    fields = refusal(house)
    code, event = REFUSALS[refusal]
    with pytest.raises(BrokerError) as raised:
        house.get(**fields)
    assert raised.value.exit_code == code
    said = [(name, one) for name, one in house.log.records if name.startswith("token.")]
    assert [name for name, _ in said] == [event]
    assert said[0][1]["error"] == raised.value.message
    assert said[0][1]["profile"] == "p"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.example/path?signature=s3cr3t#f", "https://api.example/path"),
        ("https://api.example/path#s3cr3t?x", "https://api.example/path"),
        ("https://api.example?s3cr3t/x@y", "https://api.example"),
        ("https://alice:s3cr3t@api.example/path", "https://api.example/path"),
        ("https://s3cr3t@api.example", "https://api.example"),
        ("https://other.example/@scope/name?s3cr3t", "https://other.example/@scope/name"),
    ],
)
def test_a_url_s_query_and_user_are_not_in_the_record(house: House, url: str, place: str) -> None:
    """They can hold a password or a signature; where a token goes is said without, refused too."""
    with contextlib.suppress(BrokerError):
        house.get(url=url)
    ((_, fields),) = house.log.records
    assert fields["url"] == place
    assert "s3cr3t" not in repr(house.log.records)


def test_a_request_without_a_url_says_none(house: House) -> None:
    """Where it goes is not known, which is no empty place."""
    house.get()
    assert "url" not in house.log.of("token.handed_out")[0]
