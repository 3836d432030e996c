"""An issuer's metadata (RFC 8414, OpenID Connect Discovery), of which only a part is believed.

Security: the document must name the issuer that it was asked for, letter by letter, and what it
calls an endpoint must be https (or on loopback, for an issuer that is itself on loopback).
"""

from __future__ import annotations

import ipaddress
import re

from brokerctl import jsonlite
from brokerctl.config.hosts import parse_issuer, parse_url
from brokerctl.errors import IssuerError, UnsentError, UsageError, shell_word
from brokerctl.model import FlowTraits, StoredValue
from brokerctl.oauth.message import (
    JSON,
    SERVER_ERROR,
    HttpRequest,
    host_of,
    is_endpoint,
    is_endpoint_of,
)
from brokerctl.oauth.steps import Send
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from brokerctl.model import Profile
    from brokerctl.oauth.message import HttpResponse

    Discovery = Generator[Send, HttpResponse, "Metadata"]

DAY_S = 86400
MAX_AGE_S = 7 * DAY_S
OK = 200
ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "impersonation_endpoint",
)
_OPTIONAL = ENDPOINTS[2:]
_SHARES = (1 / 3, 1 / 2)
_LISTS = (
    "code_challenge_methods_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "scopes_supported",
    "grant_types_supported",
)
# Never asked of what an issuer names: a wrong one (some are relative) refuses nothing.
_UNUSED = ("userinfo_endpoint", "impersonation_endpoint")
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})\"?(?:[\s,]|$)", re.ASCII)
_NO_STORE = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:[\s,]|$)", re.ASCII)


class Metadata(StoredValue):
    """The issuer's endpoints and abilities; None where it says nothing."""

    issuer: str
    fetched_at: float = 0.0
    max_age_s: int = DAY_S
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    introspection_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    impersonation_endpoint: str | None = None  # Google's, which a profile names
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_signing_alg_values_supported: tuple[str, ...] | None = None
    scopes_supported: tuple[str, ...] | None = None
    grant_types_supported: tuple[str, ...] | None = None
    iss_in_callback: bool = False  # authorization_response_iss_parameter_supported (RFC 9207)
    revoked_by: str | None = None  # of a flow whose tokens are not revoked as by RFC 7009

    def is_current(self, now: float) -> bool:
        """Return whether it may still be used without asking again."""
        return self.fetched_at <= now < self.fetched_at + self.max_age_s


def discover(profile: Profile, now: float = 0.0) -> Discovery:
    """Yield the requests that find the profile's issuer; endpoints of the profile come first.

    Where the profile has all endpoints that its flow needs, nothing is sent. The second document is
    asked for where the first can't be had, in a share of the time, or lacks what may be needed.
    """
    if is_configured(profile):
        return configured(profile, now)
    first = yield from _ask(profile.issuer, 0)
    if isinstance(first, UnsentError):
        raise first  # nobody is there: the other address of the same host is no better
    if isinstance(first, Metadata) and _says_all(first, profile):
        return with_configured(first, profile)
    second = yield from _ask(profile.issuer, 1)
    if isinstance(first, Metadata):
        found = _merged(first, second) if isinstance(second, Metadata) else first
        return with_configured(found, profile)
    if isinstance(second, Metadata):
        return with_configured(second, profile)
    # A wrong document tells more than a missing one.
    raise second if isinstance(first, _MissingError) else first


def _ask(issuer: str, form: int) -> Generator[Send, HttpResponse, Metadata | IssuerError]:
    """Return one of the two documents, or what was wrong with it."""
    request = HttpRequest(method="GET", url=well_known(issuer)[form], headers=(JSON,))
    try:
        response = yield Send(request=request, share=_SHARES[form])
        return parse_metadata(response, issuer)
    except IssuerError as error:
        return error


def _says_all(metadata: Metadata, profile: Profile) -> bool:
    """Return whether it has everything that a flow, or the revocation of its grant, may need."""
    wanted = _needed(profile) | {"revocation_endpoint", "introspection_endpoint"}
    if profile.traits.uses_pkce:
        wanted |= {"code_challenge_methods_supported"}
    return all(getattr(metadata, name) is not None for name in wanted)


def _merged(first: Metadata, second: Metadata) -> Metadata:
    """Return the first document, with the second one's values where the first has none."""
    more = {
        name: getattr(second, name)
        for name in (*ENDPOINTS, *_LISTS)
        if getattr(first, name) is None
    }
    return first.replace(
        **more,
        max_age_s=min(first.max_age_s, second.max_age_s),
        iss_in_callback=first.iss_in_callback or second.iss_in_callback,
    )


def is_configured(profile: Profile) -> bool:
    """Return whether the profile names all endpoints that its flow needs."""
    return _needed(profile) <= {name for name, _ in profile.endpoints}


def is_enough(metadata: Metadata, profile: Profile) -> bool:
    """Return whether the metadata and the profile's own endpoints have all that its flow needs."""
    usable = with_configured(metadata, profile)
    return all(getattr(usable, name) is not None for name in _needed(profile))


def _needed(profile: Profile) -> set[str]:
    return set(profile.traits.endpoints)


def configured(profile: Profile, now: float) -> Metadata:
    """Return metadata that is made of the profile's own endpoints alone."""
    asks = profile.traits.revoked_by
    noted = None if asks == FlowTraits().revoked_by else asks
    metadata = Metadata(issuer=profile.issuer, fetched_at=now, revoked_by=noted)
    return with_configured(metadata, profile)


class _MissingError(IssuerError):
    """There was no document at that address."""


