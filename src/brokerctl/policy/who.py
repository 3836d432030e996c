"""Says who gets what, by which rule: every request that the rules can tell apart, decided.

The world is small: the values that rules name, one beside them (`anybody else`), and none where
there may be none. `policy.decide` is asked about it; each fact has all its values in turn from
where the rules first ask for it, so that what no rule asks for is `any`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from brokerctl.config.duration import render_duration
from brokerctl.config.rules import AGE, CONDITIONS, DENY, FLAG, TIME, WORD
from brokerctl.errors import UsageError
from brokerctl.model import Requester, TokenRequest, Value
from brokerctl.policy import Rules, decide
from brokerctl.policy.facts import Facts, host_of, known_facts
from brokerctl.policy.replay import LOGIN, AnyJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerctl.config.rules import RuleLayer
    from brokerctl.model import Decision, Profile
    from brokerctl.policy.facts import Job

    World = Mapping[str, tuple[Any, ...]]
    Point = Mapping[str, Any]

ISSUE, USE, REFRESH = "issue", "use", "refresh"
ELSE = "\N{HORIZONTAL ELLIPSIS}"  # what no rule names; behind a beginning, all that goes on so
_MOST = 20_000  # requests that are told apart, of one profile
_DAY_MIN, _HOUR_MIN = 24 * 60, 60
# Fixed by the profile and the request, not by who asks; a gateway's request is none of these.
_FIXED = frozenset(("profile", "uid", "scope", "resource", "method", "path"))


class Access(Value):
    """What all the requests in one box of the world get; boxes do not overlap.

    `of` has the values of each fact that matters here, by the names of `config.rules.CONDITIONS`;
    a fact that it does not name may be anything.
    """

    of: dict[str, tuple[Any, ...]]
    decision: Decision


class _UnknownYetError(Exception):
    """The rules ask for a fact that has no value yet; its one argument is the fact's name."""


class _Supposed(Rules):
    """Rules whose facts are all supposed, but for those of the profile and the request."""

    __slots__ = ()

    def find_facts(
        self, profile: Profile | None, request: TokenRequest, limits: Decision, job: Job | None
    ) -> Facts:
        found = known_facts(profile, request, limits, job, self.now)
        return Facts({name: found[name] for name in _FIXED if name in found}, self.read)


def find_access(
    profile: Profile,
    layers: tuple[RuleLayer, ...],
    scopes: tuple[str, ...] | None = None,
    narrowed: tuple[str, ...] | None = None,
) -> list[Access]:
    """Return what anybody gets of a profile, in all boxes of the small world.

    `scopes` are those that are asked for by name; `narrowed` is as in `policy.decide`. Raises
    UsageError where the rules tell too many requests apart.
    """
    world = make_world(profile, layers)
    found: list[tuple[dict[str, Any], Decision]] = []
    waiting: list[dict[str, Any]] = [{}]
    while waiting:
        point = waiting.pop()
        try:
            found.append((point, _decide(profile, layers, point, scopes, narrowed)))
        except _UnknownYetError as error:
            name = str(error)
            waiting += [{**point, name: value} for value in _values(world, point, name)]
        if len(found) + len(waiting) > _MOST:
            raise UsageError(
                f"the rules tell more than {_MOST} requests for '{profile.name}' apart",
                hint="run 'brokerctl policy explain' for one of them",
            )
    return _merged(world, found)


def _values(world: World, point: Point, name: str) -> tuple[Any, ...]:
    """Return the values of a fact; an agent is always in a session."""
    if name == "session" and point.get("agent") is not None:
        return (True,)
    return world[name]


