"""CircleCI: its program gets a token for any audience; else there is one for the organization.

Source: circleci.com/docs, "Using OpenID Connect tokens in jobs" and "Project values and variables".
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.identity.by_variables import ByVariables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

_PROGRAM, _VARIABLE = "circleci", "CIRCLE_OIDC_TOKEN_V2"
_CLAIM = "oidc.circleci.com/"


class CircleCI(ByVariables):
    """A job of CircleCI."""

    NAMES = {  # noqa: RUF012 - read alone
        "repository": f"{_CLAIM}vcs-origin",
        "repository_id": f"{_CLAIM}project-id",
        "ref": f"{_CLAIM}vcs-ref",
    }

    def find_fork(self, environ: Mapping[str, str]) -> str | None:
        """Return how a job is seen to be of a fork: the variable is set for those alone."""
        name = "CIRCLE_PR_USERNAME"
        return "its pull request comes from a fork" if environ.get(name) else None

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - nothing more is named
        """Yield the command where it is to be found, else take the variable."""
        from brokerctl.identity.command import find_program, run  # noqa: PLC0415 - as elsewhere
        from brokerctl.identity.proof import as_token  # noqa: PLC0415 - as above

        if find_program(_PROGRAM, environ):
            claims = jsonlite.dumps({"aud": audience})
            words = (_PROGRAM, "run", "oidc", "get", "--claims", claims)
            return (yield from run(words, self.traits.title))
        return as_token(self.need(environ, _VARIABLE), self.traits.title), False
