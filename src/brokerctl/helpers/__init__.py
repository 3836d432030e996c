"""Other tools' credential protocols, a folder each, and the table that names them.

A protocol is values in, values out: it reads a tool's request and renders one of five outcomes,
*credential, not ours, login needed, denied, failed* (contract, section 6). The I/O around it is
`serve`'s, and who may have what is the broker's: a helper is one more way to ask it.
"""

from __future__ import annotations

from brokerctl.broker.request import find_profile
from brokerctl.config.hosts import find_profiles
from brokerctl.errors import BrokerError, UsageError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.model import AccessToken, Profile, TokenRequest
    from brokerctl.secret import Secret
    from brokerctl.store import ToolCredential

HELPERS = {
    "askpass": "brokerctl.helpers.askpass:Askpass",
    "aws": "brokerctl.helpers.aws:Aws",
    "bazel": "brokerctl.helpers.bazel:Bazel",
    "cargo": "brokerctl.helpers.cargo:Cargo",
    "docker": "brokerctl.helpers.docker:Docker",
    "gcp": "brokerctl.helpers.gcp:Gcp",
    "git": "brokerctl.helpers.git:Git",
    "goauth": "brokerctl.helpers.goauth:Goauth",
    "keyring": "brokerctl.helpers.keyring:Keyring",
    "kubernetes": "brokerctl.helpers.kubernetes:Kubernetes",
    "pnpm": "brokerctl.helpers.pnpm:Pnpm",
    "terraform": "brokerctl.helpers.terraform:Terraform",
    "vault": "brokerctl.helpers.vault:Vault",
}
USERNAME = "oauth2"  # where a profile names none: any does with a token; GitLab wants this one
# What is asked: a credential; that a rejected one be used no more; that none be used; all hosts;
# whose it would be, which hands nothing out.
GET, ERASE, FORGET, LIST, NAME = "get", "erase", "forget", "list", "name"
STORE = "store"  # that a secret be kept: what is ours need not be
# How a tool's request comes on stdin: not at all, up to an empty line, up to the end, or many of
# them, a line each, to be answered one by one.
NOTHING, BLOCK, ALL, LINES = "nothing", "block", "all", "lines"
UNKNOWN = "; so nothing is known to be brokerctl's: run 'brokerctl doctor'"


def username_for(asked: str | None, profile: Profile) -> str:
    """Return the user that goes with a profile's token, for a tool that asked for one or none."""
    if profile.username_match == "any" and profile.username is not None:
        return profile.username
    return asked or profile.username or USERNAME


class MalformedError(ValueError):
    """A request that no honest tool sends; its text says why, and holds nothing of the request."""


class Terms(Value):
    """What a tool says of a credential of its own that it wants kept."""

    expires_at: float | None = None
    refresh_token: Secret | None = None  # for the tool's own use
    lifetime_s: int | None = None  # how long it may be kept


class CredentialRequest(Value):
    """What a tool asks for; `url` or `profile` says whose, and with both the URL must be its."""

    action: str  # get | erase | forget | list | name | store
    url: str | None = None
    otherwise: str | None = None  # the other reading of an address, if `url` is nobody's
    profile: str | None = None  # named by the tool's own configuration
    username: str | None = None
    rejected: Secret | None = None  # of erase: what the server did not take
    offered: Secret | None = None  # of store: what is to be kept
    terms: Terms = Terms()  # of store too
    is_foreign: bool = False  # no profile's, wherever it is: the tool's own
    is_insecure: bool = False  # the tool would not check the server's certificate
    route: tuple[tuple[str, str], ...] = ()  # how the tool gets there: for the record alone
    can_bearer: bool = False  # the tool sends what it is told to, and the server wants a bearer
    form: str | None = None  # what the protocol has to remember for its answer


class HelperReply(Value):
    """What the tool is told: bytes for its stdout, and the exit code of its protocol."""

    stdout: bytes = b""
    exit_code: int = 0
    file: str | None = None  # where the tool wants the same bytes kept
    note: str | None = None  # one line for a person, on stderr


