"""Decides a recorded request again: a line of the audit log and rules in, a decision out.

A request is made of the record, and `policy.decide` decides it as it decides a live one. What the
record does not say is never guessed: where the answer depends on it, it is `NotRecordedError`.
"""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from brokerctl.config.rules import CONDITIONS, DENY
from brokerctl.model import Decision, Requester, TokenRequest, Value
from brokerctl.policy import LAYER, NO_FORKS, PROJECT_SCOPES, Rules, decide, decide_kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.config.rules import RuleLayer
    from brokerctl.model import Profile

    Record = Mapping[str, Any]

# The events that are requests, or what became of one. A login's success is its grant.
LOGIN, OBTAINED = "login", "grant.obtained"
REQUESTS = frozenset(
    (
        *("token.handed_out", "token.denied", "token.refused", OBTAINED, "login.refused"),
        *("credential.handed_out", "credential.denied"),
    )
)
DAMAGED, CUT = "damaged", "cut"  # the record as a whole, which is not what was written
_NAMED = ("scopes", "resource", "audience")
_PLAIN_REASON = "a subset of what the profile allows"  # else it also tells of broader scopes
_CUT_MARK = "…"  # what `audit.record` leaves of a text or list that is too long
_READ = ("profile", "subject", "purpose", "url", "asked", "requester", "decision", "job")
_CREDENTIAL = "credential."


class NotRecordedError(Exception):
    """The record does not say what the rules ask for; its one argument is the fact's name."""


class AnyJob(Value):
    """As much of a job as decides."""

    fork: str | None = None


def is_request(record: Record) -> bool:
    """Return whether a line of the log is a request that was decided."""
    name = record.get("event")
    if name not in REQUESTS or not isinstance(record.get("decision"), dict):
        return False
    # The grant of a client is obtained by the way, in a request that has its own line.
    return name != OBTAINED or _tool_of(record) == LOGIN


def is_kept(record: Record) -> bool:
    """Return whether a request was for what a tool had us keep, which has no profile."""
    return str(record.get("event")).startswith(_CREDENTIAL)


def decide_again(
    record: Record, profile: Profile | None, layers: tuple[RuleLayer, ...]
) -> Decision:
    """Return what these layers decide of a recorded request, by the profile as it is now.

    `profile` is None for what a tool had us keep. Raises NotRecordedError.
    """
    try:
        return _decide(record, profile, layers)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError):
        raise NotRecordedError(DAMAGED) from None


def _decide(record: Record, profile: Profile | None, layers: tuple[RuleLayer, ...]) -> Decision:
    decided = record["decision"]
    if decided["effect"] == DENY and decided["layer"] == LAYER and decided["rule"] != NO_FORKS:
        # Before any rule: what they looked at, as a certificate that is not checked, is not here.
        words = {name: decided[name] for name in ("effect", "rule", "layer", "reason")}
        return Decision(**words)
    if record.get("cut") and any(_is_cut(record.get(name)) for name in _READ):
        raise NotRecordedError(CUT)
    if record["requester"]["uid"] != os.geteuid():
        raise NotRecordedError("uid")
    choices = _choices(record, profile)
    found: Decision | None = None
    for chosen in itertools.product(*choices.values()):
        words = dict(zip(choices, chosen, strict=True))
        decision = _decide_one(record, profile, layers, words)
        if found is not None and outcome_of(found) != outcome_of(decision):
            raise NotRecordedError(next(n for n in choices if words[n] is not choices[n][0]))
        found = decision
    assert found is not None  # noqa: S101 - each has one choice at least
    return found


def outcome_of(decision: Decision) -> tuple[Any, ...]:
    """Return what two decisions are compared by."""
    return (
        *(decision.effect, decision.rule, decision.layer),
        *(decision.scopes, decision.resource, decision.audience, decision.max_ttl_s),
    )


def _decide_one(
    record: Record,
    profile: Profile | None,
    layers: tuple[RuleLayer, ...],
    chosen: dict[str, Any],
) -> Decision:
    request = _request_of(record, profile, chosen)
    job = _job_of(record, is_fork=chosen["fork"])
    facts = _facts_of(record)
    rules = None
    if layers or request.requester.agent is not None:  # as `Home.find_rules`

        def read(name: str) -> Any:  # noqa: ANN401 - what CONDITIONS says of it
            return _find_fact(record, facts, profile, name)

        rules = Rules(layers, None, moment_of(record).timestamp(), read)
    if profile is None:
        return decide_kept(request, rules)
    return decide(profile, request, _narrowed_of(facts, profile), job, rules)


