"""Edits a profile in the user's TOML: comments, order and line ends stay as they are.

A profile below a header of its own is edited as text. tomlkit edits every other form (inline
tables, dotted keys, a profile that has sub-tables alone): it would give the comments above a table
to the table before it, and lose them where that one is removed. Each edit is checked before it
counts: the new text must parse to exactly what was meant, no comment may be lost by tomlkit, and
all layers must compile with the text. Else nothing is changed.
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

from brokerctl.config.compile import compile_layers
from brokerctl.config.layers import Layer, read_layers
from brokerctl.config.positions import Item, find_comments, scan
from brokerctl.config.source import parse_layer
from brokerctl.errors import UsageError, shell_word
from brokerctl.platform.user_files import WAIT_S, locked_folder, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerctl.config.layers import Layers

    Edit = Callable[[Any], None]  # of tomlkit's table of all profiles

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LINE_FEED = re.compile(r"(?<!\r)\n")
TESTS_FILE = "policy-tests.toml"  # the cases of a policy, beside the user's file
_BY_HAND = "is written in a form that can't be changed here"


def add_profile(text: str, name: str, values: Mapping[str, Any]) -> str:
    """Return the text with a profile at its end; UsageError if there is one of that name."""
    wanted = tomllib.loads(text)
    profiles = wanted.setdefault("profile", {})
    if not isinstance(profiles, dict) or name in profiles:
        raise UsageError(
            f"there is a profile '{name}'",
            hint=f"run 'brokerctl profile edit {shell_word(name)}'",
        )
    profiles[name] = dict(values)
    end = _line_end(text)
    lines = [f"[profile.{render_key(name)}]"]
    lines += [f"{render_key(key)} = {render_value(value)}" for key, value in values.items()]
    gap = "" if not text else end if text.endswith("\n") else end * 2
    added = text + gap + "".join(line + end for line in lines)

    def edit(table: Any) -> None:  # noqa: ANN401 - one of tomlkit's tables
        table[name] = _item(dict(values))

    return _checked_edit(name, text, added, wanted, edit)


def change_profile(
    text: str, name: str, changes: Mapping[str, Any], removals: tuple[str, ...] = ()
) -> str:
    """Return the text with some keys of a profile set and others removed."""
    wanted = tomllib.loads(text)
    profile, changed = _get_profile(wanted, name), text
    for key in removals:
        if key not in profile:
            raise UsageError(f"profile '{name}' has no {key} of its own")
        del profile[key]
        changed = _remove_key(changed, ("profile", name, key))
    for key, value in changes.items():
        changed = _set_key(changed, name, key, value)
        profile[key] = value

    def edit(table: Any) -> None:  # noqa: ANN401 - one of tomlkit's tables
        for key in removals:
            del table[name][key]
        for key, value in changes.items():
            table[name][key] = _item(value)

    return _checked_edit(name, text, changed, wanted, edit)


def remove_profile(text: str, name: str) -> str:
    """Return the text without a profile; comments above the next table stay with that."""
    wanted = tomllib.loads(text)
    _get_profile(wanted, name)
    del wanted["profile"][name]
    where, removed = ("profile", name), text
    for item in reversed(scan(text)):
        if item.path[:2] != where:
            continue
        if item.is_header:
            removed = _cut(removed, item.key_at, _section_end(removed, item))
        elif not item.is_nested and item.table[:2] != where:
            removed = _cut_line(removed, item)  # a dotted key, or an inline table

    def edit(table: Any) -> None:  # noqa: ANN401 - one of tomlkit's tables
        del table[name]

    return _checked_edit(name, text, removed, wanted, edit)


def render_key(key: str) -> str:
    """Return a key as TOML writes it: bare where it can be."""
    return key if _BARE.fullmatch(key) else render_value(key)


def render_value(value: Any) -> str:  # noqa: ANN401 - what TOML holds
    """Return a string, flag, whole number, list or table as TOML, on one line; or UsageError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(_escape(char) for char in _checked(value)) + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(render_value(item) for item in value) + "]"
    if isinstance(value, dict):
        inner = ", ".join(
            f"{render_key(key)} = {render_value(item)}" for key, item in value.items()
        )
        return f"{{ {inner} }}" if inner else "{}"
    raise UsageError(
        f"'{value}' is of a kind that no key takes",
        hint="write text, a whole number, true or false, a list or a table",
    )


def _checked(text: str) -> str:
    """Return a text that can be written; half a character comes from a command line's bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text[:80]!a} is not text in UTF-8") from None
    return text


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() or char > "\xa0" else f"\\u{ord(char):04x}"


def _get_profile(table: dict[str, Any], name: str) -> dict[str, Any]:
    profiles = table.get("profile", {})
    found = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(found, dict):
        raise UsageError(f"no profile '{name}' in this file", hint="run 'brokerctl profile list'")
    return found


def _checked_edit(name: str, before: str, after: str, wanted: dict[str, Any], edit: Edit) -> str:
    """Return the text that says what was meant: edited as text, or else by tomlkit; UsageError."""
    if _says(after, wanted):
        return after
    by_tomlkit = _edit_by_tomlkit(before, edit)
    if by_tomlkit is None or not _says(by_tomlkit, wanted):
        raise UsageError(f"profile '{name}' {_BY_HAND}", hint="edit the file by hand")
    return by_tomlkit


def _says(text: str, wanted: dict[str, Any]) -> bool:
    """Return whether a text means this; a table without a profile may be there or not."""
    try:
        found = tomllib.loads(text)
    except ValueError:
        return False
    return found | {"profile": found.get("profile", {})} == wanted


def _edit_by_tomlkit(text: str, edit: Edit) -> str | None:
    """Return the text as tomlkit edits it; None where it can't, or loses a comment."""
    import tomlkit  # noqa: PLC0415 - only a form that can't be edited as text needs it

    try:
        document = tomlkit.parse(text)
        edit(document["profile"])
        after = tomlkit.dumps(document)
        if "\r\n" in text and not _LINE_FEED.search(text):
            after = _LINE_FEED.sub("\r\n", after)  # tomlkit ends its own lines without the "\r"
        is_whole = sorted(find_comments(text)) == sorted(find_comments(after))
    except (tomlkit.exceptions.TOMLKitError, LookupError, ValueError, TypeError, AttributeError):
        return None
    return after if is_whole else None


