"""What a session must end: its own tokens and private files. Sharing sessions load none of it."""

from __future__ import annotations

import os

from brokerctl.errors import BrokerError
from brokerctl.freshness import timestamp
from brokerctl.session import leftovers, private, survivors
from brokerctl.store.entry import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerctl.secret import Secret
    from brokerctl.session import Ended, Tools


class Ends:
    """One session's debts, known to the store from before the first token until all have ended."""

    def __init__(
        self,
        session_id: str,
        own: tuple[str, ...],
        tools: Tools,
        *,
        has_files: bool,
        is_asked: bool = False,
    ) -> None:
        """`is_asked`: somebody said `--revoke`, and is told where that is not what came."""
        folder = None
        if has_files:
            folder = private.folder_path(tools.environ, session_id, tools.system)
        self.session = leftovers.describe(session_id, own, folder)
        self._tools = tools
        self._is_asked = is_asked
        self._name = tools.name_of(session_id)

    def begin(self) -> None:
        """Write the entry by which a later command finds what a SIGKILL left behind."""
        self._put()

    def fill(self, files: Mapping[str, Secret], ends_at: float | None) -> dict[str, str]:
        """Note when the last token expires and write the files; return their paths by variable."""
        self.session = self.session.replace(ends_at=ends_at)
        self._put()
        folder = self.session.folder
        if folder is None:
            return {}
        private.write_files(folder, files, self._tools.system)
        return {variable: f"{folder}/{variable}" for variable in files}

    def _put(self) -> None:
        data = leftovers.render_session(self.session)
        self._tools.store.put_sealed(SESSION, self._name, data)

    def end(self) -> None:
        """End files and tokens; what can't be ended is said and left to a later command."""
        tools = self._tools
        try:
            ended = leftovers.settle(
                self.session, tools.store, self._name, tools.revoke_own, tools.system
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
            if one.outcome == "local_only" and self._is_asked:
                until = "the issuer ends it" if one.until is None else timestamp(one.until)
                self._say(f"the token of '{one.profile}' lives until {until}: {one.reason}")
            if one.outcome == "unknown":
                reason = f": {one.reason}" if one.reason else ""
                is_kept = self._tools.is_kept
                after = "later commands try again" if is_kept else "no later command knows it"
                self._say(f"the token of '{one.profile}' may still be alive{reason}; {after}")

    def report_survivors(self, held: Iterable[tuple[str, str]]) -> None:
        """Name processes that outlived the child and hold one of these variables."""
        for survivor in survivors.find_survivors(held):
            who = f"{survivor.name} (process {survivor.pid})"
            self._say(f"still running with an ended token: {who}")

    def _say(self, text: str) -> None:
        self._tools.warn(text)
