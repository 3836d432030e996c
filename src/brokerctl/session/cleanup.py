"""Ends a session's own tokens and private files, and reports processes that outlived it.

A session with shared tokens and without files does not import it.
"""

from __future__ import annotations

import _thread
import os
import time

from brokerctl.broker.events import shown_requester
from brokerctl.errors import BrokerError
from brokerctl.freshness import timestamp
from brokerctl.model import LOCAL_ONLY, UNKNOWN
from brokerctl.session import leftovers, token_files
from brokerctl.store.entry import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from brokerctl.secret import Secret
    from brokerctl.session import Ended, SessionStore, Tools
    from brokerctl.session.token_files import TokenFolder
_MOST_BYTES = 1 << 20
_MOMENT_S = 0.1


class SessionEnd:
    """What one session must end: in the store from before its first token until all have ended."""

    def __init__(
        self,
        session_id: str,
        own: tuple[str, ...],
        tools: Tools,
        *,
        has_files: bool,
        is_asked: bool = False,
        **more: Any,  # noqa: ANN401 - of leftovers.describe
    ) -> None:
        """`is_asked`: `--revoke` was given, so a token that is not revoked must be reported.

        `more`: what the entry says of the session beside its tokens; see `leftovers.Session`.
        """
        folder = None
        if has_files:
            folder = token_files.folder_path(tools.environ, session_id, tools.system)
        self.session = leftovers.describe(session_id, own, folder, tools.grants_of(own), **more)
        self._tools = tools
        self._is_asked = is_asked
        self._name = tools.name_of(session_id)
        self._finish: Callable[[], bool] = lambda: True
        self._identity = (0, 0)  # of the folder
        self._noting = _thread.allocate_lock()  # threads must not lose each other's grants
        self._others: list[Tools] = []  # with grants that the configuration did not name at first

    def begin(self) -> None:
        """Write the entry by which a later command finds what a SIGKILL left behind.

        It is recorded what the session is given; what can't be recorded is not begun.
        """
        tools, session = self._tools, self.session
        tools.store.put_sealed(SESSION, self._name, leftovers.render_session(session))
        requester = shown_requester(tools.requester(session.id))
        fields = leftovers.about(session) | {"serves": list(session.serves), "requester": requester}
        narrowed = leftovers.narrowing(session).items()
        fields |= {name: value for name, value in narrowed if value is not None}
        try:
            tools.record("session.started", fields)
        except BaseException:
            leftovers.drop(tools.store, self._name)
            raise

    def fill(self, files: Mapping[str, Secret], ends_at: float | None) -> dict[str, str]:
        """Note when the last token expires and write the files; return their paths by variable.

        Raises SessionEndedError if another process has ended the session meanwhile.
        """
        self.note(ends_at=ends_at)
        folder = self.session.folder
        if folder is None:
            return {}
        self._identity = token_files.write_files(folder, files, self._tools.system)
        return {variable: f"{folder}/{variable}" for variable in files}

    def note(self, store: SessionStore | None = None, **changes: Any) -> None:  # noqa: ANN401 - of Session
        """Change what the entry says, as the child's process id or when the last token expires.

        `store` is another thread's. Raises SessionEndedError as `fill`.
        """
        self.session = leftovers.change(store or self._tools.store, self._name, **changes)

    def is_ended(self, store: SessionStore | None = None) -> bool:
        """Return whether another process has ended the session: see `leftovers.is_ended`."""
        return leftovers.is_ended(store or self._tools.store, self._name)

    def renew(self, start: Callable[[], object], finish: Callable[[], bool]) -> None:
        """Start what renews the files' tokens, once the child runs; `finish` it before all ends.

        `finish` returns False where a token may still be on its way.
        """
        try:
            start()
        except RuntimeError as error:  # a limit of threads or memory
            self._say(f"no token file is renewed: {str(error).lower()}")
        else:
            self._finish = finish

    def leave_open(self) -> None:
        """Keep the entry after the end: a token may be on its way, which a later command ends."""
        before = self._finish
        self._finish = lambda: before() and False

    def open_files(self) -> TokenFolder:
        """Open the folder of the files; FileGoneError, StoreError."""
        folder, system = self.session.folder, self._tools.system
        assert folder is not None  # noqa: S101 - there are files
        return token_files.TokenFolder(folder, self._identity, system)

    def note_grants(self, tools: Tools) -> None:
        """Note the grants that an edited configuration leads to, before a token comes of them."""
        names = tuple(one for one in self.session.profiles if one in tools.profiles)
        found = tools.grants_of(names)
        with self._noting:
            grants = tuple(dict.fromkeys((*self.session.grants, *found)))
            if grants != self.session.grants:
                self._others.append(tools)
                self.note(tools.store, grants=grants)

    def _revoke(self, session_id: str, names: tuple[str, ...]) -> Iterable[Ended]:
        for tools in (self._tools, *self._others):
            known = tuple(one for one in names if tools is self._tools or one in tools.profiles)
            yield from tools.revoke_own(session_id, known)

    def end(self) -> None:
        """End files and tokens; a failure is reported, and left to a later command."""
        tools = self._tools
        is_over = self._finish()
        try:
            ended = leftovers.settle(
                *(self.session, tools.store, self._name, self._revoke, tools.system),
                is_over=is_over,
            )
        except BrokerError as error:
            self._say(f"not all of the session ended: {error.message}")
        except OSError as error:
            self._say(f"not all of the session ended: {os.strerror(error.errno or 0).lower()}")
        except Exception as error:  # noqa: BLE001 - a bug here must not cost the child's exit code
            self._say(f"not all of the session ended: unexpected {type(error).__name__}")
        else:
            self._report(ended)

    def _report(self, ended: Iterable[Ended]) -> None:
        for one in ended:
            if one.notice:
                self._say(one.notice)
            if one.outcome == LOCAL_ONLY and self._is_asked:
                until = "the issuer ends it" if one.until is None else timestamp(one.until)
                self._say(f"the token of '{one.profile}' lives until {until}: {one.reason}")
            if one.outcome == UNKNOWN:
                reason = f": {one.reason}" if one.reason else ""
                is_kept = self._tools.is_kept(one.profile)
                after = "later commands try again" if is_kept else "no later command knows it"
                self._say(f"the token of '{one.profile}' may still be alive{reason}; {after}")

    def report_survivors(self, held: Iterable[tuple[str, str]]) -> None:
        """Report processes that outlived the child and hold one of these variables."""
        for survivor in find_survivors(held):
            who = f"{survivor.name} (process {survivor.pid})"
            self._say(f"still running with an ended token: {who}")

    def _say(self, text: str) -> None:
        self._tools.warn(text)


