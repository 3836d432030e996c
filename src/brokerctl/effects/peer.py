"""Which user's program is at the other end of a connection on loopback, by the kernel's tables.

Security: a listener on loopback is open to every user of the machine. `/proc/net/tcp` and `tcp6`
name the owner of each socket of this network namespace; an IPv4 address may stand in either, since
a socket for both families is listed with the second.

| verdict | the other socket |
|---|---|
| OURS | was made by our own uid |
| FOREIGN | was made by another user |
| GONE | was closed before anybody asked: the kernel has forgotten whose it was |
| UNKNOWN | is in no table (forwarded from a browser outside this kernel's network namespace), or |
| | is root's, who relays for others (as WSL does) and can read all that we have anyway |
"""

from __future__ import annotations

import os
import socket
import sys

OURS, FOREIGN, GONE, UNKNOWN = "ours", "foreign", "gone", "unknown"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address as IPv6 (RFC 4291, 2.5.5.2)
_ESTABLISHED = 1  # the first byte of TCP_INFO
_READ_BYTES = 65536
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9
_COLUMNS = 10

Verdict = tuple[str, int | None]  # with the uid, where one is known


def whose(link: socket.socket, tables: tuple[str, ...] = TABLES, uid: int | None = None) -> Verdict:
    """Return the verdict on an accepted connection's other end."""
    uid = os.geteuid() if uid is None else uid
    try:
        ours, theirs = _forms(link.getsockname()), _forms(link.getpeername())
    except OSError:
        return GONE, None
    for _ in range(2):  # a table is read in pieces, and may change between them
        rows = [row for table in tables for row in _rows(table) if row[_LOCAL] in theirs]
        for row in rows:
            if row[_REMOTE] in ours:
                return _verdict(int(row[_UID]), int(row[_INODE]), uid)
        # Security: asked after the table was read. An end that is still connected and was in no
        # table then is not of this namespace; one that has hung up was perhaps taken out of it.
        if not _is_connected(link):
            return GONE, None
    return UNKNOWN, None


def _verdict(owner: int, inode: int, uid: int) -> Verdict:
    if inode == 0:
        return GONE, None  # Security: of a closed socket the table says root, whosever it was
    if owner == uid:
        return OURS, owner
    return (UNKNOWN if owner == 0 else FOREIGN), owner


def _forms(address: tuple[str, int]) -> set[str]:
    """Return an address as the tables write it: 32-bit words in the machine's own order."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    packed = socket.inet_pton(family, address[0])
    packings = [packed] if family == socket.AF_INET6 else [packed, _MAPPED + packed]
    return {f"{_words(packing)}:{address[1]:04X}" for packing in packings}


def _words(packed: bytes) -> str:
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _rows(table: str) -> list[list[str]]:
    """Return a table's rows in columns; none where there is no such table, as on macOS."""
    chunks = []
    try:
        fd = os.open(table, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := os.read(fd, _READ_BYTES):
                chunks.append(chunk)
        finally:
            os.close(fd)
    except OSError:
        return []
    rows = [line.split() for line in b"".join(chunks).decode("ascii", "replace").splitlines()[1:]]
    return [row for row in rows if len(row) >= _COLUMNS]


def _is_connected(link: socket.socket) -> bool:
    if not hasattr(socket, "TCP_INFO"):
        return True  # not Linux, and nothing is known here
    try:
        return link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
    except OSError:
        return False
