"""What a store holds, as values: grants with what hangs on them, and what tools had us keep.

A warm hand-out needs none of them: what it reads is a `Token` alone (`model`).
"""

from __future__ import annotations

from brokerctl.freshness import CLOCK_BACK_S
from brokerctl.model import StoredValue, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.model import GrantKey, Token, TokenKey
    from brokerctl.secret import Secret


class Slot(StoredValue):
    """One slot file: the current access token and those before it that may still be alive."""

    key: TokenKey
    profile: str
    current: Token | None = None
    superseded: tuple[Token, ...] = ()


class Grant(StoredValue):
    """The stored long-lived authority of one (profile, subject)."""

    key: GrantKey
    profile: str
    flow: str
    generation: int  # counts redemptions and logins; never goes back
    obtained_at: float
    refresh_token: Secret | None = None  # None: ended, or the token itself is the grant
    scopes: tuple[str, ...] = ()  # granted at login
    sub: str | None = None  # the issuer's subject identifier, recorded at first login
    owner: str | None = None
    dead_why: str | None = None  # set when the issuer or a revoke ended it
    issued: Slot | None = None  # what came with it: counts until the commit's intent is cleared
    ends_at: float | None = None  # when the refresh token is over by the issuer's word
    # Nothing fills these yet: OpenID Connect's auth_time, acr and ID token, RFC 9449's key (a JWK),
    # RFC 7592's registration (JSON).
    authenticated_at: float | None = None
    acr: str | None = None
    id_token: Secret | None = None
    dpop_key: Secret | None = None
    registration: Secret | None = None


class Failure(StoredValue):
    """The outcome of an attempt that failed: what waiters adopt and later callers back off for."""

    attempt: int  # counts failures since the last success: 1, 2, …
    serial: int  # never goes back; a waiter adopts a failure whose serial it had not seen
    at: float
    retry_at: float
    exit_code: int
    name: str
    message: str
    hint: str | None = None


class Intent(StoredValue):
    """Written durably before anything is sent; explains a crash between answer and disk."""

    kind: str  # refresh | login | revoke | issue
    generation: int  # of the grant being redeemed
    at: float
    fingerprint: str | None = None  # of the refresh token sent
    pid: int = 0
    host: str = ""
    key: GrantKey | None = None  # of the grant; None: written by a version that did not say
    profile: str = ""


class Queued(StoredValue):
    """A token whose revocation has not been confirmed: later commands try again."""

    value: Secret
    fingerprint: str
    token_type_hint: str  # access_token | refresh_token (RFC 7009, 2.1)
    since: float
    expires_at: float | None
    attempts: int = 0
    reason: str = ""
    size: int | None = None  # of the value, as a Token's
    with_token: str | None = None  # it ends with the access token of this fingerprint, not before
    with_grant: bool = False  # it ends after its grant has ended: to revoke it could end that
    is_exchanged: bool = False  # as a Token's: what its end does says nothing of its grant's others


class Queue(StoredValue):
    """One queue file: the tokens of a grant whose revocation has not been confirmed."""

    key: GrantKey
    profile: str
    items: tuple[Queued, ...] = ()


class ToolCredential(StoredValue):
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


class Moment(StoredValue):
    """So many hand-outs at a time."""

    at: float
    count: int


class LimitCount(StoredValue):
    """What was handed out under a limit: of one rule, or of a person's answer."""

    rule: str
    layer: str  # "" of a person's answer
    uses: int | None = None  # as many as that in all
    used: int = 0
    most: int | None = None  # as many as that in `per_s` seconds
    per_s: int | None = None
    recent: tuple[Moment, ...] = ()  # of the last `per_s` seconds; few, however many they count


class Lease(StoredValue):
    """A person's yes for some time: it answers what the question asked, and nothing else."""

    id: str
    profile: str
    question: str  # the id of what was asked
    about: str  # what was asked, as JSON
    given_at: float
    ends_at: float
    counts: tuple[LimitCount, ...] = ()
    session: str | None = None  # the only session that it is for

    def is_over(self, now: float) -> bool:
        """Return whether nothing is left of it."""
        is_used = any(one.uses is not None and one.used >= one.uses for one in self.counts)
        return is_used or not self.given_at - CLOCK_BACK_S <= now < self.ends_at


class ApprovalQuestion(StoredValue):
    """What a person or a command is asked, once for all that ask the same at the same time."""

    id: str
    profile: str
    about: str  # what is asked, as JSON
    asked_at: float
    ends_at: float  # from then on it is too late
    by: str  # who is to answer: terminal, elsewhere or command; then who did
    answer: str | None = None  # yes or no; None: nobody has answered yet
    why: str = ""  # of a no that nobody said
    lease: str | None = None  # the id of the lease that came of it
    # Where a lease for its requester and one for its session alone have to lie; None: it can have
    # none, since the requester is not known well enough.
    lease_name: str | None = None
    session_lease_name: str | None = None
    counts: tuple[LimitCount, ...] = ()  # the limits of the rules that ask: a lease has them too


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
