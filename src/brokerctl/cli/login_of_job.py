"""`login --ci`: exchanges this job's identity once, and tells what came of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from brokerctl import freshness, jsonlite
from brokerctl.broker.request import find_profile
from brokerctl.cli.login_steps import LoginOptions, log_in
from brokerctl.config.platforms import PLATFORMS
from brokerctl.errors import UsageError, shell_word
from brokerctl.home import open_home
from brokerctl.model import Value
from brokerctl.text import safe

if TYPE_CHECKING:
    from brokerctl.broker.login import LoggedIn
    from brokerctl.broker.revoke import Ending
    from brokerctl.home import Home
    from brokerctl.identity import Job
    from brokerctl.model import Profile

_CHARS = 1024


class Exchanged(Value):
    """What one exchange gave; nothing in it is secret."""

    answer: LoggedIn
    platform: str
    job: str | None  # what tells it from every other, JSON; None: nothing does
    is_kept: bool  # for the next command of this job
    endings: tuple[Ending, ...] = ()  # of what is kept nowhere

    @property
    def proven(self) -> dict[str, Any]:
        """What the platform signed of the job, as far as it is kept."""
        found: dict[str, Any] = jsonlite.loads((self.answer.claims or "{}").encode())
        return found


def exchange_once(target: str | None, options: LoginOptions, *, new_name: str | None) -> Exchanged:
    """Exchange the identity of the job that we are in, for one profile.

    Raises UsageError where the profile has no identity; else as every login does. What nobody
    could find again is revoked at once: it would be alive and held by nobody.
    """
    _refuse_others(target, options, new_name)
    home = open_home(os.environ, may_use_memory=True)
    name = target or os.environ.get("BROKERCTL_PROFILE") or home.plan.default_profile or ""
    if not name:
        raise UsageError("no profile named", hint="run 'brokerctl login PROFILE --ci'")
    profile = find_profile(home.plan.profiles, name)
    if profile.job_source is None:
        raise UsageError(
            f"'{name}' has no identity of a job to exchange",
            hint=f"run 'brokerctl profile edit {shell_word(name)} --set identity=auto'",
        )
    job = home.find_job(profile.job_source)
    answer = log_in(home, name, options)
    is_kept = home.is_kept and job.id is not None
    return Exchanged(
        answer=answer,
        platform=job.platform,
        job=job.id,
        is_kept=is_kept,
        endings=() if is_kept else _end(home, profile, job, options.subject),
    )


def _refuse_others(target: str | None, options: LoginOptions, new_name: str | None) -> None:
    plain = LoginOptions(subject=options.subject, scopes=options.scopes)
    if options != plain or new_name or "://" in (target or ""):
        raise UsageError(
            "--ci goes with a profile, --scope, --subject and --json alone",
            hint="run 'brokerctl login --help'",
        )


def _end(home: Home, profile: Profile, job: Job, subject: str | None) -> tuple[Ending, ...]:
    """Revoke what lies in this process's memory alone."""
    revoker = home.revoker("login", is_unkept=job.id is None)
    return tuple(revoker.revoke(profile, home.key_of(profile, subject), why="kept nowhere"))


def shown(exchanged: Exchanged) -> dict[str, object]:
    """Return the member `ci` of the documented JSON."""
    return {
        "platform": exchanged.platform,
        "job": exchanged.job,
        "sub": exchanged.proven.get("sub"),
        "audience": exchanged.proven.get("audience"),
        "issued_type": exchanged.answer.issued_type,
        "kept": exchanged.is_kept,
        "endings": [one.outcome for one in exchanged.endings],
    }


def told(exchanged: Exchanged) -> str:
    """Return the lines for a person."""
    answer, sub = exchanged.answer, exchanged.proven.get("sub")
    title = PLATFORMS[exchanged.platform].title
    audience = exchanged.proven.get("audience")
    whom = f", for {safe(str(audience), _CHARS)}" if audience else ""
    lines = [f"{title} signed who this job is{whom}"]
    if sub is not None:
        lines.append(f"sub: {safe(str(sub), _CHARS)}")
    lines.append(f"{safe(answer.issuer)} took it for '{answer.profile}'")
    lines.append(f"scopes: {safe(' '.join(answer.scopes), _CHARS) or 'none named'}")
    if answer.missing:
        lines.append(f"not granted: {safe(' '.join(answer.missing), _CHARS)}")
    if answer.broader:
        lines.append(f"warning: {safe(answer.broader, _CHARS)}")
    if answer.issued_type:
        lines.append(f"type: {safe(answer.issued_type)}")
    until = freshness.timestamp(answer.expires_at) if answer.expires_at else "without end"
    assumed = ", which is assumed: the issuer names no lifetime" if answer.is_assumed else ""
    lines.append(f"until: {until}{assumed}")
    if exchanged.is_kept:
        lines.append("kept for this job, and for no other")
    else:
        outcomes = " ".join(one.outcome for one in exchanged.endings)
        lines.append(f"kept nowhere, and ended at once: {outcomes or 'nothing was left to end'}")
    return "\n".join(lines)
