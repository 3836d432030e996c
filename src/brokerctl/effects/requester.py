"""Who asks: the process that started us, read once from /proc; what can't be read is None."""

from __future__ import annotations

from brokerctl.model import Requester
from brokerctl.system import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PARENTS = 6
_CI_VARIABLES = ("GITHUB_RUN_ID", "CI_JOB_ID", "BUILDKITE_JOB_ID", "CIRCLE_WORKFLOW_JOB_ID")


def read_requester(environ: Mapping[str, str], tool: str, session: str | None = None) -> Requester:
    """Return the requester: evidence for the record and no boundary against the same user."""
    pid = os.getppid()
    exe = _executable(pid)
    ci = next((environ[name] for name in _CI_VARIABLES if environ.get(name)), None)
    return Requester(
        uid=os.getuid(), pid=pid, exe=exe, parents=_parents(pid), tool=tool, session=session, ci=ci
    )


def _parents(pid: int) -> tuple[tuple[str | None, str | None], ...]:
    found: list[tuple[str | None, str | None]] = []
    _, above = _name_and_parent(pid)
    while above > 0 and len(found) < MAX_PARENTS:
        name, next_above = _name_and_parent(above)
        found.append((name, _executable(above)))
        above = next_above
    return tuple(found)


def _name_and_parent(pid: int) -> tuple[str | None, int]:
    """Read `pid (name) state ppid …`; the name may hold anything, so look for the last bracket."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 512).decode("utf-8", "replace")
        finally:
            os.close(fd)
        start, end = text.index("("), text.rindex(")")
        return text[start + 1 : end], int(text[end + 2 :].split(" ", 2)[1])
    except (OSError, ValueError, IndexError):
        return None, 0


def _executable(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None