class Helper:
    """One tool's protocol; nothing here reads, writes or waits. The defaults are the usual ones."""

    stdin = NOTHING
    takes_bearer = True  # False: what it wants is of another kind
    names_user = True  # False: what is asked for has no user, whatever is stored has
    tells_errors = False  # True: the tool shows what its answer says of an error
    own_keys: tuple[str, ...] = ()  # ends of URLs that are the tool's own, wherever they are
    is_silent = False  # True: nothing may be written to stderr, the answer says it all
    is_last = False  # True: the tool has nobody else to ask, so that no answer is an error

    if TYPE_CHECKING:

        def read(
            self, words: list[str], stdin: bytes, environ: Mapping[str, str]
        ) -> CredentialRequest | HelperReply:
            """Read a request; MalformedError, or the answer where nothing has to be asked."""

        def credential(
            self, wanted: CredentialRequest, answer: AccessToken, profile: Profile
        ) -> HelperReply:
            """Render a token; UsageError where it can't be what the tool takes."""

    def stdin_for(self, words: list[str]) -> str:  # noqa: ARG002 - of most, all are alike
        """Return how the request of one operation comes on stdin."""
        return self.stdin

    def check(self, wanted: CredentialRequest, profile: Profile) -> None:
        """Raise UsageError for what is not the profile's, before a token is asked for."""

    def unchecked(self, wanted: CredentialRequest, environ: Mapping[str, str]) -> str | None:  # noqa: ARG002 - of most, nothing says so
        """Name what has the tool check no certificate of this server, as far as that can be seen.

        `CredentialRequest.is_insecure` is for those whose request says it.
        """
        return None

    def complete(
        self,
        request: TokenRequest,
        wanted: CredentialRequest,
        profile: Profile,
        environ: Mapping[str, str],
    ) -> TokenRequest:
        """Return a request with what the protocol says of it; UsageError where it refuses it."""
        self.check(wanted, profile)
        by = None if profile.insecure_ok else self.unchecked(wanted, environ)
        is_insecure = wanted.is_insecure or by is not None
        return request.replace(is_insecure=is_insecure, insecure_by=by, route=wanted.route)

    def greeting(self) -> bytes:
        """Return what is said before the first line of many."""
        return b""

    def is_for(self, wanted: CredentialRequest, profile: Profile) -> bool:  # noqa: ARG002 - of most, the URL says it all
        """Return whether a profile that was found is one for this request after all."""
        return True

    def malformed(self) -> HelperReply:
        """Answer what was no request."""
        return self.not_ours()

    def not_ours(self) -> HelperReply:
        """Let the tool ask somebody else."""
        return HelperReply()

    def not_kept(self, *, is_ours: bool) -> HelperReply:
        """Refuse to store a secret; `is_ours`: its place is a profile's."""
        raise NotImplementedError

    def stored(self) -> HelperReply:
        """Say that a secret is kept, or is ours and need not be."""
        return HelperReply()

    def forgotten(self, *, is_ours: bool) -> HelperReply:  # noqa: ARG002 - as `not_kept`
        """Say that a token is used no more; not `is_ours`: there was none of this place."""
        return HelperReply()

    def kept(self, one: ToolCredential) -> HelperReply:
        """Render a credential of the tool's own, which `[helpers] keep` had us keep."""
        raise NotImplementedError

    def refusal(self, error: BrokerError) -> HelperReply:
        """Render what brokerctl has said on stderr already: login needed, denied or failed."""
        return HelperReply(exit_code=error.exit_code)

    def naming(self, wanted: CredentialRequest, profile: Profile) -> HelperReply:
        """Say who the user is, where a tool asks for that alone."""
        raise NotImplementedError

    def address(self, host: str) -> str | None:
        """Return how the tool asks for one of a profile's hosts; None where it can't."""
        raise NotImplementedError

    def listing(self, usernames: Mapping[str, str]) -> HelperReply:
        """Render the hosts with a live grant, each with its user."""
        raise NotImplementedError


def load(tool: str) -> Helper:
    """Return a tool's protocol."""
    module, _, name = HELPERS[tool].partition(":")
    found = __import__(module, fromlist=(name,))
    helper: Helper = getattr(found, name)()
    return helper


def find_owners(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> tuple[CredentialRequest, list[Profile]]:
    """Return the reading of a request that counts, and the profiles that it belongs to, if any."""
    found = _find_profiles(helper, wanted, profiles)
    if not found and wanted.otherwise is not None:
        wanted = wanted.replace(url=wanted.otherwise)
        found = _find_profiles(helper, wanted, profiles)
    return wanted, [profile for profile in found if helper.is_for(wanted, profile)]


def _find_profiles(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> list[Profile]:
    """Return who the URL and its user belong to; of what is refused, whoever it could be."""
    if wanted.is_foreign:
        return []
    if wanted.profile is not None:
        return [find_profile(profiles, wanted.profile)]
    username = wanted.username if helper.names_user and wanted.action != ERASE else None
    try:
        return find_profiles(wanted.url or "", profiles.values(), username)
    except UsageError:
        return []  # a spelling that no profile's host has, so it is nobody's
