"""The steps of `store backup` and `store restore`: passphrase, file and record."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from brokerctl.broker.events import event
from brokerctl.config.references import find_outside
from brokerctl.effects import terminal
from brokerctl.errors import StoreError, UsageError
from brokerctl.keys.env import find_given
from brokerctl.keys.passphrase import (
    VARIABLE,
    derive_key,
    new_parameters,
    parse_parameters,
    render_parameters,
)
from brokerctl.output import write_fully
from brokerctl.platform.process import read_requester
from brokerctl.platform.system import SYSTEM
from brokerctl.secret import Secret
from brokerctl.store import backup

if TYPE_CHECKING:
    from brokerctl.config.references import Outside
    from brokerctl.home import Home
    from brokerctl.store.backup import BackupReport, RestoreReport

STDOUT = "-"
_MAX_BYTES = 512 * 1024 * 1024
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def write_backup(home: Home, path: str) -> BackupReport:
    """Seal everything under a passphrase into a new file that its owner alone can read."""
    if path == STDOUT and sys.stdout.isatty():
        raise UsageError("the archive is not text", hint="name a file, or pipe it somewhere")
    if path != STDOUT and os.path.lexists(path):
        raise UsageError(f"{path} is there already", hint="name a new file")
    parameters = new_parameters()
    key = derive_key(_passphrase(is_new=True), parameters)
    data, report = backup.backup(
        home.store, key, render_parameters(parameters), _secret_names(home)
    )
    # Security: recorded first, since archive and passphrase together give every grant.
    fields = {"entries": sum(report.counts.values()), "requester": _requester()}
    home.log.append(*event("store.backup", fields), durable=True)
    _write(path, data)
    return report


def find_missing(home: Home) -> tuple[Outside, ...]:
    """Return the secrets that profiles name and that an archive of this store lacks."""
    return find_outside(
        home.plan.profiles.values(), lambda name: home.find_secret(name) is not None
    )


def read_backup(home: Home, path: str) -> RestoreReport:
    """Restore what a file holds, with the passphrase of its backup."""
    data = _read(path)
    passphrase = _passphrase(is_new=False)
    fields: dict[str, object] = {"requester": _requester()}
    report = backup.restore(
        home.store, data, lambda kdf: derive_key(passphrase, parse_parameters(kdf))
    )
    for name in ("restored", "kept", "refused"):
        fields[name] = len(getattr(report, name))
    home.log.append(*event("store.restored", fields), durable=True)
    return report


def _requester() -> object:
    return read_requester(os.environ, "store")


def _secret_names(home: Home) -> tuple[str, ...]:
    """Return the names of stored secrets, from the profiles: their entries' names are hashed."""
    profiles = home.plan.profiles.values()
    references = [found for one in profiles for found in (one.client_secret, one.client_key)]
    return tuple(found.target[0] for found in references if found and found.kind == "store")


def _passphrase(*, is_new: bool) -> Secret:
    given = find_given(VARIABLE, os.environ, SYSTEM)
    if given is None:
        if not terminal.is_interactive():
            raise UsageError(
                "a passphrase is needed and nobody can be asked", hint=f"set {VARIABLE}_FILE"
            )
        given = Secret(terminal.ask_secret("passphrase of the archive"))
        if is_new and given != Secret(terminal.ask_secret("the same again")):
            raise UsageError("the two passphrases differ")
    if not given:
        raise UsageError("an empty passphrase protects nothing")
    return given


def _write(path: str, data: bytes) -> None:
    try:
        if path == STDOUT:
            write_fully(sys.stdout.fileno(), data)
            return
        fd = os.open(path, _NEW_FILE, 0o600)
        try:
            write_fully(fd, data)
            os.fsync(fd)
        except OSError:
            os.unlink(path)  # half an archive is useless
            raise
        finally:
            os.close(fd)
    except OSError as error:
        raise _failed("write", path, error) from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _failed("read", path, error) from error
    if len(data) > _MAX_BYTES:
        raise StoreError(f"{path} is larger than an archive can be")
    return data


def _failed(what: str, path: str, error: OSError) -> StoreError:
    reason = os.strerror(error.errno or 0).lower()
    return StoreError(f"can't {what} {path}: {reason}", hint="name another file")
