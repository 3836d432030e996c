"""The token that a profile's own is exchanged for: another profile's, or what a file holds now.

It is asked for while the lock of the grant that needs it is held, so that of many processes one
asks: the asked grant before those that it is exchanged from, never the other way round.
"""

from __future__ import annotations

from brokerctl.errors import UsageError, shell_word
from brokerctl.model import TokenRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.broker import Order
    from brokerctl.issuing import IssuerLink
    from brokerctl.model import AccessToken
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.secret import Secret

    Get = Callable[[TokenRequest], AccessToken]


def with_subject(context: FlowContext, order: Order, link: IssuerLink) -> FlowContext:
    """Return the context of a flow with the token that it exchanges, if it exchanges one."""
    if order.profile.subject_token is None:
        return context
    found = _find(order, link)
    return context.replace(credentials=context.credentials.replace(subject_token=found))


def _find(order: Order, link: IssuerLink) -> Secret:
    source, name = order.profile.subject_token, order.profile.name
    assert source is not None  # noqa: S101 - the caller has looked
    if source.kind == "file":
        from brokerctl.config.references import resolve  # noqa: PLC0415 - most have no file

        try:
            return resolve(source, link.environ, lambda _: None)
        except UsageError as error:
            hint = error.hint or f"run 'brokerctl profile show {shell_word(name)}'"
            raise UsageError(f"'{name}': {error.message}", hint=hint) from None
    if link.get is None:
        raise UsageError(f"'{name}' has nobody to ask for the token of '{source.target[0]}'")
    # A request like any other: a decision and a record of its own, for the same requester.
    asked = TokenRequest(
        profile=source.target[0],
        requester=order.request.requester,
        purpose=order.request.purpose,
    )
    return link.get(asked).value
