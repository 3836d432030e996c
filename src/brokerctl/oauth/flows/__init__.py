"""The flows: how a grant is first obtained, one file each; `model.FLOWS` names them."""

from __future__ import annotations

from brokerctl.errors import IssuerError, not_in_this_version
from brokerctl.model import FLOWS
from brokerctl.oauth import load
from brokerctl.oauth.message import CutError, host_of, should_retry
from brokerctl.oauth.steps import Send
from brokerctl.oauth.tokens import has_come

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Protocol

    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.steps import Steps

    class Flow(Protocol):
        """One way to obtain a grant; its traits, for other rooms, are in `model.FLOWS`."""

        def obtain(self, ctx: FlowContext) -> Steps:
            """Yield the steps to a token answer."""


def find_flow(name: str) -> Flow:
    """Return the flow of that name; one whose file does not exist yet is refused."""
    if name not in FLOWS:
        raise not_in_this_version(f"flow '{name}'")
    flow: Flow = load(f"{__name__}.{FLOWS[name].entry}")()
    return flow


def send_twice(make: Callable[[], HttpRequest]) -> Generator[Send, HttpResponse, HttpResponse]:
    """Send, and once more at once after a 5xx or a broken connection.

    The request is made anew, because an assertion's `jti` is good for one. Where a refresh token
    has come, the one before may be dead: nothing is sent again then.
    """
    try:
        response = yield from send_once(make(), is_last=False)
    except IssuerError as error:
        if not should_retry(error):
            raise
    else:
        if not should_retry(response):
            return response
    return (yield from send_once(make()))


def send_once(
    request: HttpRequest, *, is_last: bool = True
) -> Generator[Send, HttpResponse, HttpResponse]:
    """Send to the token endpoint; of an answer that was cut short, return what issues a token.

    Not `is_last`: the error is raised where another try may bring more.
    """
    try:
        return (yield Send(request=request))
    except CutError as error:
        may_ask_again = not is_last and should_retry(error)
        if error.part is None or not has_come(error.part, needs_refresh_token=may_ask_again):
            raise
        return error.part


def get_endpoint(ctx: FlowContext, name: str) -> str:
    """Return the endpoint of that metadata name; an issuer without it can't do what is asked."""
    url: str | None = getattr(ctx.metadata, name)
    if url is None:
        raise IssuerError(
            f"{host_of(ctx.profile.issuer)} names no {name}",
            hint=f"put {name} into the profile '{ctx.profile.name}' if the issuer has one",
        )
    return url
