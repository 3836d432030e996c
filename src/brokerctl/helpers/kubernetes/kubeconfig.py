"""A user of ours in somebody else's kubeconfig: put in, found, taken out. Pure text.

It is the first of the list, between two comment lines, so that every other byte stays as it is.
kubectl drops all comments when it writes the file; then the user is known by its name and command.
A file in another style than kubectl's plain blocks raises ValueError: nothing is guessed.
"""

from __future__ import annotations

from typing import NamedTuple

NAME = "brokerctl"
_BEGIN = "# brokerctl helper install kubernetes: begin"
_END = "# brokerctl helper install kubernetes: end"
_INSTEAD = ", in place of: "
_KEY = "users"
_NOTHING = ("[]", "~", "null", "Null", "NULL")
_WORDS = ("- helper", "- kubernetes")
_PROFILE = "- --profile"
_LINE = "args: [helper, kubernetes, "
_HEAD = ("apiVersion: v1", "kind: Config")
_KEY_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_SAFE = _KEY_CHARS | frozenset("/.+=@,")
_WHOLE = frozenset(
    (
        *_HEAD,
        "users:",
        f"- name: {NAME}",
        "user:",
        "exec:",
        "apiVersion: client.authentication.k8s.io/v1",
        "command:",
        "args:",
        *_WORDS,
        _PROFILE,
        "- profile",
        "interactiveMode: Never",
        "provideClusterInfo: true",
    )
)  # the rows that we write, with command and profile left out


def user_rows(command: str, profile: str) -> list[str]:
    """Return the user as rows of a list that is not indented."""
    is_plain = _SAFE.issuperset(command)
    return [
        f"- name: {NAME}",
        "  user:",
        "    exec:",
        "      apiVersion: client.authentication.k8s.io/v1",
        f"      command: {command if is_plain else _quoted(command)}",
        "      args:",
        f"      {_WORDS[0]}",
        f"      {_WORDS[1]}",
        f"      {_PROFILE}",
        f"      - {_quoted(profile)}",  # without quotes, `on` or `1.5` would not be text
        "      interactiveMode: Never",
        "      provideClusterInfo: true",
    ]


def put_user(text: str, user: list[str]) -> str:
    """Return the text with this user; ValueError if it can't be put in."""
    rows = text.split("\n")
    is_marked = _find_block(rows) is not None
    found = _find_user(rows)
    if found and found.is_ours:
        item = rows[found.start : found.end]
        renewed = _renewed(item, user) if _has_more(item) else []
        if _bare(item) == _bare(renewed or user) and (renewed or not is_marked):
            return text
        if renewed:
            return "\n".join([*rows[: found.start], *renewed, *rows[found.end :]])
    taken = take_user(text)
    return _put_new(text if taken is None else taken, user)


def _put_new(text: str, user: list[str]) -> str:
    """Return the text with this user; it has none of ours yet."""
    rows = text.split("\n")
    if _find_user(rows):
        raise ValueError(f"it has another user '{NAME}'")
    at = _find_key(rows)
    if at is None:
        is_blank = all(_is_blank(row) for row in rows)
        made = _block([*(_HEAD if is_blank else ()), f"{_KEY}:", *user])
        return "\n".join([*rows, *made] if rows[-1] else [*rows[:-1], *made, ""])
    value = _value(rows[at])
    if value in _NOTHING and all(_is_blank(rows[one]) for one in _section(rows, at)):
        new = _block([f"{_KEY}:", *user], _INSTEAD + rows[at])
        return "\n".join([*rows[:at], *new, *rows[at + 1 :]])
    if value:
        raise ValueError(f"its '{_KEY}' are not in block style")
    indent = " " * _find_indent(rows, at)
    new = _block([indent + row for row in user])
    return "\n".join([*rows[: at + 1], *new, *rows[at + 1 :]])


