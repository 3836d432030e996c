"""Compares two policies by the record: which of its requests would be decided otherwise.

Requests that rules can't tell apart are decided once, so that a long log costs little more than its
reading.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from math import inf, nextafter
from typing import TYPE_CHECKING, Any

from brokerctl.config.compile import read_policy
from brokerctl.config.layers import Layer
from brokerctl.config.rules import AGE, CONDITIONS, TIME
from brokerctl.config.source import parse_layer
from brokerctl.model import Value
from brokerctl.policy.cases import LABELS, read_file
from brokerctl.policy.replay import (
    DAMAGED,
    NotRecordedError,
    decide_again,
    is_kept,
    is_request,
    outcome_of,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from brokerctl.config.layers import Layers
    from brokerctl.config.rules import RuleLayer
    from brokerctl.model import Decision, Profile
    from brokerctl.policy.replay import Record

    Policy = tuple[RuleLayer, ...]

IN_FORCE = "-"  # in the place of a file
SAME, OTHER_RULE, CHANGED, NOT_KNOWN, GONE = "same", "other rule", "changed", "not known", "gone"
_FIELDS = ("profile", "subject", "url", "for_profile", "asked", "purpose", "audience")
_WHO = ("uid", "exe", "parents", "tool", "agent")
_DAY_MIN = 24 * 60


class DecidedOtherwise(Value):
    """Requests of one profile and one tool or agent that would all be decided so, otherwise."""

    profile: str | None  # None: what a tool had us keep
    tool: str
    agent: str | None
    before: Decision
    after: Decision
    count: int = 0
    last_seq: int = 0  # of the newest of them
    last_time: str = ""


class Comparison(Value):
    """What became of the record's requests; those of `not_known` and `gone` were not decided."""

    requests: int
    same: int  # … to the same effect, and no less is left
    other_rule: int  # as `same`, but another rule is named
    changes: tuple[DecidedOtherwise, ...]  # the most frequent first
    not_known: tuple[tuple[str, int], ...]  # by the fact that the record does not have
    gone: tuple[tuple[str, int], ...]  # by the profile that there is no more


def compare(
    records: Iterable[Record],
    profiles: Mapping[str, Profile],
    old: Policy,
    new: Policy,
    limit: int | None = None,
) -> Comparison:
    """Return what differs between two policies for the newest `limit` requests, None: for all."""
    comparing = _Comparing(profiles, old, new)
    found = (
        (comparing.judge(one), one.get("seq", 0), one.get("time", ""))
        for one in records
        if is_request(one)
    )
    return _summed(deque(found, maxlen=limit))


class _Comparing:
    """Judges records by both policies; `kind, about` is what is the same for many of them."""

    def __init__(self, profiles: Mapping[str, Profile], old: Policy, new: Policy) -> None:
        self._profiles, self._old, self._new = profiles, old, new
        self._seen: dict[Hashable, tuple[str, Any]] = {}
        self._steps = {name: _steps_of((*old, *new), name) for name in CONDITIONS}

    def judge(self, record: Record) -> tuple[str, Any]:
        try:
            shape = self._shape_of(record)
        except (TypeError, ValueError, KeyError, AttributeError):
            return NOT_KNOWN, DAMAGED
        found = self._seen.get(shape)
        if found is None:
            found = self._seen[shape] = self._decide(record)
        return found

    def _shape_of(self, record: Record) -> str:
        """Return a text that is the same only for requests which these rules can't tell apart."""
        decision, requester, job = record["decision"], record["requester"], record.get("job")
        facts = decision.get("facts", {})
        day, minute = _when(record["time"], facts)
        seen = {name: self._step(name, value) for name, value in facts.items() if name != "time"}
        return repr(
            (
                [record.get(name) for name in _FIELDS],
                [requester.get(name) for name in _WHO],
                requester.get("session") is None,
                job and job.get("repository"),
                job is None,
                [decision.get(name) for name in ("effect", "rule", "layer", "reason")],
                seen,
                self._steps["time"] and self._step("time", minute),
                self._steps["days"] and day,
                self._of_result(record),
            )
        )

    def _of_result(self, record: Record) -> list[Any]:
        """Return what tells requests apart that were recorded before there were rules."""
        is_old = "asked" not in record
        return [
            str(record["event"]).partition(".")[0],
            record.get("outcome") == "id_token",
            record.get("cut"),
            record.get("resource") if is_old or "for_profile" in record else None,
            record.get("scopes") if is_old else None,
        ]

    def _step(self, name: str, value: Any) -> Any:  # noqa: ANN401 - what CONDITIONS says of it
        """Return which of the spans between the rules' own numbers a time or an age lies in."""
        steps = self._steps.get(name)
        if not steps or isinstance(value, bool) or not isinstance(value, int | float):
            return None if name == "login_age" and value is not None else value
        return bisect_right(steps, value)

    def _decide(self, record: Record) -> tuple[str, Any]:
        profile = None
        if not is_kept(record):
            profile = self._profiles.get(str(record.get("profile")))
            if profile is None:
                return GONE, str(record.get("profile"))
        try:
            before = decide_again(record, profile, self._old)
            after = decide_again(record, profile, self._new)
        except NotRecordedError as error:
            return NOT_KNOWN, str(error)
        requester = record["requester"]
        if _effect_of(before) == _effect_of(after):
            in_session = requester.get("session") is not None
            differs = _find_limit(before, after, in_session=in_session)
            if differs is not None:
                return NOT_KNOWN, differs
            return SAME if outcome_of(before) == outcome_of(after) else OTHER_RULE, None
        words = {"tool": requester["tool"], "agent": requester.get("agent")}
        name = None if profile is None else profile.name
        return CHANGED, DecidedOtherwise(profile=name, before=before, after=after, **words)


