"""AWS's AssumeRoleWithWebIdentity: exchanges a token for a role's temporary credentials.

A form POST without a signature, answered in XML. Security: only the code of an error is repeated,
and XML with a declaration (`<!`), which could define entities, is not parsed.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from brokerctl.config import session_policies
from brokerctl.errors import IssuerError, OAuthError
from brokerctl.freshness import timestamp
from brokerctl.model import NOT_BEARER
from brokerctl.oauth import aws_credentials, parameters
from brokerctl.oauth.flows import get_endpoint, send_twice
from brokerctl.oauth.flows.sources import find_subject
from brokerctl.oauth.json_api import parse_time
from brokerctl.oauth.message import FORM, SERVER_ERROR, host_of, post_form
from brokerctl.oauth.tokens import SUCCESS, TokenAnswer, parse_lifetime
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.steps import Steps

_ACTION, _VERSION = "AssumeRoleWithWebIdentity", "2011-06-15"
_MAX_BYTES = 1 << 20
_CODE = re.compile(r"[A-Za-z]{1,60}(?:\.[A-Za-z]{1,60})?", re.ASCII)
# Without a quotation mark or a backslash: it stands in JSON as it is.
_WORD = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{4,32768}")
_AGAIN = "its web identity is not what STS takes now; have a newer one"
_HINTS = {
    "AccessDenied": "see whether the role's trust policy has this issuer, audience and subject",
    "ExpiredTokenException": _AGAIN,
    "ExpiredToken": _AGAIN,
    "IDPRejectedClaim": _AGAIN,
    "InvalidIdentityToken": "see whether the identity provider is known to the role's account",
    "MalformedPolicyDocument": "look at 'policy' in the profile's aws",
    "PackedPolicyTooLarge": "shorten 'policy' in the profile's aws",
    "RegionDisabledException": "use another 'endpoint' in the profile's aws",
    "ValidationError": "look at the profile's aws: the role may not allow that duration",
}
_NARROWED_HINTS = {
    "MalformedPolicyDocument": "look at --scope, at --resource and at the profile's 'policy'",
    "PackedPolicyTooLarge": "name fewer actions or resources, or more of them by one with a *",
}


class AwsWebIdentity:
    """Exchanges an identity, another profile's token or a file's for a role's credentials."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request; the three words come back as the value of one token."""
        url = get_endpoint(ctx, "token_endpoint")
        subject = yield from find_subject(ctx)
        narrower = session_policies.parameters(ctx.profile, ctx.scopes, ctx.resource)
        # Security: a policy of the request has the profile's in it, and takes its place.
        sent = dict(parameters.extra(ctx.profile)) | dict(narrower)  # noqa: S610 - no SQL here
        fields: list[tuple[str, str | Secret]] = [
            ("Action", _ACTION),
            ("Version", _VERSION),
            ("RoleArn", ctx.profile.client_id),
            *sent.items(),
            ("WebIdentityToken", subject.token),
        ]
        response = yield from send_twice(lambda: _request(url, fields))
        try:
            answer = parse_answer(response, host_of(url))
        except OAuthError as error:
            if narrower:
                error.hint = _NARROWED_HINTS.get(error.error, error.hint)
            raise
        # STS takes a session policy or refuses it: it never leaves one out.
        return answer.replace(claims=subject.claims, scopes=ctx.scopes)


def _request(url: str, fields: list[tuple[str, str | Secret]]) -> HttpRequest:
    # XML is what AWS documents; for JSON the times would have another form.
    return post_form(url, fields).replace(headers=(FORM, ("accept", "text/xml")))


def parse_answer(response: HttpResponse, host: str) -> TokenAnswer:
    """Return the credentials of an answer; OAuthError for STS's refusal, else IssuerError."""
    found = _parse(response.body)
    if response.status not in SUCCESS:
        raise _refusal(found, response, host)
    if found is None:
        raise IssuerError(f"{host} did not answer in XML that can be read")
    path = (f"{_ACTION}Response", f"{_ACTION}Result", "Credentials")
    words = {name: _only(found, *path, name) for name in aws_credentials.WORDS}
    ends_at = parse_time(_only(found, *path, "Expiration"))
    if ends_at is None or not all(_WORD.fullmatch(word or "") for word in words.values()):
        raise IssuerError(f"{host} answered without usable credentials")
    held = {name: word or "" for name, word in words.items()}
    value = aws_credentials.render(held, timestamp(ends_at))
    return TokenAnswer(
        access_token=Secret(value),
        token_type=NOT_BEARER,
        expires_in=parse_lifetime(max(0, ends_at - response.sent_at)),
        scopes=(),
        sent_at=response.sent_at,
    )


def _refusal(found: ET.Element | None, response: HttpResponse, host: str) -> IssuerError:
    code = None if found is None else _only(found, "ErrorResponse", "Error", "Code")
    if response.status >= SERVER_ERROR or code is None or not _CODE.fullmatch(code):
        return IssuerError(f"{host} answered {response.status}")
    if response.hide_sent(code) != code:
        return IssuerError(f"{host} answered {response.status} with an unreadable error")
    error = OAuthError(code, status=response.status)
    error.hint = _HINTS.get(code)
    return error


def _parse(body: bytes) -> ET.Element | None:
    """Return the root of a body in UTF-8 without any declaration of a type or an entity."""
    if len(body) > _MAX_BYTES:
        return None
    try:
        text = body.decode("utf-8")
        if "<!" in text:
            return None
        return ET.fromstring(text)  # noqa: S314 - see the line above
    except (ValueError, ET.ParseError):
        return None


def _only(root: ET.Element, first: str, *path: str) -> str | None:
    """Return the text at a path of names; None where it is missing or there twice."""
    found = [root] if _name(root) == first else []
    for name in path:
        found = [child for element in found for child in element if _name(child) == name]
    return found[0].text if len(found) == 1 else None


def _name(element: ET.Element) -> str:
    """Return an element's name without its namespace, which is not looked at."""
    return str(element.tag).rpartition("}")[2]