def _narrowed_of(facts: dict[str, Any], profile: Profile) -> tuple[str, ...] | None:
    """Return what a trusted project left of the profile's scopes; None: all of them."""
    if PROJECT_SCOPES not in facts:
        return None
    left = tuple(facts[PROJECT_SCOPES])
    if not set(left) <= set(profile.scopes):
        raise NotRecordedError(PROJECT_SCOPES)  # the profile has other ones now
    return left


def moment_of(record: Record) -> datetime:
    """Return when a request was decided: as its facts say, else as its line was written."""
    written = datetime.fromisoformat(record["time"]).astimezone(UTC)
    minutes = _facts_of(record).get("time")
    if minutes is None:
        return written
    day = written.replace(hour=0, minute=0, second=0, microsecond=0)
    decided = day + timedelta(minutes=minutes)
    return decided if decided <= written else decided - timedelta(days=1)


def _choices(record: Record, profile: Profile | None) -> dict[str, list[Any]]:
    """Return what the request could have been, by the names of what the record leaves open."""
    return {
        "asked": _asked_choices(record, profile),
        "purpose": _purpose_choices(record),
        "fork": _fork_choices(record),
    }


def _asked_choices(record: Record, profile: Profile | None) -> list[dict[str, Any]]:
    """Return what may have been asked for by name; before there were rules it was not recorded."""
    if "asked" in record:
        return [record["asked"]]
    decided = record["decision"]
    if profile is None:
        return [{}]
    if decided["effect"] == DENY or decided["reason"] != _PLAIN_REASON:
        raise NotRecordedError("asked")
    return [{}, {name: record[name] for name in _NAMED}]


def _purpose_choices(record: Record) -> list[str | None]:
    facts, written = _facts_of(record), record.get("purpose")
    if "purpose" in facts:
        return [facts["purpose"]]
    if written != _tool_of(record):
        return [written]
    if "asked" in record:
        return [record["asked"].get("purpose")]
    return [None, written]


def _fork_choices(record: Record) -> list[bool]:
    facts, decided = _facts_of(record), record["decision"]
    if record.get("job") is None:
        return [False]
    if "fork" in facts:
        return [facts["fork"]]
    if decided["effect"] != DENY:
        return [False]  # only a rule that looks at it allows one
    return [True] if decided["rule"] == NO_FORKS else [False, True]


def _request_of(record: Record, profile: Profile | None, chosen: dict[str, Any]) -> TokenRequest:
    asked = chosen["asked"]
    named: dict[str, Any] = {name: tuple(asked[name]) for name in _NAMED if name in asked}
    return TokenRequest(
        profile="" if profile is None else profile.name,
        requester=_requester_of(record["requester"]),
        subject=record.get("subject"),
        max_ttl_s=asked.get("max_ttl"),
        made_out_to=() if profile is None else _made_out_to(record, profile),
        for_profile=record.get("for_profile"),
        purpose=chosen["purpose"],
        url=record.get("url"),
        **named,
    )


def _requester_of(found: dict[str, Any]) -> Requester:
    return Requester(
        uid=found["uid"],
        pid=found["pid"],
        exe=found.get("exe"),
        parents=tuple((name, exe) for name, exe in found.get("parents", ())),
        tool=found["tool"],
        session=found.get("session"),
        agent=found.get("agent"),
    )


def _made_out_to(record: Record, profile: Profile) -> tuple[str, ...]:
    """Return the issuer and the resources that a grant of a chain was made out to."""
    is_grant = profile.is_chained and record.get("outcome") != "id_token"
    if record.get("for_profile") is None or not is_grant:
        return ()
    if not record["audience"]:
        raise NotRecordedError("resource")  # it was denied, so that the record does not name it
    return (*record["audience"], *record["resource"])


def _job_of(record: Record, *, is_fork: bool) -> AnyJob | None:
    if record.get("job") is None:
        return None
    return AnyJob(fork="its record says so" if is_fork else None)


def _find_fact(record: Record, facts: dict[str, Any], profile: Profile | None, name: str) -> Any:  # noqa: ANN401 - what CONDITIONS says of it
    """Return a fact that costs something, as it was when the request was decided."""
    if name in facts:
        return facts[name]
    job = record.get("job")
    if CONDITIONS[name].is_claim:
        if job is None:
            return None  # nobody proves anything of no job
        if name == "repository" and job.get(name) is not None:
            return job[name]
    if name == "login_age" and (profile is None or not profile.traits.needs_person):
        return None
    raise NotRecordedError(name)


def _facts_of(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = record["decision"].get("facts", {})
    return found


def _tool_of(record: Record) -> object:
    requester = record.get("requester")
    return requester.get("tool") if isinstance(requester, dict) else None


def _is_cut(value: object) -> bool:
    if isinstance(value, str):
        return _CUT_MARK in value
    if isinstance(value, dict):
        return any(map(_is_cut, value)) or any(map(_is_cut, value.values()))
    return isinstance(value, list) and any(map(_is_cut, value))
