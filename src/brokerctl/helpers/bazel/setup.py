"""Bazel's own configuration: a line for each host, with brokerctl as its helper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brokerctl.config.hosts import split_pattern
from brokerctl.errors import UsageError
from brokerctl.helpers.setups import NO_HOSTS_HINT, BlockSetup, home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_PLAIN = frozenset("/._-+@:,")  # with letters and digits: needs no quotes in .bazelrc
_OURS = re.compile(r'common "?--credential_helper=[^=]+=.*/brokerctl-bazel"?')
_SPECIAL = frozenset("\"'\\%\n")  # `%workspace%` is replaced, also in a path


class BazelSetup(BlockSetup):
    """`~/.bazelrc`, which Bazel reads after the workspace's own."""

    name = "bazel"
    script = "brokerctl-bazel"

    def path(self, environ: Mapping[str, str]) -> str:
        """Return the user's file."""
        return home_path(environ, ".bazelrc")

    def lines(self, part: Part) -> list[str]:
        """Return a line for each host; Bazel's patterns have neither port nor path."""
        parsed = [split_pattern(host) for profile in part.profiles for host in profile.hosts]
        hosts = {one.host for one in parsed if _has_pattern(one.host)}
        if not hosts:
            raise UsageError(
                "no profile has a host with a dot, so bazel has nothing to ask for",
                hint=NO_HOSTS_HINT,
            )
        if not _SPECIAL.isdisjoint(part.script):
            raise UsageError(
                f"bazel can't run {part.script}: it takes no quotes and no '%'",
                hint="install brokerctl in a folder with a plain name",
            )
        options = [f"--credential_helper={host}={part.script}" for host in sorted(hosts)]
        return [f"common {_word(option)}" for option in options]

    @staticmethod
    def is_ours(rows: list[str], at: int) -> bool:
        """Return whether a row is one of our lines."""
        return _OURS.fullmatch(rows[at]) is not None

    def advice(self, part: Part) -> str | None:
        """Name the hosts for which no line could be written."""
        hosts = sorted(host for profile in part.profiles for host in profile.hosts)
        left_out = [host for host in hosts if not _has_pattern(split_pattern(host).host)]
        if not left_out:
            return None
        return f"bazel has no pattern for {' and '.join(left_out)}, so not for that"


def _has_pattern(host: str) -> bool:
    """Return whether Bazel has a pattern for a host; with one without a dot it would not start."""
    return "." in host and not host.startswith("[")


def _word(option: str) -> str:
    """Return an option as one word of .bazelrc, which splits like a shell."""
    is_plain = all(char.isalnum() or char in _PLAIN or char in "=*" for char in option)
    return option if is_plain else f'"{option}"'