def take_user(text: str) -> str | None:
    """Return the text without our user, as it was before us if nobody edited it; None if not in."""
    rows = text.split("\n")
    block = _find_block(rows)
    if block:
        inside = rows[block[0] + 1 : block[1]]
        if all(one in _WHOLE for one in _shape(inside)):
            return _taken_block(rows, *block)
        rows = [*rows[: block[0]], *inside, *rows[block[1] + 1 :]]
    try:
        found = _find_user(rows)
    except ValueError:
        return None  # our part is never put into such a text
    if found is None or not found.is_ours:
        return "\n".join(rows) if block else None
    notes = [row for row in rows[found.start : found.end] if row.lstrip()[:1] == "#"]
    left = [*rows[: found.start], *notes, *rows[found.end :]]
    if found.is_alone:
        left[found.key] = left[found.key].replace(":", ": []", 1)
    return "\n".join(left)


def find_contexts(text: str) -> list[str]:
    """Return the names of the contexts whose user has our name."""
    rows = text.split("\n")
    try:
        key = _find_key(rows, "contexts")
        if key is None or _value(rows[key]):
            return []
        items = _items(rows, key)
    except ValueError:
        return []
    found = []
    for start, end in items:
        item = [rows[start].replace("-", " ", 1), *rows[start + 1 : end]]
        if f"user: {NAME}" in [_unquoted(row.strip()) for row in item]:
            found.append(_name(item) or "")
    return found


class _User(NamedTuple):
    """The position of the user with our name."""

    key: int  # the row of `users:`
    start: int
    end: int
    is_ours: bool
    is_alone: bool


def _find_user(rows: list[str]) -> _User | None:
    """Return the user with our name, also if another program made it."""
    key = _find_key(rows)
    if key is None or _value(rows[key]):
        return None
    items = _items(rows, key)
    for start, end in items:
        item = [rows[start].replace("-", " ", 1), *rows[start + 1 : end]]
        if _name(item) == NAME:
            last = max(at for at in range(start, end) if not _is_blank(rows[at])) + 1
            return _User(key, start, last, _is_ours(item), len(items) == 1)
    return None


def _items(rows: list[str], key: int) -> list[tuple[int, int]]:
    """Return (start, end) of each item of the list below a key."""
    indent = _find_indent(rows, key)
    section = _section(rows, key)
    starts = [at for at in section if _is_item(rows[at].removeprefix(" " * indent))]
    return [*zip(starts, [*starts, section.stop][1:], strict=True)]


def _shape(rows: list[str]) -> list[str]:
    """Return our rows without command and profile, to compare them."""
    found = [
        _unquoted(row.strip()) for row in rows if row.strip() and not row.endswith("env: null")
    ]
    for at, row in enumerate(found):
        if row.startswith("command: "):
            found[at] = "command:"
        elif found[at - 1 : at] == ["- --profile"]:
            found[at] = "- profile"
    return found


def _has_more(item: list[str]) -> bool:
    """Return whether somebody added to our user, as `kubectl config set-credentials` does."""
    return any(one not in _WHOLE for one in _shape(item))


def _renewed(item: list[str], user: list[str]) -> list[str]:
    """Return our user with command and profile taken from `user`; [] if it lacks one of them."""
    command = next(row.strip() for row in user if row.lstrip().startswith("command: "))
    renewed, is_profile, count = [], False, 0
    for row in item:
        is_command = row.lstrip().startswith("command: ")
        if is_command or is_profile:
            new = command if is_command else user[user.index(f"      {_PROFILE}") + 1].strip()
            row = row[: len(row) - len(row.lstrip())] + new  # noqa: PLW2901 - the row anew
            count += 1
        renewed.append(row)
        is_profile = row.strip() == _PROFILE
    return renewed if count == len((command, _PROFILE)) else []


def _name(item: list[str]) -> str | None:
    """Return a user's name."""
    rows = [row for row in item if not _is_blank(row)]
    if rows and rows[0].lstrip()[0] == "{":
        first, _, rest = _unquoted(rows[0].strip()).partition(":")
        return rest.partition(",")[0].strip() if first == "{name" else None
    indent = min((len(row) - len(row.lstrip(" ")) for row in rows), default=0)
    for row in rows:
        key, _, _ = row[indent:].partition(":")
        if _unquoted(key) == "name":
            return _unquoted(_value(row))
    return None


