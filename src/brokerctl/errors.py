"""One tree of errors: the class has the exit code, the hint names the command to run next.

Rules of the room: a message is lower case without a full stop and names the thing; a class exists
only where a caller or the exit code differs; nothing secret is ever put into a message. The exit
codes are the table of the README and the man page.
"""

from __future__ import annotations

_PLAIN = "_@%+:,./-"  # without a special meaning inside a word for any shell


class BrokerError(Exception):
    """Anything that brokerctl reports in two lines: `error:` and, where there is one, `hint:`."""

    exit_code = 1
    name = "unexpected"
    usual_hint: str | None = None  # for an error without a hint of its own

    def __init__(self, message: str, *, hint: str | None = None, rule: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.rule = rule


class UsageError(BrokerError):
    """A wrong command line or configuration: nothing was changed."""

    exit_code = 2
    name = "usage"
    usual_hint = "run 'brokerctl --help'"


class LoginNeededError(BrokerError):
    """A person has to log in first."""

    exit_code = 3
    name = "login_needed"


class DeniedError(BrokerError):
    """The policy in force denies the request; `rule` names the rule."""

    exit_code = 4
    name = "denied"


class UsedUpError(DeniedError):
    """A rule or a lease says how often, and that was it, for now or for good."""


class SessionEndedError(DeniedError):
    """The session was ended by another command: from then on nothing is handed out in it."""

    name = "ended"


class IssuerError(BrokerError):
    """The issuer or the connection to it failed; the store is unchanged."""

    exit_code = 5
    name = "issuer"
    usual_hint = "run 'brokerctl doctor'"


class UnsentError(IssuerError):
    """There was no connection: nothing was sent, so no answer can have been lost."""


class OAuthError(IssuerError):
    """An error response of the issuer (RFC 6749, section 5.2); `error` is its code, unverified.

    `description` is the issuer's text and untrusted: it is escaped before it is shown.
    """

    def __init__(self, error: str, description: str | None = None, *, status: int = 400) -> None:
        super().__init__(f"the issuer answered {error}")
        self.error = error
        self.description = description
        self.status = status


class StoreError(BrokerError):
    """The store or the key ring can't be used; no grant was lost by it."""

    exit_code = 6
    name = "store"
    usual_hint = "run 'brokerctl doctor'"


class DamagedError(StoreError):
    """One entry can't be opened: cut, altered, swapped, rolled back or sealed by another key."""


class KeyLockedError(StoreError):
    """The data key exists, but is not available now."""

    name = "locked"


class AuditError(BrokerError):
    """The record can't be written or doesn't verify. No record, no token."""

    exit_code = 7
    name = "audit"
    usual_hint = "run 'brokerctl audit verify'"


class LockTimeoutError(BrokerError):
    """Another process held the lock for longer than we may wait."""

    exit_code = 8
    name = "lock_timeout"
    usual_hint = "run it again when that process has ended"


class PartialError(BrokerError):
    """Done in part: something is still alive, queued or set aside."""

    exit_code = 9
    name = "partial"


def shell_word(text: str) -> str:
    """Return text as one word of a command in a hint, however the hint is copied into a shell.

    Security: a hint's command stands between single quotes. Each character that is special for a
    shell gets a backslash, so that the word is one also without these quotes, and can't end them. A
    quote itself, or an invisible character, becomes the shell's `?`, which still matches the file.
    """
    if text.isascii() and text.replace("-", "").replace("_", "").isalnum() and text[0] != "-":
        return text
    if not text or text[0] == "-":
        text = f"./{text}" if text else "?"
    return "".join(char if char.isalnum() or char in _PLAIN else _quoted(char) for char in text)


def _quoted(char: str) -> str:
    return "?" if char == "'" or not char.isprintable() else f"\\{char}"


def not_in_this_version(thing: str) -> UsageError:
    """Return the error for a key, option or command that this version does not have."""
    return UsageError(f"{thing} is not in this version")


EXIT_CODES = (
    (0, "fine"),
    (1, "unexpected: a bug"),
    (2, "usage or configuration"),
    (3, "a person must log in"),
    (4, "denied by policy"),
    (5, "issuer or network"),
    (6, "store or key"),
    (7, "audit"),
    (8, "lock timed out"),
    (9, "done in part"),
)
