"""The back end for Python's `keyring` library: pip, twine and poetry ask it in their own process.

It runs in environments where brokerctl is not installed, so it imports nothing of ours: it runs the
installed `brokerctl helper keyring`, which decides. If brokerctl has no answer, it returns None and
raises nothing, and the library asks its next back end.

Security: brokerctl's own keys and `{ keyring = … }` references never come here, since
keys/keyring_child.py names the back ends that it uses. Other commands that brokerctl runs to get a
secret get BROKERCTL_NO_KEYRING in their environment, and then no answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from keyring.backend import KeyringBackend, get_all_keyring
from keyring.backends.chainer import ChainerBackend
from keyring.credentials import SimpleCredential
from keyring.errors import PasswordDeleteError, PasswordSetError

SILENCE = "BROKERCTL_NO_KEYRING"
WAIT_S = 60.0  # longer than brokerctl's own limits, on a machine that gives it a processor


class NotSetError(PasswordSetError, NotImplementedError):
    """Raised if another back end may keep it: on NotImplementedError the library asks the next."""


class NotDeletedError(PasswordDeleteError, NotImplementedError):
    """As NotSetError, for a deletion."""


class Backend(KeyringBackend):
    """Answers for the hosts of brokerctl's profiles with a short-lived token."""

    # An absolute path, which the library sets from KEYRING_PROPERTY_BROKERCTL; None: the program
    # next to this interpreter.
    brokerctl: str | None = None

    # Above every keyring that stores: these are asked if we have no answer.
    priority = 9

    def get_password(self, service: str, username: str) -> str | None:
        """Return a token for this user of a URL or host, or None."""
        found = self.get_credential(service, username)
        return None if found is None else found.password

    def get_credential(self, service: str, username: str | None) -> SimpleCredential | None:
        """Return a user and a token for a URL or host, or None."""
        if os.environ.get(SILENCE) or not is_place(service):
            return None
        program = find_program(self.brokerctl)
        return None if program is None else ask(program, service, username)

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002 - the interface
        """Raise, since nothing is kept; as a plain error if no other back end would keep it."""
        kind = NotSetError if _has_other() else PasswordSetError
        raise kind("brokerctl keeps no passwords of others")

    def delete_password(self, service: str, username: str) -> None:  # noqa: ARG002 - the interface
        """Raise, since nothing is kept that could be deleted."""
        kind = NotDeletedError if _has_other() else PasswordDeleteError
        raise kind("brokerctl keeps no passwords of others")


def is_place(service: str) -> bool:
    """Return whether a service may be a URL or a host; if not, brokerctl is not asked."""
    if service.startswith(("https://", "http://")):
        return True
    return service[:1] != "-" and service.isascii() and bool({".", ":"}.intersection(service))


def find_program(given: str | None) -> str | None:
    """Return the path of brokerctl; never one that depends on the working folder."""
    path = given or os.path.join(os.path.dirname(sys.executable or ""), "brokerctl")
    return path if os.path.isabs(path) and os.access(path, os.X_OK) else None


def _has_other() -> bool:
    """Return whether a back end that keeps passwords comes after this one."""
    return any(
        ring.priority > 0
        for ring in get_all_keyring()
        if not isinstance(ring, ChainerBackend) and not hasattr(type(ring), "brokerctl")
    )


def ask(
    program: str, service: str, username: str | None, wait_s: float = WAIT_S
) -> SimpleCredential | None:
    """Run brokerctl for one credential; None if it has none, or does not end."""
    words = [program, "helper", "keyring", "--mode=creds", "--output=json", "get", "--", service]
    try:
        done = subprocess.run(
            words if username is None else [*words, username],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=wait_s,
            check=False,
        )
        if done.returncode != 0:
            return None
        fields = json.loads(done.stdout)
        user, password = fields["username"], fields["password"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return None  # pip would use no back end at all after an exception
    is_text = isinstance(user, str) and isinstance(password, str)
    return SimpleCredential(user, password) if is_text else None
