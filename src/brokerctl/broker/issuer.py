"""The way to one issuer: its metadata, the client's credentials, and steps that only send."""

from __future__ import annotations

import os
import time

from brokerctl.broker import read_within, refuse_circle
from brokerctl.errors import IssuerError, OAuthError, StoreError, UsageError, shell_word
from brokerctl.model import LOCAL_ONLY, UNKNOWN, TokenRequest, Value
from brokerctl.oauth import metadata as about
from brokerctl.oauth.client_auth import ClientCredentials, FlowContext
from brokerctl.oauth.steps import Send
from brokerctl.oauth.tokens import safe_code
from brokerctl.store.entry import METADATA, SECRET, grant_name, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any, Protocol

    from brokerctl.broker.request import DecidedRequest
    from brokerctl.keys.ring import KeyRing
    from brokerctl.model import AccessToken, GrantKey, Profile
    from brokerctl.oauth.message import HttpRequest, HttpResponse
    from brokerctl.oauth.metadata import Metadata
    from brokerctl.secret import Secret
    from brokerctl.store.interface import Store

    class Sender(Protocol):
        """Sends one request before a deadline of the monotonic clock."""

        def send(self, request: HttpRequest, deadline: float | None = None) -> HttpResponse:
            """Return the answer, whatever its status, or raise IssuerError."""
            ...

    MakeSender = Callable[[str | None, Mapping[str, str], float], Sender]

    Get = Callable[[TokenRequest], AccessToken]


class Said(Value):
    """What an issuer said to a revocation."""

    outcome: str  # revoked | local_only
    reason: str = ""


