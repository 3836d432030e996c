"""What goes into a store and comes out of it, beside the model's own values."""

from __future__ import annotations

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.model import Grant, GrantKey, Queued, Token, TokenKey


class Change(Value):
    """What a commit stores: a grant whose generation the store counts on, and one slot's token.

    `ends_previous`: the issuer ended every earlier access token of the grant by this answer.
    """

    grant: Grant | None = None
    token_key: TokenKey | None = None
    token: Token | None = None
    profile: str = ""  # of the slot; empty: the grant's
    ends_previous: bool = False


class Queue(Value):
    """One queue file: the tokens of a grant whose revocation has not been confirmed."""

    key: GrantKey
    profile: str
    items: tuple[Queued, ...] = ()


class Damage(Value):
    """One entry that could not be opened: its kind and name, why, and where it lies now."""

    kind: int
    name: str
    why: str
    aside: str | None = None  # its name in aside/; None: still in its place


class Entry(Value):
    """One entry as `entries` yields it: a value, or the reason why there is none.

    The value is a Grant, Slot, Intent, Failure or Queue, and bytes for the sealed blobs.
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
