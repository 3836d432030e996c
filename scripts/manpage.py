"""Writes a man page of man(7) macros from a command of the Typer program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerctl import __version__
from brokerctl.errors import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

DATE = "2026-11-23"
KEPT = "\b"  # the mark of a paragraph whose lines stay as they are
EXEC_CODES = (
    (125, "brokerctl's own failure while the command ran"),
    (126, "the command can't be run"),
    (127, "the command was not found"),
    (128, "plus n: the command was ended by signal n"),
)
ENVIRONMENT = (
    ("BROKERCTL_CONFIG", "the configuration file, in place of the user's"),
    ("BROKERCTL_HOME", "where grants, tokens, locks and the log lie"),
    ("BROKERCTL_KEEPER", "who keeps the key at first use: keyring, passphrase, file or env"),
    ("BROKERCTL_KEY, BROKERCTL_KEY_FILE", "the key itself, for keeper env"),
    ("BROKERCTL_PASSPHRASE, BROKERCTL_PASSPHRASE_FILE", "the passphrase, for keeper passphrase"),
    ("BROKERCTL_KEY_NEW, BROKERCTL_PASSPHRASE_NEW, ..._FILE", "what store rekey changes to"),
    ("BROKERCTL_PROFILE", "the profile that is meant when none is named"),
    ("BROKERCTL_PURPOSE", "why tokens are asked for; goes into the record"),
    ("BROKERCTL_DEBUG", "say where an unexpected error happened, without values"),
    ("BROWSER, SSL_CERT_FILE, HTTPS_PROXY, NO_PROXY, NO_COLOR, CI", "as everywhere"),
)
FILES = (
    ("~/.config/brokerctl/config.toml", "the user's profiles and settings"),
    ("/etc/brokerctl/config.toml", "the machine's"),
    (".brokerctl.toml", "a project's, which counts after brokerctl trust"),
    ("~/.local/state/brokerctl/v1", "sealed grants and tokens, locks, keys and the log"),
)


def escape(text: str) -> str:
    """Return text that roff shows as it is, a leading dot or quote included."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def quoted(text: str) -> str:
    """Return text as one argument of a macro."""
    return '"' + escape(text).replace('"', '""') + '"'


def render(command: Any, words: tuple[str, ...]) -> str:  # noqa: ANN401 - Typer vendors the type
    """Return the page of a command; its sub-commands are sections of it."""
    title = "-".join(words)
    lines = [
        '.\\" Made by scripts/papers.py from the program itself.',
        f'.TH {quoted(title.upper())} 1 "{DATE}" "brokerctl {__version__}" "User Commands"',
        ".SH NAME",
        f"{escape(title)} \\- {escape(summary(command))}",
        ".SH SYNOPSIS",
        *synopsis(command, words),
        ".SH DESCRIPTION",
        *description(command),
    ]
    if len(words) == 1:
        listed = [(name, summary(child)) for name, child in children(command)]
        lines += [".SH COMMANDS", *pairs(listed)]
    options = list(parameters(command))
    lines += [".SH OPTIONS", *options] if options else []
    for name, child in children(command) if len(words) > 1 else ():
        lines += [f".SH {quoted(f'{words[-1]} {name}'.upper())}", *synopsis(child, (*words, name))]
        lines += [".PP", *description(child), *parameters(child)]
    codes = (*EXIT_CODES, *EXEC_CODES) if words[-1] == "exec" else EXIT_CODES
    lines += [".SH EXIT STATUS", *pairs(codes)]
    if len(words) == 1:
        lines += [".SH ENVIRONMENT", *pairs(ENVIRONMENT), ".SH FILES", *pairs(FILES)]
        names = [name for name, _ in children(command)]
    else:
        names = [""]
    seen = [f".BR {quoted('-'.join(filter(None, ('brokerctl', name))))} (1)" for name in names]
    lines += [".SH SEE ALSO", *(f"{line} ," for line in seen[:-1]), seen[-1]]
    return "\n".join(lines) + "\n"


def children(command: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - as above
    """Return the sub-commands that are shown, in the program's order."""
    found = getattr(command, "commands", {})
    names = command.list_commands(None) if found else []
    return [(name, found[name]) for name in names if not found[name].hidden]


def paragraphs(command: Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the docstring's paragraphs."""
    return re.split(r"\n\s*\n", (command.help or "").strip("\n"))


def summary(command: Any) -> str:  # noqa: ANN401 - as above
    """Return the first sentence, as a phrase."""
    text = " ".join(paragraphs(command)[0].split()).rstrip(".")
    return text[:1].lower() + text[1:]


def synopsis(command: Any, words: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401 - as above
    """Yield the command line."""
    yield f".B {escape(' '.join(words))}"
    given = [one for one in command.params if one.param_type_name == "argument"]
    yield escape(" ".join(["[OPTIONS]", *map(metavar, given)]))
    if children(command):
        yield escape("COMMAND [ARGS]...")


def metavar(argument: Any) -> str:  # noqa: ANN401 - as above
    """Return how an argument is written in the synopsis."""
    name: str = argument.metavar or argument.name.upper()
    if not argument.required and not name.startswith("["):
        name = f"[{name}]"
    return f"{name}..." if argument.nargs == -1 else name


def description(command: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    """Yield the docstring: filled paragraphs, and examples as they are."""
    for number, text in enumerate(paragraphs(command)):
        if KEPT in text:
            kept = text.replace(KEPT, "").strip("\n").splitlines()
            least = min(len(line) - len(line.lstrip()) for line in kept)
            yield from (".PP", ".RS 4", ".nf", *(escape(line[least:]) for line in kept))
            yield from (".fi", ".RE")
        else:
            yield from ([".PP"] if number else [])
            yield from (escape(line.strip()) for line in text.splitlines())


def parameters(command: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    """Yield one tagged paragraph an argument or option that is shown."""
    for one in command.params:
        if getattr(one, "hidden", False) or one.name == "help" or not one.help:
            continue
        is_option = one.param_type_name == "option"
        names = ", ".join((*one.opts, *one.secondary_opts)) if is_option else metavar(one)
        takes = is_option and not one.is_flag
        value = f" {one.metavar or one.name.upper()}" if takes else ""
        repeat = " Repeatable." if is_option and one.multiple and "repeat" not in one.help else ""
        yield from (".TP", f".B {escape(names + value)}", escape(one.help + repeat))


def pairs(rows: Any) -> list[str]:  # noqa: ANN401 - of numbers or names, and texts
    """Return tagged paragraphs of a table."""
    return [line for key, text in rows for line in (".TP", f".B {escape(str(key))}", escape(text))]
