"""Buildkite: its agent, which runs beside each job, gets a token for any audience.

Source: buildkite.com/docs, "buildkite-agent oidc" and "Environment variables".
"""

from __future__ import annotations

from brokerctl.identity.by_variables import ByVariables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference


class Buildkite(ByVariables):
    """A job that an agent of Buildkite runs."""

    NAMES = {  # noqa: RUF012 - read alone
        "repository": "pipeline_slug",
        "repository_id": "pipeline_id",
        "branch": "build_branch",
    }

    def find_fork(self, environ: Mapping[str, str]) -> str | None:
        """Return how a build is seen to be of another repository's pull request."""
        other = environ.get("BUILDKITE_PULL_REQUEST_REPO", "")
        if not other or _place(other) == _place(environ.get("BUILDKITE_REPO", "")):
            return None
        return "its pull request comes from another repository"

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - the agent reads its own variables
        """Yield the command."""
        from brokerctl.identity.command import run  # noqa: PLC0415 - a warm hand-out asks nobody

        words = ("buildkite-agent", "oidc", "request-token", "--audience", audience)
        return (yield from run(words, self.traits.title))


def _place(url: str) -> str:
    """Return host and path of a repository's address, which git takes in two spellings."""
    rest = url.partition("://")[2] or url.replace(":", "/", 1)
    return rest.rpartition("@")[2].removesuffix("/").removesuffix(".git").lower()