class IssuerClient:
    """Talks to the issuers of these profiles; makes one sender a profile."""

    def __init__(
        self,
        environ: Mapping[str, str],
        store: Store,
        ring: KeyRing,
        make_sender: MakeSender,
        hidden: frozenset[str] = frozenset(),
        *,
        get: Get | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """`hidden`: the variables that hold any profile's secret, for no command to see.

        `get` is the broker's, for a flow that exchanges another profile's token, and `within` the
        profiles that are being asked for.
        """
        self.environ = environ
        self.store = store
        self.ring = ring
        self._make_sender = make_sender
        self._hidden = hidden
        self._senders: dict[str, Sender] = {}
        self._learned: dict[str, bytes] = {}  # metadata of a login that has not succeeded yet
        self.get = get
        self.within = within
        self._logging_in: set[str] = set()  # profiles whose endpoints a person has just asked for

    def sender(self, profile: Profile) -> Sender:
        """Return the sender that trusts what the profile trusts."""
        if profile.name not in self._senders:
            self._senders[profile.name] = self._make_sender(
                profile.ca_file, self.environ, profile.timeout_s
            )
        return self._senders[profile.name]

    def run(self, profile: Profile, steps: Generator[Any, Any, Any], deadline: float) -> Any:  # noqa: ANN401 - what the steps return
        """Run steps that need no person; IssuerError is thrown into them, as they expect."""
        sender = self.sender(profile)
        try:
            step = next(steps)
            while True:
                if not isinstance(step, Send):
                    raise IssuerError(f"'{profile.name}' needs a person: {type(step).__name__}")
                try:
                    now = time.monotonic()
                    response = sender.send(step.request, now + (deadline - now) * step.share)
                except IssuerError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as end:
            return end.value

    def context(
        self,
        profile: Profile,
        deadline: float,
        scopes: tuple[str, ...] = (),
        resource: tuple[str, ...] = (),
        *,
        is_refresh: bool = False,
        key: GrantKey | None = None,
    ) -> FlowContext:
        """Return what a flow needs to know, fetching metadata where there is none yet.

        `key`: of the grant that is to be redeemed, or of the client's own tokens.
        """
        metadata = self.metadata(profile, deadline, is_refresh=is_refresh)
        if key is not None:
            self._refuse_moved(profile, key, metadata, "token_endpoint")
        return FlowContext(
            profile=profile,
            metadata=metadata,
            credentials=self.credentials(profile),
            scopes=scopes,
            resource=resource,
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
            if reference is None:
                return None
            try:
                return resolve(
                    reference,
                    self.environ,
                    self._find_secret,
                    hidden=self._hidden,
                    within=within,
                )
            except UsageError as error:
                hint = error.hint or f"run 'brokerctl profile show {shell_word(profile.name)}'"
                raise UsageError(f"'{profile.name}': {error.message}", hint=hint) from None

        return ClientCredentials(
            secret=find(profile.client_secret), key_pem=find(profile.client_key)
        )

    def _find_secret(self, name: str) -> str | None:
        data = self.store.find_sealed(SECRET, plain_name(self.ring.name_key, "secret", name))
        return None if data is None else data.decode()

    def metadata(
        self, profile: Profile, deadline: float, *, is_refresh: bool = False, is_login: bool = False
    ) -> Metadata:
        """Return the issuer's metadata: kept for a day, never fetched on the way of a refresh.

        Security: an endpoint that moved to another origin is refused until a login succeeds there,
        for which `keep_metadata` is called: one that was given up must not lead a grant astray.
        """
        if is_login:
            self._logging_in.add(profile.name)
        if about.is_configured(profile):
            return about.configured(profile, time.time())  # nothing is discovered
        # One pin an issuer, whatever flow or profile asked: a login by device pins for all.
        name = plain_name(self.ring.name_key, "metadata", profile.issuer)
        kept = self._find_kept(name)
        if kept is not None and not is_login:
            # What lacks an endpoint that is needed is asked for again: it may have been a slip.
            is_good = kept.is_current(time.time()) and about.is_enough(kept, profile)
            if is_good or is_refresh or name in self._learned:
                return about.with_configured(kept, profile)
        asked = profile.replace(endpoints=())
        try:
            found: Metadata = self.run(profile, about.discover(asked), deadline)
        except IssuerError:
            if kept is None or is_login:
                raise
            # Only its freshness is gone: no reason to hand out nothing.
            return about.with_configured(kept, profile)
        if is_login:
            self._learned[name] = about.render(found)
        else:
            self._keep(profile, name, kept, found)
        return about.with_configured(found, profile)

    def _keep(self, profile: Profile, name: str, before: Metadata | None, found: Metadata) -> None:
        if before is not None:
            usable = about.with_configured(found, profile)
            about.refuse_moved(about.with_configured(before, profile), usable, profile.name)
        # Security: a profile's own endpoint may hide a move, which other profiles did not accept.
        if before is None or about.endpoints_moved(before, found) is None:
            self.store.put_sealed(METADATA, name, about.render(found))

    def keep_metadata(self, profile: Profile, key: GrantKey) -> None:
        """Pin what a login learned, now that it has brought a grant or a token."""
        name = plain_name(self.ring.name_key, "metadata", profile.issuer)
        learned = self._learned.get(name)
        if learned is not None:
            self.store.put_sealed(METADATA, name, learned)
            del self._learned[name]
        self._note(profile, key)

    def bind(self, profile: Profile, key: GrantKey) -> None:
        """Note the profile's own endpoints with the grant that they served, the first time.

        A full disk costs the note, which the next refresh makes, and no token.
        """
        try:
            if self._find_noted(key) is None:
                self._note(profile, key)
        except StoreError:
            return

    def _note(self, profile: Profile, key: GrantKey) -> None:
        data = about.render(about.configured(profile, time.time()))
        self.store.put_sealed(METADATA, self._note_name(key), data)

    def _note_name(self, key: GrantKey) -> str:
        name_key = self.ring.name_key
        return plain_name(name_key, "endpoints", grant_name(name_key, key))

    def _find_noted(self, key: GrantKey) -> Metadata | None:
        return self._find_kept(self._note_name(key))

    def _find_kept(self, name: str) -> Metadata | None:
        sealed = self._learned.get(name) or self.store.find_sealed(METADATA, name)
        return about.parse(sealed) if sealed is not None else None

    def _refuse_moved(
        self, profile: Profile, key: GrantKey, usable: Metadata, endpoint: str
    ) -> None:
        """Raise IssuerError where this endpoint left its origin since the grant was obtained.

        Security: what the issuer says of itself is pinned for all its grants; what a profile says
        is held against what it said when a login, or a first request, brought this one.
        """
        noted = self._find_noted(key)
        if noted is None or profile.name in self._logging_in:
            return
        said = self._find_kept(plain_name(self.ring.name_key, "metadata", profile.issuer))
        before = about.with_endpoints(said or about.Metadata(issuer=profile.issuer), noted)
        about.refuse_moved(before, usable, profile.name, (endpoint,))

    def _as_noted(self, profile: Profile, key: GrantKey) -> Profile:
        """Return a profile that was made of a grant's key with the endpoints noted for it."""
        noted = None if profile.flow else self._find_noted(key)
        return profile if noted is None else profile.replace(endpoints=about.endpoints_of(noted))

    def revoke(
        self, profile: Profile, value: Secret, hint: str, deadline: float, key: GrantKey
    ) -> Said:
        """Ask the issuer to revoke one token (RFC 7009); IssuerError where it is not known."""
        from brokerctl.oauth.revocation import revoke  # noqa: PLC0415 - only a revoke needs it

        profile = self._as_noted(profile, key)
        ctx = self.context(profile, deadline, is_refresh=True)
        if ctx.metadata.revocation_endpoint is None:
            return Said(outcome=LOCAL_ONLY, reason="the issuer has no revocation endpoint")
        self._refuse_moved(profile, key, ctx.metadata, "revocation_endpoint")
        answer = self.run(profile, revoke(ctx, value, hint), deadline)
        if answer.outcome == LOCAL_ONLY and not profile.flow:
            # It was asked without the client's secret, which only a profile can name.
            return Said(outcome=UNKNOWN, reason=f"{answer.reason}, and its profile is gone")
        return Said(outcome=answer.outcome, reason=answer.reason)

    def introspect(
        self, profile: Profile, value: Secret, hint: str, deadline: float, key: GrantKey
    ) -> bool | None:
        """Ask whether a token is active (RFC 7662); None where that can't be known."""
        from brokerctl.oauth.revocation import introspect  # noqa: PLC0415 - only --verify needs it

        profile = self._as_noted(profile, key)
        ctx = self.context(profile, deadline, is_refresh=True)
        if ctx.metadata.introspection_endpoint is None:
            return None
        self._refuse_moved(profile, key, ctx.metadata, "introspection_endpoint")
        answer: bool | None = self.run(profile, introspect(ctx, value, hint), deadline)
        return answer


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


def with_subject(
    context: FlowContext, decided: DecidedRequest, issuer: IssuerClient
) -> FlowContext:
    """Return the context of a flow with the token that it exchanges, if it exchanges one."""
    if decided.profile.subject_token is None:
        return context
    found = _find(decided, issuer)
    return context.replace(credentials=context.credentials.replace(subject_token=found))


def _find(decided: DecidedRequest, issuer: IssuerClient) -> Secret:
    source, name = decided.profile.subject_token, decided.profile.name
    assert source is not None  # noqa: S101 - the caller has looked
    if source.kind == "file":
        from brokerctl.config.references import resolve  # noqa: PLC0415 - most have no file

        try:
            return resolve(source, issuer.environ, lambda _: None)
        except UsageError as error:
            hint = error.hint or f"run 'brokerctl profile show {shell_word(name)}'"
            raise UsageError(f"'{name}': {error.message}", hint=hint) from None
    if issuer.get is None:
        raise UsageError(f"'{name}' has nobody to ask for the token of '{source.target[0]}'")
    # A request like any other: a decision and a record of its own, for the same requester.
    asked = TokenRequest(
        profile=source.target[0],
        requester=decided.request.requester,
        purpose=decided.request.purpose,
    )
    return issuer.get(asked).value
