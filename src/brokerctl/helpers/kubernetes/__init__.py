"""The exec credential plug-in of kubectl and every other client-go program.

The request is the variable KUBERNETES_EXEC_INFO, a JSON object; stdin may be a person's terminal
and is never read. The answer's expiry is the time from which the client should ask again. It lies
before the token's end, since kubectl has no margin of its own.

Security: a kubeconfig from elsewhere can name any server. So the server is compared with the
profile's hosts, and refused if its certificate would not be checked, unless the profile allows it.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from brokerctl import jsonlite
from brokerctl.errors import UsageError
from brokerctl.freshness import timestamp
from brokerctl.helpers import (
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused
from brokerctl.helpers.profile_option import read_profile
from brokerctl.sodium import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.helpers import Outcome
    from brokerctl.model import AccessToken

VARIABLE = "KUBERNETES_EXEC_INFO"
V1 = "client.authentication.k8s.io/v1"
_VERSIONS = (V1, "client.authentication.k8s.io/v1beta1")
_KIND = "ExecCredential"
_UNSET = "; unset it, kubectl sets it"
_NOBODY = (
    "the cluster's server is in no profile's hosts; 'brokerctl profile show --for URL' says why"
)
_NO_CLUSTER = "the kubeconfig says neither which cluster it is for nor which profile"
_NO_CLUSTER_HINT = "set 'provideClusterInfo: true' in it, or give '--profile NAME' in its args"


class Kubernetes:
    """`brokerctl helper kubernetes [--profile NAME]`; exit codes are brokerctl's own."""

    traits = HelperTraits(variables=(VARIABLE,), is_last=True)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - nothing is sent there
        environ: Mapping[str, str],
    ) -> CredentialRequest:
        """Read the variable; without it, as with older and other clients, the answer is v1.

        An empty variable counts as none.
        """
        named = read_profile(words) if words else None
        text = environ.get(VARIABLE, "")
        version, cluster = _read_info(text) if text.strip() else (V1, None)
        if cluster is None:
            if named is None:
                raise UsageError(_NO_CLUSTER, hint=_NO_CLUSTER_HINT)
            return CredentialRequest(action=GET, profile=named, form=version)
        return CredentialRequest(
            action=GET,
            url=_field(cluster, "server", str),
            profile=named,
            is_insecure=_field(cluster, "insecure-skip-tls-verify", bool, default=False),
            route=_route(cluster),
            form=version,
        )

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the token, or fail: the client asks no other plug-in.

        It would report an empty answer as an error that explains nothing.
        """
        match outcome:
            case Credential():
                return _render(outcome.token, outcome.request.form)
            case NotOurs():
                return HelperReply(exit_code=UsageError.exit_code, note=_NOBODY)
            case Malformed():
                return HelperReply(exit_code=UsageError.exit_code)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case OwnCredential() | Acknowledged():
                return HelperReply()


def _render(token: AccessToken, version: str | None) -> HelperReply:
    """Render the token, in the version that was asked for."""
    status = {"token": token.value.reveal()}
    if token.expires_at is not None:
        at = token.expires_at if token.renew_at is None else token.renew_at
        # Rounded up: a client that asked earlier would get the same token again.
        status["expirationTimestamp"] = timestamp(min(-int(-at // 1), int(token.expires_at)))
    body = {"apiVersion": version, "kind": _KIND, "status": status}
    return HelperReply(stdout=jsonlite.dumps(body).encode() + b"\n")


def _read_info(text: str) -> tuple[str, dict[str, Any] | None]:
    """Return the API version, and the cluster if the client names it."""
    try:
        info = jsonlite.loads_needed(text.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise MalformedError(f"{VARIABLE} is not JSON{_UNSET}") from error
    if not isinstance(info, dict) or info.get("kind") != _KIND:
        raise MalformedError(f"{VARIABLE} is not an {_KIND}{_UNSET}")
    version = info.get("apiVersion")
    if version not in _VERSIONS:
        raise MalformedError(f"{VARIABLE} has an unknown apiVersion")
    spec = info.get("spec")
    if spec is not None and not isinstance(spec, dict):
        raise MalformedError(f"{VARIABLE} has a wrong spec")
    cluster = spec.get("cluster") if spec else None
    if cluster is not None and not isinstance(cluster, dict):
        raise MalformedError(f"{VARIABLE} has a wrong cluster")
    return version, cluster


def _route(cluster: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return how the client reaches its server: the user's own setting, trusted and recorded.

    A value that is not text is left out, since it decides nothing.
    """
    found = []
    proxy = cluster.get("proxy-url")
    if isinstance(proxy, str) and proxy:
        scheme, separator, rest = proxy.partition("://")
        place = (rest if separator else scheme).partition("/")[0].rpartition("@")[2]
        found.append(("proxy", f"{scheme}{separator}{place}" if separator else place))
    name = cluster.get("tls-server-name")
    if isinstance(name, str) and name:
        found.append(("tls_server_name", name))
    roots = cluster.get("certificate-authority-data")
    if isinstance(roots, str) and roots:
        found.append(("ca_sha256", sha256(_decoded(roots)).hex()))
    return tuple(found)


def _decoded(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    try:
        return a2b_base64(data)
    except Base64Error:
        return data


def _field(cluster: dict[str, Any], name: str, kind: type, **default: object) -> Any:  # noqa: ANN401 - of that kind
    value = cluster.get(name, default.get("default"))
    if not isinstance(value, kind) or value == "":
        raise MalformedError(f"{VARIABLE} has a wrong {name}")
    return value
