"""Surroundings of a request that is only supposed: another time, or the facts of a case.

`policy explain` and `policy test` decide in them, by the way that a real request goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerctl.broker.request import find_profile
from brokerctl.config.rules import CONDITIONS
from brokerctl.errors import UsageError
from brokerctl.identity import Job
from brokerctl.policy import Rules
from brokerctl.policy.cases import CaseResult, find_differences
from brokerctl.policy.explain import explain
from brokerctl.policy.files import read_plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.broker.request import Surroundings
    from brokerctl.config.plan import Plan
    from brokerctl.model import Decision, Profile, Reference, TokenRequest
    from brokerctl.policy.cases import CaseFile
    from brokerctl.policy.explain import Step
    from brokerctl.store.interface import Store

PLATFORM = "ci"
_GIVEN = "given"  # the platform of a job that names none


class AtTime:
    """The surroundings that are there, at another time."""

    def __init__(self, around: Surroundings, now: float) -> None:
        self._around, self.now = around, now

    def find_job(self, source: Reference) -> Job | None:
        """Return the job that is there."""
        return self._around.find_job(source)

    def find_rules(
        self, profile: Profile | None, request: TokenRequest, job: Job | None
    ) -> Rules | None:
        """Return the rules in force, at the time that was given."""
        found = self._around.find_rules(profile, request, job)
        if found is None:
            return None
        return Rules(found.layers, found.digest, self.now, found.read)

    def store_of(self, job: Job | None) -> Store:
        """Return the store that is there."""
        return self._around.store_of(job)


class Supposed:
    """Surroundings that are given: no process, clock, store or platform is looked at.

    `facts` are those that cost something by the names of `config.rules.CONDITIONS`, and `fork`. As
    for a real request, a claim is known only where the profile's tokens are a job's.
    """

    def __init__(self, plan: Plan, now: float, facts: Mapping[str, Any]) -> None:
        self._plan, self._now, self._facts = plan, now, facts

    def find_job(self, _: Reference) -> Job:
        """Return the job that the facts are of."""
        fork = "its claims say so" if self._facts.get("fork") is True else None
        return Job(platform=self._facts.get(PLATFORM) or _GIVEN, id=None, fork=fork)

    def find_rules(
        self, profile: Profile | None, request: TokenRequest, job: Job | None
    ) -> Rules | None:
        """Return the plan's rules, with the facts that were given."""
        layers = self._plan.policy_of("" if profile is None else profile.name)
        if not layers and request.requester.agent is None:
            return None

        def read(name: str) -> Any:  # noqa: ANN401 - what CONDITIONS says of it
            is_proven = job is not None or not CONDITIONS[name].is_claim
            return self._facts.get(name) if is_proven else None

        return Rules(layers, self._plan.policy_digest, self._now, read)

    def store_of(self, _: Job | None) -> Store:
        """Raise: nothing is handed out here."""
        raise NotImplementedError


def explain_request(
    plan: Plan, request: TokenRequest, around: Surroundings
) -> tuple[Profile, Decision, list[Step]]:
    """Return the decision of `broker.request.decide`, with its steps; it raises the same."""
    profile = find_profile(plan.profiles, request.profile)
    job = None if profile.job_source is None else around.find_job(profile.job_source)
    rules = around.find_rules(profile, request, job)
    narrowed = plan.narrowed_of(profile.name)
    decision, steps = explain(profile, request, narrowed, job, rules)
    return profile, decision, steps


def decide_cases(cases: CaseFile, environ: Mapping[str, str]) -> list[CaseResult]:
    """Return what each case of a file gets, decided as a request is; UsageError for a broken one.

    A case that can't be decided at all, as of a profile that there is not, is a broken one.
    """
    plan = read_plan_of(cases, environ)
    found: list[CaseResult] = []
    for case in cases.cases:
        around = Supposed(plan, case.now, case.facts)
        try:
            _, decision, _ = explain_request(plan, case.request, around)
        except UsageError as error:
            place = f"{cases.path}:{case.line}:1"
            raise UsageError(f"{place}: {case.name}: {error.message}", hint=error.hint) from None
        differences = tuple(find_differences(case, decision))
        result = CaseResult(path=cases.path, case=case, decision=decision, differences=differences)
        found.append(result)
    return found