def _item(value: Any) -> Any:  # noqa: ANN401 - what TOML holds, as tomlkit's item
    import tomlkit  # noqa: PLC0415 - as above

    return tomlkit.value(render_value(value))


def _set_key(text: str, name: str, key: str, value: Any) -> str:  # noqa: ANN401 - what TOML holds
    where = ("profile", name)
    items = scan(text)
    for item in items:
        if item.path == (*where, key) and not item.is_header:
            return text[: item.value_at] + render_value(value) + text[item.end :]
    at = _end_of_table(text, items, where)
    if at is None:
        return text  # it has no header: this is for tomlkit
    end = _line_end(text)
    before = "" if at == 0 or text[at - 1] == "\n" else end
    return f"{text[:at]}{before}{render_key(key)} = {render_value(value)}{end}{text[at:]}"


def _end_of_table(text: str, items: list[Item], where: tuple[str, ...]) -> int | None:
    """Return the start of the line after a table's last key, None if it has no header."""
    at = None
    for item in items:
        is_header = item.path == where and item.is_header
        is_inside = at is not None and item.table == where and not item.is_nested
        if is_header or is_inside:
            at = _next_line(text, item.end)
    return at


def _remove_key(text: str, path: tuple[str, ...]) -> str:
    for item in reversed(scan(text)):
        if item.path[: len(path)] != path or item.is_nested:
            continue
        if item.is_header:
            text = _cut(text, item.key_at, _section_end(text, item))
        elif item.table[: len(path)] != path:
            text = _cut_line(text, item)
    return text


def _cut_line(text: str, item: Item) -> str:
    start = text.rfind("\n", 0, item.key_at) + 1
    return _cut(text, start, _next_line(text, item.end))


def _section_end(text: str, header: Item) -> int:
    """Return where a table ends: before the comments that stand directly above the next header."""
    following = [
        item.key_at for item in scan(text) if item.is_header and item.key_at > header.key_at
    ]
    if not following:
        return len(text)
    at = text.rfind("\n", 0, following[0]) + 1
    while at > 0:
        above = text.rfind("\n", 0, at - 1) + 1
        if not text[above:at].lstrip(" \t").startswith("#") or above <= header.key_at:
            return at
        at = above
    return at


def _cut(text: str, start: int, end: int) -> str:
    start = text.rfind("\n", 0, start) + 1
    return text[:start] + text[end:]


def _next_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def change_user_file(
    environ: Mapping[str, str], edit: Callable[[str], str], wait_s: float = WAIT_S
) -> str:
    """Apply an edit to the user's file and return its path; nothing is changed on any error."""
    path = os.path.realpath(read_layers(environ, None).get_layer("user").path)
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        with locked_folder(folder, wait_s):
            layers = read_layers(
                environ, None
            )  # again: it may have changed before we held the lock
            user = layers.get_layer("user")
            before = user.content or b""
            after = edit(_decoded(user)).encode()
            if after == before:
                return user.path
            changed = Layer(label="user", path=user.path, content=after)
            files = tuple(changed if layer.label == "user" else layer for layer in layers.files)
            _check(layers, layers.replace(files=files), environ)
            replace_file(path, after)
            return user.path
    except RecursionError:
        raise UsageError(f"{path} is nested too deep to change", hint="edit it by hand") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"can't change {path}: {reason}") from error


def _check(before: Layers, after: Layers, environ: Mapping[str, str]) -> None:
    """Compile an edit; its own mistake is told without a place, since that text is never saved."""
    try:
        compile_layers(after, environ)
    except UsageError as error:
        compile_layers(before, environ)  # a mistake that was there already has its place
        place, _, message = error.message.partition(": ")
        is_user = place.startswith(after.get_layer("user").path)
        raise UsageError(message if is_user else error.message, hint=error.hint) from None


def _decoded(layer: Layer) -> str:
    """Return a file's text once it is known to be valid; the error says what isn't."""
    source = parse_layer(layer)
    return "" if source is None else source.text


def add_policy(text: str, policy: str) -> str:
    """Return the text with a policy at its end; UsageError if it has one already."""
    if "policy" in tomllib.loads(text):
        raise UsageError(
            "there is a policy in this file already", hint="edit it, or take what init prints"
        )
    end = _line_end(text)
    gap = "" if not text else end if text.endswith("\n") else end * 2
    return text + gap + policy.replace("\n", end)


def write_policy(environ: Mapping[str, str], policy: str, cases: str) -> tuple[str, str]:
    """Add a policy to the user's file and put its cases beside it; return both paths.

    UsageError if there is one of them already: then nothing is changed.
    """
    user = os.path.realpath(read_layers(environ, None).get_layer("user").path)
    beside = os.path.join(os.path.dirname(user), TESTS_FILE)
    if os.path.lexists(beside):
        raise UsageError(f"there is {beside} already", hint="move it away first")
    path = change_user_file(environ, lambda text: add_policy(text, policy))
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(cases)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UsageError(f"the policy was added, but not {beside}: {reason}") from error
    return path, beside
