"""Finds whether git's configuration switches certificate checks off: `http.sslVerify`.

Read as git reads it (git-config(1)): system, user, repository, worktree, command line, and what
these include; the last value of the most specific URL counts. Git mostly does not tell a helper the
path of the repository, so a section for any path of the host counts. A condition that can't be
decided here, as `onbranch:`, counts as true for what switches checks off, and as false otherwise.

`helpers.git.files` looks first, quickly: this file is imported only if git might check nothing.
"""

from __future__ import annotations

import os
import pwd
from urllib.parse import unquote

from brokerctl.helpers.git.files import find_repository, standard_files
from brokerctl.helpers.git.urls import UrlPattern, normalize, rank_of
from brokerctl.model import Value
from brokerctl.platform.private_files import find_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SPACE = " \t\r\n"
_KEY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "\\": "\\", '"': '"', "\n": ""}
_BOM = b"\xef\xbb\xbf"
_MAX_DEPTH = 10  # git's own limit
# Security: by conditions that are false for git, and unknown to us, files could include each other
# without end. Whatever lies beyond these limits is taken to switch checks off.
_MAX_READ, _PART_BYTES = 1000, 4096  # files; a large one counts once for each such part
_MAX_STARS = 16
_COMMAND_LINE = "git's command line"
_ON, _OFF = ("true", "yes", "on"), ("false", "no", "off")
_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}
_NAME = "sslverify"


class ConfigEntry(Value):
    """One value: `http.<section>.sslVerify`, or an include."""

    key: str
    value: str | None  # None: a key without a value, which is true
    origin: str
    is_sure: bool = True  # False: git may not include this file


def find_unchecked(
    url: str, username: str | None, environ: Mapping[str, str], folder: str
) -> str | None:
    """Name the setting by which git does not check this server's certificate; None if it does."""
    found = read_sections(environ, folder)
    # Git matches no section for a path like `/../x`, but its server may read it as `/x`.
    asked = normalize(url) or normalize("/".join(url.split("/", 3)[:3]))
    if asked is None:
        return None
    places = [place for _, place in found if place is not None]
    paths = {asked.path}
    if asked.path == "/":
        paths |= {place.path for place in places}
    users = {place.user for place in places if place.user and unquote(place.user) == username}
    for path in sorted(paths):
        for user in {None, *users}:
            one = find_last(asked.replace(path=path, user=user), found)
            if one is not None and not is_true(one.value):
                return f"http.sslVerify of {one.origin}"
    return None


def read_sections(
    environ: Mapping[str, str], folder: str
) -> list[tuple[ConfigEntry, UrlPattern | None]]:
    """Return every value, a later one having precedence, with its section's URL."""
    entries = read_entries(environ, folder)
    return [(one, normalize(one.key[len("http.") : -len(_NAME) - 1])) for one in entries]


def find_last(
    url: UrlPattern, found: list[tuple[ConfigEntry, UrlPattern | None]]
) -> ConfigEntry | None:
    """Return the entry that counts for a URL, as `git config --get-urlmatch` does."""
    best, winner = (0, 0, False), None
    for one, place in found:
        if not one.is_sure and is_true(one.value):
            continue
        rank: tuple[int, int, bool] | None = (0, 0, False)
        if one.key != f"http.{_NAME}":
            rank = None if place is None else rank_of(url, place)
        if rank is not None and rank >= best:
            best, winner = rank, one
    return winner


def is_true(value: str | None) -> bool:
    """Return a boolean as git reads it; a value that git would stop at counts as false."""
    if value is None or value.lower() in _ON:
        return True
    if not value or value.lower() in _OFF:
        return False
    number, factor = value, _UNITS.get(value[-1].lower(), 0)
    if factor:
        number = value[:-1]
    try:
        return int(number, 8 if number.lstrip("+-").isdigit() and number[:1] == "0" else 0) != 0
    except ValueError:
        return False


def read_entries(environ: Mapping[str, str], folder: str) -> Iterator[ConfigEntry]:
    """Yield what git's configuration has of `http.*.sslVerify`, in the order that counts."""
    repository = find_repository(environ, folder)
    reader = _Reader(environ, folder, repository)
    for path in standard_files(environ, folder, repository):
        if reader.has_worktree_file or not path.endswith("/config.worktree"):
            yield from reader.read(path)
    yield from reader.command_line()


