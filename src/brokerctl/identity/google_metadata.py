"""Google Cloud: the metadata server of a machine signs which instance it is, for any audience.

It is asked where the profile names it, and nowhere else. Source: cloud.google.com/compute, "Verify
VM identity"; GCE_METADATA_HOST is read as by Google's clients, for one on loopback alone.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UnsentError, UsageError
from brokerctl.identity.by_variables import ByVariables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

PLACE = "GCE_METADATA_HOST"
_FLAVOR = ("metadata-flavor", "Google")  # both ways, so that nobody else's server is asked
_REFUSALS = (401, 403, 404)  # 404: the machine has no service account
_INSTANCE = "compute_engine"


class GoogleMetadata(ByVariables):
    """An instance of Compute Engine; nobody knows which before it is asked."""

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - nothing more is named
        """Yield the one request."""
        from urllib.parse import quote  # noqa: PLC0415 - a warm hand-out asks nobody

        from brokerctl.identity.proof import as_token, request_identity  # noqa: PLC0415 - as above
        from brokerctl.oauth.message import HttpRequest  # noqa: PLC0415 - as above

        url = f"{_find_url(environ)}?audience={quote(audience, safe='')}&format=full"
        request = HttpRequest(method="GET", url=url, headers=(_FLAVOR,))
        title = self.traits.title
        response = yield from request_identity(request, title, self.traits.permission, _REFUSALS)
        name, value = _FLAVOR
        if response.header(name) != value:
            raise UnsentError(f"what answered for {title} is another: it has no {name}: {value}")
        try:
            text = response.body.decode("ascii")
        except UnicodeDecodeError:
            text = ""
        return as_token(text, title), True

    def find_proven_id(self, claims: dict[str, Any]) -> str | None:
        """Return the instance's number, else the service account's."""
        number = _instance(claims).get("instance_id", claims.get("sub"))
        known = isinstance(number, str) and number
        return jsonlite.dumps([self.name, number]) if known else None

    def describe(self, claims: dict[str, Any]) -> dict[str, Any]:
        """Return the service account as who acts, and the project as the environment."""
        found = {"actor": claims.get("email"), "environment": _instance(claims).get("project_id")}
        return {name: value for name, value in found.items() if value is not None}


def _find_url(environ: Mapping[str, str]) -> str:
    from brokerctl.config.hosts import METADATA_PATH, METADATA_URL, parse_url  # noqa: PLC0415 - as above

    place = environ.get(PLACE)
    if not place:
        return METADATA_URL
    url = f"http://{place}{METADATA_PATH}"
    try:
        is_plain = "/" not in place and parse_url(url).path == METADATA_PATH
    except UsageError:
        is_plain = False
    if not is_plain:
        raise UsageError(f"{PLACE} may name a metadata server on loopback alone, as 127.0.0.1:8080")
    return url


def _instance(claims: dict[str, Any]) -> dict[str, Any]:
    google = claims.get("google")
    found = google.get(_INSTANCE) if isinstance(google, dict) else None
    return found if isinstance(found, dict) else {}
