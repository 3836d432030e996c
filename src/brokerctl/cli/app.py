"""Builds the Typer program from the table of commands, and turns Typer's errors into ours."""

from __future__ import annotations

import gc
import importlib
import io
import itertools
import os
import re
import sys
from typing import Any

import typer

from brokerctl import __version__, output
from brokerctl.cli.typer_classes import App, Group
from brokerctl.errors import BrokerError, UsageError

_STDOUT = 1
# A new command is one file and one line here. Only the module of the called command is imported;
# `--help` imports all of them.
COMMANDS = {
    "login": "brokerctl.cli.login",
    "get": "brokerctl.cli.get",
    "exec": "brokerctl.cli.exec",
    "revoke": "brokerctl.cli.revoke",
    "audit": "brokerctl.cli.audit",
    "status": "brokerctl.cli.status",
    "profile": "brokerctl.cli.profile",
    "policy": "brokerctl.cli.policy",
    "trust": "brokerctl.cli.trust",
    "unlock": "brokerctl.cli.unlock",
    "lock": "brokerctl.cli.unlock",
    "approve": "brokerctl.cli.approve",
    "session": "brokerctl.cli.session",
    "store": "brokerctl.cli.store",
    "doctor": "brokerctl.cli.doctor",
    "helper": "brokerctl.cli.helper",
    "demo": "brokerctl.cli.demo",
}
COMPLETE = "_BROKERCTL_COMPLETE"  # what the shells' completion files set
_NO_ARGS = "NoArgsIsHelpError"  # Typer does not export it
# How Typer ends a message about a command or an option that it does not know.
_SUGGESTION = re.compile(r"\.? (?:Did you mean (.+?)\?|\(Possible options: (.+?)\))$")
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


class StdoutError(OSError):
    """The answer could not be written to stdout in full."""


class _Stdout(io.RawIOBase):
    """Descriptor 1; waits if it is non-blocking and full, where Python's own stream raises."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDOUT

    def isatty(self) -> bool:
        return os.isatty(_STDOUT)

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        view = memoryview(data).cast("B")
        try:
            output.write_fully(_STDOUT, bytes(view))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(error.errno, os.strerror(error.errno or 0).lower()) from error
        return len(view)


def replace_stdout() -> None:
    """Make `print` use it, also if stdout was closed, and with any locale."""
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout()),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=os.isatty(_STDOUT),
    )


class Program(Group):
    """The whole program; its help lists the commands in the order of the table."""

    order = tuple(COMMANDS)


def make_app() -> typer.Typer:
    """Make an empty Typer program with the settings of all our groups.

    Security: Typer's own error pages show source lines, which may hold a secret; they are off.
    """
    return App(
        cls=Group,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=SETTINGS,
    )


def build(only: str | None = None) -> typer.Typer:
    """Return the program with all commands, or with the one that was called."""
    app = make_app()
    app.info.cls = Program
    names = [COMMANDS[only]] if only in COMMANDS else list(COMMANDS.values())
    for module in dict.fromkeys(names):
        importlib.import_module(module).register(app)
    app.callback()(_top)
    if COMPLETE in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # registers the shells; no other public function does
    return app


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"brokerctl {__version__}")
        raise typer.Exit


def _top(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Short-lived, scoped access tokens for every tool; grants for none.

    Log in once, then wrap what needs a token:

    \b
      brokerctl login github
      brokerctl get github
      brokerctl exec -p github -- ./release.sh
      brokerctl revoke github
    """


def run(words: list[str], umask: int | None = None) -> int:
    """Run one command line and return its exit code; every error is printed here, in two lines.

    `umask` is the caller's own, for the child of `exec`.
    """
    called = next((word for word in words if not word.startswith("-")), None)
    is_json = called != "exec" and _asks_for_json(words)  # of `exec` these are the child's options
    gc.enable()  # our start script turned it off
    replace_stdout()
    try:
        return _invoke(build(called), words, umask)
    except BrokenPipeError:
        return 1  # the reader of stdout is gone: an error message has no reader
    except KeyboardInterrupt:
        return 130
    except typer.TyperException as error:
        if type(error).__name__ == _NO_ARGS:  # no command was given: the message is the help
            typer.echo(str(error), err=True)
            return UsageError.exit_code
        return output.print_error(_usage(error), is_json=is_json)
    except Exception as error:  # noqa: BLE001 - the last handler: one line, no traceback, no values
        return output.print_error(_ours(error, called), is_json=is_json)


def _asks_for_json(words: list[str]) -> bool:
    pairs = itertools.pairwise(words)
    return not {"--json", "--format=json"}.isdisjoint(words) or ("--format", "json") in pairs


def _ours(error: Exception, called: str | None) -> BrokerError:
    if isinstance(error, BrokerError):
        if isinstance(error, UsageError) and called in COMMANDS:
            error.usual_hint = f"run 'brokerctl {called} --help'"
        return error
    if isinstance(error, typer.Abort):
        return UsageError("stopped")
    if isinstance(error, StdoutError):
        return BrokerError(f"the answer could not be written to stdout: {error.strerror}")
    return output.unexpected(error, os.environ)


def _invoke(app: typer.Typer, words: list[str], umask: int | None) -> int:
    answer = app(args=words, obj=umask, prog_name="brokerctl", standalone_mode=False)
    sys.stdout.flush()
    return answer if isinstance(answer, int) else 0


def _usage(error: typer.TyperException) -> UsageError:
    """Return Typer's error as ours, with what was probably meant as its hint."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "brokerctl"
    found = _SUGGESTION.search(message)
    message = _SUGGESTION.sub("", message).strip().rstrip(".")
    near = f"did you mean {found[1] or repr(found[2])}? " if found else ""
    return UsageError(message[:1].lower() + message[1:], hint=f"{near}run '{command} --help'")