class _Reader:
    """Reads files and what they include."""

    def __init__(
        self, environ: Mapping[str, str], folder: str, repository: tuple[str, str] | None
    ) -> None:
        self._environ = environ
        self._folder = folder
        self._repository = repository
        self._left = _MAX_READ
        self.has_worktree_file = False  # so says the repository's own file

    def read(self, path: str, depth: int = 0, *, is_sure: bool = True) -> Iterator[ConfigEntry]:
        data = find_regular(os.path.join(self._folder, path))
        if data is None or depth > _MAX_DEPTH or self._left < 0:
            return
        self._left -= 1 + len(data) // _PART_BYTES
        if self._left < 0:
            yield ConfigEntry(key=f"http.{_NAME}", value="false", origin=path, is_sure=False)
            return
        try:
            for key, value in parse(data):
                yield from self._follow(key, value, path, depth, is_sure=is_sure)
        except ValueError:
            # Git stops at such a file; another reader of it may find checks switched off.
            if _NAME.encode() in data.lower():
                yield ConfigEntry(key=f"http.{_NAME}", value="false", origin=path, is_sure=False)

    def command_line(self) -> Iterator[ConfigEntry]:
        """Yield what `git -c` and similar options have put into the environment."""
        for key, value in (*_counted(self._environ), *_parameters(self._environ)):
            yield from self._follow(canonical(key), value, None, 0, is_sure=True)

    def _follow(
        self, key: str, value: str | None, path: str | None, depth: int, *, is_sure: bool
    ) -> Iterator[ConfigEntry]:
        if key.startswith("http.") and key.endswith(f".{_NAME}"):
            origin = path or _COMMAND_LINE
            yield ConfigEntry(key=key, value=value, origin=origin, is_sure=is_sure)
        if key == "extensions.worktreeconfig" and depth == 0:
            self.has_worktree_file = is_true(value)
        is_included: bool | None = key == "include.path"
        if key.startswith("includeif.") and key.endswith(".path"):
            is_included = self._holds(key[len("includeif.") : -len(".path")], path)
        if is_included is False or value is None:
            return
        target = self._expand(value)
        if target is None or not (path or os.path.isabs(target)):
            return  # git stops there
        target = os.path.join(os.path.dirname(path or ""), target)
        yield from self.read(target, depth + 1, is_sure=is_sure and is_included is True)

    def _expand(self, path: str, *, is_real: bool = False) -> str | None:
        if not path.startswith("~"):
            return path
        user, _, rest = path[1:].partition("/")
        try:
            home = pwd.getpwnam(user).pw_dir if user else self._environ["HOME"]
        except KeyError:
            return None
        home = os.path.realpath(home) if is_real and not user else home
        return f"{home}/{rest}" if "/" in path else home

    def _holds(self, condition: str, path: str | None) -> bool | None:
        """Return whether an includeIf's condition holds; None if that can't be decided here."""
        kind, _, pattern = condition.partition(":")
        if kind not in {"gitdir", "gitdir/i"}:
            return None if kind in {"onbranch", "hasconfig"} else False
        if self._repository is None:
            return False
        pattern = self._expand(pattern, is_real=True) or pattern
        literal = 0
        if pattern.startswith("./"):
            if path is None:
                return False
            above = os.path.dirname(os.path.realpath(path))
            pattern, literal = above + pattern[1:], len(above) + 1
        elif not os.path.isabs(pattern):
            pattern = f"**/{pattern}"
        pattern += "**" if pattern.endswith("/") else ""
        if "[" in pattern[literal:] or pattern.count("*") > _MAX_STARS:
            return None
        here = os.path.join(self._folder, self._repository[0])
        texts = [os.path.realpath(here), os.path.normpath(here)]
        if kind == "gitdir/i":
            pattern, texts = pattern.lower(), [text.lower() for text in texts]
        return any(
            text[:literal] == pattern[:literal] and _is_like(text[literal:], pattern[literal:])
            for text in texts
        )


def _is_like(
    text: str, pattern: str, at: int = 0, failed: set[tuple[int, int]] | None = None
) -> bool:
    """Match a path as git's wildmatch does, without sets in brackets; `at` is in the pattern."""
    failed = set() if failed is None else failed  # pairs (length, star) without a match
    place = (len(text), at)
    if place not in failed and _is_like_from(text, pattern, at, failed):
        return True
    failed.add(place)
    return False


def _is_like_from(text: str, pattern: str, at: int, failed: set[tuple[int, int]]) -> bool:
    while at < len(pattern) and pattern[at] != "*":
        is_any = pattern[at] == "?" and text[:1] != "/"
        at += pattern[at] == "\\" and at + 1 < len(pattern)
        if not text or (not is_any and text[0] != pattern[at]):
            return False
        text, at = text[1:], at + 1
    if at == len(pattern):
        return not text
    end = at
    while pattern[end : end + 1] == "*":
        end += 1
    before, after = pattern[max(at - 1, 0) : at], pattern[end : end + 1]
    is_deep = end - at > 1 and before in {"", "/"} and after in {"", "/"}
    if not after:
        return is_deep or "/" not in text
    if is_deep and _is_like(text, pattern, end + 1, failed):
        return True
    far = len(text) if is_deep or "/" not in text else text.index("/") + 1
    return any(_is_like(text[start:], pattern, end, failed) for start in range(far))


