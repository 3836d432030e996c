"""Connections to upstreams: opened when a request needs one, and used again while they are clean.

Clean is a connection on which one answer ended, all of it was read, and nothing came since.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from contextlib import suppress

import h11

from brokerctl.session.serve.http import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerctl.config.hosts import Url
    from brokerctl.session.serve.http import Limits

    # Connects, and checks the certificate by the CA file, or the system's; raises BrokerError.
    Connect = Callable[[Url, str | None], socket.socket]
    Way = tuple[str, str]  # profile, origin

_IDLE_S = 15.0  # many servers close after 20 or more
_MOST_IDLE = 32  # for each way


class Upstreams:
    """The connections of one session to the hosts of its profiles."""

    def __init__(self, connect: Connect, limits: Limits) -> None:
        self._connect = connect
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: dict[Way, list[tuple[float, Connection]]] = {}
        self._open: set[Connection] = set()
        self._is_closed = False

    def take(
        self, profile: str, url: Url, find_ca_file: Callable[[], str | None], *, is_new: bool
    ) -> UpstreamTaken:
        """Return a connection, used before or not. Security: never one of another profile.

        The CA file is asked for only where a connection is opened.
        """
        way = (profile, url.origin)
        while not is_new and (found := self._pop(way)) is not None:
            if _is_clean(found.sock):
                found.renew()
                return UpstreamTaken(found, way, was_used=True)
            self.close(found)
        made = Connection(self._connect(url, find_ca_file()), h11.CLIENT, self._limits)
        with self._lock:
            self._open.add(made)
            is_closed = self._is_closed
        if is_closed:
            self.close(made)
        return UpstreamTaken(made, way, was_used=False)

    def give_back(self, taken: UpstreamTaken) -> None:
        """Keep a connection for the next request, if its message has ended and another may come."""
        connection, protocol = taken.connection, taken.connection.h11
        is_read = connection.is_bypassed or protocol.their_state is h11.DONE
        if is_read and protocol.our_state is h11.DONE and not protocol.trailing_data[0]:
            with self._lock:
                waiting = self._idle.setdefault(taken.way, [])
                if not self._is_closed and len(waiting) < _MOST_IDLE:
                    waiting.append((time.monotonic(), connection))
                    return
        self.close(connection)

    def close(self, connection: Connection) -> None:
        """Close one connection."""
        with self._lock:
            self._open.discard(connection)
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
        connection.sock.close()

    def close_all(self) -> None:
        """Close all of them; a thread that waits for one sees its end."""
        with self._lock:
            self._is_closed = True
            idle = [one for waiting in self._idle.values() for _, one in waiting]
            self._idle.clear()
            self._open.difference_update(idle)
            left = list(self._open)
        for connection in idle:
            connection.sock.close()
        for connection in left:
            with suppress(
                OSError
            ):  # the plain one: a thread that reads must not be left without TLS
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _pop(self, way: Way) -> Connection | None:
        """Return the connection that was used last; those that waited too long are closed."""
        now = time.monotonic()
        with self._lock:
            waiting = self._idle.get(way, [])
            late = [one for at, one in waiting if now - at > _IDLE_S]
            fresh = [(at, one) for at, one in waiting if now - at <= _IDLE_S]
            found = fresh.pop()[1] if fresh else None
            self._idle[way] = fresh
        for one in late:
            self.close(one)
        return found


class UpstreamTaken:
    """A connection in use by one request."""

    def __init__(self, connection: Connection, way: Way, *, was_used: bool) -> None:
        self.connection = connection
        self.way = way
        self.was_used = was_used


def has_arrived(sock: socket.socket) -> bool:
    """Return whether something can be read now, its end included."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _is_clean(sock: socket.socket) -> bool:
    """Return whether nothing has come: a TLS session ticket is nothing, an end is something."""
    if not has_arrived(sock):
        return True
    if not isinstance(sock, ssl.SSLSocket):
        return False
    try:
        sock.settimeout(0)
        sock.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False
