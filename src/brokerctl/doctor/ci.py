"""Shows a CI job who its platform says that it is, and what a cloud has to trust: `doctor --ci`.

It opens no store, no key and no log, and works without a configuration. The platform is asked as
an exchange would ask it, once for each audience; nothing is exchanged and nothing is kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.compile import read_plan
from brokerctl.config.paths import home_folder
from brokerctl.config.platforms import AUTO, PLATFORMS
from brokerctl.config.words.exchange import identity_audience
from brokerctl.doctor import OK, PROBLEM, WARNING, Finding
from brokerctl.doctor.subjects import read_subject
from brokerctl.doctor.trust_conditions import (
    AWS_AUDIENCE,
    AZURE_AUDIENCE,
    CLOUDS,
    Condition,
    conditions_for,
)
from brokerctl.errors import BrokerError, UsageError
from brokerctl.home import memory_issuer
from brokerctl.identity import find_job, find_platform, see_platforms
from brokerctl.identity.proof import sign
from brokerctl.model import Profile, Reference, Value
from brokerctl.oauth.flows.publish import find_audience
from brokerctl.oauth.flows.sources import audience_of
from brokerctl.platform.work_clock import work_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.broker.issuer import IssuerClient
    from brokerctl.identity.proof import SignedIdentity

# Whom a token is made out to that is only looked at: nobody accepts one for this.
LOOK_AUDIENCE = "urn:brokerctl:doctor"
_CHECK = "ci"
_TIMEOUT_S = 20.0
_USUAL = {"aws": AWS_AUDIENCE, "azure": AZURE_AUDIENCE}
_GOOGLE = "//iam.googleapis.com/"


class Question(Value):
    """One identity that is asked for, and the profiles that would ask for it."""

    source: Reference
    audience: str
    profiles: tuple[Profile, ...] = ()
    is_named: bool = False  # somebody named this very audience for a look
    takes_any: bool = False  # nobody named one: a token that lies there may be for any


class Identity(Value):
    """What a platform says of this job; nothing in it is secret."""

    platform: str
    job: tuple[str, ...] | None  # what tells it from every other; None: nothing does
    audience: str
    profiles: tuple[str, ...]
    claims: Mapping[str, Any]
    conditions: tuple[Condition, ...]

    @property
    def sub(self) -> str | None:
        """The subject, as it is."""
        found = self.claims.get("sub")
        return found if isinstance(found, str) else None


class JobReport(Value):
    """What was found out about this job."""

    platforms: tuple[str, ...]  # that are seen by their variable
    fork: str | None
    findings: tuple[Finding, ...]
    identities: tuple[Identity, ...]

    @property
    def has_problem(self) -> bool:
        """Whether something is in the way of an exchange."""
        return any(finding.state == PROBLEM for finding in self.findings)


def examine_job(environ: Mapping[str, str], audience: str | None = None) -> JobReport:
    """Return what this job is and what its platform says of it.

    `audience`: whom to be made known to, in place of the profiles' own; UsageError where it can
    be none.
    """
    if audience is not None:
        try:
            identity_audience(audience)
        except UsageError as error:
            raise UsageError(f"--audience {error.message}") from None
    known, findings = _read_profiles(environ)
    profiles = [one for one in known if one.identity is not None]
    seen = see_platforms(environ)
    findings += [_seen(name, environ) for name in seen]
    examiner = _Examiner(environ, memory_issuer(environ, known))
    for question in examiner.find_questions(profiles, audience):
        examiner.ask(question)
    return JobReport(
        platforms=tuple(seen),
        fork=examiner.fork,
        findings=_once((*findings, *examiner.findings)),
        identities=tuple(examiner.identities),
    )


def _seen(name: str, environ: Mapping[str, str]) -> Finding:
    traits = PLATFORMS[name]
    told = ", ".join(f"{one}={environ.get(one, '')}" for one in traits.job)
    return _finding(f"{traits.shown_by} is set: this is a job of {traits.title} ({name}), {told}")


def _finding(what: str, state: str = OK, hint: str | None = None) -> Finding:
    return Finding(what=what, state=state, hint=hint, check=_CHECK)


def _once(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple({(one.what, one.state): one for one in findings}.values())


def _read_profiles(environ: Mapping[str, str]) -> tuple[list[Profile], list[Finding]]:
    """Return all profiles; there may be no configuration."""
    try:
        plan = read_plan(environ)
    except BrokerError as error:
        is_missing = home_folder(environ) is None and not environ.get("BROKERCTL_CONFIG")
        state = WARNING if is_missing else PROBLEM
        return [], [_finding(error.message, state, error.hint)]
    return list(plan.profiles.values()), []


def _usual_audience(environ: Mapping[str, str], source: Reference) -> str:
    try:
        return PLATFORMS[find_platform(source, environ)].audience or LOOK_AUDIENCE
    except UsageError:
        return LOOK_AUDIENCE  # none is asked


class _Examiner:
    """Asks, and notes what came of it."""

    def __init__(self, environ: Mapping[str, str], client: IssuerClient) -> None:
        self._environ = environ
        self._client = client
        self.fork: str | None = None
        self.findings: list[Finding] = []
        self.identities: list[Identity] = []

    def find_questions(self, profiles: list[Profile], audience: str | None) -> list[Question]:
        """Return what to ask: once for each source and audience, whatever number of profiles."""
        found: dict[tuple[Reference, str], Question] = {}
        is_named = audience is not None
        for profile in profiles:
            source = profile.identity or Reference(kind=AUTO, target=())
            asked = audience or self._find_audience(profile)
            if asked is not None:
                before = found.get((source, asked))
                named = (*(before.profiles if before else ()), profile)
                found[source, asked] = Question(
                    source=source, audience=asked, profiles=named, is_named=is_named
                )
        if profiles:
            return list(found.values())
        source = Reference(kind=AUTO, target=())
        asked = audience or _usual_audience(self._environ, source)
        return [Question(source=source, audience=asked, is_named=is_named, takes_any=not is_named)]

    def _find_audience(self, profile: Profile) -> str | None:
        """Return whom the profile's identity is made out to; None where its index does not say."""
        try:
            found = None
            if profile.traits.asks_audience:
                deadline = work_time() + profile.timeout_s
                found = self._client.run(profile, find_audience(profile), deadline)
        except BrokerError as error:
            self.findings.append(
                _finding(f"'{profile.name}': {error.message}", PROBLEM, error.hint)
            )
            return None
        return found or audience_of(profile)

    def ask(self, question: Question) -> None:
        """Have one identity signed, where the job may have one."""
        names = ", ".join(f"'{one.name}'" for one in question.profiles)
        begin = f"{names}: " if names else ""
        try:
            job = find_job(question.source, self._environ)
            title = PLATFORMS[job.platform].title
            if job.fork is not None:
                self._refuse_fork(job.fork, title)
            else:
                self.findings.append(_finding(f"this job of {title} is not seen to be a fork's"))
                signed = self._sign(question)
                self.findings.append(
                    _finding(f"{begin}{title} signed who this job is, for {_told(signed)}")
                )
                self._note(question, signed)
        except BrokerError as error:
            self.findings.append(_finding(f"{begin}{error.message}", PROBLEM, error.hint))

    def _refuse_fork(self, fork: str, title: str) -> None:
        self.fork = fork
        text = f"this job of {title} is a fork's: {fork}"
        hint = "nothing is exchanged in it, and its platform is not asked"
        self.findings.append(_finding(text, PROBLEM, hint))

    def _sign(self, question: Question) -> SignedIdentity:
        # A command of a profile's is run for that profile; certificates are the machine's.
        name = question.profiles[0].name if question.profiles else _CHECK
        profile = Profile(name=name, issuer="", flow="", client_id="")
        steps = sign(
            *(question.source, self._environ, question.audience, time.time()),
            takes_any=question.takes_any,
        )
        signed: SignedIdentity = self._client.run(profile, steps, work_time() + _TIMEOUT_S)
        return signed

    def _note(self, question: Question, signed: SignedIdentity) -> None:
        subject = read_subject(signed.claims)
        if subject is not None and subject.warning:
            self.findings.append(_finding(subject.warning, WARNING))
        if subject is not None and not subject.text.isascii():
            text = "its sub has letters that are not ASCII, and may look like others"
            self.findings.append(_finding(text, WARNING))
        known = signed.job.id
        if known is None:
            text = "nothing tells this job from others"
            hint = "what it is exchanged for is kept nowhere, and had anew by each command"
            self.findings.append(_finding(text, WARNING, hint))
        identity = Identity(
            platform=signed.job.platform,
            job=None if known is None else tuple(jsonlite.loads(known.encode())[1:]),
            audience=_told(signed),
            profiles=tuple(one.name for one in question.profiles),
            claims=signed.claims,
            conditions=conditions_for(signed.claims, _audiences(question, signed)),
        )
        self.identities.append(identity)


def _told(signed: SignedIdentity) -> str:
    """Return whom a token is made out to."""
    found = signed.claims.get("aud")
    named = found if isinstance(found, list) else [found]
    return " ".join(str(one) for one in named)


def _audiences(question: Question, signed: SignedIdentity) -> dict[str, str | None]:
    """Return whom this job's tokens are made out to at each cloud; None: as is usual there.

    A platform that is asked makes one for each cloud; what lies in a variable or a file is for
    one audience, and so is what somebody named.
    """
    traits = PLATFORMS[signed.job.platform]
    is_made = traits.is_asked or signed.is_new
    is_fixed = question.is_named or not is_made or traits.audience is not None
    asked = _told(signed).partition(" ")[0]
    found: dict[str, str | None] = dict.fromkeys(CLOUDS, asked if is_fixed else None)
    for cloud, usual in _USUAL.items():
        if any(one.traits.identity_audience == usual for one in question.profiles):
            found[cloud] = asked
    if _GOOGLE in asked:
        found["google"] = asked
    return found
