"""Grants and tokens at rest: the table of stores, and what goes into one and comes out.

The interface of every store is `interface`, the model's values are `model`.
"""

from __future__ import annotations

from brokerctl.model import Stored, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.model import Grant, GrantKey, Queued, Token, TokenKey
    from brokerctl.secret import Secret

STORES = {"file": "brokerctl.store.file:FileStore"}


def find_store(name: str) -> Any:  # noqa: ANN401 - the class of a store, whose constructor is its own
    """Return the class of a store by its name in the table: the table costs no import."""
    module, _, attribute = STORES[name].partition(":")
    return getattr(__import__(module, fromlist=(attribute,)), attribute)


class Change(Value):
    """What a commit stores: a grant whose generation the store counts on, and one slot's token.

    `ends_previous`: the issuer ended every earlier access token of the grant by this answer.
    `replaces`: another grant was here, which is to be revoked: no token of it is served any more.
    """

    grant: Grant | None = None
    token_key: TokenKey | None = None
    token: Token | None = None
    profile: str = ""  # of the slot; empty: the grant's
    ends_previous: bool = False
    replaces: bool = False


class Queue(Stored):
    """One queue file: the tokens of a grant whose revocation has not been confirmed."""

    key: GrantKey
    profile: str
    items: tuple[Queued, ...] = ()


class ToolCredential(Stored):
    """A credential that a tool made elsewhere and gave us to keep, with where it may go back to."""

    tool: str
    protocol: str
    host: str  # in lower case
    port: int
    path: str  # "" or from its slash, as a URL has it
    username: str
    secret: Secret
    kept_at: float
    expires_at: float | None = None  # the tool's word
    refresh_token: Secret | None = None  # for the tool's own use
    ends_at: float | None = None  # when we forget it, as the tool asked

    def is_over(self, now: float) -> bool:
        """Return whether it is of no use: a refresh token is, when what it renews has ended."""
        if self.ends_at is not None and self.ends_at <= now:
            return True
        has_ended = self.expires_at is not None and self.expires_at <= now
        return has_ended and self.refresh_token is None


class Damage(Value):
    """One entry that could not be opened: its kind and name, why, and where it lies now."""

    kind: int
    name: str
    why: str
    aside: str | None = None  # its name in aside/; None: still in its place


class Entry(Value):
    """One entry as `entries` yields it: a value, or the reason why there is none.

    The value is a Grant, Slot, Intent, Failure, Queue or Kept, and bytes for the sealed blobs.
    """

    kind: int
    name: str
    value: Any = None  # the kind says which
    damage: str | None = None


class Match(Value):
    """Which entries are wanted; None is any. A damaged entry always is: nobody can tell."""

    profile: str | None = None
    issuer: str | None = None
    subject: str | None = None


ANY = Match()
