"""cargo's credential provider protocol, version 1 (the Cargo Book, Credential Provider Protocol).

The provider writes first: the versions that it knows. Then it answers each line of JSON with a line
of JSON until stdin ends. An error is in the answer, and cargo shows it.

Security: the configuration in a cloned repository can name any registry, and run a provider with
any `args`: these decide nothing here. An index says to which servers cargo sends the token, and
everybody who can put a file on a host of ours could make an index there. So the whole URL of the
index, with its path, has to be one of the profile's hosts.
"""

from __future__ import annotations

from brokerctl import jsonlite
from brokerctl.config.hosts import parse_url, shown_url
from brokerctl.errors import UsageError
from brokerctl.helpers import (
    FORGET,
    GET,
    LINES,
    STORE,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
)
from brokerctl.helpers.outcomes import (
    Acknowledged,
    Forgotten,
    Malformed,
    NotOurs,
    OwnCredential,
    Refused,
    Stored,
)
from brokerctl.secret import Secret
from brokerctl.text import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brokerctl.errors import BrokerError
    from brokerctl.helpers import Outcome
    from brokerctl.model import AccessToken, Profile
    from brokerctl.store.values import ToolCredential

_VERSION = 1
_OPERATIONS = ("read", "publish", "yank", "unyank", "owners")
_KINDS = {GET: GET, "login": STORE, "logout": FORGET}
_GREETING = b'{"v":[1]}\n'  # the versions that we know
_NOT_OURS = HelperReply(stdout=b'{"Err":{"kind":"not-found"}}\n')
_SPARSE = "sparse+"
_LOGIN = "cargo keeps no token here: log in with 'brokerctl login'"


class _NotTheIndexError(UsageError):
    """An index whose URL lies below one of a profile's hosts, and is not itself one of them."""


def fit(wanted: CredentialRequest, profile: Profile) -> UsageError | bool:
    """Refuse an index below one of the profile's hosts that is not itself one of them.

    A logout of such an index belongs to another provider.
    """
    if wanted.action == STORE:
        return True
    index = _index_of(wanted)
    if index in profile.hosts:
        return True
    if wanted.action == FORGET:
        return False
    return _NotTheIndexError(
        f"the index {shown_url(index)} is not among the hosts of '{profile.name}' as it stands",
        hint="if it is yours, write it into them, path and all",
    )


class Cargo:
    """`cargo-credential-brokerctl --cargo-plugin`; the exit code says nothing."""

    traits = HelperTraits(
        stdin=LINES, greeting=_GREETING, names_user=False, tells_errors=True, fit=fit
    )

    def read(
        self,
        words: list[str],  # noqa: ARG002 - there are none but cargo's own
        stdin: bytes,
        environ: Mapping[str, str],  # noqa: ARG002 - all that cargo says is in the line
    ) -> CredentialRequest:
        """Read one line; unknown members are ignored, as the protocol demands."""
        request = _read_object(stdin)
        if request.get("v") != _VERSION:
            return answered(_error("operation-not-supported"))
        kind = str(request.get("kind"))
        if kind not in _KINDS or (kind == GET and request.get("operation") not in _OPERATIONS):
            return answered(_error("operation-not-supported"))
        registry = request.get("registry")
        index = registry.get("index-url") if isinstance(registry, dict) else None
        if not isinstance(index, str):
            raise MalformedError("it has no index-url")
        url = index.removeprefix(_SPARSE)
        if not url.startswith(("https://", "http://")):
            return answered(_error("url-not-supported"))
        token = request.get("token") if kind == "login" else None
        if token is not None and not isinstance(token, str):
            raise MalformedError("its token is none")
        offered = Secret(token) if token else None
        return CredentialRequest(action=_KINDS[kind], url=url, username="", offered=offered)

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the answer; for "not ours" cargo asks the next provider, an error it shows."""
        match outcome:
            case Credential():
                return _render(outcome.token)
            case OwnCredential():
                return _render_own(outcome.credential)
            case Stored() | Forgotten():
                return _acknowledge(outcome)
            case Malformed():  # cargo itself never sends one
                return _error("other", "not a request of cargo")
            case Refused():
                return _refuse(outcome.error)
            case NotOurs() | Acknowledged():
                return _NOT_OURS


def _render(token: AccessToken) -> HelperReply:
    """Render the whole value of the Authorization header, which cargo sends as it is."""
    said: dict[str, object] = {
        "kind": "get",
        "token": f"{token.token_type} {token.value.reveal()}",
        "cache": "session",
        "operation_independent": True,
    }
    if token.expires_at is not None:
        said |= {"cache": "expires", "expiration": int(token.expires_at)}
    return _ok(said)


def _render_own(one: ToolCredential) -> HelperReply:
    """Render a token that `cargo login` gave us, unchanged."""
    said = {"token": one.secret.reveal(), "cache": "session", "operation_independent": True}
    return _ok({"kind": "get", **said})


def _acknowledge(outcome: Stored | Forgotten) -> HelperReply:
    """Answer that a token is kept or dropped; the next provider is asked if it was not ours."""
    if isinstance(outcome, Stored):
        if outcome.is_kept:
            return _ok({"kind": "login"})
        return _error("other", _LOGIN) if outcome.is_ours else _NOT_OURS
    return _ok({"kind": "logout"}) if outcome.is_ours else _NOT_OURS


def _refuse(error: BrokerError) -> HelperReply:
    """Answer with the reason and the hint; cargo shows both, and asks no other provider.

    For an index that is not itself one of our hosts cargo goes on: another provider may have it.
    """
    if isinstance(error, _NotTheIndexError):
        return _NOT_OURS.replace(note=f"{error.message}; {error.hint}")
    return _error("other", error.message, error.hint or error.usual_hint)


def _index_of(wanted: CredentialRequest) -> str:
    """Return an index in the form of a profile's hosts; with a query it equals none of them."""
    url = parse_url(wanted.url or "")
    query = "" if url.query is None else f"?{url.query}"
    return url.origin + url.path.rstrip("/") + query


def _read_object(data: bytes) -> dict[str, Any]:
    try:
        found = jsonlite.loads_needed(data)
    except ValueError as error:
        raise MalformedError("it is not JSON") from error
    if not isinstance(found, dict):
        raise MalformedError("it is not an object")
    return found


def _error(kind: str, message: str | None = None, hint: str | None = None) -> HelperReply:
    said: dict[str, object] = {"kind": kind}
    if message is not None:
        causes = [safe(hint)] if hint else []
        said |= {"message": f"brokerctl: {safe(message, 400)}", "caused-by": causes}
    return HelperReply(stdout=_line({"Err": said}))


def _line(value: dict[str, object]) -> bytes:
    return jsonlite.dumps(value).encode() + b"\n"


def _ok(said: dict[str, object]) -> HelperReply:
    return HelperReply(stdout=_line({"Ok": said}))
