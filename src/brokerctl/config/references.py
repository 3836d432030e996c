"""Resolves a reference to a secret, for the one request that needs the secret.

Security: no shell is used, time and size are bounded, a file that others can read is refused, and a
command runs in `/` without brokerctl's own keys. No message holds the secret.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from brokerctl.config.paths import expand_home
from brokerctl.errors import UsageError, shell_word
from brokerctl.model import Value
from brokerctl.platform.commands import NoTerminalError, environ_for, run_bounded
from brokerctl.platform.private_files import is_read_only, mode_hint, place_hint, read_all
from brokerctl.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerctl.model import Profile, Reference

COMMAND_S = 15.0  # below the 20 s that a grant's lock may be held for
MAX_SECRET_BYTES = 64 * 1024
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS = stat.S_IWGRP | stat.S_IRWXO  # a group may read: that is how secrets are mounted in pods
# keys/keyring_child.py is a program, not a module of ours: it holds the allow-list of back ends.
_KEYRING_CHILD = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "keys", "keyring_child.py"
)
_TOLD = {
    "env": "the variable {}",
    "file": "the file {}",
    "keyring": "{} of the OS keyring",
    "store": "the stored secret '{}', which is not there",
    "command": "what {} prints",
    "sign": "what {} signs with",
}


def resolve(
    reference: Reference,
    environ: Mapping[str, str],
    store_secret: Callable[[str], str | None],
    timeout_s: float = COMMAND_S,
    *,
    hidden: frozenset[str] = frozenset(),
    within: tuple[str, ...] = (),
) -> Secret:
    """Return the secret that a reference names; UsageError says what to do if there is none.

    `hidden` are variables that a command does not get: the secrets of other profiles. `within` are
    the profiles that are being asked for, which it must not ask us for again.
    """
    target = reference.target[0]
    if reference.kind == "env":
        text = _first_line(environ.get(target, ""))
        if not text:
            raise UsageError(
                f"the variable {target}, which holds a secret, is not set",
                hint=f"set {target}, or keep the secret here: 'brokerctl profile secret --help'",
            )
        if any("\udc80" <= char <= "\udcff" for char in text):
            raise UsageError(f"the variable {target}, which holds a secret, is not text in UTF-8")
    elif reference.kind == "file":
        text = _chosen(_read_file(expand_home(target, environ)), target)
    elif reference.kind == "command":
        kept = environ_for("secret", environ, hidden=hidden, within=within)
        text = _chosen(run_command(reference.target, kept, timeout_s), f"the output of {target}")
    elif reference.kind == "keyring":
        text = _find_in_keyring(target, environ, timeout_s)
    else:
        text = (store_secret(target) or "").rstrip("\r\n")
        if not text:
            raise UsageError(
                f"no secret '{target}' is stored",
                hint=f"run 'brokerctl profile secret {shell_word(target)}'",
            )
    return Secret(text)


def _chosen(data: bytes, where: str) -> str:
    """Return a private key whole, and of anything else the first line: `pass` has notes below."""
    try:
        text = _first_line(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not text in UTF-8") from None
    if not text:
        raise UsageError(f"{where} is empty")
    return text


def _first_line(text: str) -> str:
    text = text.strip()
    if text.startswith(("-----BEGIN", "{")):
        return text + "\n"
    return text.splitlines()[0].rstrip() if text else ""


def read_token_file(path: str, environ: Mapping[str, str]) -> bytes:
    """Return a token's file; UsageError where it can't be read, or others can."""
    return _read_file(expand_home(path, environ))


def _read_file(path: str) -> bytes:
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise UsageError(f"can't read {path}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        found = os.fstat(fd)
        _check_file(fd, path, found)
        return read_all(fd, found.st_size)
    except OSError as error:
        raise UsageError(f"can't read {path}: {os.strerror(error.errno or 0).lower()}") from error
    finally:
        os.close(fd)


def _check_file(fd: int, path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is not a regular file")
    if found.st_uid not in {0, os.geteuid()}:
        raise UsageError(
            f"{path} holds a secret and belongs to another user", hint=place_hint("secret")
        )
    # On a read-only mount the modes are those of who mounted it, as a Secret's volume in a pod.
    if found.st_mode & _OTHERS and not is_read_only(fd):
        raise UsageError(
            f"{path} holds a secret and is open to others",
            hint=mode_hint("600", path, found.st_uid, "secret"),
        )
    if found.st_size > MAX_SECRET_BYTES:
        raise UsageError(f"{path} is larger than a secret can be")


def run_command(
    words: tuple[str, ...],
    environ: Mapping[str, str],
    timeout_s: float,
    what: str = "a secret",
    *,
    given: bytes | None = None,
) -> bytes:
    """Return what a command of the configuration prints; UsageError where it fails."""
    program = expand_home(words[0], environ) if "/" in words[0] else words[0]
    try:
        code, output = run_bounded(
            [program, *words[1:]], environ, timeout_s, MAX_SECRET_BYTES, given=given
        )
    except TimeoutError:
        raise UsageError(f"{words[0]}, asked for {what}, took over {timeout_s:.3g} s") from None
    except NoTerminalError:
        raise UsageError(
            f"{words[0]}, asked for {what}, asks at a terminal, and there is none to ask at",
            hint=f"have {words[0]} find it without a question",
        ) from None
    except OSError as error:
        if error.errno is None:  # `run_bounded` says what it printed too much of
            raise UsageError(f"{words[0]}, asked for {what}, prints too much") from error
        reason = os.strerror(error.errno).lower()
        raise UsageError(f"can't run {words[0]}, asked for {what}: {reason}") from error
    if code != 0:
        raise UsageError(f"{words[0]}, asked for {what}, ended with {code}")
    return output


def _find_in_keyring(target: str, environ: Mapping[str, str], timeout_s: float) -> str:
    service, _, user = target.rpartition("/")
    request = {
        "do": "fetch",
        "service": service,
        "user": user,
        "secret": None,
        "may_prompt": False,
    }
    kept = environ_for("keyring", environ)
    words = [sys.executable, "-I", _KEYRING_CHILD]
    try:
        line = json.dumps(request).encode() + b"\n"
        _, output = run_bounded(words, kept, timeout_s, MAX_SECRET_BYTES, given=line, is_quiet=True)
        answer = json.loads(output.splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"the OS keyring did not answer for '{target}'") from error
    if answer.get("error"):
        raise UsageError(f"the OS keyring has no answer for '{target}': {answer.get('reason')}")
    secret = answer.get("secret")
    if not isinstance(secret, str) or not secret:
        raise UsageError(f"the OS keyring has no entry '{user}' of service '{service}'")
    return secret.rstrip("\r\n")


class Outside(Value):
    """A secret that no archive holds, with the profiles that name it."""

    kind: str  # env | file | keyring | command | sign | store: named, and never stored
    name: str  # of a command only the program: its arguments may hold a secret
    profiles: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_TOLD[self.kind].format(self.name)} ({', '.join(self.profiles)})"


def find_outside(
    profiles: Iterable[Profile], is_stored: Callable[[str], bool]
) -> tuple[Outside, ...]:
    """Return what another machine needs beside an archive, by kind and name."""
    found: dict[tuple[str, str], list[str]] = {}
    for profile in profiles:
        for reference in (profile.client_secret, profile.client_key):
            if reference is None:
                continue
            kind, name = reference.kind, reference.target[0]
            if kind != "store" or not is_stored(name):
                names = found.setdefault((kind, name), [])
                names += [profile.name] if profile.name not in names else []
    return tuple(
        Outside(kind=kind, name=name, profiles=tuple(sorted(names)))
        for (kind, name), names in sorted(found.items())
    )
