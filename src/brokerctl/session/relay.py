"""Passes the child's output through us, masked, by a pipe or pseudo-terminal for each stream.

A thread for each stream reads, masks and writes; the supervisor waits for the child as usual.
Where stdout and stderr are the same file they stay one stream, so that their order stays.
"""

from __future__ import annotations

import errno
import fcntl
import queue
import select
import threading

from brokerctl.output import write_fully
from brokerctl.platform import signals
from brokerctl.platform.system import os
from brokerctl.session import child
from brokerctl.session.mask import Forms, Masker, forms_of
from brokerctl.session.supervise import Supervisor, start_monitored
from brokerctl.session.terminal import open_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerctl.session.supervise import ChildEnd
    from brokerctl.session.terminal import Terminal

    Action = tuple[int, ...]

_STREAMS = (1, 2)
_CHUNK_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024
_PAGE_BYTES = 4096  # a terminal's read gives no more; a larger buffer would cost time
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which Python 3.11's fcntl has only in some builds
_PIECES = 16  # in the queue: few, as output after ^C has to wait for them
_SETTLE_S = 0.02  # without output; then the first bytes of a possible secret are shown
_LINGER_S = 0.25  # after the child's end we wait so long for other writers
_GONE = frozenset((errno.EIO, errno.EBADF))  # reading a terminal whose other side is closed


class Writer(threading.Thread):
    """Writes to a terminal in a thread of its own, so that the child need not wait for it."""

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_PIECES)
        self._trouble: OSError | None = None

    def show(self, data: bytes) -> None:
        """Put data in the queue; raises OSError if an earlier write failed."""
        if self._trouble is not None:
            raise self._trouble
        if data:
            self._pieces.put(data)

    def finish(self) -> None:
        """Wait until all is written, or a write failed."""
        self._pieces.put(None)
        self.join()

    def run(self) -> None:
        """Write piece after piece; after an error, discard the rest."""
        while (data := self._pieces.get()) is not None:
            try:
                if self._trouble is None:
                    write_fully(self._target, data, None)  # no limit: a pager may wait for days
            except OSError as error:
                self._trouble = error


class Pump(threading.Thread):
    """Moves one stream from `source` to `target`, masked."""

    def __init__(self, source: int, target: int, forms: tuple[bytes, ...], wake: int) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._wake = wake  # readable when the child has ended
        self.masker = Masker(forms)
        self._read = _read if os.get_blocking(source) else _read_pieces
        self._writer = Writer(target)
        self._is_ending = False

    def run(self) -> None:
        """Move everything; if our reader has gone, close the child's side too."""
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        self._writer.start()
        try:
            while self._move(poll):
                pass
            self._show(self.masker.rest())
        except OSError:
            return  # our reader has gone: the child gets an error at its next write
        finally:
            self._writer.finish()
            os.close(self._source)

    def _move(self, poll: select.poll) -> bool:
        timeout = _SETTLE_S if self.masker.is_holding else None
        if self._is_ending:
            timeout = _LINGER_S
        ready = {fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)}
        if not ready:
            if not self._is_ending:
                self._show(self.masker.settle())
            return not self._is_ending
        if self._wake in ready:
            self._is_ending = True
            poll.unregister(self._wake)
        if self._source not in ready:
            return True
        data = self._read(self._source)
        self._show(self.masker.feed(data))
        return bool(data)

    def _show(self, data: bytes) -> None:
        self._writer.show(data)


def _read(fd: int) -> bytes:
    """Read what is there: a pipe gives it in one piece."""
    return os.read(fd, _CHUNK_BYTES)


def _read_pieces(fd: int) -> bytes:
    """Read what is there: a terminal gives it in pieces of at most a page."""
    pieces, size = [], 0
    try:
        while size < _CHUNK_BYTES // 4 and (piece := os.read(fd, _PAGE_BYTES)):
            pieces.append(piece)
            size += len(piece)
    except BlockingIOError:
        pass
    except OSError as error:
        if error.errno not in _GONE:
            raise
    return b"".join(pieces)