class Survivor:
    """One process that holds a variable of ours."""

    __slots__ = ("name", "pid")

    def __init__(self, pid: int, name: str) -> None:
        self.pid = pid
        self.name = name


def find_survivors(assignments: Iterable[tuple[str, str]]) -> list[Survivor]:
    """Return processes of ours whose environment holds one of these NAME, VALUE pairs.

    This finds variables that were inherited, not copies of them: it informs people, and prevents
    nothing. Other processes of a pipeline get a moment to end first.
    """
    lines = [os.fsencode(f"{name}={value}") for name, value in assignments]
    found, is_sure = _find(lines)
    if is_sure and not found:
        return []
    time.sleep(_MOMENT_S)
    return _find(lines)[0]


def _find(lines: list[bytes]) -> tuple[list[Survivor], bool]:
    """Return the processes that hold one, and whether all processes could be examined."""
    own = os.getpid()
    found, is_sure = [], True
    try:
        entries = os.listdir("/proc") if lines else []
    except OSError:
        entries = []  # no /proc here: nothing to report
    for entry in entries:
        if not entry.isdigit() or int(entry) == own:
            continue
        text = _read(f"/proc/{entry}/environ")
        if not text and _is_starting(entry):
            is_sure = False
        environ = text.split(b"\0")
        if any(line in environ for line in lines):
            name = _read(f"/proc/{entry}/comm").decode("utf-8", "replace").strip()
            found.append(Survivor(int(entry), name))
    return found, is_sure


def _is_starting(entry: str) -> bool:
    """Return whether an empty environment is that of a process in the middle of its execve(2).

    An ended process and a kernel thread have an empty environment too, but no program.
    """
    try:
        return bool(os.readlink(f"/proc/{entry}/exe"))
    except OSError:
        return False


def _read(path: str) -> bytes:
    """Read a file of /proc; b"" if it can't be read, as that of another user's process."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        pieces = []
        while piece := os.read(fd, _MOST_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
    except OSError:
        return b""
    finally:
        os.close(fd)