def well_known(issuer: str) -> tuple[str, str]:
    """Return both addresses: RFC 8414 puts itself before the path, OpenID after it."""
    try:
        url = parse_url(parse_issuer(issuer))
    except UsageError as error:
        raise UsageError(f"the issuer can't be used: {error.message}") from error
    start = issuer[: len(issuer) - len(url.path)] if url.path else issuer
    path = url.path.removesuffix("/")  # RFC 8414, 3.1 and OpenID Discovery, 4
    return (
        f"{start}/.well-known/oauth-authorization-server{path}",
        f"{start}{path}/.well-known/openid-configuration",
    )


def parse_metadata(response: HttpResponse, issuer: str) -> Metadata:
    """Return what a metadata answer says, or IssuerError; the issuer in it must be identical."""
    host = host_of(issuer)
    if response.status != OK:
        text = f"{host} answered {response.status} when asked for its metadata"
        raise (IssuerError if response.status >= SERVER_ERROR else _MissingError)(text)
    try:
        body = jsonlite.loads(response.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _MissingError(f"{host} answered with no metadata that can be read")
    if body.get("issuer") != issuer:
        raise IssuerError(
            f"the metadata of {host} names another issuer: {safe(str(body.get('issuer')))}",
            hint="write the issuer exactly as its metadata does, trailing slash included",
        )
    found: dict[str, Any] = {name: _endpoint(body, name, issuer) for name in ENDPOINTS}
    found.update({name: _strings(body.get(name)) for name in _LISTS})
    return Metadata(
        issuer=issuer,
        fetched_at=response.sent_at,
        max_age_s=max_age(response.header("cache-control")),
        iss_in_callback=body.get("authorization_response_iss_parameter_supported") is True,
        **found,
    )


def _endpoint(body: dict[str, Any], name: str, issuer: str) -> str | None:
    url = body.get(name)
    if url is None or (url == "" and name in _OPTIONAL):
        return None
    if name in _UNUSED and not is_endpoint_of(issuer, url):
        return None
    if not is_endpoint_of(issuer, url):
        raise IssuerError(f"the {name} in the metadata of {host_of(issuer)} is not an https URL")
    if _reach(url) > _reach(issuer):
        raise IssuerError(f"the {name} in the metadata of {host_of(issuer)} is an inner address")
    return str(url)


def _reach(url: str) -> int:
    """Return how far inside an address is: 0 for names and the world's, 1 here, 2 link-local.

    Security: a public issuer must not make us send requests to the machines around us, and no
    issuer to the link-local one that hands out a cloud's own credentials. No name is looked up.
    """
    host = host_of(url).removesuffix("]").removeprefix("[")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return int(host == "localhost")
    if address.is_link_local:
        return 2
    return 0 if address.is_global else 1


def _strings(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(item for item in value if isinstance(item, str))


def max_age(cache_control: str | None) -> int:
    """Return for how long an answer holds: as Cache-Control says, at most a week, else a day."""
    text = (cache_control or "").lower()
    if _NO_STORE.search(text):
        return 0
    match = _MAX_AGE.search(text)
    return min(int(match[1]), MAX_AGE_S) if match else DAY_S


def with_configured(metadata: Metadata, profile: Profile) -> Metadata:
    """Return the metadata with the profile's own endpoints in place of the issuer's."""
    chosen = {name: url for name, url in profile.endpoints if name in ENDPOINTS}
    for name, url in chosen.items():
        if not is_endpoint(url):
            raise UsageError(f"'{profile.name}': {name} is neither https nor loopback")
    return metadata.replace(**chosen)


def endpoints_of(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Return the endpoints that are there, by name, as a profile has its own."""
    found = ((name, getattr(metadata, name)) for name in ENDPOINTS)
    return tuple((name, url) for name, url in found if url)


def with_endpoints(metadata: Metadata, own: Metadata) -> Metadata:
    """Return the metadata with these endpoints, where there are any, in place of the issuer's."""
    return metadata.replace(**dict(endpoints_of(own)))


def endpoints_moved(old: Metadata, new: Metadata, names: tuple[str, ...] = ENDPOINTS) -> str | None:
    """Return the name of the first of these endpoints whose origin changed, or None.

    Security: until a person logs in again, a moved endpoint is not sent a grant; nor is one that
    was not there before, unless it is where the issuer or another known endpoint is.
    """
    known = {_origin(old.issuer)} | {_origin(url) for _, url in endpoints_of(old)}
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if after and _origin(after) not in ({_origin(before)} if before else known):
            return name
    return None


def _origin(url: str) -> str:
    return parse_url(url).origin


def refuse_moved(
    old: Metadata, new: Metadata, profile: str, names: tuple[str, ...] = ENDPOINTS
) -> None:
    """Raise IssuerError where one of these went to another origin since the last login."""
    name = endpoints_moved(old, new, names)
    if name is not None:
        raise IssuerError(
            f"the {name} of {host_of(new.issuer)} moved to {_origin(getattr(new, name))}",
            hint=f"if that is right, run 'brokerctl login {shell_word(profile)}'",
        )


def render(metadata: Metadata) -> bytes:
    """Return the metadata as it is sealed into the store."""
    return jsonlite.dumps(metadata.as_members() | {"v": 1}).encode()


def parse(data: bytes) -> Metadata | None:
    """Return rendered metadata; None for what is none, or says that it means something else.

    Security: it pins where a grant's secrets may go, so a member that this version does not know
    must not lose it; the member is written back.
    """
    try:
        body = jsonlite.loads(data)
        if body.pop("v") != 1:
            return None
        for name in _LISTS:
            listed = body.get(name)  # an earlier version may not have kept it
            body[name] = None if listed is None else tuple(listed)
        return Metadata.from_members(body)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
