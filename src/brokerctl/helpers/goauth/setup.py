"""Go's own environment file: puts `brokerctl helper goauth` before the value of GOAUTH.

Of two lines for one variable the last counts, and `go env -w` deletes the other. So the line that
was there becomes a comment in our part, and a line again when our part is taken out. If a person
has changed our line by `go env -w` meanwhile, that is newer than the comment, and stays.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from brokerctl.errors import UsageError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.edit.blocks import Form, has_block, put_block, split_at_block, take_block
from brokerctl.helpers.setups import NO_HOSTS_HINT, UsualSetup, home_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerctl.helpers.setups import Part

_NAME = "goauth"
_KEY = "GOAUTH="
_OFF = "off"
_USUAL = "netrc"  # what Go does where GOAUTH is not set
_US = "helper goauth"
_WAS = "# was: "
_WAS_LAST = "# was, without the end of a line: "
_FORM = Form(lambda rows, at: rows[at].startswith((_KEY, _WAS + _KEY, _WAS_LAST + _KEY)))


class GoauthSetup(UsualSetup):
    """`$GOENV`, else `go/env` in the user's configuration folder (`go help environment`)."""

    script = "brokerctl"

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the file that `go env -w` writes."""
        given = environ.get("GOENV")
        if given and given != _OFF:
            return [SetupFile(os.path.abspath(given))]
        base = environ.get("XDG_CONFIG_HOME") or home_path(environ, ".config")
        return [SetupFile(os.path.join(base, "go", "env"))]

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Put our line where GOAUTH was, else at the end."""
        if not any(host.startswith("https://") for one in part.profiles for host in one.hosts):
            raise UsageError(
                "no profile has an https host, so go has nothing to ask for",
                hint=NO_HOSTS_HINT,
            )
        if part.environ.get("GOENV") == _OFF:
            raise UsageError("GOENV is off, so go reads no file", hint="unset GOENV first")
        taken = self.take(place, text)
        base = text if taken is None else taken
        before, line, after = _split(base)
        value = (line or "").removeprefix(_KEY).strip() or _USUAL
        if _OFF in value.split(";"):
            raise UsageError(f"{place.path} has GOAUTH=off", hint="run 'go env -u GOAUTH' first")
        if _US in value:
            raise UsageError(
                f"{place.path} names brokerctl in GOAUTH already", hint="take that out first"
            )
        own = f"{_KEY}{_command(part.script)};{value}"
        if line is None:
            put = put_block(base, _NAME, [own], _FORM)
        else:
            was = f"{_WAS if after is not None else _WAS_LAST}{line}"
            put = before + put_block("", _NAME, [was, own], _FORM) + (after or "")
        return text if has_block(text, _NAME) and own in text.split("\n") else put

    def take(self, place: SetupFile, text: str) -> str | None:  # noqa: ARG002 - there is one place
        """Take our line out, and restore the one that was there before."""
        rest = take_block(text, _NAME, _FORM)
        if rest is None:
            return None
        head, rows = split_at_block(text, _NAME)
        tail = rest[len(head) :]  # "" if the newline before our part was ours too
        was, end = _was(rows, tail)
        line = _left(rows, was)
        if line == was:
            return rest if was is None else head + was + end + tail
        return head + tail if line is None else f"{head}{line}\n{tail}"

    def advice(self, part: Part) -> str | None:
        """Name the variable that Go takes before its file."""
        if part.environ.get("GOAUTH"):
            return "GOAUTH is set in the environment, and go takes that instead of its file"
        return None


def _was(rows: list[str], tail: str) -> tuple[str | None, str]:
    """Return the earlier line that our comment holds, if there was one, and its newline."""
    for mark, end in ((_WAS, "\n"), (_WAS_LAST, "\n" if tail else "")):
        row = next((row for row in rows if row.startswith(mark + _KEY)), None)
        if row is not None:
            return row.removeprefix(mark), end
    return None, ""


def _left(rows: list[str], was: str | None) -> str | None:
    """Return what replaces our part: the earlier line, or ours as somebody has changed it."""
    line = next((row for row in rows if row.startswith(_KEY)), None)
    if line is None:
        return None
    commands = line.removeprefix(_KEY).split(";")
    others = ";".join(one for one in commands if _US not in one).strip()
    if others == ((was or "").removeprefix(_KEY).strip() or _USUAL):
        return was
    return f"{_KEY}{others}" if others else None


def _split(text: str) -> tuple[str, str | None, str | None]:
    """Return what is before the line that counts, the line, and what is after its end.

    Without such a line the whole text is before it; after a line without a newline comes None.
    """
    rows = text.split("\n")
    found = [at for at, row in enumerate(rows) if row.startswith(_KEY)]
    if not found:
        return text, None, None
    at = found[-1]
    before = "".join(f"{row}\n" for row in rows[:at])
    after = "\n".join(rows[at + 1 :]) if rows[at + 1 :] else None
    return before, rows[at], after


def _command(script: str) -> str:
    """Return the command for Go, which splits it into words: a path with spaces is quoted whole."""
    quote = next((one for one in ("", "'", '"') if _is_whole(script, one)), None)
    if quote is None or ";" in script or "\n" in script:
        raise UsageError(
            f"go can't run {script}: it takes no ';' and one kind of quotes",
            hint="install brokerctl in a folder with a plain name",
        )
    return f"{quote}{script}{quote} {_US}"


def _is_whole(script: str, quote: str) -> bool:
    if quote:
        return quote not in script
    return script.split() == [script] and script[0] not in "'\""
