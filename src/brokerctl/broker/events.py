"""The fields of each record: one table of events, and the fields that most of them share."""

from __future__ import annotations

from brokerctl import freshness, jsonlite
from brokerctl.broker.request import DecidedRequest, broader_text, find_broader
from brokerctl.errors import AuditError, BrokerError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.audit.append import Log
    from brokerctl.model import Decision, Requester, Token, TokenRequest

REQUEST = (
    *(
        "url",
        "route",
        "for_profile",
        "asked",
        "profile",
        "issuer",
        "subject",
        "scopes",
        "resource",
        "audience",
    ),
    *(
        "fingerprint",
        "size",
        "expires_at",
        "issuer_expires_at",
        "requester",
        "decision",
        "purpose",
        "owner",
    ),
    *("job", "exchange", "broader"),
)
_ENDING = ("outcome", "reason", "proven")
_CREDENTIAL = (
    *(
        "url",
        "username",
        "fingerprint",
        "size",
        "expires_at",
        "kept_until",
        "requester",
        "decision",
    ),
    *("purpose", "outcome", "reason", "file"),
)
# The one schema: the fields that each event's record can have, beside those that the log adds. The
# table in docs/json.md is made of it. A request that was never decided has fewer fields: see
# `undecided_fields`.
EVENTS: dict[str, tuple[str, ...]] = {
    "token.handed_out": (*REQUEST, "outcome"),
    "token.not_delivered": ("profile", "fingerprint", "size", "outcome"),
    "token.denied": (*REQUEST, "outcome", "error"),
    "token.refused": (*REQUEST, "outcome", "error"),
    "token.issued": (*REQUEST, "generation", "reason"),
    "token.rejected": (*REQUEST, "outcome", "reason"),
    "token.revoked": (*REQUEST, *_ENDING),
    "grant.obtained": (*REQUEST, "generation", "sub"),
    "grant.refreshed": (*REQUEST, "generation", "outcome", "reason"),
    "grant.refresh_failed": (*REQUEST, "outcome", "error", "reason"),
    "grant.revoked": (*REQUEST, *_ENDING),
    "grant.ended": (*REQUEST, "outcome", "reason"),
    "login.refused": (*REQUEST, "outcome", "error"),
    "session.started": (
        *("session", "profiles", "agent", "purpose", "command", "serves", "scopes", "resource"),
        *("audience", "hosts", "max_ttl_s", "uses", "rate", "requester"),
    ),
    "session.ended": (
        *("session", "profiles", "agent", "purpose", "command", "reason", "requester"),
    ),
    "exec.end": ("profiles", "requester", "outcome"),
    "gateway.used": (
        *("profile", "minute", "method", "origin", "path", "answer", "count", "sent"),
        *("received", "requester"),
    ),
    "credential.kept": _CREDENTIAL,
    "credential.not_kept": _CREDENTIAL,
    "credential.handed_out": _CREDENTIAL,
    "credential.not_delivered": _CREDENTIAL,
    "credential.denied": _CREDENTIAL,
    "credential.exported": _CREDENTIAL,
    "credential.not_exported": _CREDENTIAL,
    "credential.dropped": _CREDENTIAL,
    "credential.not_dropped": _CREDENTIAL,
    "question.asked": (
        *("question", "by", "expires_at", "action", "profile", "issuer", "for_profile", "subject"),
        *("scopes", "resource", "audience", "max_ttl_s", "url", "requester", "decision", "purpose"),
    ),
    "question.answered": ("question", "profile", "outcome", "by", "reason", "lease", "requester"),
    "lease.given": ("lease", "question", "profile", "expires_at", "uses", "session"),
    "lease.ended": ("lease", "question", "profile", "outcome", "reason"),
    "store.damaged": ("kind", "count", "names", "reason", "outcome"),
    "store.backup": ("entries", "requester"),
    "store.restored": ("requester", "restored", "kept", "refused"),
    "store.rekeyed": ("from", "to", "resealed", "left", "requester"),
    # The log's own, which `audit` writes: it knows no broker.
    "log.continued": ("segment", "found", "skipped", "lines", "hash"),
    "log.repaired": ("skipped", "lines", "hash"),
    "log.tampered": ("skipped", "lines", "hash"),
    "log.repeated": ("of", "count"),
    "log.checked": ("requester",),
    "log.accepted": ("digest", "problems", "reason", "requester"),
}


def event(name: str, *parts: Mapping[str, Any], **more: object) -> tuple[str, dict[str, Any]]:
    """Return an event and the fields of its record; TypeError for a field not in the schema."""
    fields: dict[str, Any] = {}
    for part in parts:
        fields |= part
    fields |= more
    if not fields.keys() <= {*EVENTS[name]}:
        raise TypeError(f"{name} has no {min(fields.keys() - {*EVENTS[name]})}")
    return name, fields


def append_refusal(log: Log, name: str, fields: dict[str, Any], error: BrokerError) -> None:
    """Record a refusal; AuditError where that fails, unless the refusal is itself a StoreError.

    On a full disk neither can be written, and the StoreError says more. No token is handed out in
    either case.
    """
    try:
        log.append(*event(name, fields, outcome=error.name, error=error.message))
    except AuditError:
        if not isinstance(error, StoreError):
            raise


