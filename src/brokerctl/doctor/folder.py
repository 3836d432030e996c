"""Checks the state folder: can it be written, is there room, do locks work there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.doctor import PROBLEM, WARNING, Finding
from brokerctl.store.entry import METADATA, plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.home import Home

_LEAST_BYTES = 64 * 1024 * 1024
# flock(2) is emulated, missing or local to one machine on some of these.
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse", "afs", "ceph", "gluster", "lustre", "vboxsf")


def check(home: Home) -> Iterator[Finding]:
    """Write and remove a file as a refresh would; look at the disk and its kind."""
    path = home.folder.path
    # raises the error that a refresh would meet
    home.store.disk.probe(METADATA, plain_name(home.ring.name_key, "probe"))
    found = os.statvfs(home.folder.fd)
    free = found.f_bavail * found.f_frsize
    if free < _LEAST_BYTES or (found.f_files and found.f_favail == 0):
        yield Finding(
            what=f"{path}: {free // 1_000_000} MB are left on its disk",
            state=PROBLEM if free < _LEAST_BYTES // 16 else WARNING,
            hint="make room: nothing is handed out when no record can be written",
        )
    else:
        yield Finding(what=f"{path} can be written")
    kind = file_system(path)
    if kind is not None and kind.startswith(_NETWORK):
        yield Finding(
            what=f"{path} is on a {kind} file system, where locks may not hold between machines",
            state=WARNING,
            hint="set BROKERCTL_HOME to a folder on a local disk",
        )


def file_system(path: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """Return the type of the file system that a path is on; None if it is not known."""
    real = os.path.realpath(path)
    best, kind = -1, None
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return None
    for line in lines:
        left, separator, right = line.partition(" - ")
        words = left.split(" ")
        if not separator or len(words) < 5 or not right:  # noqa: PLR2004 - proc(5): the fifth field
            continue
        point = words[4].replace("\\040", " ").rstrip("/")
        if (real == point or real.startswith(f"{point}/")) and len(point) >= best:
            best, kind = len(point), right.split(" ")[0]
    return kind
