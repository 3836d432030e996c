"""The C halves of `os` and `stat` that the warm road uses are the public modules' own."""

from __future__ import annotations

import os
import stat
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from brokerctl.platform import system

USED = "open close read pread write pwrite lseek fsync fdatasync fstat stat mkdir rename unlink"
USED += " urandom strerror getcwd isatty readlink getuid geteuid getppid getpid uname umask _exit"
USED += " access posix_spawn waitpid waitid kill listdir"


def test_functions_are_those_of_os() -> None:
    """Each function that the program calls is the very function that `os` shows."""
    for name in USED.split():
        assert getattr(system.os, name) is getattr(os, name)


def test_numbers_are_those_of_os_and_stat() -> None:
    """Flags and mode bits have the public modules' values."""
    for name in ("O_RDONLY", "O_RDWR", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", "O_NOCTTY"):
        assert getattr(system.os, name) == getattr(os, name)
    for name in ("S_IWGRP", "S_IWOTH", "S_ISVTX"):
        assert getattr(system.stat, name) == getattr(stat, name)
    for mode in (0o100600, 0o040700, 0o120777, 0o010600, 0o140600):
        assert system.stat.S_ISREG(mode) == stat.S_ISREG(mode)
        assert system.stat.S_ISDIR(mode) == stat.S_ISDIR(mode)


def test_environment_is_that_of_os() -> None:
    """Names and values are decoded as `os.environ` decodes them, bytes that are no text too."""
    raw: Any = system.os.environ
    name = b"BROKERCTL_TEST_NAME"
    raw[name] = b"\xff value"
    try:
        found = dict(system.read_environ())
    finally:
        del raw[name]
    assert found.pop(name.decode()) == os.fsdecode(b"\xff value")
    assert "PATH" in found
    assert found["PATH"] == os.environ["PATH"]


@given(some.text("/a.", max_size=12))
def test_parents_are_those_of_dirname(path: str) -> None:
    """A path's folder is what `os.path.dirname` says, but for a root, of which there is one."""
    folder = os.path.dirname(path)
    assert system.parent_of(path) == (folder if folder.strip("/") else folder[:1])