def record_fields(decided: DecidedRequest, token: Token | None = None) -> dict[str, Any]:
    """Return the fields of every record of a request: token, requester, decision, purpose."""
    request, decision = decided.request, decided.decision
    requester = request.requester
    until = freshness.expiry(token, decision.max_ttl_s) if token else None
    broader = find_broader(decided, token.scopes) if token else ()
    more = broader_text(decided, broader) if broader else ""
    issuer_until = token.issuer_end if token else None
    place: dict[str, Any] = {} if request.url is None else {"url": recorded_url(_place(request))}
    if request.route:
        place["route"] = dict(request.route)
    if request.for_profile is not None:
        place["for_profile"] = request.for_profile
    if decision.digest is not None:
        place["asked"] = _asked(request)
    if decided.profile.exchange is not None or (token and token.issued_type):
        place |= _exchange_fields(decided, token)
    if broader:
        place["broader"] = list(broader)
    return place | {
        "profile": decided.profile.name,
        "issuer": decided.profile.issuer,
        "subject": decided.grant_key.subject,
        "scopes": list(token.scopes if token else decision.scopes),
        "resource": list(decision.resource),
        "audience": list(decision.audience),
        "fingerprint": token.fingerprint if token else None,
        "size": token.known_size if token else None,
        "expires_at": None if until is None else freshness.timestamp(until),
        "issuer_expires_at": None if issuer_until is None else freshness.timestamp(issuer_until),
        "requester": shown_requester(requester),
        "decision": shown_decision(decision, more),
        "purpose": request.purpose or decided.profile.purpose or requester.tool,
        "owner": decided.profile.owner,
    }


def _place(request: TokenRequest) -> str:
    """Return where the token goes; of what a gateway sends no path, which may be anybody's name."""
    url = request.url or ""
    return url if request.sent is None else "/".join(url.split("/", 3)[:3])


def _asked(request: TokenRequest) -> dict[str, Any]:
    """Return what was asked for by name, as it can be decided again."""
    named = {name: getattr(request, name) for name in ("scopes", "resource", "audience")}
    asked: dict[str, Any] = {
        name: list(value) for name, value in named.items() if value is not None
    }
    if request.max_ttl_s is not None:
        asked["max_ttl"] = request.max_ttl_s
    if request.purpose is not None and request.purpose == request.requester.tool:
        asked["purpose"] = request.purpose  # the record's own would also be that of no purpose
    return asked


def _exchange_fields(decided: DecidedRequest, token: Token | None) -> dict[str, Any]:
    """Return whose token was exchanged, and which job's: what it says, or what was proven of it."""
    asked, job, fields = decided.profile.exchange, decided.job, {}
    if job is not None:
        proven = jsonlite.loads(token.claims.encode()) if token and token.claims else {}
        named = {name: proven.get(name) for name in ("repository", "ref", "actor")}
        fields["job"] = {"platform": job.platform, "id": job.id or proven.get("job")} | named
    shown: dict[str, Any] = {"subject": f"profile {decided.profile.name}", "actor": None}
    if asked is not None:  # else it was the grant's own access token, for less than it holds
        sources = {"subject": asked.subject, "actor": asked.actor}
        shown = {
            name: " ".join((one.kind, *one.target[:1])) if one else None
            for name, one in sources.items()
        }
    act = token.act if token is not None else None
    shown["act"] = None if act is None else jsonlite.loads(act.encode())
    shown["issued_type"] = token.issued_type if token is not None else None
    return fields | {"exchange": shown}


def recorded_url(url: str) -> str:
    """Return where a token is to go, for the record.

    Security: the query may hold a signature and the user part a password: both are left out.
    """
    scheme, mark, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def undecided_fields(request: TokenRequest) -> dict[str, Any]:
    """Return the fields of a request that was refused before it could be decided."""
    fields: dict[str, Any] = {"profile": request.profile or None}
    if request.url is not None:
        from brokerctl.config.hosts import shown_url  # noqa: PLC0415 - no hand-out needs it

        fields = {"url": shown_url(request.url)} | fields
    requester = request.requester
    return fields | {
        "requester": shown_requester(requester),
        "purpose": request.purpose or requester.tool,
    }


def shown_requester(requester: Requester) -> dict[str, Any]:
    """Return the requester as every record has it."""
    return requester.as_dict() | {"parents": [list(parent) for parent in requester.parents]}


def shown_decision(decision: Decision, broader: str = "") -> dict[str, Any]:
    """Return the decision as every record has it; what rules looked at only where there are any."""
    shown: dict[str, Any] = {
        "effect": decision.effect,
        "rule": decision.rule,
        "layer": decision.layer,
        "reason": "; ".join(filter(None, (decision.reason, broader))),
    }
    if decision.digest is not None:
        shown["policy"] = decision.digest
        shown["facts"] = dict(decision.noted)
    if decision.approval:
        shown["approval"] = dict(decision.approval)
    return shown
