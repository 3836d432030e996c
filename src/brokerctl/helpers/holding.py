"""What is held here, told without a hand-out: the hosts with a live grant, and what is ours."""

from __future__ import annotations

import time

from brokerctl import home
from brokerctl.broker import make_order
from brokerctl.errors import BrokerError
from brokerctl.helpers import GET, USERNAME, Wanted
from brokerctl.helpers.door import find_owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.helpers import Helper
    from brokerctl.home import Home
    from brokerctl.model import TokenRequest
    from brokerctl.secret import Secret


def find_usernames(house: Home, helper: Helper, tool: str) -> dict[str, str]:
    """Return host to username, for every host whose name `get` would answer without a person.

    And for what the tool itself had us keep, where `[helpers] keep` says so. Each name is read as
    `get` reads it: of two profiles that share a name, one may be the answer, or neither.
    """
    asking = home.make_request("", house.environ, tool)
    hosts = [host for _, one in sorted(house.plan.profiles.items()) for host in one.hosts]
    if tool in house.plan.keep:
        from brokerctl.helpers.keeping import find_places  # noqa: PLC0415 - nothing is, by default

        hosts += [place for place, _ in find_places(house, tool)]
    found: dict[str, str] = {}
    for host in dict.fromkeys(hosts):
        address = helper.address(host)
        wanted = None if address is None else helper.read([GET], address.encode(), house.environ)
        if isinstance(wanted, Wanted):
            username = _find_username(house, helper, wanted, asking)
            if username is not None:
                found[host] = username
    return found


def _find_username(house: Home, helper: Helper, wanted: Wanted, asking: TokenRequest) -> str | None:
    """Return the user of the answer to this request; None where it would be refused."""
    wanted, owners = find_owners(helper, wanted, house.plan.profiles)
    if not owners and asking.requester.tool in house.plan.keep:
        from brokerctl.helpers.keeping import find_here  # noqa: PLC0415 - as above

        one = find_here(house, asking.requester.tool, wanted)
        return None if one is None or one.is_over(time.time()) else one.username
    if len(owners) != 1:
        return None
    try:
        request = asking.replace(profile=owners[0].name, url=wanted.url)
        house.broker.check(helper.complete(request, wanted, owners[0], house.environ))
    except BrokerError:
        return None
    return owners[0].username or USERNAME


def is_current(house: Home, request: TokenRequest, secret: Secret | None) -> bool:
    """Say whether a secret is the token that this request would be answered with from the store."""
    held = house.store.find_token(make_order(house.plan, request).token_key, time.time(), 0)
    if held is None or secret is None:
        return False
    return house.ring.fingerprint(secret.reveal()) == held.fingerprint
