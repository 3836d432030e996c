"""Azure Pipelines: a token for Entra ID's exchange, from an address that each job is given.

Source: learn.microsoft.com, "Oidctoken - Create" and "Workload identity federation".
"""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.identity.by_variables import ByVariables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

URL, TOKEN = "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN"
_CONNECTION = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"  # set by the tasks that have one
_VERSION = "7.1"


class AzurePipelines(ByVariables):
    """A job of Azure Pipelines. Its audience is fixed, so that another one is refused."""

    NAMES = {  # noqa: RUF012 - read alone
        "repository": "rpo_uri",
        "repository_id": "rpo_id",
        "ref": "rpo_ref",
    }

    def find_fork(self, environ: Mapping[str, str]) -> str | None:
        """Return how a run is seen to be of a fork's pull request."""
        is_fork = environ.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "true"
        return "its pull request comes from a fork" if is_fork else None

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - the audience is fixed, and looked at afterwards
        """Yield the one request."""
        from urllib.parse import quote  # noqa: PLC0415 - a warm hand-out asks nobody

        from brokerctl.identity.proof import request_member  # noqa: PLC0415 - as above
        from brokerctl.oauth.message import JSON, HttpRequest, is_endpoint  # noqa: PLC0415 - as above
        from brokerctl.secret import Secret  # noqa: PLC0415 - as above

        url, token = self.need(environ, URL), self.need(environ, TOKEN)
        if not is_endpoint(url):
            raise UsageError(f"{URL} is no address that a token may be sent to")
        mark = "&" if "?" in url else "?"
        url = f"{url}{mark}api-version={_VERSION}"
        if environ.get(_CONNECTION):
            url += f"&serviceConnectionId={quote(environ[_CONNECTION], safe='')}"
        request = HttpRequest(
            method="POST",
            url=url,
            headers=(
                JSON,
                ("content-type", "application/json"),
                ("authorization", Secret(f"Bearer {token}")),
            ),
            body=Secret("{}"),
            secrets=(Secret(token),),
        )
        return (
            yield from request_member(
                request, "oidcToken", self.traits.title, self.traits.permission
            )
        )
