"""Platforms that put a token into a variable: GitLab CI and Bitbucket Pipelines.

The audience is set where the job is set up, and the token is as old as the job. Source:
docs.gitlab.com, "OpenID Connect (OIDC) Authentication Using ID Tokens"; support.atlassian.com,
"Integrate Pipelines with resource servers using OIDC".
"""

from __future__ import annotations

from brokerctl.identity.by_variables import ByVariables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

_NAMES = {
    "gitlab": {
        "repository": "project_path",
        "repository_id": "project_id",
        "ref": "ref",
        "environment": "environment",
        "event": "pipeline_source",
        "actor": "user_login",
    },
    "bitbucket": {"repository_id": "repositoryUuid", "branch": "branchName"},
}


class Given(ByVariables):
    """A token that lies in a variable of the job."""

    def find_fork(self, environ: Mapping[str, str]) -> str | None:
        """Return how a GitLab merge request is seen to come from another project."""
        source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
        if self.name != "gitlab" or not source or source == environ.get("CI_PROJECT_ID"):
            return None
        return "its merge request comes from another project"

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - it is set in the job
        """Return the token that is in the variable; nothing is sent."""
        from brokerctl.identity.proof import as_token  # noqa: PLC0415 - a warm hand-out asks nobody

        variable = source.target[0] if source.target else self.traits.variable or ""
        return as_token(self.need(environ, variable), self.traits.title), False
        yield  # a generator as the others are

    def describe(self, claims: dict[str, Any]) -> dict[str, Any]:
        """Return what the claims say of the job."""
        named = _NAMES[self.name].items()
        found = {fact: claims[claim] for fact, claim in named if claim in claims}
        if self.name == "gitlab" and claims.get("ref_type") == "branch" and "ref" in claims:
            found["branch"] = claims["ref"]
        return found
