"""The credential helper protocol of Bazel and other build tools (EngFlow's specification).

Security: any URL that a build fetches is asked for, so it is compared with the profiles' hosts and
nothing else of the request counts.

The specification would rather have an error for a host of nobody's. But Bazel's patterns have
neither port nor path, and take in every subdomain: what is public there is to be fetched.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.freshness import reuse_until, timestamp
from brokerctl.helpers import (
    ALL,
    GET,
    NOTHING,
    CredentialRequest,
    Helper,
    HelperReply,
    MalformedError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import AccessToken, Profile

_GRPC = "grpcs://"  # gRPC over TLS: the same host and port, and the service as its path


class Bazel(Helper):
    """`brokerctl-bazel get`; exit codes are brokerctl's own."""

    def stdin_for(self, words: list[str]) -> str:
        """Return that people who type something else are not waited for."""
        return ALL if words == [GET] else NOTHING

    def read(
        self,
        words: list[str],
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that is asked is on stdin
    ) -> CredentialRequest | HelperReply:
        """Read the URI; other members are to be tolerated."""
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

    def credential(
        self,
        wanted: CredentialRequest,  # noqa: ARG002 - the answer is the same for all
        answer: AccessToken,
        profile: Profile,  # noqa: ARG002 - as above
    ) -> HelperReply:
        """Render the header, and how long it may be kept: whole seconds, or Bazel fails."""
        found: dict[str, object] = {
            "headers": {"Authorization": [f"Bearer {answer.value.reveal()}"]}
        }
        until = reuse_until(answer)
        if until is not None:
            found["expires"] = timestamp(until)
        return HelperReply(stdout=jsonlite.dumps(found).encode() + b"\n")

    def not_ours(self) -> HelperReply:
        """Say that nothing is needed; an error would end the build."""
        return HelperReply(stdout=b"{}\n")

    def malformed(self) -> HelperReply:
        """Fail."""
        return HelperReply(exit_code=UsageError.exit_code)
