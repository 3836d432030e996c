"""Other tools' credential protocols, a folder each, and the table that names them.

A protocol has two methods without I/O: `read` turns what a tool sends into a `CredentialRequest`,
and `answer` renders the outcome. Outcomes are the closed set `Outcome`, with the five kinds
*credential, not ours, login needed, denied, failed* (contract, section 6). All other differences
between tools are data: their traits. `serve` does the I/O, and the broker decides who may get what:
a helper is one more way to ask it.
"""

from __future__ import annotations

from brokerctl.errors import DeniedError, UsageError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from brokerctl.errors import BrokerError
    from brokerctl.helpers.outcomes import OutcomeWithoutToken
    from brokerctl.home import Home
    from brokerctl.model import AccessToken, Profile, TokenRequest
    from brokerctl.secret import Secret

USERNAME = "oauth2"  # if a profile names none: with a token any will do; GitLab wants this
# What a tool asks: for a credential; to use a rejected one no more; to use none any more; for the
# list of hosts; for the user alone, which hands nothing out.
GET, ERASE, FORGET, LIST, NAME = "get", "erase", "forget", "list", "name"
STORE = "store"  # to keep a secret; a token of ours need not be kept
NONE = "none"  # for nothing: the reply is known already
# How a tool's request comes on stdin: not at all, up to an empty line, up to the end, or as many
# requests, a line each, which are answered one by one.
NOTHING, BLOCK, ALL, LINES = "nothing", "block", "all", "lines"
UNKNOWN = "; so nothing is known to be brokerctl's: run 'brokerctl doctor'"

HELPERS = {
    "askpass": "brokerctl.helpers.askpass:Askpass",
    "aws": "brokerctl.helpers.aws:Aws",
    "bazel": "brokerctl.helpers.bazel:Bazel",
    "cargo": "brokerctl.helpers.cargo:Cargo",
    "docker": "brokerctl.helpers.docker:Docker",
    "gcp": "brokerctl.helpers.gcp:Gcp",
    "git": "brokerctl.helpers.git:Git",
    "goauth": "brokerctl.helpers.goauth:Goauth",
    "headers": "brokerctl.helpers.headers:Headers",
    "keyring": "brokerctl.helpers.keyring:Keyring",
    "kubernetes": "brokerctl.helpers.kubernetes:Kubernetes",
    "pnpm": "brokerctl.helpers.pnpm:Pnpm",
    "terraform": "brokerctl.helpers.terraform:Terraform",
    "vault": "brokerctl.helpers.vault:Vault",
}


def username_for(asked: str | None, profile: Profile) -> str:
    """Return the user that goes with a profile's token, for a tool that asked for one or none."""
    if profile.username_match == "any" and profile.username is not None:
        return profile.username
    return asked or profile.username or USERNAME


class MalformedError(ValueError):
    """A malformed request; the text says what is wrong, and holds nothing of the request."""


class Terms(Value):
    """What a tool says about a credential of its own that it wants us to keep."""

    expires_at: float | None = None
    refresh_token: Secret | None = None  # for the tool's own use
    lifetime_s: int | None = None  # how long it may be kept


class HelperReply(Value):
    """What the tool is told: bytes for its stdout, and the exit code of its protocol."""

    stdout: bytes = b""
    exit_code: int = 0
    file: str | None = None  # where the tool wants the same bytes written as well
    note: str | None = None  # one line for a person, on stderr


class CredentialRequest(Value):
    """What a tool asks for. `url` or `profile` names the owner; given both, they must agree."""

    action: str  # get | erase | forget | list | name | store | none
    url: str | None = None
    otherwise: str | None = None  # another reading of the address, if no profile has `url`
    profile: str | None = None  # named by the tool's own configuration
    subject: str | None = None  # whose token; None: as the profile says
    scopes: tuple[str, ...] | None = None  # to which it is narrowed; None: not at all
    username: str | None = None
    rejected: Secret | None = None  # of erase: what the server rejected
    offered: Secret | None = None  # of store: what is to be kept
    terms: Terms = Terms()  # of store too
    is_foreign: bool = False  # the tool's own credential, whatever its URL: of no profile
    is_insecure: bool = False  # the tool would not check the server's certificate
    route: tuple[tuple[str, str], ...] = ()  # the tool's way to its server, for the record
    margin: tuple[float, float] | None = None  # see `TokenRequest`
    can_bearer: bool = False  # the tool can send a bearer token, and the server wants it
    form: str | None = None  # what `answer` has to know of the request
    reply: HelperReply | None = None  # of NONE


