"""Checks issuers: does each answer, is its metadata as pinned, does its clock agree with ours."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.errors import BrokerError
from brokerctl.oauth import metadata as about
from brokerctl.oauth.message import HttpRequest
from brokerctl.platform.work_clock import work_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.home import Home
    from brokerctl.model import Profile

_WAIT_S = 5.0
_SKEW_S = 300.0


def check(home: Home) -> Iterator[Finding]:
    """Ask each issuer once, with the first profile that names it; nothing is stored."""
    issuer, seen = home.issuer(), set()
    for _, profile in sorted(home.plan.profiles.items()):
        if (profile.issuer, profile.ca_file) not in seen:
            seen.add((profile.issuer, profile.ca_file))
            yield from _issuer(issuer, profile)


def _issuer(issuer: IssuerClient, profile: Profile) -> Iterator[Finding]:
    try:
        if about.is_configured(profile):
            yield Finding(what=f"{profile.issuer}: its endpoints are configured, none was asked")
        else:
            asked = profile.replace(endpoints=())
            issuer.run(asked, about.discover(asked), work_time() + _WAIT_S)
            yield Finding(what=f"{profile.issuer} answers, and its metadata is right")
        yield from _clock(issuer, profile)
    except BrokerError as error:
        yield Finding(
            what=f"{profile.issuer}: {error.message}",
            state=PROBLEM,
            hint=error.hint or "look at the network, the proxy and 'ca_file' of the profile",
        )


def _clock(issuer: IssuerClient, profile: Profile) -> Iterator[Finding]:
    """Compare our clock with the `Date` of any answer (RFC 9110, section 6.6.1)."""
    request = HttpRequest(method="GET", url=profile.issuer)
    response = issuer.sender(profile).send(request, work_time() + _WAIT_S)
    said = next((value for name, value in response.headers if name.lower() == "date"), None)
    try:
        theirs = parsedate_to_datetime(said or "").timestamp()
    except (ValueError, TypeError, OverflowError):  # a year of many digits
        return
    skew = response.received_at - theirs
    if abs(skew) > _SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        yield Finding(
            what=f"our clock is {int(abs(skew))} s {way} that of {profile.issuer}",
            state=WARNING,
            hint="set the clock: tokens may count as expired, and assertions be refused",
        )
