"""Has a platform sign who this job is, and looks at what came before it goes anywhere.

The signature is for the one that it is made out to: we got the token from the platform itself. What
is looked at is what would otherwise be found out too late or by nobody: that it is a signed JWT,
for the audience asked for and nobody else's moment.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from brokerctl import jsonlite
from brokerctl.config.platforms import PLATFORMS
from brokerctl.errors import IssuerError, UnsentError, UsageError
from brokerctl.identity import find_job, load
from brokerctl.model import Value
from brokerctl.oauth.steps import Proof, Send
from brokerctl.oauth.tokens import SUCCESS
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any

    from brokerctl.identity import IdentitySteps, Job
    from brokerctl.model import Reference
    from brokerctl.oauth.message import HttpRequest, HttpResponse

    ProofSteps = Generator[Any, Any, Proof]
    SigningSteps = Generator[Any, Any, "SignedIdentity"]

OLDEST_S = 300.0  # of a token that was made for this request
_SKEW_S = 60.0
_MAX_CHARS = 32768
_PARTS = 3
_TEXT_CHARS = 300
# What is kept of the claims, sealed with the token: words that a decision or a reader can use.
FACTS = (
    *("repository", "repository_id", "ref", "branch", "environment", "event", "actor"),
    *("workflow", "fork"),
)


class SignedIdentity(Value):
    """What a platform signed of a job, with every claim, unverified: kept by nobody."""

    job: Job
    token: Secret
    claims: dict[str, Any]
    is_new: bool  # it was made for this request, and not found where the job has it


def prove(source: Reference, environ: Mapping[str, str], audience: str, now: float) -> ProofSteps:
    """Yield the steps to a signed token that says who this job is, made out to the audience.

    Raises UsageError, which names the permission, where the job has no identity; IssuerError where
    the platform does not answer, or with something else.
    """
    signed = yield from sign(source, environ, audience, now)
    platform, claims = load(signed.job.platform), signed.claims
    proven = platform.find_proven_id(claims)
    job = signed.job.id if proven is None else proven or None
    facts = {"platform": signed.job.platform, "job": job, "audience": audience}
    facts |= {name: _text(claims.get(name)) for name in ("iss", "sub")}
    described = platform.describe(claims)
    facts |= {name: _text(described[name]) for name in FACTS if name in described}
    shown = {name: value for name, value in facts.items() if value is not None}
    return Proof(token=signed.token, claims=jsonlite.dumps(shown, sort=True), job=job)


def sign(
    source: Reference,
    environ: Mapping[str, str],
    audience: str,
    now: float,
    *,
    takes_any: bool = False,
) -> SigningSteps:
    """Yield the steps to a signed token, and return it with its claims; raises as `prove` does.

    `takes_any`: a token that was not made for this request may be for another audience, as where
    somebody only wants to see it.
    """
    job = find_job(source, environ)
    title, is_cached = PLATFORMS[job.platform].title, PLATFORMS[job.platform].is_cached
    token, is_new = yield from load(job.platform).ask(source, environ, audience)
    wanted = None if takes_any and not is_new else audience
    claims = check(token, wanted, now, title, is_new=is_new, is_cached=is_cached)
    return SignedIdentity(job=job, token=token, claims=claims, is_new=is_new)


def _text(value: object) -> str | None:
    if isinstance(value, bool | int):
        value = str(value).lower()
    return value[:_TEXT_CHARS] if isinstance(value, str) and value.isprintable() else None


def check(
    token: Secret,
    audience: str | None,
    now: float,
    title: str,
    *,
    is_new: bool,
    is_cached: bool = False,
) -> dict[str, Any]:
    """Return the claims of a token that can be exchanged; IssuerError says what is wrong with it.

    `audience`: who it must be made out to; None: anybody. `is_new`: it was made for this request,
    so it must be no older than five minutes, or than half of its lifetime if `is_cached`. A token
    that lies in a variable or a file is as old as the job, and good while it lasts.
    """
    header, claims = read_jwt(token)
    if header is None or claims is None:
        raise IssuerError(f"{title} gave no signed token (JWT)")
    if str(header.get("alg", "none")).lower() == "none" or not token.reveal().rpartition(".")[2]:
        raise IssuerError(f"{title} gave a token without a signature")
    if audience is not None:
        _check_audience(claims.get("aud"), audience, title, is_new=is_new)
    _check_times(claims, now, title)
    if is_new:
        _check_age(claims, now, title, is_cached=is_cached)
    return claims


def _check_audience(named: object, audience: str, title: str, *, is_new: bool) -> None:
    audiences = named if isinstance(named, list) else [named]
    if audience in audiences:
        return
    text = f"the identity of {title} is not for the audience {audience}"
    if is_new:
        raise IssuerError(text)
    raise UsageError(text, hint=_audience_hint(audiences))


def _check_times(claims: dict[str, Any], now: float, title: str) -> None:
    ends, made = _number(claims.get("exp")), _number(claims.get("iat"))
    if ends is None or ends <= now:
        raise IssuerError(f"the identity of {title} is over")
    for begin in (made, _number(claims.get("nbf"))):
        if begin is not None and begin > now + _SKEW_S:
            raise IssuerError(f"the identity of {title} is of a time to come: look at the clock")


def _check_age(claims: dict[str, Any], now: float, title: str, *, is_cached: bool) -> None:
    ends, made = _number(claims.get("exp")), _number(claims.get("iat"))
    oldest_s = OLDEST_S
    if is_cached and made is not None and ends is not None:
        oldest_s = max(OLDEST_S, (ends - made) / 2 + _SKEW_S)
    if made is None or made < now - oldest_s:
        raise IssuerError(f"the identity of {title} is older than five minutes, not made anew")


def _audience_hint(audiences: list[object]) -> str:
    found = " ".join(one for one in audiences if isinstance(one, str) and one.isprintable())
    here = f"it is for {found[:_TEXT_CHARS]}: " if found else ""
    return f"{here}set identity_audience in the profile, or the audience in the job"


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None  # type: ignore[return-value]  # mypy loses it over the name


def read_jwt(token: Secret) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return header and claims, neither verified; None for what can't be read (RFC 7519)."""
    parts = token.reveal().split(".")
    if len(parts) != _PARTS or len(token.reveal()) > _MAX_CHARS:
        return None, None
    return _read_part(parts[0]), _read_part(parts[1])


