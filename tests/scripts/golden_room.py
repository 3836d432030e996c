"""Where situations are played: homes copied from one that is made, forks of one loaded process.

What a run printed is written down as a block to be read, without what chance has in it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.program import BIN, ROOT, Program, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden_driver.py")
GOLDEN = os.path.join(os.path.dirname(DRIVER), "golden")
WIDTH = 160  # of a title's lines
# Of chance, in what is printed; the order counts.
_CHANCE = (
    # The first one is a hint's example.
    (re.compile(r"\b(?!2026-11-23T09:00:00Z)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b(process|kill -CONT|\"pid\":) ?\d+"), r"\1 <pid>"),
    (re.compile(r"\bpython3?[.\d]* \d+\b"), "<exe> <pid>"),
    (re.compile(r"\bof \d+ bytes in log\b"), "of <count> bytes in log"),
    (re.compile(r'"segment":"log","bytes":\d+'), '"segment":"log","bytes":<count>'),
    (re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])"), "<token>"),
    (re.compile(r"\btoken [0-9a-f]{1,16}(\.\.\.|:)"), r"token <hex>\1"),
    (re.compile(r'"expires_in":\d+'), '"expires_in":<count>'),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<64 hex>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<32 hex>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<16 hex>"),
)


class Case(NamedTuple):
    """One situation: the words after `brokerctl`, and what is around them.

    `why` says what `prepare` did to the home, where it did something.
    """

    command: str
    config: str | None = None  # None: the room's own
    stdin: str = ""
    env: Mapping[str, str | None] | None = None
    why: str = ""
    prepare: Callable[[str], object] | None = None
    json: bool = False  # and once more with --json


class Forks:
    """The process that has everything loaded: `with Forks() as forks: forks.run(…)`."""

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self._process = subprocess.Popen(
            [os.path.join(BIN, "python"), "-I", DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_exception: object) -> None:
        """End it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)

    def run(self, asked: Mapping[str, Any]) -> int:
        """Run one command and return its exit code."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Forked(Program):
    """A `Program` whose runs are forks. `stdout` of a call can be `/dev/full`."""

    forks: Forks

    @classmethod
    def copy(cls, forks: Forks, trace_dir: str, made: str | None) -> Forked:
        """Return one whose home is a copy of another, or empty."""
        program = cls(trace_dir)
        program.forks = forks
        program.env["BROKERCTL_KEEPER"] = "file"
        if made is not None:
            shutil.copytree(made, program.home, dirs_exist_ok=True, symlinks=True)
        return program

    def run(
        self,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str | None] | None = None,
        stdout: str | None = None,
        size_limit: int | None = None,
    ) -> Result:
        """Run it to its end; `size_limit` is how long a file that it writes can be."""
        # A token is on stdout alone, where it was asked for: tests/canary knows it by that name.
        names = ("stdin", "child-stdout", "stderr")
        paths = [os.path.join(self.home, "tmp", name) for name in names]
        with open(paths[0], "wb") as file:
            file.write(os.fsencode(stdin))
        code = self.forks.run(
            {
                "words": args,
                "env": self.environment(env),
                "cwd": self.home,
                "stdin": paths[0],
                "stdout": stdout or paths[1],
                "stderr": paths[2],
                "size_limit": size_limit,
            }
        )
        said, error = "" if stdout else _read(paths[1]), _read(paths[2])
        self.keep(args, said, error)
        return Result(code, said, error)


class Room:
    """Plays cases, each in a home of its own, and returns them as blocks by their titles."""

    def __init__(self, forks: Forks, trace_dir: str, config: str, made: str | None = None) -> None:
        self.forks = forks
        self.trace_dir = trace_dir
        self.config = config
        self.made = made
        self.names: dict[str, str] = {}  # what is of chance in this room: its issuer's address

    def play(self, cases: list[Case]) -> dict[str, str]:
        """Return one block a case, and one more for its JSON."""
        blocks: dict[str, str] = {}
        for case in cases:
            for words in (case.command, f"{case.command} --json")[: 2 if case.json else 1]:
                title, block = self._play(case, words)
                assert title not in blocks, f"twice: {title}"
                blocks[title] = block
        return blocks

    def _play(self, case: Case, words: str) -> tuple[str, str]:
        program = Forked.copy(self.forks, self.trace_dir, self.made)
        text = self.config if case.config is None else case.config
        program.config(text.replace("HOME", program.home))
        if case.prepare is not None:
            case.prepare(program.home)
        env = {
            name: value and value.replace("HOME", program.home)
            for name, value in (case.env or {}).items()
        }
        told = words.replace("HOME", program.home)
        done = program.run(*shlex.split(told), stdin=case.stdin, env=env)
        shutil.rmtree(program.home, ignore_errors=True)
        return self._title(case, words), self._told(done, program.home)

    def _title(self, case: Case, words: str) -> str:
        lines = [f"$ brokerctl {words}"]
        lines += [f"  with {name}={value}" for name, value in (case.env or {}).items()]
        lines = [plainly(line, self.names) for line in lines]
        lines += [f"  given {line}" for line in case.stdin.splitlines()]
        lines += [f"  where {case.why}"] if case.why else []
        if case.config is not None:
            lines += [f"  of {line}" for line in case.config.splitlines()[:12]]
        plain = [line.encode("ascii", "backslashreplace").decode() for line in lines]
        return "\n".join(line if len(line) <= WIDTH else f"{line[:WIDTH]}..." for line in plain)

    def _told(self, done: Result, home: str) -> str:
        lines = [f"exit {done.returncode}"]
        for name, text in (("out", done.stdout), ("err", done.stderr)):
            plain = plainly(text, {home: "<home>", ROOT: "<root>", **self.names})
            lines += [f"{name} {line}".rstrip() for line in plain.splitlines()]
        return "\n".join(lines)


def plainly(text: str, names: Mapping[str, str]) -> str:
    """Return a text without what is of chance."""
    for name, shown in names.items():
        text = text.replace(name, shown)
    for pattern, shown in _CHANCE:
        text = pattern.sub(shown, text)
    return text


def compare(name: str, blocks: Mapping[str, str]) -> None:
    """Compare with a golden file of blocks, or write it anew where that is wanted."""
    path = os.path.join(GOLDEN, name)
    if os.environ.get("BROKERCTL_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n\n".join(f"{title}\n{block}" for title, block in blocks.items()) + "\n")
    wanted = dict(_split(block) for block in _read(path).rstrip("\n").split("\n\n"))
    found = {title: block.splitlines() for title, block in blocks.items()}
    told = [f"no more: {title}" for title in wanted if title not in found]
    told += [f"new: {title}" for title in found if title not in wanted]
    for title, lines in found.items():
        if lines != wanted.get(title, lines):
            told += [title, *difflib.ndiff(wanted[title], lines)]
    assert not told, "\n".join(told)
    assert list(found) == list(wanted)


def _split(block: str) -> tuple[str, list[str]]:
    lines = block.split("\n")
    at = next(at for at, line in enumerate(lines) if line.startswith("exit "))
    return "\n".join(lines[:at]), lines[at:]


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def make_home(
    forks: Forks,
    trace_dir: str,
    config: str,
    *commands: str,
    env: Mapping[str, str | None] | None = None,
) -> str:
    """Return a home in which these commands were run well: its key is made."""
    program = Forked.copy(forks, tempfile.mkdtemp(prefix="made-", dir=trace_dir), None)
    program.config(config)
    for command in commands:
        done = program.run(*command.split(), env=env)
        assert done.returncode == 0, done.stderr
    for name in os.listdir(program.home):
        if name.startswith("run-"):
            os.unlink(os.path.join(program.home, name))
    return program.home
