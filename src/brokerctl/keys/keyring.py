"""The OS keyring as keeper: the Secret Service, KWallet or the macOS keychain.

It is talked to in a child process with a time limit: a locked keyring opens a dialogue and waits
for it, and a broken session bus may never answer.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

from brokerctl import jsonlite
from brokerctl.errors import KeyLockedError, StoreError
from brokerctl.keys.making import new_key_text
from brokerctl.keys.ring import parse_key
from brokerctl.platform.awaited_programs import AWAITED
from brokerctl.platform.commands import environ_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.keys import Means
    from brokerctl.keys.pin import Pin

SERVICE = "brokerctl"
UNLOCK = "run 'brokerctl unlock'"
# Over ssh or in cron: what is to be run is to be run somewhere else, so it is no command to copy.
AWAY = (
    "have another keeper: in the session that has the keyring,"
    " brokerctl store rekey --to passphrase moves the key to one"
)
ANSWER_S = 2.0  # from when the libraries are loaded; a keyring that is there answers in 0.1
PERSON_S = 120.0  # where a person may be asked to unlock it
_START_S = 20.0  # for Python and the libraries on a busy machine
_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keyring_child.py")
_MAX_BYTES = 65536


class KeyringKeeper:
    """Keeps the key as an entry of service `brokerctl`, user the key's id."""

    def __init__(self, means: Means, *, answer_s: float = ANSWER_S) -> None:
        self._environ = environ_for("keyring", means.environ)
        self._may_prompt = means.ask is not None
        self._answer_s = PERSON_S if self._may_prompt else answer_s

    def make(self, wrap_id: str) -> tuple[bytes, str]:
        """Store a new key and read it back; this is the probe of contract 2."""
        text = new_key_text()
        try:
            stored = self._ask("keep", wrap_id, text)
        except KeyLockedError as error:
            raise KeyLockedError(error.message, hint="name another keeper") from error
        if stored != text:
            raise StoreError("the OS keyring did not give back what it was given")
        return parse_key(text), "{}"

    def fetch(self, pin: Pin) -> bytes:
        """Read the key; KeyLockedError if the keyring is locked or absent."""
        try:
            text = self._ask("fetch", pin.wrap_id)
        except KeyLockedError as error:
            # The person has been asked already: a second try to unlock would end the same way.
            hint = AWAY if error.hint == AWAY or self._may_prompt else UNLOCK
            raise KeyLockedError(error.message, hint=hint) from error
        try:
            return parse_key(text or "")
        except ValueError:
            raise StoreError(
                f"the OS keyring has no key for '{pin.wrap_id}' of service '{SERVICE}'",
                hint="put the entry back from a backup of the keyring",
            ) from None

    def drop(self, pin: Pin) -> None:
        """Delete the entry, if the keyring lets us."""
        try:
            self._ask("drop", pin.wrap_id)
        except KeyLockedError:
            return  # an entry that nothing is sealed by is harmless

    def _ask(self, do: str, user: str, secret: str | None = None) -> str | None:
        request = {
            "do": do,
            "service": SERVICE,
            "user": user,
            "secret": secret,
            "may_prompt": self._may_prompt,
        }
        answer = self._converse(jsonlite.dumps(request).encode() + b"\n")
        if "error" in answer:
            is_away = answer["error"] == "not here"
            raise KeyLockedError(str(answer.get("reason")), hint=AWAY if is_away else None)
        found = answer.get("secret")
        return found if isinstance(found, str) else None

    def _converse(self, request: bytes) -> dict[str, Any]:
        with AWAITED:
            line = self._run(request)
        if not line:
            raise KeyLockedError(f"the OS keyring gave no answer within {self._answer_s:g} s")
        try:
            return dict(jsonlite.loads(line))
        except (ValueError, TypeError):
            raise KeyLockedError("the OS keyring's process answered nonsense") from None

    def _run(self, request: bytes) -> bytes:
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
            )
        except OSError as error:
            raise KeyLockedError("the OS keyring's process does not start") from error
        try:
            return _exchange(child, request, self._answer_s)
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()


def _exchange(child: subprocess.Popen[bytes], request: bytes, answer_s: float) -> bytes:
    if child.stdin is None or child.stdout is None:  # pragma: no cover - both are pipes
        return b""
    try:
        child.stdin.write(request)
        child.stdin.close()
    except BrokenPipeError:
        raise KeyLockedError("the OS keyring's process does not start") from None
    if _line(child.stdout.fileno(), _START_S) != b"ready":
        raise KeyLockedError("the OS keyring's process does not start")
    return _line(child.stdout.fileno(), answer_s)


def _line(fd: int, wait_s: float) -> bytes:
    """Read one line, byte by byte so that nothing of the next is lost; empty if it is late."""
    line, deadline = b"", time.monotonic() + wait_s
    while not line.endswith(b"\n") and len(line) < _MAX_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
            return b""
        byte = os.read(fd, 1)
        if not byte:
            return b""
        line += byte
    return line[:-1]