class HelperTraits(Value):
    """What other files need to know about a tool, and what the tool demands of a profile.

    `fit` judges a profile that was found for a request, before a token is asked for: True; False if
    the request does not belong to it after all; or the UsageError that refuses it. `unchecked` is
    the setting by which the tool does not check the certificate of the request's server, if such a
    setting can be seen from here. A request that says so itself has `is_insecure`.
    """

    stdin: str = NOTHING
    variables: tuple[str, ...] = ()  # of the environment: what `read` may look at
    words_with_stdin: tuple[str, ...] = ()  # the operations that send something on stdin; (): all
    greeting: bytes = b""  # what the tool reads first, if its requests are LINES
    takes_bearer: bool = True  # False: it wants a credential of another kind
    names_user: bool = True  # False: its requests name no user, though its stored secrets do
    tells_errors: bool = False  # the tool shows the error that is in its answer
    is_silent: bool = False  # nothing may be written to stderr: the error is in the answer
    is_last: bool = False  # the tool has no other helper to ask: no answer is an error
    own_keys: tuple[str, ...] = ()  # ends of URLs that are the tool's own, at any host
    spelling: Callable[[str], str | None] | None = None  # from a host to how the tool names it
    fit: Callable[[CredentialRequest, Profile], UsageError | bool] | None = None
    unchecked: Callable[[CredentialRequest, Mapping[str, str]], str | None] | None = None

    def variables_of(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what `read` may look at of an environment, and nothing else of it."""
        return {name: environ[name] for name in self.variables if name in environ}

    def stdin_for(self, words: list[str]) -> str:
        """Return how this request comes on stdin; NOTHING for words that no tool sends."""
        known = self.words_with_stdin
        return self.stdin if not known or (len(words) == 1 and words[0] in known) else NOTHING


class Credential(Value):
    """The outcome of a request that a profile's token answers."""

    request: CredentialRequest
    token: AccessToken
    profile: Profile


if TYPE_CHECKING:
    Outcome = Credential | OutcomeWithoutToken

    class Helper(Protocol):
        """One tool's protocol; nothing in it reads, writes or waits."""

        traits: HelperTraits

        def read(
            self, words: list[str], stdin: bytes, environ: Mapping[str, str]
        ) -> CredentialRequest:
            """Read a request; MalformedError if it is none, BrokerError if it is refused."""

        def answer(self, outcome: Outcome) -> HelperReply:
            """Render an outcome; UsageError if the tool can't use such a token."""

    class Caller(Protocol):
        """The tool that is answered: what is seen of it, and how the answer comes to it."""

        @property
        def environ(self) -> Mapping[str, str]:
            """Return its environment, or as much of it as `HelperTraits.variables` names."""

        def open_home(self) -> Home:
            """Open the home that answers; raises BrokerError."""

        def answer_unopened(
            self, helper: Helper, tool: str, wanted: CredentialRequest, error: BrokerError
        ) -> HelperReply:
            """Return the answer where no home could be opened, or raise the error."""

        def find_unchecked(self, helper: Helper, wanted: CredentialRequest) -> str | None:
            """Name the setting by which the tool would not check its server's certificate."""

        def leave_file(self, reply: HelperReply) -> bool:
            """Write the file that the tool wants; return whether that was done here."""

        def deliver(self, reply: HelperReply) -> None:
            """Write the reply in full; raises OSError."""


def load(tool: str) -> Helper:
    """Return a tool's protocol."""
    module, _, name = HELPERS[tool].partition(":")
    found = __import__(module, fromlist=(name,))
    helper: Helper = getattr(found, name)()
    return helper


def answered(reply: HelperReply) -> CredentialRequest:
    """Return a request whose reply is known already, since the tool asks for nothing."""
    return CredentialRequest(action=NONE, reply=reply)


def find_owners(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> tuple[CredentialRequest, list[Profile]]:
    """Return the request as it is to be read, and the profiles that it belongs to, if any."""
    found = _find_profiles(helper, wanted, profiles)
    if not found and wanted.otherwise is not None:
        wanted = wanted.replace(url=wanted.otherwise)
        found = _find_profiles(helper, wanted, profiles)
    fit = helper.traits.fit
    return wanted, [one for one in found if fit is None or fit(wanted, one) is not False]


def _find_profiles(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> list[Profile]:
    """Return the profiles of a URL and its user; of a refused request, all that it could mean."""
    if wanted.is_foreign:
        return []
    if wanted.profile is not None:
        from brokerctl.broker.request import find_profile  # noqa: PLC0415 - a helper in a session

        return [find_profile(profiles, wanted.profile)]
    from brokerctl.config.hosts import find_profiles  # noqa: PLC0415 - as above

    is_named = helper.traits.names_user and wanted.action != ERASE
    try:
        return find_profiles(
            wanted.url or "", profiles.values(), wanted.username if is_named else None
        )
    except UsageError:
        return []  # no profile's host is spelled so: it belongs to none


def complete(
    caller: Caller,
    helper: Helper,
    request: TokenRequest,
    wanted: CredentialRequest,
    profile: Profile,
) -> TokenRequest:
    """Return the request with the tool's details; UsageError if it can't have this profile."""
    fit = helper.traits.fit
    refusal = fit(wanted, profile) if fit else True
    if isinstance(refusal, UsageError):
        raise refusal
    if wanted.subject not in {None, request.subject}:
        if request.requester.session is not None:
            raise DeniedError("a session is for one subject, which it was started with")
        request = request.replace(subject=wanted.subject)
    if wanted.scopes is not None:
        request = request.replace(scopes=wanted.scopes)
    by = None if profile.insecure_ok else caller.find_unchecked(helper, wanted)
    return request.replace(
        is_insecure=wanted.is_insecure or by is not None,
        insecure_by=by,
        route=wanted.route,
        margin=wanted.margin if profile.exchange else None,
    )