def _is_ours(item: list[str]) -> bool:
    words = [row.strip() for row in item]
    at = words.index(_WORDS[0]) if _WORDS[0] in words else len(words)
    return tuple(words[at : at + 2]) == _WORDS or _LINE in _unquoted(words[0])


def _find_key(rows: list[str], wanted: str = _KEY) -> int | None:
    """Return the row of a top-level key, if any; ValueError if the text is not in block style."""
    found: list[int] = []
    is_begun = False
    for at, row in enumerate(rows):
        if _is_blank(row) or (row.rstrip() == "---" and not is_begun):
            continue
        key, colon, rest = row.partition(":")
        name = key.strip("\"'")
        if is_begun and (row[0] in " \t" or _is_item(row)):
            continue  # it belongs to the key above
        if not colon or not name or not _KEY_CHARS.issuperset(name) or rest[:1].strip():
            raise ValueError(f"line {at + 1} is not in the block style that kubectl writes")
        is_begun = True
        if name == wanted:
            found.append(at)
    if len(found) > 1:
        raise ValueError(f"'{wanted}' is in it twice")
    return found[0] if found else None


def _section(rows: list[str], key: int) -> range:
    """Return the rows below a key, up to the next."""
    end = key + 1
    while end < len(rows) and (_is_blank(rows[end]) or rows[end][0] == " " or _is_item(rows[end])):
        end += 1
    return range(key + 1, end)


def _find_indent(rows: list[str], key: int) -> int:
    """Return how far the list below a key is indented; 0 where there is none yet."""
    first = next((rows[at] for at in _section(rows, key) if not _is_blank(rows[at])), "-")
    indent = len(first) - len(first.lstrip(" "))
    if not _is_item(first[indent:]):
        raise ValueError(f"its '{_KEY}' are not a list in block style")
    return indent


def _is_item(row: str) -> bool:
    return row[:1] == "-" and not row[1:2].strip()


def _is_blank(row: str) -> bool:
    """Return whether a row is empty or a comment."""
    return row.strip()[:1] in {"", "#"}


def _value(row: str) -> str:
    """Return the value after a key in its row, without a comment."""
    value = row.partition(":")[2].strip()
    return "" if value[:1] == "#" else value.partition(" #")[0].strip()


def _bare(rows: list[str]) -> list[str]:
    """Return rows sorted and unquoted, so that kubectl's rewriting makes no difference."""
    found = sorted(_unquoted(row.strip()) for row in rows if not _is_blank(row))
    return [row for row in found if row != "env: null"]


def _unquoted(text: str) -> str:
    return text.replace('"', "").replace("'", "")


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a path holds what can't be written into it")
    return "'" + text.replace("'", "''") + "'"


def _block(rows: list[str], note: str = "") -> list[str]:
    return [_BEGIN + note, *rows, _END]


def _find_block(rows: list[str]) -> tuple[int, int] | None:
    """Return where our part begins and ends."""
    starts = [at for at, row in enumerate(rows) if row.startswith(_BEGIN)]
    ends = [at for at, row in enumerate(rows) if row == _END]
    if not starts and not ends:
        return None
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        raise ValueError("brokerctl's part of it is no longer whole")
    return starts[0], ends[0]


def _taken_block(rows: list[str], start: int, end: int) -> str:
    before, after = rows[:start], rows[end + 1 :]
    note = rows[start].removeprefix(_BEGIN)
    following = next((row for row in after if not _is_blank(row)), "")
    keys = [at for at in range(start, end) if rows[at] == f"{_KEY}:"]
    if keys and _is_item(following.lstrip(" ")):
        return "\n".join([*before, *rows[start + 1 : keys[0] + 1], *after])  # others use it
    if note.startswith(_INSTEAD):
        return "\n".join([*before, note.removeprefix(_INSTEAD), *after])
    return "\n".join([*before, *after])
