"""Talks to the issuers: asks for metadata, sends a flow's steps, revokes, introspects.

What is known of them already is `known_issuers`; nothing is remembered here but senders.
"""

from __future__ import annotations

import os
import time

from brokerctl.broker.known_issuers import ENDS, KEEPS, LoginMetadata
from brokerctl.broker.request import read_within, refuse_circle
from brokerctl.errors import BrokerError, IssuerError, OAuthError, UsageError, shell_word
from brokerctl.model import LOCAL_ONLY, UNKNOWN, Value
from brokerctl.oauth import metadata as about
from brokerctl.oauth.client_auth import ClientCredentials, FlowContext
from brokerctl.oauth.steps import FetchSvid, Identify, ReadFile, Run, Send
from brokerctl.oauth.tokens import safe_code
from brokerctl.platform.commands import environ_for
from brokerctl.platform.work_clock import work_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import Any, Protocol

    from brokerctl.broker.known_issuers import KnownIssuers
    from brokerctl.model import GrantKey, Profile, TokenRequest
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.metadata import Metadata
    from brokerctl.oauth.steps import Proof, Svid
    from brokerctl.secret import Secret
    from brokerctl.store.values import Grant, Queued

    class Sender(Protocol):
        """Sends one request before a deadline of the work clock."""

        def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
            """Return the answer, whatever its status, or raise IssuerError."""
            ...

    class TokensOfSources(Protocol):
        """Gives the tokens of other profiles: `sources.SourceTokens`."""

        def get(self, request: TokenRequest) -> SourceAnswer:
            """Return an access token, or a grant for another issuer."""
            ...

        def get_id_token(self, request: TokenRequest) -> Secret:
            """Return the ID token of a login."""
            ...

        def retire(self, used: SourceAnswer, deadline: float) -> None:
            """Serve a grant no more, which was refused."""
            ...

    MakeSender = Callable[[str | None, Mapping[str, str], float], Sender]

    # Asks a SPIFFE agent, in at most that many seconds.
    FetchSvids = Callable[[FetchSvid, Mapping[str, str], float], Svid]

    FindSecret = Callable[[str], str | None]

_LOOK_S = 3.0  # for a look at a grant before a revocation, which must not be late for it


class RevocationOutcome(Value):
    """What an issuer said to a revocation."""

    outcome: str  # revoked | local_only
    reason: str = ""


class SourceAnswer(Value):
    """One token that a request exchanges, as the source of it gave it."""

    value: Secret
    request: TokenRequest | None = None  # for a grant that another issuer takes; None: no such
    is_reused: bool = False  # it was in the store, so that it may have been sent before


class Senders:
    """One sender for each profile and its certificates, made when it is first needed.

    `fetch_svid` asks a SPIFFE agent, for which there is but one way.
    """

    __slots__ = ("_made", "_make", "environ", "fetch_svid")

    def __init__(
        self,
        make: MakeSender,
        environ: Mapping[str, str],
        fetch_svid: FetchSvids | None = None,
    ) -> None:
        self.environ = environ
        self.fetch_svid = fetch_svid
        self._make = make
        self._made: dict[tuple[str, str | None], Sender] = {}

    def find(self, profile: Profile) -> Sender:
        """Return the sender that trusts what the profile trusts."""
        key = (profile.name, profile.ca_file)
        if key not in self._made:
            self._made[key] = self._make(profile.ca_file, self.environ, profile.timeout_s)
        return self._made[key]


