"""How a profile says that its hosts are shown a token, and the order of its hosts."""

from __future__ import annotations

import pytest

from brokerctl.config.fields import PROFILE, present
from brokerctl.config.plan import Plan, parse_plan, render_plan
from brokerctl.errors import UsageError
from tests.gateway_room import profile


@pytest.mark.parametrize(
    "value",
    [
        *("bearer", {}, {"header": "a", "basic": "b"}, {"cookie": "a"}, {"header": 1}),
        *({"header": ""}, {"header": "a b"}, {"header": "a:"}, {"header": "x\n"}, {"header": "é"}),
        *({"header": "Host"}, {"header": "content-length"}, {"header": "Transfer-Encoding"}),
        *({"header": "Cookie"}, {"header": "connection"}, {"basic": "a:b"}, {"basic": ""}),
    ],
)
def test_what_would_change_how_a_request_is_read_is_refused(value: object) -> None:
    """A token goes into a header of its own, or is a password."""
    with pytest.raises(UsageError):
        present(value)


@pytest.mark.parametrize("value", [{"header": "X-Api-Key"}, {"basic": "robot"}])
def test_it_is_kept_in_the_compiled_configuration(value: dict[str, str]) -> None:
    """As it was written."""
    (pair,) = value.items()
    assert present(value) == pair
    one = profile(present=pair, hosts=("https://b.test", "https://a.test"))
    found = parse_plan(render_plan(Plan(profiles={"api": one})))
    assert found is not None
    assert found.profiles["api"] == one


def test_hosts_keep_their_order() -> None:
    """The gateway leads to the first; one that is said twice counts once."""
    given = ["https://b.test/", "https://*.a.test", "https://a.test", "https://b.test"]
    found = ("https://b.test", "https://*.a.test", "https://a.test")
    assert PROFILE["hosts"](given) == found
