"""Other tools' credential protocols, a folder each, and the table that names them.

A protocol has two methods, and is values in, values out: `read` makes a `CredentialRequest` of
what a tool sends, and `answer` renders what came of it. That is one of the closed set `Outcome`,
whose five kinds are *credential, not ours, login needed, denied, failed* (contract, section 6).
What else tells tools apart are its traits, data. The I/O is `serve`'s, and who may have what is
the broker's: a helper is one more way to ask it.
"""

from __future__ import annotations

from brokerctl.broker.request import find_profile
from brokerctl.config.hosts import find_profiles
from brokerctl.errors import UsageError
from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from brokerctl.helpers.outcomes import OutcomeWithoutToken
    from brokerctl.model import AccessToken, Profile, TokenRequest
    from brokerctl.secret import Secret

USERNAME = "oauth2"  # where a profile names none: any does with a token; GitLab wants this one
# What is asked: a credential; that a rejected one be used no more; that none be used; all hosts;
# whose it would be, which hands nothing out.
GET, ERASE, FORGET, LIST, NAME = "get", "erase", "forget", "list", "name"
STORE = "store"  # that a secret be kept: what is ours need not be
NONE = "none"  # nothing: the reply is known already
# How a tool's request comes on stdin: not at all, up to an empty line, up to the end, or many of
# them, a line each, to be answered one by one.
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
    """A request that no honest tool sends; its text says why, and holds nothing of the request."""


class Terms(Value):
    """What a tool says of a credential of its own that it wants kept."""

    expires_at: float | None = None
    refresh_token: Secret | None = None  # for the tool's own use
    lifetime_s: int | None = None  # how long it may be kept


class HelperReply(Value):
    """What the tool is told: bytes for its stdout, and the exit code of its protocol."""

    stdout: bytes = b""
    exit_code: int = 0
    file: str | None = None  # where the tool wants the same bytes kept
    note: str | None = None  # one line for a person, on stderr


class CredentialRequest(Value):
    """What a tool asks for; `url` or `profile` says whose, and with both the URL must be its."""

    action: str  # get | erase | forget | list | name | store | none
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
    margin: tuple[float, float] | None = None  # as that of `TokenRequest`, if a token is exchanged
    can_bearer: bool = False  # the tool sends what it is told to, and the server wants a bearer
    form: str | None = None  # what the protocol has to remember for its answer
    reply: HelperReply | None = None  # of none


class HelperTraits(Value):
    """What other files ask about a tool: data, and what it demands of a profile.

    `fit` says of a profile that was found for a request: True; False where it is not for this
    request after all; or the UsageError that refuses it, before a token is asked for. `unchecked`
    names what has the tool check no certificate of the request's server, as far as that can be seen
    (`CredentialRequest.is_insecure` is for those whose request says it).
    """

    stdin: str = NOTHING
    words_with_stdin: tuple[str, ...] = ()  # the requests that have something there; none: all
    greeting: bytes = b""  # what is said before the first of many lines
    takes_bearer: bool = True  # False: what it wants is of another kind
    names_user: bool = True  # False: what is asked for has no user, whatever is stored has
    tells_errors: bool = False  # the tool shows what its answer says of an error
    is_silent: bool = False  # nothing may be written to stderr, the answer says it all
    is_last: bool = False  # the tool has nobody else to ask, so that no answer is an error
    own_keys: tuple[str, ...] = ()  # ends of URLs that are the tool's own, wherever they are
    spelling: Callable[[str], str | None] | None = None  # how it asks for a host that it lists
    fit: Callable[[CredentialRequest, Profile], UsageError | bool] | None = None
    unchecked: Callable[[CredentialRequest, Mapping[str, str]], str | None] | None = None

    def stdin_for(self, words: list[str]) -> str:
        """Return how this request comes on stdin: people who type another are not waited for."""
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
            """Read a request; MalformedError for what is none, BrokerError for what is refused."""

        def answer(self, outcome: Outcome) -> HelperReply:
            """Render an outcome; UsageError where a token can't be what the tool takes."""


def load(tool: str) -> Helper:
    """Return a tool's protocol."""
    module, _, name = HELPERS[tool].partition(":")
    found = __import__(module, fromlist=(name,))
    helper: Helper = getattr(found, name)()
    return helper


def answered(reply: HelperReply) -> CredentialRequest:
    """Return the request of a tool that asks for nothing: the reply to it is known already."""
    return CredentialRequest(action=NONE, reply=reply)


def find_owners(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> tuple[CredentialRequest, list[Profile]]:
    """Return the reading of a request that counts, and the profiles that it belongs to, if any."""
    found = _find_profiles(helper, wanted, profiles)
    if not found and wanted.otherwise is not None:
        wanted = wanted.replace(url=wanted.otherwise)
        found = _find_profiles(helper, wanted, profiles)
    fit = helper.traits.fit
    return wanted, [one for one in found if fit is None or fit(wanted, one) is not False]


def _find_profiles(
    helper: Helper, wanted: CredentialRequest, profiles: Mapping[str, Profile]
) -> list[Profile]:
    """Return who the URL and its user belong to; of what is refused, whoever it could be."""
    if wanted.is_foreign:
        return []
    if wanted.profile is not None:
        return [find_profile(profiles, wanted.profile)]
    is_named = helper.traits.names_user and wanted.action != ERASE
    try:
        return find_profiles(
            wanted.url or "", profiles.values(), wanted.username if is_named else None
        )
    except UsageError:
        return []  # a spelling that no profile's host has, so it is nobody's


def complete(
    helper: Helper,
    request: TokenRequest,
    wanted: CredentialRequest,
    profile: Profile,
    environ: Mapping[str, str],
) -> TokenRequest:
    """Return a request with what the tool says of it; UsageError where the profile can't be its."""
    traits, by = helper.traits, None
    refusal = traits.fit(wanted, profile) if traits.fit else True
    if isinstance(refusal, UsageError):
        raise refusal
    if traits.unchecked and not profile.insecure_ok:
        by = traits.unchecked(wanted, environ)
    return request.replace(
        is_insecure=wanted.is_insecure or by is not None,
        insecure_by=by,
        route=wanted.route,
        margin=wanted.margin if profile.subject_token else None,
    )
