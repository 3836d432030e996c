"""The keeper for CI: BROKERCTL_KEY or BROKERCTL_KEY_FILE is the wrapping key itself."""

from __future__ import annotations

import os
import stat

from brokerctl.errors import KeyLockedError, StoreError, UsageError
from brokerctl.keys.ring import parse_key
from brokerctl.platform.private_files import is_read_only, mode_hint, place_hint, read_all, refused
from brokerctl.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.keys import Means
    from brokerctl.keys.pin import Pin
    from brokerctl.platform.system import System

MAX_BYTES = 4096
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
VARIABLE = "BROKERCTL_KEY"


def is_given(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether the environment gives this secret, in either form."""
    return bool(environ.get(name) or environ.get(f"{name}_FILE"))


def find_given(name: str, environ: Mapping[str, str], system: System) -> Secret | None:
    """Return the secret, without a line end behind it; None if the environment has none."""
    value, path = environ.get(name), environ.get(f"{name}_FILE")
    if value and path:
        raise UsageError(f"both {name} and {name}_FILE are set", hint=f"unset {name}")
    if value:
        return _without_end(value)
    if not path:
        return None
    try:
        text = _read(path, system).decode("utf-8")
    except OSError as error:
        raise refused(path, error) from error
    except UnicodeDecodeError:
        raise StoreError(f"{path} is not text") from None
    return _without_end(text)


def _without_end(text: str) -> Secret:
    return Secret(text.removesuffix("\n").removesuffix("\r"))


def _read(path: str, system: System) -> bytes:
    # Links are followed: Kubernetes mounts secrets through them. Security: who may *read* the file
    # is the platform's choice (docker's are 0444); a file that others can write to is refused.
    fd = system.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = system.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path} is not a regular file")
        if found.st_uid not in {0, system.geteuid()}:
            raise StoreError(f"{path} belongs to another user", hint=place_hint("secret"))
        if found.st_mode & _OTHERS_WRITE and not is_read_only(fd, system):
            hint = mode_hint("600", path, found.st_uid, "secret", system)
            raise StoreError(f"{path} can be written to by others", hint=hint)
        if found.st_size > MAX_BYTES:
            raise StoreError(f"{path} is larger than it can be")
        return read_all(fd, found.st_size, system)
    finally:
        system.close(fd)


class EnvKeeper:
    """Reads the key from the environment and stores nothing."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def make(self, wrap_id: str) -> tuple[bytes, str]:
        """Take the given key as the wrapping key; there is nothing to note."""
        del wrap_id
        return self._key(), "{}"

    def fetch(self, pin: Pin) -> bytes:
        """Return the given key."""
        del pin
        return self._key()

    def drop(self, pin: Pin) -> None:
        """Do nothing: the variable is its owner's to unset."""

    def _key(self) -> bytes:
        given = find_given(VARIABLE, self._means.environ, self._means.system)
        if given is None:
            raise KeyLockedError(
                f"the key of this store is kept in {VARIABLE}, which is not set",
                hint=f"set {VARIABLE} or {VARIABLE}_FILE",
            )
        try:
            return parse_key(given.reveal())
        except ValueError as error:
            raise StoreError(
                f"{VARIABLE} is {error}", hint="run 'brokerctl store key' for a new one"
            ) from None