def _effect_of(decision: Decision) -> tuple[Any, ...]:
    """Return the outcome without what names its rule."""
    effect, _, _, *left = outcome_of(decision)
    return (effect, *left)


def _find_limit(before: Decision, after: Decision, *, in_session: bool) -> str | None:
    """Return which limit is another one: how much of it was used, no record says."""
    for name in ("uses", "rate"):
        old, new = (
            sorted(
                (getattr(limit, name), limit.is_asking)
                for limit in one.limits
                # Of a rule that allows they bound a session; of one that asks a lease, too.
                if getattr(limit, name) is not None and (in_session or limit.is_asking)
            )
            for one in (before, after)
        )
        if old != new:
            return name
    return None


def _steps_of(layers: Policy, name: str) -> list[float]:
    """Return the numbers at which the rules' answer to a time or an age can change."""
    wanted = [rule.when[name] for one in layers for rule in one.rules if name in rule.when]
    kind = CONDITIONS[name].kind
    if kind == TIME:
        return sorted({end for spans in wanted for span in spans for end in span} | {0})
    if kind == AGE:  # at most so old: a little more is on the other side
        return sorted({0.0, *(nextafter(one, inf) for one in wanted)})
    return [0] if wanted and name == "days" else []


def _when(written: str, facts: Mapping[str, Any]) -> tuple[str, int]:
    """Return the day, as the record spells it, and the minute of it in which it was decided."""
    minute = int(written[11:13]) * 60 + int(written[14:16])
    noted = facts.get("time")
    if noted is None:
        return written[:10], minute
    return written[:10] + ("-" if noted > minute else ""), noted


def _summed(found: Iterable[tuple[tuple[str, Any], int, str]]) -> Comparison:
    kinds: Counter[str] = Counter()
    not_known: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    changes: dict[Hashable, DecidedOtherwise] = {}
    counts: Counter[Hashable] = Counter()
    newest: dict[Hashable, tuple[int, str]] = {}
    for (kind, about), seq, when in found:
        kinds[kind] += 1
        if kind == NOT_KNOWN:
            not_known[about] += 1
        elif kind == GONE:
            gone[about] += 1
        elif kind == CHANGED:
            key = _key_of(about)
            changes[key] = about
            counts[key] += 1
            newest[key] = (seq, when)
    return Comparison(
        requests=kinds.total(),
        same=kinds[SAME],
        other_rule=kinds[OTHER_RULE],
        changes=tuple(
            changes[key].replace(count=count, last_seq=newest[key][0], last_time=newest[key][1])
            for key, count in counts.most_common()
        ),
        not_known=tuple(not_known.most_common()),
        gone=tuple(gone.most_common()),
    )


def _key_of(change: DecidedOtherwise) -> Hashable:
    ends = outcome_of(change.before), outcome_of(change.after)
    return (change.profile, change.tool, change.agent, ends)


def read_policy_with(layers: Layers, label: str, path: str) -> Policy:
    """Return the rules in force, with a file's in the place of those of one layer.

    `path` is IN_FORCE for that layer as it is. Raises UsageError with the place.
    """
    files = [one for one in layers.files if one.label != label or path == IN_FORCE]
    if path != IN_FORCE:
        files.append(Layer(label=label, path=path, content=read_file(path)))
    files.sort(key=lambda one: LABELS.index(one.label))
    sources = (parse_layer(one) for one in files)
    return read_policy([one for one in sources if one is not None])


def render_comparison(found: Comparison) -> dict[str, Any]:
    """Return the JSON of `policy diff --json`."""
    return {
        "schema": 1,
        "requests": found.requests,
        "same": found.same,
        "other_rule": found.other_rule,
        "changed": sum(one.count for one in found.changes),
        "changes": [_render_change(one) for one in found.changes],
        "not_known": [{"fact": name, "count": count} for name, count in found.not_known],
        "gone": [{"profile": name, "count": count} for name, count in found.gone],
    }


def _render_change(change: DecidedOtherwise) -> dict[str, Any]:
    return {
        "profile": change.profile,
        "tool": change.tool,
        "agent": change.agent,
        "count": change.count,
        "last_seq": change.last_seq,
        "last_time": change.last_time,
        "before": _render_decision(change.before),
        "after": _render_decision(change.after),
    }


def _render_decision(decision: Decision) -> dict[str, Any]:
    return {
        **{name: getattr(decision, name) for name in ("effect", "rule", "layer", "reason")},
        **{name: list(getattr(decision, name)) for name in ("scopes", "resource", "audience")},
        "max_ttl": decision.max_ttl_s,
    }
