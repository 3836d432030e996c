"""The second runner: searches all that the suite wrote for the secrets that its issuers know.

`python -m tests.canary.search FOLDER [--complete]`, after pytest; `--complete` says that the whole
suite ran, so that each kind of secret must be known and the search must have found access tokens
where they were asked for: a search that finds nothing anywhere proves nothing.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from brokerctl.helpers import HELPERS
from tests.canary.needles import Known, needles, parse_known

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = "secrets"  # the issuers' own notes, not searched
KINDS = (
    *("client_secret", "refresh_token", "code_verifier", "device_code", "access_token"),
    "identity_token",
)
_GIVEN = {"client_secret", "identity_token"}  # what a test gives brokerctl in a file of its own
_SCRIPT = re.compile(r"'?/[^\n']*/(brokerctl-(bazel|vault)|(vault-)?helper|keyring)'?( get)?")
_RUN = re.compile(r"run-\d+\.(args|stdout|stderr)")
_HIT = re.compile(rb"([^\0]*)\0([^\n]*)\n")
_SHOWN = 20
_AT_ONCE = 5000  # files for one grep, each of which reads all patterns first
_WINDOW = 24  # bytes of each needle that grep looks for
_HOLE_BYTES = 1 << 26


class Finding(NamedTuple):
    """A secret in a file, and whether it may be there."""

    path: str
    kind: str
    is_allowed: bool


def read_known(folder: str) -> set[Known]:
    """Return what every issuer below the folder noted."""
    known: set[Known] = set()
    for path in glob.glob(os.path.join(folder, SECRETS, "*")):
        with open(path, encoding="utf-8") as file:
            known |= parse_known(file.read())
    return known


def search(folder: str, known: set[Known]) -> list[Finding]:
    """Return every secret that lies in a file below the folder, in any form.

    grep looks for the last bytes of each form alone: of whole ones, a hundred times as many, it
    would make a machine of hundreds of megabytes for every few thousand files. A file that has the
    last bytes of a form is then looked at for the whole.
    """
    by_needle = {needle: secret for secret in known for needle in needles(secret.value)}
    by_window: dict[bytes, list[bytes]] = {}
    for needle in by_needle:
        by_window.setdefault(needle[-_WINDOW:], []).append(needle)
    found = set()
    for path, window in _grep(folder, sorted(by_window)):
        with open(path, "rb") as file:
            data = file.read()
        name = os.path.relpath(os.fsdecode(path), folder)
        for needle in filter(data.__contains__, by_window[window]):
            kind = by_needle[needle].kind
            found.add(Finding(name, kind, is_allowed(folder, name, kind)))
    return sorted(found)


def _grep(folder: str, patterns: list[bytes]) -> set[tuple[bytes, bytes]]:
    """Return path and pattern of each hit; a path may hold a newline, a pattern never does."""
    hits: set[tuple[bytes, bytes]] = set()
    paths = list(_files(folder)) if patterns else []
    batches = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with tempfile.NamedTemporaryFile() as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        file.write(b"\n".join(patterns))
        file.flush()
        for found in pool.map(functools.partial(_grep_some, file.name), batches):
            hits.update(found)
    return hits


def _grep_some(patterns: str, paths: list[str]) -> list[tuple[bytes, bytes]]:
    command = ["grep", "-aoHZF", "-f", patterns, "--", *paths]
    done = subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, check=False)
    if done.returncode not in {0, 1}:  # below 0: killed, and what it printed is not all
        raise RuntimeError(f"grep: {done.returncode}: {done.stderr.decode()}")
    return _HIT.findall(done.stdout)


def _files(folder: str) -> Iterator[str]:
    """Yield every file but the issuers' notes, and but the holes that tests of sizes make.

    grep reads a hole of a terabyte as one line, and is killed for the memory that it takes.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != SECRETS]
        for name in names:
            path = os.path.join(place, name)
            found = os.lstat(path)
            is_hole = found.st_size > _HOLE_BYTES > found.st_blocks * 512
            if stat.S_ISREG(found.st_mode) and not is_hole:
                yield path


def is_allowed(folder: str, path: str, kind: str) -> bool:
    """Return whether a secret of that kind may be in that file.

    An access token is where it was asked for: on stdout of `get`, of a helper and of what `exec`
    runs, and in what a test's own child wrote. A client's secret and a job's identity are where
    the test put them for brokerctl to find. None of these may be in what brokerctl keeps, nor any
    other kind anywhere.
    """
    if kind not in {"access_token", *_GIVEN} or "/state/" in f"/{path}":
        return False
    run = _RUN.fullmatch(os.path.basename(path))
    if kind in _GIVEN:
        return run is None and not path.endswith(".log")
    if run is None:
        return "/child" in f"/{path}"
    return run[1] == "stdout" and _asked_for_a_token(os.path.join(folder, path))


def _asked_for_a_token(path: str) -> bool:
    with open(f"{path.removesuffix('stdout')}args", encoding="utf-8") as file:
        first, *rest = file.read().split("\0")
    if first == "helper":
        return rest[0] in HELPERS
    if first == "git":
        return rest == ["credential", "fill"]  # which prints what a helper answered
    if first == "keyring":
        return rest[0] == "get"  # the library's command prints what its back end answered
    # The scripts that have no words of ours, by their names, by a link's, or in a line for a shell.
    if first in {"get", "exec"} or _SCRIPT.fullmatch(first):
        return True
    return '"$B" get ' in first  # of tests/machine/test_pod_service, whose pod is a shell


def main(words: list[str]) -> int:
    """Search, say in one line what was found, and name each secret that is where it must not be."""
    folder, is_complete = words[0], "--complete" in words
    known = read_known(folder)
    findings = search(folder, known)
    leaks = [found for found in findings if not found.is_allowed]
    problems = [f"{found.kind} in {found.path}" for found in leaks]
    if is_complete:
        missing = set(KINDS) - {secret.kind for secret in known}
        problems += [f"no {kind} is known: nothing was proven of it" for kind in sorted(missing)]
        if not any(found.kind == "access_token" for found in findings):
            problems.append("no access token was found where it was asked for")
    for problem in problems[:_SHOWN]:
        sys.stderr.write(f"canary: {problem}\n")
    allowed = len(findings) - len(leaks)
    sys.stderr.write(
        f"canary: {len(known)} secrets known, {len(leaks)} leaked, {allowed} where they belong\n"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
