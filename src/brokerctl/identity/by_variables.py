"""What most platforms have in common: their variables say which job this is."""

from __future__ import annotations

from brokerctl.config.platforms import PLATFORMS
from brokerctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.model import Reference


class ByVariables:
    """A platform whose job is told by variables; the claims are named as `NAMES` has them."""

    # The claim that says each fact.
    NAMES: dict[str, str] = {}  # noqa: RUF012 - read alone

    def __init__(self, name: str) -> None:
        self.name = name
        self.traits = PLATFORMS[name]

    def find_ids(self, source: Reference, environ: Mapping[str, str]) -> tuple[str, ...] | None:  # noqa: ARG002 - it needs none
        """Return the values of the job's variables; None where one is missing."""
        found = tuple(environ.get(name, "") for name in self.traits.job)
        return found if found and all(found) else None

    def find_fork(self, environ: Mapping[str, str]) -> str | None:  # noqa: ARG002 - none to be seen
        """Return how the job is seen to be a fork's; None where it is not."""
        return None

    def find_proven_id(self, claims: dict[str, Any]) -> str | None:  # noqa: ARG002 - as above
        """Return which job the claims are of; None, as variables say it, which don't change."""
        return None

    def need(self, environ: Mapping[str, str], name: str) -> str:
        """Return a variable that is needed; without it a UsageError names the permission."""
        value = environ.get(name, "")
        if not value:
            raise UsageError(
                f"this job of {self.traits.title} has no identity: {name} is not set",
                hint=f"it needs {self.traits.permission.replace('VARIABLE', name)}",
            )
        return value

    def describe(self, claims: dict[str, Any]) -> dict[str, Any]:
        """Return what the claims say of the job."""
        return {fact: claims[claim] for fact, claim in self.NAMES.items() if claim in claims}
