"""For a CI job without a home: keys and a store in memory, the log in a folder of its own.

Nothing is written to the state home, and nothing stays but the record, in the platform's temporary
folder (contract, section 2). The keys end with the process: the record can be read afterwards, but
its chain can't be verified.
"""

from __future__ import annotations

from brokerctl.errors import AuditError, StoreError
from brokerctl.keys.making import new_ring
from brokerctl.platform.private_files import open_folder
from brokerctl.platform.system import os, stat
from brokerctl.store.file.memory import MemorySystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.platform.private_files import Folder

# GitHub's, Azure's and the usual one: the first that names a folder is taken.
_BASES = ("RUNNER_TEMP", "AGENT_TEMPDIRECTORY", "TMPDIR")
_LAST_BASE = "/tmp"  # noqa: S108 - a 0700 folder of ours with a name of chance is made in it
_PREFIX = "brokerctl-log-"
_NAME_BYTES = 16


class MemoryHome:
    """The store in memory: one for each process, so that a second opening finds what is in it."""

    def __init__(self) -> None:
        self.folder = MemorySystem().folder("memory")
        self.ring = new_ring()
        self._log: Folder | None = None

    def log_in(self, environ: Mapping[str, str], say: Callable[[str], None]) -> Folder:
        """Return the record's folder, which the first call makes and notes; raises AuditError."""
        if self._log is None:
            self._log = make_log_folder(environ)
            say(
                f"no store here, so nothing is kept after this command;"
                f" its record is {self._log.path}/log"
            )
        return self._log


_held: list[MemoryHome] = []


def hold_memory() -> MemoryHome:
    """Return the memory of this process."""
    if not _held:
        _held.append(MemoryHome())
    return _held[0]


def make_log_folder(environ: Mapping[str, str]) -> Folder:
    """Make the private folder of this process's record; AuditError if that fails.

    Security: its name is random, and owner, mode and parent folders are checked as for any home: a
    folder to which others can write is refused, unless it is sticky.
    """
    path = f"{_find_base(environ)}/{_PREFIX}{os.urandom(_NAME_BYTES).hex()}"
    try:
        folder = open_folder(path)
    except StoreError as error:
        raise AuditError(f"no record can be kept: {error.message}", hint=error.hint) from error
    assert folder is not None  # noqa: S101 - it is made if missing
    return folder


def _find_base(environ: Mapping[str, str]) -> str:
    for name in _BASES:
        base = environ.get(name, "")
        if base.startswith("/") and _is_folder(base):
            return base.rstrip("/")
    return _LAST_BASE


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
