"""The credential helper protocol of Bazel and other build tools (EngFlow's specification).

Security: Bazel asks for any URL that a build fetches. So the URL is compared with the profiles'
hosts, and nothing else in the request counts.

The specification prefers an error for a host of no profile. But Bazel's patterns have neither port
nor path, and include every subdomain: an error would stop the download of what is public there.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.freshness import reuse_until, timestamp
from brokerctl.helpers import (
    ALL,
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome
    from brokerctl.model import AccessToken

_GRPC = "grpcs://"  # gRPC over TLS: the same host and port, and the service as its path


class Bazel:
    """`brokerctl-bazel get`; exit codes are brokerctl's own."""

    traits = HelperTraits(stdin=ALL, words_with_stdin=(GET,))

    def read(
        self,
        words: list[str],
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is on stdin
    ) -> CredentialRequest:
        """Read the URI; the specification has us ignore other members."""
        if words != [GET]:
            raise MalformedError("the one command is 'get'")
        try:
            request = jsonlite.loads_needed(stdin)
        except ValueError as error:
            raise MalformedError("it is not JSON") from error
        uri = request.get("uri") if isinstance(request, dict) else None
        if not isinstance(uri, str):
            raise MalformedError("it has no uri")
        if uri.startswith(_GRPC):
            uri = f"https://{uri[len(_GRPC) :]}"
        return CredentialRequest(action=GET, url=uri)

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the header; an empty answer for "not ours", as an error would end the build."""
        match outcome:
            case Credential():
                return _render(outcome.token)
            case NotOurs():
                return HelperReply(stdout=b"{}\n")
            case Malformed():
                return HelperReply(exit_code=UsageError.exit_code)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case OwnCredential() | Acknowledged():
                return HelperReply()


def _render(token: AccessToken) -> HelperReply:
    """Render the header, and until when it may be reused: in whole seconds, or Bazel fails."""
    found: dict[str, object] = {"headers": {"Authorization": [f"Bearer {token.value.reveal()}"]}}
    until = reuse_until(token)
    if until is not None:
        found["expires"] = timestamp(until)
    return HelperReply(stdout=jsonlite.dumps(found).encode() + b"\n")