def parse(data: bytes) -> Iterator[tuple[str, str | None]]:
    """Yield a file's keys and values; ValueError at a line that git would stop at."""
    text = data.removeprefix(_BOM).replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    text += "\n\n"  # as git ends the last line, a continued one too
    base, at, end = "", 0, len(text)
    while at < end:
        char = text[at]
        if char in _SPACE:
            at += 1
        elif char in "#;":
            at = text.index("\n", at)
        elif char == "[":
            base, at = _section(text, at + 1)
        elif char in _KEY and char.isalpha():
            key, value, at = _pair(text, at)
            yield base + key, value
        else:
            raise ValueError("not a line of a configuration file")


def _pair(text: str, at: int) -> tuple[str, str | None, int]:
    """Return a key, its value, and where the next line begins."""
    start = at
    while text[at] in _KEY:
        at += 1
    key = text[start:at].lower()
    while text[at] in " \t":
        at += 1
    if text[at] == "\n":
        return key, None, at + 1
    if text[at] != "=":
        raise ValueError("not KEY = VALUE")
    return key, *_value(text, at + 1)


def _section(text: str, at: int) -> tuple[str, int]:
    """Return a section's name with a dot after it, and where the header ends."""
    start = at
    while text[at] in _KEY or text[at] == ".":
        at += 1
    name = text[start:at].lower()
    if text[at] == "]" and name:
        return f"{name}.", at + 1
    while text[at] in " \t\r":
        at += 1
    if text[at] != '"':
        raise ValueError("not the name of a section")
    found, at = "", at + 1
    while text[at] != '"':
        at += text[at] == "\\"
        if text[at] == "\n":
            raise ValueError("a section without an end")
        found, at = found + text[at], at + 1
    if text[at + 1] != "]":
        raise ValueError("a section without an end")
    return f"{name}.{found}.", at + 2


def _value(text: str, at: int) -> tuple[str, int]:
    """Return a value and where the next line begins."""
    end = text.index("\n", at)
    line = text[at:end]
    if not any(char in line for char in '"\\#;'):
        return line.strip(_SPACE), end + 1
    found, kept, is_quoted = "", 0, False  # `kept`: its length without blanks at the end
    while text[at] != "\n":
        char, at = text[at], at + 1
        if char in "#;" and not is_quoted:
            at = text.index("\n", at)
        elif char == '"':
            is_quoted, kept = not is_quoted, len(found)
        elif char in _SPACE and not is_quoted:
            found += char if found else ""
        else:
            if char == "\\":
                char, at = _escaped_value(text[at]), at + 1
            found += char
            kept = len(found)
    if is_quoted:
        raise ValueError("a quote without an end")
    return found[:kept], at + 1


def _escaped_value(char: str) -> str:
    if char not in _ESCAPES:
        raise ValueError("an unknown escape")
    return _ESCAPES[char]


def canonical(key: str) -> str:
    """Return a key in git's normal form: in lower case, but for the section's URL."""
    section, _, rest = key.partition(".")
    middle, dot, name = rest.rpartition(".")
    return f"{section.lower()}.{middle}{dot}{name.lower()}"


def _counted(environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield the pairs GIT_CONFIG_KEY_n, GIT_CONFIG_VALUE_n; GIT_CONFIG_COUNT is their number."""
    count = environ.get("GIT_CONFIG_COUNT", "").lstrip().removeprefix("+")  # as strtoul(3) reads it
    number = 0
    while count.isdigit() and number < int(count):
        key = environ.get(f"GIT_CONFIG_KEY_{number}")
        value = environ.get(f"GIT_CONFIG_VALUE_{number}")
        if key is None or value is None:
            return  # git stops there
        yield key, value
        number += 1


def _parameters(environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield GIT_CONFIG_PARAMETERS: 'key=value', and since 2.31 'key'='value'."""
    text = environ.get("GIT_CONFIG_PARAMETERS", "").lstrip(_SPACE)
    while text.startswith("'"):
        word, text = _dequote(text)
        key, equals, value = word.partition("=")
        found: tuple[str, str | None] = (key, value if equals else None)
        if text.startswith("='"):
            value, text = _dequote(text[1:])
            found = word, value
        elif text.startswith("="):
            found, text = (word, None), text[1:]
        yield found
        text = text.lstrip(_SPACE)


def _dequote(text: str) -> tuple[str, str]:
    """Return the word in single quotes at the beginning, as a shell reads it, and the rest."""
    found = ""
    while text.startswith("'"):
        piece, _, text = text[1:].partition("'")
        found += piece
        if text[:1] == "\\" and text[1:2] in {"'", "!"} and text[2:3] == "'":
            found, text = found + text[1], text[2:]
    return found, text
