"""Where keys and values stand in a TOML text: for error messages and for edits as text.

A scan of our own, run only on text that `tomllib` has accepted, which has no positions. It knows
just enough of the grammar to find the ends of keys and values.
"""

from __future__ import annotations

import bisect
import functools
import re
import tomllib

from brokerctl.model import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_COMMENT = re.compile(r"#[^\r\n]*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\r\n]*")


class Item(Value):
    """One key with its value, or one table header, as offsets into the text."""

    path: Path
    key_at: int
    value_at: int
    end: int
    is_header: bool = False
    table: Path = ()  # the header it stands under
    is_nested: bool = False  # inside an inline table or an array


def scan(text: str) -> list[Item]:
    """Return every key and header in order; the text must be valid TOML."""
    return list(_Scanner(text).items())


def find_comments(text: str) -> list[str]:
    """Return every comment in order, from its `#` on; the text must be valid TOML."""
    scanner = _Scanner(text)
    for _ in scanner.items():
        pass
    return scanner.comments


def locate(text: str, path: Path) -> tuple[int, int]:
    """Return (line, column), from 1, of the key at a path or of its nearest parent."""
    places, wanted = _find_places(text), path
    while wanted:
        if wanted in places:
            return places[wanted]
        wanted = wanted[:-1]
    return 1, 1


@functools.lru_cache(maxsize=2)
def _find_places(text: str) -> dict[Path, tuple[int, int]]:
    """Return line and column of each path; a policy of many rules asks for many of them."""
    lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(at: int) -> tuple[int, int]:
        line = bisect.bisect_right(lines, at)
        return line, at - lines[line - 1] + 1

    return {item.path: place(item.key_at) for item in reversed(scan(text))}


def line_and_column(text: str, at: int) -> tuple[int, int]:
    """Return (line, column), from 1, of an offset."""
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


class _Scanner:
    """Walks a text once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.table: Path = ()
        self.counts: dict[Path, int] = {}
        self.comments: list[str] = []

    def items(self) -> Iterator[Item]:
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                yield self._header()
            else:
                yield from self._pair(self.table, is_nested=False)
            self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError("not TOML")
        self.at = found.end()
        if pattern is _BLANK:
            self.comments += _COMMENT.findall(found.group())
        return found.group()

    def _header(self) -> Item:
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 2 if is_array else 1
        path = self._resolve(self._key())
        self.at += 2 if is_array else 1
        if is_array:
            self.counts[path] = self.counts.get(path, -1) + 1
            path = (*path, self.counts[path])
        self.table = path
        return Item(path=path, key_at=start, value_at=start, end=self.at, is_header=True)

    def _resolve(self, key: Path) -> Path:
        """Return a header's path with the index of the last element of each array of tables."""
        path: Path = ()
        for number, part in enumerate(key):
            path = (*path, part)
            if number < len(key) - 1 and path in self.counts:
                path = (*path, self.counts[path])
        return path

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self.text[self.at] in "\"'":
                parts.append(str(_read_scalar(self._skip(_STRING))))
            else:
                parts.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def _pair(self, table: Path, *, is_nested: bool) -> Iterator[Item]:
        key_at = self.at
        path = (*table, *self._key())
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        value_at = self.at
        inner = list(self._value(path))
        yield Item(
            path=path,
            key_at=key_at,
            value_at=value_at,
            end=self.at,
            table=table,
            is_nested=is_nested,
        )
        yield from inner

    def _value(self, path: Path) -> Iterator[Item]:
        first = self.text[self.at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "{":
            yield from self._inside("}", path)
        elif first == "[":
            yield from self._inside("]", path)
        else:
            start = self.at
            self.at = start + len(self._skip(_PLAIN).rstrip(" \t"))

    def _inside(self, closing: str, path: Path) -> Iterator[Item]:
        self.at += 1
        number = 0
        self._skip(_BLANK)
        while self.text[self.at] != closing:
            if closing == "}":
                yield from self._pair(path, is_nested=True)
            else:
                start = self.at
                inner = list(self._value((*path, number)))
                yield Item(
                    path=(*path, number),
                    key_at=start,
                    value_at=start,
                    end=self.at,
                    table=path,
                    is_nested=True,
                )
                yield from inner
                number += 1
            self._skip(_BLANK)
            if self.text[self.at] == ",":
                self.at += 1
                self._skip(_BLANK)
        self.at += 1


def _read_scalar(text: str) -> object:
    return tomllib.loads(f"x = {text}")["x"]