class IssuerClient:
    """Talks to the issuers of these profiles."""

    __slots__ = ("_find_secret", "_senders", "environ", "hidden", "known", "sources", "within")

    def __init__(
        self,
        known: KnownIssuers,
        senders: Senders,
        find_secret: FindSecret = lambda _: None,
        hidden: frozenset[str] = frozenset(),
        *,
        sources: TokensOfSources | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """`find_secret` returns a client's secret that the store holds, by its name there.

        `hidden`: the variables that hold any profile's secret, for no command to see. `sources`
        gives other profiles' tokens, for a flow that exchanges one, and `within` has the profiles
        that are being asked for.
        """
        self.known = known
        self.environ = senders.environ
        self._senders = senders
        self._find_secret = find_secret
        self.hidden = hidden
        self.sources = sources
        self.within = within

    def sender(self, profile: Profile) -> Sender:
        """Return the sender that trusts what the profile trusts."""
        return self._senders.find(profile)

    def for_login(self, profile: Profile, deadline: float) -> IssuerClient:
        """Ask the issuer for its metadata anew; return the client that believes this answer.

        Security: an endpoint that moved to another origin is refused until a login succeeds there,
        for which `known.pin` is called.
        """
        found = None
        if not about.is_configured(profile):
            asked = profile.replace(endpoints=())
            found = self.run(profile, about.discover(asked), deadline)
        login = LoginMetadata(profile=profile.name, issuer=profile.issuer, found=found)
        return IssuerClient(
            self.known.at_login(login),
            self._senders,
            self._find_secret,
            self.hidden,
            sources=self.sources,
            within=self.within,
        )

    def run(self, profile: Profile, steps: Generator[Any, Any, Any], deadline: float) -> Any:  # noqa: ANN401 - what the steps return
        """Run steps that need no person; what goes wrong is thrown into them, as they expect."""
        try:
            step = next(steps)
            while True:
                try:
                    found = self._answer(profile, step, deadline)
                except (IssuerError, UsageError) as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(found)
        except StopIteration as end:
            return end.value

    def _answer(self, profile: Profile, step: object, deadline: float) -> object:
        """Return what one step is answered with."""
        if isinstance(step, Send):
            now = work_time()
            return self.sender(profile).send(step.request, now + (deadline - now) * step.share)
        if isinstance(step, Identify):
            return self.identify(profile, step.audience, deadline)
        if isinstance(step, FetchSvid) and self._senders.fetch_svid is not None:
            return self._senders.fetch_svid(step, self.environ, deadline - work_time())
        if not isinstance(step, Run | ReadFile):
            raise IssuerError(f"'{profile.name}' needs a person: {type(step).__name__}")
        from brokerctl.config import references  # noqa: PLC0415 - only some need a file or a command

        if isinstance(step, ReadFile):
            return references.read_token_file(step.path, self.environ)
        left = max(0.0, min(references.COMMAND_S, deadline - work_time()))
        within = (*self.within, *((profile.name,) if profile.name not in self.within else ()))
        kept = environ_for("identity", self.environ, hidden=self.hidden, within=within)
        return references.run_command(step.words, kept, left, step.what, given=step.given)

    def identify(self, profile: Profile, audience: str, deadline: float) -> Proof:
        """Have this job's identity signed; the platform is asked by what the machine trusts."""
        from brokerctl.identity.proof import prove  # noqa: PLC0415 - only a job has an identity

        if profile.identity is None:
            raise UsageError(f"'{profile.name}' names no identity")
        refuse_circle(read_within(self.environ), profile.name)
        steps = prove(profile.identity, self.environ, audience, time.time())
        found: Proof = self.run(profile.replace(ca_file=None), steps, deadline)
        return found

    def context(
        self,
        profile: Profile,
        deadline: float,
        scopes: tuple[str, ...] = (),
        resource: tuple[str, ...] = (),
        audience: tuple[str, ...] = (),
        *,
        is_refresh: bool = False,
        key: GrantKey | None = None,
    ) -> FlowContext:
        """Return what a flow needs to know, fetching metadata where there is none yet.

        `key`: of the grant that is to be redeemed, or of the client's own tokens.
        """
        metadata = self.metadata(profile, deadline, is_refresh=is_refresh)
        if key is not None:
            for name in ("token_endpoint", "impersonation_endpoint"):
                self.known.refuse_moved(profile, key, metadata, name)
        return FlowContext(
            profile=profile,
            metadata=metadata,
            credentials=self.credentials(profile),
            scopes=scopes,
            resource=resource,
            audience=audience,
            now=time.time,
            random=os.urandom,
        )

    def credentials(self, profile: Profile) -> ClientCredentials:
        """Resolve the profile's references to secrets, now and for this request alone."""
        if profile.client_secret is None and profile.client_key is None:
            return ClientCredentials()
        from brokerctl.config.references import resolve  # noqa: PLC0415 - only with a secret client

        name = profile.name
        refuse_circle(read_within(self.environ), name)
        within = self.within if name in self.within else (*self.within, name)

        def find(reference: Any) -> Secret | None:  # noqa: ANN401 - a Reference or None
            if reference is None or reference.kind == "sign":  # the flow has that run itself
                return None
            try:
                return resolve(
                    reference,
                    self.environ,
                    self._find_secret,
                    hidden=self.hidden,
                    within=within,
                )
            except UsageError as error:
                hint = error.hint or f"run 'brokerctl profile show {shell_word(profile.name)}'"
                raise UsageError(f"'{profile.name}': {error.message}", hint=hint) from None

        return ClientCredentials(
            secret=find(profile.client_secret), key_pem=find(profile.client_key)
        )

    def metadata(self, profile: Profile, deadline: float, *, is_refresh: bool = False) -> Metadata:
        """Return the issuer's metadata: kept for a day, never fetched on the way of a refresh."""
        now = time.time()
        if about.is_configured(profile):
            return about.configured(profile, now)  # nothing is discovered
        # One pin an issuer, whatever flow or profile asked: a login by device pins for all.
        kept = self.known.find_metadata(profile.issuer)
        if kept is not None:
            # What lacks an endpoint that is needed is asked for again: it may have been a slip.
            is_good = kept.is_current(now) and about.is_enough(kept, profile)
            if is_good or is_refresh or self.known.is_asked_at_login(profile.issuer):
                return about.with_configured(kept, profile)
        asked = profile.replace(endpoints=())
        try:
            found: Metadata = self.run(profile, about.discover(asked), deadline)
        except IssuerError:
            if kept is None:
                raise
            # Only its freshness is gone: no reason to hand out nothing.
            return about.with_configured(kept, profile)
        self.known.put_metadata(profile, kept, found)
        return about.with_configured(found, profile)

    def revoke(
        self, profile: Profile, value: Secret, hint: str, deadline: float, key: GrantKey
    ) -> RevocationOutcome:
        """Ask the issuer to revoke one token (RFC 7009); IssuerError where it is not known."""
        from brokerctl.oauth.revocation import REVOKERS  # noqa: PLC0415 - only a revoke needs it

        asks = profile.traits.revoked_by if profile.flow else self.known.find_revoked_by(key)
        profile = self.known.with_bound_endpoints(profile, key)
        ctx = self.context(profile, deadline, is_refresh=True)
        if ctx.metadata.revocation_endpoint is None:
            return RevocationOutcome(
                outcome=LOCAL_ONLY, reason="the issuer has no revocation endpoint"
            )
        self.known.refuse_moved(profile, key, ctx.metadata, "revocation_endpoint")
        answer = self.run(profile, REVOKERS[asks](ctx, value, hint), deadline)
        if answer.outcome == LOCAL_ONLY and not profile.flow:
            # It was asked without the client's secret, which only a profile can name.
            return RevocationOutcome(
                outcome=UNKNOWN, reason=f"{answer.reason}, and its profile is gone"
            )
        return RevocationOutcome(outcome=answer.outcome, reason=answer.reason)

    def introspect(
        self, profile: Profile, value: Secret, hint: str, deadline: float, key: GrantKey
    ) -> bool | None:
        """Ask whether a token is active (RFC 7662); None where that can't be known."""
        from brokerctl.oauth.revocation import introspect  # noqa: PLC0415 - only --verify needs it

        profile = self.known.with_bound_endpoints(profile, key)
        ctx = self.context(profile, deadline, is_refresh=True)
        if ctx.metadata.introspection_endpoint is None:
            return None
        self.known.refuse_moved(profile, key, ctx.metadata, "introspection_endpoint")
        answer: bool | None = self.run(profile, introspect(ctx, value, hint), deadline)
        return answer


class GrantWatch:
    """Asks about a grant before and after an access token of it is revoked.

    Only a refresh token that was called active and no longer is proves anything: many issuers call
    every refresh token inactive, or answer nothing.
    """

    __slots__ = ("_ask", "_grant", "_item", "_was_active", "_was_alive", "is_noted")

    def __init__(
        self, issuer: IssuerClient, profile: Profile, key: GrantKey, grant: Grant, *, is_noted: bool
    ) -> None:
        """`is_noted`: this attempt has noted the grant's generation, and none before it."""
        self.is_noted = is_noted
        self._grant = grant
        self._item: Queued | None = None
        self._was_alive = self._was_active = False

        def ask(value: Secret, hint: str, deadline: float) -> bool | None:
            try:
                return issuer.introspect(profile, value, hint, deadline, key)
            except BrokerError:
                return None  # not known, as where there is no introspection

        self._ask = ask

    def begin(self, item: Queued, deadline: float) -> None:
        """Look before the first revocation; a silent issuer gets a moment, and no more."""
        if self._item is not None:
            return
        self._item = item
        soon = min(deadline, work_time() + _LOOK_S)
        self._was_alive = self._is_alive(soon) is True
        if self._was_alive:
            self._was_active = self._ask(item.value, "access_token", soon) is True

    def find(self, deadline: float) -> str | None:
        """Return what the issuer was seen to do, ENDS or KEEPS; None where nothing proves it."""
        if not self._was_alive or self._item is None:
            return None
        is_alive = self._is_alive(deadline)
        if is_alive is False:
            return ENDS
        is_active = self._ask(self._item.value, "access_token", deadline) if is_alive else None
        # A token that lives on, as signed ones do, proves nothing of one that is really revoked;
        # nor does one that was exchanged, which may have a grant of its own at the issuer.
        is_proof = self._was_active and is_active is False and not self._item.is_exchanged
        return KEEPS if is_proof else None

    def _is_alive(self, deadline: float) -> bool | None:
        value = self._grant.refresh_token
        return None if value is None else self._ask(value, "refresh_token", deadline)


def shown(name: str, error: OAuthError) -> IssuerError:
    """Return an issuer's refusal as whoever asked for a profile's token sees it."""
    text = f"the issuer of '{name}' answered {safe_code(error.error)}"
    if error.description:
        text += f": {safe_code(error.description)}"
    return IssuerError(text, hint=error.hint or _hint(error, name))


def _hint(error: OAuthError, name: str) -> str | None:
    show = f"run 'brokerctl profile show {shell_word(name)}'"
    if error.error in {"invalid_client", "unauthorized_client"}:
        return f"check client_id, client_auth and the secret: {show}"
    if error.error in {"invalid_scope", "invalid_target"}:
        return f"check scopes and resource: {show}"
    return None


def secret_variables(profiles: Iterable[Profile]) -> frozenset[str]:
    """Return the variables that hold profiles' secrets: for no other program than ours."""
    found = (one for profile in profiles for one in (profile.client_secret, profile.client_key))
    return frozenset(one.target[0] for one in found if one and one.kind == "env")
