"""Device authorization (RFC 8628): a person types a short code into a browser anywhere."""

from __future__ import annotations

from brokerctl.errors import IssuerError, LoginNeededError, OAuthError, shell_word
from brokerctl.model import Value
from brokerctl.oauth import parameters
from brokerctl.oauth.client_auth import authenticated_form
from brokerctl.oauth.flows import get_endpoint, send_once
from brokerctl.oauth.message import SERVER_ERROR, TOO_MANY, host_of, is_endpoint_of
from brokerctl.oauth.steps import Send, ShowUserCode, Wait
from brokerctl.oauth.tokens import parse_answer, parse_lifetime, parse_token_response
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpResponse
    from brokerctl.oauth.steps import Steps
    from brokerctl.oauth.tokens import TokenAnswer

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_S, SLOWER_S = 5, 5  # RFC 8628, 3.2 and 3.5
LEAST_INTERVAL_S, MOST_INTERVAL_S, MOST_BACKOFF_S = 1, 300, 60
ASSUMED_LIFETIME_S, MAX_LIFETIME_S = 600, 3600
MAX_USER_CODE, MAX_DEVICE_CODE = 64, 65536


class DeviceAnswer(Value):
    """A device authorization response that passed. Security: `device_code` is shown to nobody."""

    device_code: Secret
    user_code: str
    verification_uri: str
    complete: str | None
    expires_in: int
    interval: int


class Device:
    """Shows a code and asks the issuer again and again, as slowly as it wants."""

    def obtain(self, ctx: FlowContext) -> Steps:
        """Yield the request for a code, the code, then waits and polls until an answer."""
        url = get_endpoint(ctx, "device_authorization_endpoint")
        token_url = get_endpoint(ctx, "token_endpoint")
        started = ctx.now()
        response = yield Send(request=authenticated_form(ctx, url, parameters.shared(ctx)))
        asked = parse_device_response(response, ctx.profile.issuer, host_of(url))
        expires_at = started + asked.expires_in
        yield ShowUserCode(
            user_code=asked.user_code,
            verification_uri=asked.verification_uri,
            complete=asked.complete,
            expires_at=expires_at,
        )
        return (yield from _poll(ctx, token_url, asked, expires_at))


def _poll(
    ctx: FlowContext, url: str, asked: DeviceAnswer, expires_at: float
) -> Generator[Send | Wait, HttpResponse, TokenAnswer]:
    fields: list[tuple[str, str | Secret]] = [
        ("grant_type", GRANT_TYPE),
        ("device_code", asked.device_code),
        *parameters.shared(ctx, with_scope=False),
    ]
    interval, backoff = asked.interval, 0
    while True:
        wait = max(interval, backoff)
        if ctx.now() + wait >= expires_at:
            raise _too_late(ctx)
        yield Wait(seconds=wait)
        response = None
        try:
            response = yield from send_once(authenticated_form(ctx, url, fields))
        except IssuerError:  # RFC 8628, 3.5: a time-out is no answer; ask more slowly
            pass
        if response is None or response.status == TOO_MANY or response.status >= SERVER_ERROR:
            backoff = min(2 * wait, max(MOST_BACKOFF_S, interval))
            continue
        backoff = 0
        try:
            return parse_token_response(response, ctx.scopes, host=host_of(url))
        except OAuthError as error:
            interval += _slower(ctx, error)


def _slower(ctx: FlowContext, error: OAuthError) -> int:
    """Return by how much to ask more slowly from now on; an error that ends it is raised."""
    if error.error == "authorization_pending":
        return 0
    if error.error == "slow_down":
        return SLOWER_S
    if error.error == "expired_token":
        raise _too_late(ctx) from error
    raise error


def _too_late(ctx: FlowContext) -> LoginNeededError:
    return LoginNeededError(
        "nobody entered the code in time",
        hint=f"run 'brokerctl login {shell_word(ctx.profile.name)}' again",
    )


def parse_device_response(response: HttpResponse, issuer: str, host: str) -> DeviceAnswer:
    """Return the codes and where to type them (RFC 8628, 3.2), or OAuthError or IssuerError."""
    body = parse_answer(response, "device authorization endpoint", host)
    device_code, user_code = body.get("device_code"), body.get("user_code")
    if not isinstance(device_code, str) or not 0 < len(device_code) <= MAX_DEVICE_CODE:
        raise IssuerError(f"{host} answered without a device code")
    if not isinstance(user_code, str) or not 0 < len(user_code) <= MAX_USER_CODE:
        raise IssuerError(f"{host} answered without a user code")
    if not user_code.isprintable():
        raise IssuerError(f"{host} answered with a user code that can't be shown")
    uri = body.get("verification_uri", body.get("verification_url"))  # the latter before the RFC
    complete = body.get("verification_uri_complete")
    _refuse_unsafe(uri, issuer, host)
    if complete is not None:
        _refuse_unsafe(complete, issuer, host)
    lifetime = parse_lifetime(body.get("expires_in"))
    interval = parse_lifetime(body.get("interval"))
    return DeviceAnswer(
        device_code=Secret(device_code),
        user_code=user_code,
        verification_uri=str(uri),
        complete=complete,
        expires_in=min(ASSUMED_LIFETIME_S if lifetime is None else lifetime, MAX_LIFETIME_S),
        interval=INTERVAL_S
        if interval is None
        else max(LEAST_INTERVAL_S, min(interval, MOST_INTERVAL_S)),
    )


def _refuse_unsafe(uri: object, issuer: str, host: str) -> None:
    if not is_endpoint_of(issuer, uri):  # Security: javascript:, file: and the like
        raise IssuerError(f"{host} wants a person to visit an address that is not https")
