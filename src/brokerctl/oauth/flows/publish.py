"""Trusted publishing: a package index gives a job's identity a token that may upload for minutes.

`config.indexes` says what differs from index to index, each as its own client does it.
"""

from __future__ import annotations

from brokerctl.config.hosts import parse_url
from brokerctl.config.indexes import INDEXES
from brokerctl.errors import IssuerError, UsageError, shell_word
from brokerctl.oauth.flows import get_endpoint, send_twice
from brokerctl.oauth.flows.sources import IDENTITY, send_subject
from brokerctl.oauth.json_api import (
    is_success,
    parse_time,
    post_json,
    read_object,
    read_refusal,
    read_token,
    refusal,
)
from brokerctl.oauth.message import JSON, HttpRequest, host_of
from brokerctl.secret import Secret
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from brokerctl.model import Profile
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.flows.sources import SourceToken
    from brokerctl.oauth.message import HttpResponse
    from brokerctl.oauth.steps import Steps

_REFUSED = range(400, 500)
_TRUST = (
    "the project at {} must trust this job's repository and workflow: run 'brokerctl doctor --ci'"
)


class Publish:
    """Shows the identity to the index, which may have to say first for whom it must be."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request, after the one for the audience where there is one."""
        index = INDEXES[ctx.profile.client_id]
        url = get_endpoint(ctx, "token_endpoint")
        audience = yield from find_audience(ctx.profile)

        def make(subject: SourceToken) -> HttpRequest:
            if index.identity_member:
                return post_json(url, {index.identity_member: subject.token})
            shown = ("authorization", Secret(f"Bearer {subject.token.reveal()}"))
            return HttpRequest(
                method="POST", url=url, headers=(JSON, shown), secrets=(subject.token,)
            )

        response, subject = yield from send_subject(ctx, make, audience)
        if not is_success(response):
            raise _refused(response, url)
        body = read_object(response, url)
        ends_at = _seconds(body.get(index.end_member)) if index.end_member else None
        answer = read_token(body.get(index.token_member), ends_at, response, url)
        return answer.replace(claims=subject.claims)


def find_audience(profile: Profile) -> Generator[Any, Any, str | None]:
    """Return who an identity has to be made out to, by the index's word; None: the profile says it.

    Security: an index could name somebody else, a cloud or a signing service, and use the identity
    there. So it may name itself, or what is known of the kind.
    """
    asked, index = profile.exchange, INDEXES[profile.client_id]
    is_identity = asked is not None and asked.subject.kind == IDENTITY
    if not index.audience_path or profile.identity_audience or not is_identity:
        return None
    url = profile.issuer + index.audience_path
    request = HttpRequest(method="GET", url=url, headers=(JSON,))
    response = yield from send_twice(lambda: request)
    if not is_success(response):
        raise _refused(response, url)
    audience = read_object(response, url).get("audience")
    if not isinstance(audience, str) or not (audience in index.audiences or _is_own(audience, url)):
        said = safe(audience, 80) if isinstance(audience, str) else "nobody"
        show = f"'brokerctl profile edit {shell_word(profile.name)} --set identity_audience=…'"
        raise IssuerError(
            f"{host_of(url)} wants an identity made out to {said}, which it is not",
            hint=f"if that is right, run {show}",
        )
    return audience


def _is_own(audience: str, url: str) -> bool:
    """Return whether an audience is the index's own host, with or without a scheme."""
    text = audience if "://" in audience else f"https://{audience}"
    try:
        return parse_url(text).host == parse_url(url).host
    except UsageError:
        return False


def _seconds(end: object) -> float | None:
    """Return when a token ends, of a number of seconds since the epoch or a time in UTC."""
    is_number = isinstance(end, int | float) and not isinstance(end, bool)
    return end if is_number else parse_time(end)  # type: ignore[return-value]  # mypy loses it


def _refused(response: HttpResponse, url: str) -> IssuerError:
    """Return what a refusal means: each index has its own words for one error or for several."""
    body = read_refusal(response)
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else body
    first = first if isinstance(first, dict) else {}
    texts = (first.get(name) for name in ("description", "detail", "message"))
    text = next((one for one in texts if isinstance(one, str) and one), None)
    hint = _TRUST.format(host_of(url)) if response.status in _REFUSED else None
    return refusal(response, url, first.get("code"), text, hint)
