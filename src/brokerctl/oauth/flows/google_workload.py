"""Google's workload identity federation: a job's identity for a token, or for an account's.

Google's STS exchanges it by RFC 8693, without a client; IAM Credentials gives a service account's
token for what came of that. Sources: cloud.google.com/iam/docs/reference/sts and .../credentials.
Security: the token in between is asked for no more than to become the account (scope `iam`), and is
kept nowhere; Google has no way to revoke it.
"""

from __future__ import annotations

from brokerctl.errors import IssuerError, OAuthError
from brokerctl.oauth.flows import get_endpoint, send_twice
from brokerctl.oauth.flows.sources import TOKEN_EXCHANGE, send_subject
from brokerctl.oauth.json_api import (
    is_success,
    parse_time,
    post_json,
    read_object,
    read_refusal,
    read_token,
    refusal,
)
from brokerctl.oauth.message import host_of, post_form
from brokerctl.oauth.tokens import ACCESS_TOKEN, parse_exchange_response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.flows.sources import SourceToken
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.steps import Steps
    from brokerctl.oauth.tokens import TokenAnswer
    from brokerctl.secret import Secret

_IMPERSONATE = "https://www.googleapis.com/auth/iam"
_LONGEST_S = 3600  # of an account's token, where its organisation allows no longer one
_HINTS = {
    "invalid_grant": "see whether the provider knows this token's issuer, audience and subject",
    "invalid_target": "see whether the pool in the profile's google has that provider",
    "unauthorized_client": "the provider's attribute condition does not hold for this job",
    "PERMISSION_DENIED": "grant the job roles/iam.workloadIdentityUser on that service account",
    "NOT_FOUND": "see whether there is such a service account",
}


class GoogleWorkload:
    """Exchanges an identity at Google's STS, and acts as a service account if one is named."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield one exchange, or that and the impersonation."""
        url = get_endpoint(ctx, "token_endpoint")
        account = ctx.metadata.impersonation_endpoint
        scopes = ctx.scopes if account is None else (_IMPERSONATE,)

        def make(subject: SourceToken) -> HttpRequest:
            return post_form(url, _fields(ctx, subject, scopes))

        response, subject = yield from send_subject(ctx, make)
        try:
            answer = parse_exchange_response(response, scopes, None, host_of(url))
        except OAuthError as error:
            error.hint = _HINTS.get(error.error)
            raise
        if account is not None:
            answer = yield from _impersonate(ctx, account, answer.access_token)
        return answer.replace(refresh_token=None, claims=subject.claims)


def _fields(
    ctx: FlowContext, subject: SourceToken, scopes: tuple[str, ...]
) -> list[tuple[str, str | Secret]]:
    asked = ctx.profile.exchange
    assert asked is not None  # noqa: S101 - configuration has seen to it
    return [
        ("grant_type", TOKEN_EXCHANGE),
        ("audience", ctx.profile.client_id),
        ("requested_token_type", ACCESS_TOKEN),
        ("scope", " ".join(scopes)),
        ("subject_token", subject.token),
        ("subject_token_type", asked.subject_type),
    ]


def _impersonate(ctx: FlowContext, url: str, federated: Secret) -> Generator[Any, Any, TokenAnswer]:
    """Yield the request for an account's token (generateAccessToken)."""
    asked: dict[str, Any] = {"scope": list(ctx.scopes)}
    if ctx.profile.max_ttl_s is not None:
        asked["lifetime"] = f"{min(ctx.profile.max_ttl_s, _LONGEST_S)}s"
    response = yield from send_twice(lambda: post_json(url, asked, bearer=federated))
    if not is_success(response):
        raise _refused(response, url)
    body = read_object(response, url)
    ends_at = parse_time(body.get("expireTime"))
    return read_token(body.get("accessToken"), ends_at, response, url, ctx.scopes)


def _refused(response: HttpResponse, url: str) -> IssuerError:
    said = read_refusal(response).get("error")
    said = said if isinstance(said, dict) else {}
    status = said.get("status")
    hint = _HINTS.get(status) if isinstance(status, str) else None
    return refusal(response, url, status, said.get("message"), hint)