def _read_part(text: str) -> dict[str, Any] | None:
    if not text.isascii():
        return None
    plain = text.replace("-", "+").replace("_", "/")
    try:
        found = jsonlite.loads(a2b_base64(plain + "=" * (-len(plain) % 4)))
    except (Base64Error, ValueError):
        return None
    return found if isinstance(found, dict) else None


def request_member(request: HttpRequest, member: str, title: str, permission: str) -> IdentitySteps:
    """Yield one request, and return the token in a member of the JSON answer; raises as below."""
    response = yield from request_identity(request, title, permission)
    try:
        body = jsonlite.loads(response.body)
    except ValueError:
        body = None
    found = body.get(member) if isinstance(body, dict) else None
    if not isinstance(found, str):
        raise UnsentError(f"{title} did not answer with one identity in JSON")
    return as_token(found, title), True


def request_identity(
    request: HttpRequest, title: str, permission: str, refusals: tuple[int, ...] = (401, 403)
) -> Generator[Any, Any, HttpResponse]:
    """Yield one request, and return the answer to it; `refusals` name the missing permission.

    A platform that was not reached got nothing of ours; nothing was exchanged either way.
    """
    try:
        response = yield Send(request=request)
    except IssuerError as error:
        raise UnsentError(f"{title} did not say who this job is: {error.message}") from error
    if response.status in refusals:
        raise UsageError(
            f"{title} answered {response.status}: this job may not have an identity",
            hint=f"it needs {permission}",
        )
    if response.status not in SUCCESS:
        raise UnsentError(f"{title} answered {response.status} when asked who this job is")
    answered: HttpResponse = response
    return answered


def as_token(text: str, title: str) -> Secret:
    """Return a token that can stand in a form or a header; UnsentError for what can't."""
    text = text.strip()
    if not text or len(text) > _MAX_CHARS or not text.isascii() or any(c.isspace() for c in text):
        raise UnsentError(f"{title} gave no signed token (JWT)")
    return Secret(text)
