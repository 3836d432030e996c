"""The small world of random policies: profiles, conditions, and a request of each point of it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from brokerctl import policy
from brokerctl.config.rules import ALLOW, ASK, DENY, Rule, RuleLayer
from brokerctl.identity import Job
from brokerctl.model import Exchange, Profile, Reference, Requester, TokenRequest

if TYPE_CHECKING:
    import random

    from brokerctl.model import Decision

DAY_S, MIN_S = 86400, 60
DAYS = ("thu", "fri", "sat", "sun", "mon", "tue", "wed")
PERSON = Profile(
    name="gitlab",
    issuer="https://issuer.example",
    flow="device",
    client_id="c",
    scopes=("api", "read", "write"),
    hosts=("https://git.example", "https://other.example:8443"),
)
_IDENTITY = Reference(kind="identity", target=("auto",))
JOB = PERSON.replace(
    flow="token_exchange",
    exchange=Exchange(subject=_IDENTITY, subject_type="urn:ietf:params:oauth:token-type:jwt"),
    job_source=_IDENTITY,
    hosts=(),
)
PROFILES = (PERSON, PERSON.replace(subject="alice", purpose="release-9"), JOB)
CONDITIONS: dict[str, tuple[Any, ...]] = {
    "profile": (["gitlab"], ["git*"], ["other"]),
    "subject": (["alice"], ["al*", "bob"]),
    "tool": (["git"], ["git", "docker"], ["g*"], ["login"]),
    "agent": (["coder"], ["*"], ["co*"]),
    "session": (True, False),
    "purpose": (True, ["release-*"], ["release-1"]),
    "uid": ([os.geteuid()], [os.geteuid() + 1]),
    "host": (["git.example"], ["*"], ["other.example:*"]),
    "scope": (["write"], ["r*"]),
    "method": (["GET"],),
    "time": ([[0, 720]], [[1200, 60]], [[480, 480]], [[0, 1440]]),
    "days": (["mon", "tue"], ["sun"]),
    "exe": (["/usr/bin/*"], ["/opt/x"]),
    "parent": (["bash"], ["/bin/*"]),
    "fork": (True, False),
    "tty": (True, False),
    "login_age": (50, 500),
    "exe_sha256": (["a" * 64],),
    "repository": (["acme/*"], ["acme/shop"]),
    "ci": (["github"],),
}


def make_layers(chance: random.Random, names: list[str]) -> tuple[RuleLayer, ...]:
    """Make up to three layers of up to four rules, which ask for these facts alone."""
    count = itertools.count()

    def rule() -> Rule:
        effect = chance.choice((ALLOW, ALLOW, ALLOW, ASK, DENY))
        chosen = chance.sample(names, chance.randint(0, min(3, len(names))))
        when = {name: chance.choice(CONDITIONS[name]) for name in CONDITIONS if name in chosen}
        made = Rule(name=f"rule {next(count)}", effect=effect, when=when)
        if effect == DENY:
            return made
        scopes = chance.choice((None, None, ("read",), ("read", "write")))
        return made.replace(max_ttl_s=chance.choice((None, None, 60)), scopes=scopes)

    labels = ("system", "user", "project")[: chance.randint(1, 3)]
    return tuple(
        RuleLayer(
            label=label,
            default=chance.choice(("deny", "profile")),
            rules=tuple(rule() for _ in range(chance.randint(1, 4))),
        )
        for label in labels
    )


def make_request(profile: Profile, point: dict[str, Any], **asked: object) -> TokenRequest:
    """Make the request of one point of the world."""
    requester = Requester(
        uid=os.geteuid(),
        pid=1,
        exe=point["exe"],
        parents=tuple((one, None) for one in point["parent"]),
        tool=point["tool"],
        session="s" if point["session"] else None,
        agent=point["agent"],
    )
    host = point["host"]
    return TokenRequest(
        profile=profile.name,
        requester=requester,
        subject=point["subject"],
        purpose=point["purpose"],
        url=None if host is None else f"https://{host}",
    ).replace(**asked)


def make_job(profile: Profile, point: dict[str, Any]) -> Job | None:
    """Make the job of one point of the world."""
    if profile.job_source is None:
        return None
    return Job(platform="github", fork="it is" if point["fork"] else None)


def decide(
    profile: Profile, layers: tuple[RuleLayer, ...], point: dict[str, Any], **asked: object
) -> Decision:
    """Decide the request of one point of the world as the broker does, with nothing left open."""
    now = DAYS.index(point["days"]) * DAY_S + point["time"] * MIN_S
    rules = policy.Rules(layers, "digest", now, point.get)
    request, job = make_request(profile, point, **asked), make_job(profile, point)
    return policy.decide(profile, request, None, job, rules)
