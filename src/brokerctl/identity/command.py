"""A token that a program prints: one that the profile names, or a platform's own."""

from __future__ import annotations

from brokerctl.errors import UsageError
from brokerctl.identity.by_variables import ByVariables
from brokerctl.identity.proof import as_token
from brokerctl.oauth.steps import Run
from brokerctl.platform.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.identity import IdentitySteps
    from brokerctl.model import Reference

AUDIENCE = "{audience}"  # in a profile's command: what is put there


class TokenCommand(ByVariables):
    """A program that the profile names. With no job known, what comes of it is stored nowhere."""

    def ask(self, source: Reference, environ: Mapping[str, str], audience: str) -> IdentitySteps:  # noqa: ARG002 - the driver has it
        """Yield the command, with the audience in place of `{audience}`."""
        words = tuple(word.replace(AUDIENCE, audience) for word in source.target)
        return (yield from run(words, source.target[0]))


def run(words: tuple[str, ...], title: str) -> IdentitySteps:
    """Yield a command; return the one token that it printed."""
    data = yield Run(words=words)
    try:
        lines = data.decode("ascii").split()
    except UnicodeDecodeError:
        lines = []
    if len(lines) != 1:
        raise UsageError(f"{title} printed {len(lines) or 'no'} words where one token is wanted")
    return as_token(lines[0], title), True


def find_program(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the path of a program; None where there is none."""
    for folder in environ.get("PATH", "").split(":"):
        if folder.startswith("/") and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return None
