"""The tokens that a flow exchanges: another profile's, a file's, a command's.

A profile's token is asked for like any other: with a decision and a record of its own. Where a
profile asks for a grant that another issuer is to take (identity chaining: a `requested_type` that
is no access token), the grant is made out to the issuer of the profile that wants it, and goes to
nobody else.
"""

from __future__ import annotations

import time

from brokerctl.broker.events import event, record_fields
from brokerctl.broker.request import find_profile
from brokerctl.errors import LoginNeededError, UsageError, shell_word
from brokerctl.freshness import timestamp
from brokerctl.model import TokenRequest, size_of
from brokerctl.oauth.unverified_claims import find_unverified_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from brokerctl.broker import Broker
    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.broker.request import DecidedRequest
    from brokerctl.model import Reference
    from brokerctl.oauth.client_auth import FlowContext
    from brokerctl.secret import Secret
    from brokerctl.store.interface import StoreKeys
    from brokerctl.store.values import Grant

_LEFT_S = 30.0  # of an ID token that is to be exchanged


def with_sources(
    context: FlowContext, decided: DecidedRequest, issuer: IssuerClient, deadline: float
) -> FlowContext:
    """Return the context of a flow with the tokens that it exchanges, if it exchanges any.

    `deadline`: of all that is done under the lock of the grant that wants them.
    """
    asked = decided.profile.exchange
    if asked is None:
        return context
    found = {"subject_token": _find(decided, issuer, asked.subject, deadline)}
    if asked.actor is not None:
        found["actor_token"] = _find(decided, issuer, asked.actor, deadline)
    return context.replace(credentials=context.credentials.replace(**found))


def _find(
    decided: DecidedRequest, issuer: IssuerClient, source: Reference, deadline: float
) -> Secret | None:
    """Return a source's token; None for this job's identity, which the flow asks for itself."""
    profile = decided.profile
    if source.kind == "identity":
        return None
    if source.kind != "profile":
        from brokerctl.config.references import resolve  # noqa: PLC0415 - most have no file

        within = tuple(dict.fromkeys((*issuer.within, profile.name)))
        try:
            hidden = issuer.hidden
            return resolve(source, issuer.environ, lambda _: None, hidden=hidden, within=within)
        except UsageError as error:
            hint = error.hint or f"run 'brokerctl profile show {shell_word(profile.name)}'"
            raise UsageError(f"'{profile.name}': {error.message}", hint=hint) from None
    if issuer.get is None:
        raise UsageError(f"'{profile.name}' has nobody to ask for '{source.target[0]}'")
    asked = TokenRequest(
        profile=source.target[0],
        requester=decided.request.requester,
        purpose=decided.request.purpose,
        made_out_to=(profile.issuer, *decided.decision.resource),
        for_profile=profile.name,
        deadline=deadline,
    )
    return issuer.get(asked, bool(source.target[1:]))


def get_token(
    broker: Broker, ring: StoreKeys, request: TokenRequest, *, is_id_token: bool
) -> Secret:
    """Return a profile's token for an exchange, decided and recorded; raises what `get` does.

    `is_id_token`: the one that its login brought, or its last refresh (OpenID Connect Core, 3.1.3.3
    and 12.2). One that is over is asked for by a refresh; LoginNeededError where none brings any.
    """
    if not is_id_token:
        profile = find_profile(broker.plan.profiles, request.profile)
        # A grant for another issuer is made anew for each exchange: most note its `jti`, and take
        # it once (RFC 7523, section 3).
        more = {"is_fresh": True} if profile.is_chained else {"made_out_to": ()}
        return broker.get(request.replace(**more)).value
    request = request.replace(made_out_to=())
    decided = broker.decide(request)
    grant = _find_grant(broker, decided)
    if _is_over(grant):
        broker.get(request.replace(is_fresh=True))
        grant = _find_grant(broker, decided)
    if grant is None or grant.id_token is None or _is_over(grant):
        name = request.profile
        raise LoginNeededError(
            f"'{name}' has no ID token that could be exchanged",
            hint=f"put openid into its scopes, then run 'brokerctl login {shell_word(name)}'",
        )
    _record(broker, decided, grant.id_token, ring.fingerprint(grant.id_token.reveal()))
    return grant.id_token


def _find_grant(broker: Broker, decided: DecidedRequest) -> Grant | None:
    grant = broker.store.find_grant(decided.grant_key)
    return None if grant is None or grant.dead_why is not None else grant


def _is_over(grant: Grant | None) -> bool:
    """Return whether there is an ID token and it has ended; none at all is what a login mends."""
    if grant is None or grant.id_token is None:
        return False
    end = find_unverified_end(grant.id_token)
    return end is not None and end - time.time() < _LEFT_S


def _record(broker: Broker, decided: DecidedRequest, id_token: Secret, fingerprint: str) -> None:
    end = find_unverified_end(id_token)
    of_token = {
        "fingerprint": fingerprint,
        "size": size_of(id_token),
        "expires_at": None if end is None else timestamp(end),
    }
    fields = record_fields(decided) | of_token
    broker.log.append(*event("token.handed_out", fields, outcome="id_token"))
