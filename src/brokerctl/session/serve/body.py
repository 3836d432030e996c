"""Bodies on their way through: read piece by piece, and moved between sockets by the kernel.

h11 takes heads, chunks and everything small. A body whose length is known is read from the socket
itself: h11 would copy it four times, and there is nothing in it to parse.
"""

from __future__ import annotations

import fcntl
import os
import select
import ssl
import time

import h11

from brokerctl.session.serve.http import READ_BYTES, GoneError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from brokerctl.session.serve.http import Connection

PIECE_BYTES = 1 << 20
_TLS_PIECE_BYTES = 1 << 15  # a record of TLS is at most half as long, and one is read at a time
_SPLICED_BYTES = 1 << 18  # a shorter body is not worth a pipe
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ; Python names it from 3.13 on
_FLAGS = 5  # SPLICE_F_MOVE | SPLICE_F_MORE
_NONBLOCK = 2


class BodyReader:
    """Reads the body of the message whose head h11 has just given."""

    def __init__(self, connection: Connection, length: int | None) -> None:
        """`length` is the message's Content-Length; None: h11 finds the end, or has none."""
        self.connection = connection
        self.left = length  # bytes still to come, where that is known
        self.count = 0  # bytes that were read
        self.is_done = False
        self._is_raw = False  # nothing of the body is left in h11
        self._event: object = None  # of h11, not looked at yet

    @property
    def is_waiting(self) -> bool:
        """Return whether nothing can be read before the socket has more."""
        if not self.is_done and not self._is_raw and self._event is None:
            with self.connection.lock:
                event = self.connection.h11.next_event()
            if event is not h11.NEED_DATA:
                self._event = event
            else:
                self._is_raw = self.left is not None
        return not self.is_done and self._event is None

    def read(self, deadline: float) -> bytes:
        """Return what has arrived of the body, waiting for it if need be; b"" at its end."""
        while self.is_waiting:
            if self._is_raw:
                return self._read_raw(deadline)
            self.connection.receive(deadline)
        event, self._event = self._event, None
        if isinstance(event, h11.Data):
            self._took(len(event.data))
            return bytes(event.data)
        if not self.is_done and not isinstance(event, h11.EndOfMessage):
            raise GoneError
        self.is_done = True
        return b""

    def _read_raw(self, deadline: float) -> bytes:
        most = _TLS_PIECE_BYTES if isinstance(self.connection.sock, ssl.SSLSocket) else PIECE_BYTES
        data = self.connection.recv(deadline, min(self.left or 0, most))
        if not data:
            raise GoneError
        self._took(len(data))
        return data

    @property
    def raw_left(self) -> int:
        """How many bytes can be moved from the socket itself."""
        return (self.left or 0) if self._is_raw else 0

    def moved(self, count: int) -> None:
        """Note that bytes were moved from the socket itself."""
        self._took(count)

    def _took(self, count: int) -> None:
        self.count += count
        if self.left is None:
            return
        self.left -= count
        if not self.left:
            if self._is_raw:
                self.connection.is_bypassed = True
            else:
                with self.connection.lock:
                    self.connection.h11.next_event()  # the end of the message
            self.is_done = True


class BodyWriter:
    """Writes the body of the message whose head was just sent."""

    def __init__(self, connection: Connection, length: int | None) -> None:
        """`length` is the one that the head names; None: h11 frames the body."""
        self.connection = connection
        self._length = length
        self.count = 0

    @property
    def is_raw(self) -> bool:
        """Return whether the bytes of the body go to the socket as they are."""
        return self._length is not None

    def write(self, data: bytes, deadline: float) -> None:
        """Write a piece in full."""
        self.count += len(data)
        if self.is_raw:
            self.connection.send_bytes(data, deadline)
        elif data:
            self.connection.send(h11.Data(data=data), deadline=deadline)

    def end(self, deadline: float) -> None:
        """End the body. What h11 has not seen it is told of, so that it knows its own state."""
        if self.is_raw and self.count:
            unseen = h11.Data(data=_Sized(self.count))  # type: ignore[arg-type]  # sized
            with self.connection.lock:
                self.connection.h11.send_with_data_passthrough(unseen)
        self.connection.send(h11.EndOfMessage(), deadline=deadline)


class _Sized:
    """What h11 needs to see of a body that went past it."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


class Pipe:
    """Moves bytes from one plain socket to another without a copy of ours (splice(2))."""

    def __init__(self) -> None:
        """Raises OSError where no pipe is to be had."""
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._size = fcntl.fcntl(self._in, _SET_PIPE_SIZE, PIECE_BYTES)
        except OSError:  # above this user's limit for all pipes
            self._size = READ_BYTES

    def move(self, source: socket.socket, target: socket.socket, most: int, end: float) -> int:
        """Move at most so many bytes that are there, waiting for the first."""
        count = self._splice(source.fileno(), self._in, min(most, self._size), source, end)
        if not count:
            raise GoneError
        left = count
        while left:
            left -= self._splice(self._out, target.fileno(), left, target, end)
        return count

    @staticmethod
    def _splice(source: int, target: int, count: int, waits_for: socket.socket, end: float) -> int:
        is_reading = waits_for.fileno() == source
        while True:
            try:
                return os.splice(source, target, count, flags=_FLAGS | _NONBLOCK)
            except BlockingIOError:
                wait_for(waits_for, select.POLLIN if is_reading else select.POLLOUT, end)
            except OSError as error:
                raise GoneError from error

    def close(self) -> None:
        """Close both ends."""
        os.close(self._in)
        os.close(self._out)


class Mover:
    """Moves a body from a reader to a writer, by the kernel where it can."""

    def __init__(self, reader: BodyReader, writer: BodyWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._pipe: Pipe | None = None

    def move(self, deadline: float) -> None:
        """Move what has arrived, waiting for it if need be."""
        reader, writer = self._reader, self._writer
        source, target = reader.connection.sock, writer.connection.sock
        if writer.is_raw and can_splice(source, target, reader.raw_left):
            self._pipe = self._pipe or _find_pipe()
        if self._pipe is None:
            if data := reader.read(deadline):
                writer.write(data, deadline)
            return
        count = self._pipe.move(source, target, reader.raw_left, deadline)
        reader.moved(count)
        writer.count += count

    def close(self) -> None:
        """Close the pipe if there is one."""
        if self._pipe is not None:
            self._pipe.close()


def _find_pipe() -> Pipe | None:
    try:
        return Pipe()
    except OSError:  # no descriptors
        return None


def can_splice(source: socket.socket, target: socket.socket, count: int) -> bool:
    """Return whether the kernel may move a body by itself, and it is worth it."""
    is_plain = not isinstance(source, ssl.SSLSocket) and not isinstance(target, ssl.SSLSocket)
    return is_plain and count >= _SPLICED_BYTES and hasattr(os, "splice")


def wait_for(sock: socket.socket, event: int, end: float) -> None:
    """Wait until a socket can be read or written; GoneError at the deadline."""
    poll = select.poll()
    poll.register(sock, event)
    if not poll.poll(max(end - time.monotonic(), 0) * 1000):
        raise GoneError