class Relay:
    """The masked streams of one child; `terminal` is set if the child must see a terminal."""

    def __init__(self, forms: tuple[bytes, ...], terminal: Terminal | None = None) -> None:
        self.actions: list[Action] = []  # for the child's start: its streams
        self._wake, self._waker = open_pipe()
        self._childs: list[int] = []
        self._pumps: list[Pump] = []
        self._forms = forms
        made: dict[object, int] = {}  # from our stream's file to the child's side
        for stream in _STREAMS:
            found = _identity(stream)
            if found is None:
                continue  # our stream is closed: so is the child's
            if found not in made:
                made[found] = self._open(stream, forms, terminal)
            self.actions.append((os.POSIX_SPAWN_DUP2, made[found], stream))
        if terminal is not None and terminal.has_input:
            self.actions.append((os.POSIX_SPAWN_DUP2, terminal.childs, 0))

    def _open(self, stream: int, forms: tuple[bytes, ...], terminal: Terminal | None) -> int:
        if terminal is not None and os.isatty(stream):
            self._pumps.append(Pump(os.dup(terminal.ours), stream, forms, self._wake))
            return terminal.childs
        source, childs = open_pipe()
        try:
            fcntl.fcntl(source, _SET_PIPE_SIZE, _PIPE_BYTES)
        except OSError:
            pass  # over this user's limit: the usual size is slower, and works
        self._childs.append(childs)
        self._pumps.append(Pump(source, stream, forms, self._wake))
        return childs

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on, in place of those of the last call.

        Security: nothing that the child writes afterwards passes unmasked. What was read before it
        is another matter: so it is called before the child can know them.
        """
        more = {form for secret in secrets for form in forms_of(secret)}
        forms = Forms(tuple(sorted(more.union(self._forms))))
        for pump in self._pumps:
            pump.masker.replace(forms)

    def begin(self) -> None:
        """Close our copies of the child's sides, and start to move its output."""
        while self._childs:
            os.close(self._childs.pop())
        for pump in self._pumps:
            pump.start()

    def finish(self) -> None:
        """Wait until the child's output is moved."""
        os.write(self._waker, b".")
        for pump in self._pumps:
            pump.join()
        os.close(self._wake)
        os.close(self._waker)


def open_pipe() -> tuple[int, int]:
    """Return both ends, neither as descriptor 0, 1 or 2, which may be closed in our process."""
    source, end = os.pipe2(os.O_CLOEXEC)
    return keep_high(source), keep_high(end)


def keep_high(fd: int) -> int:
    """Return the descriptor, moved above stdin, stdout and stderr."""
    if fd > max(_STREAMS):
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(_STREAMS) + 1)
    os.close(fd)
    return moved


def _identity(stream: int) -> object | None:
    """Return an identity of a stream's file; None if the stream is closed.

    A close-on-exec descriptor is one of our own, in the place of a closed stream.
    """
    try:
        if fcntl.fcntl(stream, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return None
        found = os.fstat(stream)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_rdev)


class Masked:
    """A masked child, started; `run` waits for its end."""

    def __init__(
        self, pid: int, waited: frozenset[int], relay: Relay, terminal: Terminal | None
    ) -> None:
        self.pid = pid
        self._waited = waited
        self._relay = relay
        self._terminal = terminal

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these too, as `Relay.hide`."""
        self._relay.hide(secrets)

    def run(self) -> ChildEnd:
        """Move its output until it has ended, and return its end."""
        if self._terminal is not None:
            self._terminal.begin()
        self._relay.begin()
        try:
            ending = Supervisor(self.pid, self._waited, self._terminal).run()
            if self._terminal is not None:
                self._terminal.end_keys()  # before the last output is moved, which may take a while
            self._relay.finish()
        finally:
            if self._terminal is not None:
                self._terminal.close()
        if ending.fatal_signal is not None and self._terminal is not None:
            signals.tell_group(ending.fatal_signal)  # ^C must stop a script that runs us, too
        return ending


def start(
    path: str,
    words: tuple[str, ...],
    environ: dict[str, str],
    mask: Iterable[int],
    waited: frozenset[int],
    secrets: Iterable[str],
    say: Callable[[str], None],
) -> Masked:
    """Start the child on pipes, or on a terminal of its own if we have a terminal."""
    forms = {form for secret in secrets for form in forms_of(secret)}
    terminal = open_terminal()
    relay = Relay(tuple(sorted(forms)), terminal)
    if terminal is None or not terminal.has_input:
        pid = child.start(path, words, environ, mask, file_actions=relay.actions)
    else:

        def spawn() -> int:
            return child.start(path, words, environ, mask, file_actions=relay.actions, setpgroup=0)

        pid = start_monitored(terminal, waited, spawn, say)
    return Masked(pid, waited, relay, terminal)