def _decide(
    profile: Profile,
    layers: tuple[RuleLayer, ...],
    point: Point,
    scopes: tuple[str, ...] | None,
    narrowed: tuple[str, ...] | None,
) -> Decision:
    def read(name: str) -> Any:  # noqa: ANN401 - what CONDITIONS says of it
        if name not in point:
            raise _UnknownYetError(name)
        return point[name]

    agent = read("agent") if layers else None
    job = None
    if profile.job_source is not None:
        job = AnyJob(fork="it is supposed to be" if read("fork") else None)
    requester = Requester(uid=os.geteuid(), pid=0, agent=agent)
    request = TokenRequest(profile=profile.name, requester=requester, scopes=scopes)
    rules = _Supposed(layers, None, 0, read) if layers else None
    return decide(profile, request, narrowed, job, rules)


def make_world(profile: Profile, layers: tuple[RuleLayer, ...]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each fact that a rule could ask for, for requests of this profile."""
    named: dict[str, list[Any]] = {name: [] for name in CONDITIONS}
    for layer in layers:
        for rule in layer.rules:
            for name, wanted in rule.when.items():
                named[name] += wanted if isinstance(wanted, list | tuple) else [wanted]
    world = {name: _world_of(name, wanted) for name, wanted in named.items() if name not in _FIXED}
    hosts = (None if "*" in one else host_of(one) for one in profile.hosts)
    world["host"] = (None, *dict.fromkeys(one for one in hosts if one))
    world["session"] = (True, False)
    for name in ("subject", "purpose"):
        own = getattr(profile, name)
        if own is not None:  # in place of none
            world[name] = tuple(dict.fromkeys((*world[name][:-1], own)))
    return world | _claims_and_logins(profile, world)


def _claims_and_logins(profile: Profile, world: World) -> dict[str, tuple[Any, ...]]:
    """Return the values of what a profile's flow alone decides whether there is one."""
    is_job = profile.job_source is not None
    found: dict[str, tuple[Any, ...]] = {"fork": (True, False) if is_job else (None,)}
    if not is_job:
        found |= {name: (None,) for name in world if CONDITIONS[name].is_claim}
    if not profile.traits.needs_person:
        found["login_age"] = (None,)
    return found


def _world_of(name: str, wanted: list[Any]) -> tuple[Any, ...]:
    """Return what one fact can be: all that is named, anything else, and what is not known."""
    condition = CONDITIONS[name]
    kind = condition.kind
    if kind == FLAG:
        return (True, False, None)
    if kind == TIME:
        return tuple(sorted({0, *(end % _DAY_MIN for span in wanted for end in span)}))
    if kind == AGE:
        return (*sorted({*wanted, max(wanted, default=0) + 1}), None)
    return condition.words if kind == WORD else _texts_of(name, wanted)


def _texts_of(name: str, wanted: list[Any]) -> tuple[Any, ...]:
    """Return one text for each set of patterns that some text could match."""
    texts = [one[:-1] + ELSE if one.endswith("*") else one for one in wanted if one is not True]
    if name == "tool":
        return tuple(dict.fromkeys((*texts, LOGIN, ELSE)))
    if name == "parent":  # one at a time
        return (*dict.fromkeys((one,) for one in (*texts, ELSE)), ())
    return (*dict.fromkeys((*texts, ELSE)), None)


def _merged(world: World, found: list[tuple[dict[str, Any], Decision]]) -> list[Access]:
    """Return the boxes of points that differ in one fact alone and get the same."""
    boxes = [({name: (value,) for name, value in point.items()}, one) for point, one in found]
    for name in reversed((*world,)):
        boxes = list(_merged_by(name, world, boxes))
    return [Access(of=_ordered(of), decision=decision) for of, decision in boxes]


def _merged_by(
    name: str, world: World, boxes: list[tuple[dict[str, tuple[Any, ...]], Decision]]
) -> Iterator[tuple[dict[str, tuple[Any, ...]], Decision]]:
    groups: dict[Any, tuple[dict[str, tuple[Any, ...]], Decision, list[Any]]] = {}
    for of, decision in boxes:
        if name not in of:
            yield of, decision
            continue
        rest = {key: value for key, value in of.items() if key != name}
        shown = decision.replace(noted=())
        key = repr((sorted(rest.items()), shown))
        groups.setdefault(key, (rest, shown, []))[2].extend(of[name])
    for rest, decision, values in groups.values():
        agent = rest.get("agent", (None,))[0]  # one alone, as it is merged after `session`
        whole = _values(world, {"agent": agent}, name)
        is_any = set(values) == set(whole)
        yield (rest if is_any else {**rest, name: tuple(values)}), decision


def _ordered(of: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {name: of[name] for name in CONDITIONS if name in of}


def may(profile: Profile, access: Access) -> tuple[str, ...]:
    """Return what a request in a box does where it is allowed: issue, use, refresh.

    A person's grant is issued by `login`, used and refreshed by the others; other flows have each
    token issued anew. What is held is revoked by its owner, whom no rule keeps from it.
    """
    if access.decision.effect == DENY:
        return ()
    if not profile.traits.needs_person:
        return (ISSUE, USE)
    tools = access.of.get("tool")
    is_login = tools is None or LOGIN in tools
    others = tools is None or any(one != LOGIN for one in tools)
    return (*((ISSUE,) if is_login else ()), *((USE, REFRESH) if others else ()))


# The columns of the table; each of the other facts is told by its name.
COLUMNS = ("subject", "tool", "agent")
_EFFECTS = ("allow", "narrow", "ask", DENY)


def render_access(profile: Profile, found: list[Access], world: World) -> dict[str, Any]:
    """Return one profile's part of the JSON of `policy who --json`: what is allowed comes first."""
    rows = sorted(found, key=lambda one: _EFFECTS.index(one.decision.effect))
    return {
        "profile": profile.name,
        "flow": profile.flow,
        "revoke": "owner",
        "access": [_render_row(profile, one, world) for one in rows],
    }


def _render_row(profile: Profile, access: Access, world: World) -> dict[str, Any]:
    shown = {name: _shown(name, values, world) for name, values in access.of.items()}
    decision = access.decision
    claims = [name for name in shown if CONDITIONS[name].is_claim or name == "fork"]
    others = [name for name in shown if name not in {*COLUMNS, *claims}]
    return {
        "may": list(may(profile, access)),
        **{name: shown.get(name) for name in COLUMNS},
        "ci": [{"fact": name, "values": shown[name]} for name in claims],
        "when": [{"fact": name, "values": shown[name]} for name in others],
        **{name: getattr(decision, name) for name in ("effect", "rule", "layer")},
        **{name: list(getattr(decision, name)) for name in ("scopes", "resource", "audience")},
        "max_ttl": decision.max_ttl_s,
    }


def _shown(name: str, values: tuple[Any, ...], world: World) -> list[str | None]:
    """Return the values as texts, None for none; `*` is what no rule names."""
    kind = CONDITIONS[name].kind
    if kind == TIME:
        return [f"{_clock(begin)}-{_clock(end)}" for begin, end in _spans(values, world[name])]
    if kind == AGE:
        return [_shown_age(one, world[name]) for one in values]
    plain = (one[0] if isinstance(one, tuple) and one else one or None for one in values)
    if kind == FLAG:
        return [None if one is None else str(one).lower() for one in values]
    return [None if one is None else str(one).replace(ELSE, "*") for one in plain]


def _shown_age(age: int | None, ages: tuple[int | None, ...]) -> str | None:
    if age is None:
        return None
    known = [one for one in ages if one is not None]
    if age == known[-1]:
        return f"over {render_duration(known[-2])}" if known[1:] else "any"
    return f"at most {render_duration(age)}"


def _spans(minutes: tuple[int, ...], world: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield the spans of the day that begin at these minutes, each up to the next in the world."""
    begin = None
    for number, minute in enumerate(world):
        end = world[number + 1] if number + 1 < len(world) else _DAY_MIN
        if minute in minutes:
            begin = minute if begin is None else begin
            if end == _DAY_MIN or end not in minutes:
                yield begin, end
                begin = None


def _clock(minutes: int) -> str:
    return f"{minutes // _HOUR_MIN:02}:{minutes % _HOUR_MIN:02}"
