"""Go's GOAUTH protocol (`go help goauth`), Go 1.24 and later.

Go asks without a URL at its start, and again with a URL after a 4xx response. The answer names URL
prefixes, which Go uses as long as it runs.

Security: Go asks for any host that a module's path or a redirect names. So the prefixes are the
profile's own hosts and not the URL that was asked for; only a `*` is replaced by the host in that
URL. GOINSECURE, in our environment too, names hosts whose certificate Go may not check.
"""

from __future__ import annotations

from brokerctl.config.hosts import covering, covers, parse_url, split_pattern
from brokerctl.errors import UsageError
from brokerctl.helpers import (
    GET,
    Credential,
    CredentialRequest,
    HelperReply,
    HelperTraits,
    MalformedError,
    answered,
)
from brokerctl.helpers.outcomes import Acknowledged, Malformed, NotOurs, OwnCredential, Refused
from brokerctl.helpers.profile_option import split_profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers import Outcome
    from brokerctl.model import Profile

_INSECURE = "GOINSECURE"
_PORT = 443
_HTTPS = "https://"  # Go asks for no other scheme, not even on loopback


def fit(wanted: CredentialRequest, profile: Profile) -> bool:
    """Return False for a profile that is named in GOAUTH, but is not for this host."""
    if wanted.url is None:  # the host for a `*` comes with the next call
        hosts = [host for host in profile.hosts if host.startswith(_HTTPS)]
        return not hosts or any(_prefix(host, None) for host in hosts)
    try:
        return covers(profile, wanted.url)
    except UsageError:
        return False  # a spelling that no host has


class Goauth:
    """`brokerctl helper goauth [--profile NAME] [URL]`; exit codes are brokerctl's own.

    Stdin has the server's response: it decides nothing here, and is not read.
    """

    traits = HelperTraits(variables=(_INSECURE,), fit=fit)

    def read(
        self,
        words: list[str],
        stdin: bytes,  # noqa: ARG002 - see above
        environ: Mapping[str, str],
    ) -> CredentialRequest:
        """Read the URL; without one the answer is empty, unless a profile is named."""
        profile, rest = split_profile(words)
        globs = environ.get(_INSECURE) or None
        if not rest:
            return (
                answered(HelperReply())
                if profile is None
                else CredentialRequest(action=GET, profile=profile, form=globs)
            )
        if len(rest) > 1:
            raise MalformedError("it is not [--profile NAME] [URL]")
        if not rest[0].startswith(_HTTPS):
            return answered(HelperReply())
        is_insecure = is_unchecked(rest[0], globs)
        return CredentialRequest(
            action=GET, url=rest[0], profile=profile, is_insecure=is_insecure, form=globs
        )

    def answer(self, outcome: Outcome) -> HelperReply:
        """Render the prefixes and the header; Go shows a failure with -x."""
        match outcome:
            case Credential():
                return _render(outcome)
            case Malformed():
                return HelperReply(exit_code=UsageError.exit_code)
            case Refused():
                return HelperReply(exit_code=outcome.error.exit_code)
            case NotOurs() | OwnCredential() | Acknowledged():
                return HelperReply()


def _render(found: Credential) -> HelperReply:
    """Render the prefixes and the header; an empty line has to follow each."""
    profile, wanted = found.profile, found.request
    prefixes = [prefix for host in profile.hosts if (prefix := _prefix(host, wanted.url))]
    if not profile.insecure_ok:
        prefixes = [prefix for prefix in prefixes if not is_unchecked(prefix, wanted.form)]
    if not prefixes:
        raise UsageError(
            f"'{profile.name}' has no https host that go could ask for and would check",
            hint="write one into its hosts, or take it out of GOINSECURE",
        )
    header = f"Authorization: Bearer {found.token.value.reveal()}"
    return HelperReply(stdout="\n".join([*sorted(set(prefixes)), "", header, "", ""]).encode())


def _prefix(pattern: str, asked: str | None) -> str | None:
    """Return one of a profile's hosts as a prefix; None if Go can't ask for it."""
    if not pattern.startswith(_HTTPS):
        return None
    if not pattern.startswith(f"{_HTTPS}*."):
        return pattern
    if asked is None:
        return None
    url = parse_url(asked)
    if covering(url, pattern) is None:
        return None
    return url.origin + split_pattern(pattern).path


def is_unchecked(url: str, globs: str | None) -> bool:
    """Return whether Go may ask for this without checking the certificate: GOINSECURE's globs.

    The globs are for module paths, whose first part is the host, without a port. In doubt a glob
    counts: only its first part is compared, and what stands in brackets matches anything.
    """
    if not globs:
        return False
    from fnmatch import fnmatchcase  # noqa: PLC0415 - hardly anybody sets it

    try:
        asked = parse_url(url)
    except UsageError:
        return False  # a spelling that no host has
    hosts = [glob.partition("/")[0].lower() for glob in globs.split(",")]
    return asked.port == _PORT and any(
        "[" in host or "\\" in host or fnmatchcase(asked.host, host) for host in hosts
    )
