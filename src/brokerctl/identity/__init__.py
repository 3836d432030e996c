"""Who this job is: which platform it runs on, and what tells it from every other job.

This file looks at variables, and at a token's file where the profile names one; it sends nothing.
`prove` has the platform sign it, for one audience, and is asked anew for each exchange. One file a
platform; `config.platforms` names them.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.config.platforms import AUTO, PLATFORMS
from brokerctl.errors import UsageError
from brokerctl.model import Value
from brokerctl.platform.import_finder import load_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any, Protocol

    from brokerctl.model import Reference
    from brokerctl.secret import Secret

    # A token as it came, and whether it was made for this request.
    IdentitySteps = Generator[Any, Any, tuple[Secret, bool]]

    class Platform(Protocol):
        """One who signs a job's identity; its traits are in `config.platforms`."""

        def find_ids(self, source: Reference, environ: Mapping[str, str]) -> tuple[str, ...] | None:
            """Return what tells this job from every other; None where that can't be known."""

        def find_fork(self, environ: Mapping[str, str]) -> str | None:
            """Return how the job is seen to be a fork's; None where it is not."""

        def ask(
            self, source: Reference, environ: Mapping[str, str], audience: str
        ) -> IdentitySteps:
            """Yield the steps to a token for the audience, and whether it was made for us."""

        def find_proven_id(self, claims: dict[str, Any]) -> str | None:
            """Return which job the claims are of; None where they are not what says it."""

        def describe(self, claims: dict[str, Any]) -> dict[str, Any]:
            """Return what the claims say of the job, by `proof.FACTS`' names."""


class Job(Value):
    """The job that this process is in, as far as it says so itself: the platform proves it later.

    Security: what is said here only keeps jobs apart and refuses; no claim of it is believed.
    """

    platform: str  # as `config.platforms` names it
    id: str | None = None  # what tells it from every other job; None: it can't be known
    fork: str | None = None  # how it is seen to be a fork's; None: it is not


def find_job(source: Reference, environ: Mapping[str, str]) -> Job:
    """Return the job that a profile's `identity` is of; UsageError where there is none."""
    name = find_platform(source, environ)
    platform = load(name)
    ids = platform.find_ids(source, environ)
    known = None if ids is None or not all(ids) else jsonlite.dumps([name, *ids])
    return Job(platform=name, id=known, fork=platform.find_fork(environ))


def find_platform(source: Reference, environ: Mapping[str, str]) -> str:
    """Return the platform's name: the one that the profile names, or the only one to be seen.

    `auto` looks at variables alone. Security: two at once are refused, for who can set variables
    could choose which of them is asked.
    """
    if source.kind != AUTO:
        shown_by = PLATFORMS[source.kind].shown_by
        if shown_by is not None and not environ.get(shown_by):
            title = PLATFORMS[source.kind].title
            raise UsageError(
                f"this is no job of {title}: {shown_by} is not set",
                hint="run 'brokerctl doctor --ci' in the job",
            )
        return source.kind
    seen = see_platforms(environ)
    if not seen:
        raise UsageError(
            "no CI platform is to be seen here, whose identity could be exchanged",
            hint="run this in a job, or name the source in 'identity' of the profile",
        )
    if len(seen) > 1:
        titles = " and ".join(f"{PLATFORMS[name].title} ({name})" for name in seen)
        raise UsageError(
            f"this could be a job of {titles}",
            hint=f"name one in 'identity' of the profile, as {{ {seen[0]} = … }}",
        )
    return seen[0]


def see_platforms(environ: Mapping[str, str]) -> list[str]:
    """Return the platforms whose variable is set."""
    shown = {name: traits.shown_by for name, traits in PLATFORMS.items() if traits.shown_by}
    return [name for name, variable in shown.items() if _is_set(environ.get(variable))]


def _is_set(value: str | None) -> bool:
    return bool(value) and value.lower() not in {"false", "0"}  # type: ignore[union-attr]  # bool() is seen as no check


def load(name: str) -> Platform:
    """Return the platform of that name."""
    module, _, cls = PLATFORMS[name].entry.partition(":")
    load_at_once(f"{__name__}.{module}")
    found = __import__(f"{__name__}.{module}", fromlist=(cls,))
    platform: Platform = getattr(found, cls)(name)
    return platform
