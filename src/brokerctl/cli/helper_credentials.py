"""`helper import`, `export`, `kept` and `forget`: the credentials that brokerctl keeps for tools.

What these commands show, ask and report. No secret is shown.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

import typer

from brokerctl import freshness, jsonlite, output
from brokerctl.config import paths
from brokerctl.effects.terminal import confirm, is_interactive
from brokerctl.errors import (
    AuditError,
    BrokerError,
    PartialError,
    StoreError,
    UsageError,
    shell_word,
)
from brokerctl.helpers.custody import forget, url_of
from brokerctl.helpers.export_plain import export_credentials, plan_export
from brokerctl.helpers.import_plain import import_credentials, plan_import
from brokerctl.helpers.kept import (
    KeptCredential,
    count_damaged,
    find_keeper,
    find_keeping,
    find_one,
    list_all,
    list_kept,
)
from brokerctl.home import open_home
from brokerctl.platform.private_files import open_folder
from brokerctl.store.tool_credentials import has_kept
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from brokerctl.helpers.import_plain import PlainFile
    from brokerctl.home import Home
_GONE = "forgotten here, and still good at its server: change it there"
_HERE = "still kept, and good at its server"


def run(what: str, *, is_cut: bool, yes: bool) -> None:
    """Import: show the plan, ask, store, and cut out."""
    home = open_home(os.environ)
    sources = plan_import(home, what)
    for source in sources:
        _show(source, is_cut=is_cut)
    moving = [source for source in sources if source.moving]
    if moving and not yes and not is_interactive():
        raise UsageError("there is nobody to ask", hint="say --yes")
    if moving and not yes and not confirm("do this?"):
        raise UsageError("stopped: nothing was changed", hint="answer y, or say --yes")
    for source in reversed(moving):  # the newest is answered first: that must be the first file's
        import_credentials(home, source, is_cut=is_cut)
        removed = f", and removed from {safe(source.path, 1000)}" if is_cut else ""
        typer.echo(f"{what}: {len(source.moving)} kept{removed}")
    if not moving:
        typer.echo(f"{what}: nothing to keep")


def _show(source: PlainFile, *, is_cut: bool) -> None:
    doing = "keep and remove" if is_cut else "keep"
    lines = [f"  {doing}: {one.shown}" for one in source.moving]
    lines += [f"  leave: {one.shown}: {one.why}" for one in source.left]
    lines += [f"  {note}" for note in source.notes]
    for line in (f"{source.path}:", *lines):
        typer.echo(safe(line, 1000), err=True)


class KeptEnd(NamedTuple):
    """What `revoke` did with one kept credential."""

    held: KeptCredential
    is_gone: bool

    @property
    def told(self) -> str:
        """Return it as text."""
        return safe(f"{self.held.shown}: {_GONE if self.is_gone else _HERE}", 1000)

    def as_json(self) -> dict[str, object]:
        """Return it as `revoke --json` has it."""
        one = self.held.one
        outcome = "forgotten" if self.is_gone else "kept"
        return {"tool": one.tool, "url": url_of(one), "username": one.username, "outcome": outcome}


def show(tool: str | None, *, json: bool) -> int:
    """List the kept credentials, each with the reason if its tool does not get it."""
    helper = None if tool is None else find_keeping(tool)
    home = open_home(os.environ)
    found = list_kept(home, helper)
    if json:
        typer.echo(jsonlite.dumps({"schema": 1, "kept": [_as_json(held) for held in found]}))
    for held in () if json else found:
        typer.echo(safe(_line(held), 1000))
    damaged = count_damaged(home)
    if damaged:
        what = count_of(damaged, "kept credential", "kept credentials")
        error = StoreError(f"{what} can't be opened", hint="run 'brokerctl store check'")
        return output.print_error(error, is_json=json)
    if not found and not json:
        whose = "other tools" if helper is None else helper
        typer.echo(f"nothing is kept for {whose}")
    return 0


def note_kept(tool: str) -> None:
    """Note that credentials are kept for a tool that will ask us no more, and the way out."""
    helper = find_keeper(tool)
    if helper is None:
        return
    try:
        home = open_folder(paths.state_home(os.environ), create=False)
        folder = home.child(paths.STATE_VERSION, create=False) if home is not None else None
        is_any = folder is not None and has_kept(folder)  # without any, no store must be made
        count = len(list_kept(open_home(os.environ), helper)) if is_any else 0
    except BrokerError as error:
        output.warn(f"what is kept for {helper} can't be counted: {error.message}")
        return
    if count:
        what = f"{count_of(count, 'credential')} of {helper} {'is' if count == 1 else 'are'} kept"
        way = f"'brokerctl helper export {shell_word(tool)}' puts them into its own file"
        output.warn(f"{what} here, and {helper} finds them by asking brokerctl alone: {way}")


def run_forget(tool: str, host: str, user: str | None, *, yes: bool) -> None:
    """Show one credential, ask, and forget it."""
    home = open_home(os.environ)
    held = find_one(home, tool, host, user)
    if not yes:
        typer.echo(safe(f"  forget: {held.shown}", 1000), err=True)
    if not yes and not is_interactive():
        raise UsageError("there is nobody to ask", hint="say --yes")
    if not yes and not confirm("nobody else may have its password: forget it?"):
        raise UsageError("stopped: nothing was changed", hint="answer y, or say --yes")
    if not forget(home, held.name, held.one, "helper"):
        raise UsageError(f"{held.shown} has changed meanwhile", hint="run it again")
    typer.echo(safe(f"{held.shown}: {_GONE}", 1000))


def end_kept(home: Home, errors: list[BrokerError], *, is_meant: bool) -> list[KeptEnd]:
    """Forget all kept credentials if `is_meant`; `errors` gets one for what is left."""
    ends, now = [], time.time()
    for held in list_all(home):
        if held.one.is_over(now) and not is_meant:
            continue
        is_gone = False
        try:
            is_gone = is_meant and forget(home, held.name, held.one, "revoke")
        except AuditError as error:
            errors.append(error)
            is_meant = False  # nothing is ended without a record
        except BrokerError as error:
            errors.append(error)
        ends.append(KeptEnd(held, is_gone))
    left = sum(not end.is_gone for end in ends)
    if left:
        what = f"{count_of(left, 'credential')} of other tools {'is' if left == 1 else 'are'} kept"
        hint = "run 'brokerctl revoke --all --kept' to forget all, 'brokerctl helper forget' one"
        errors.append(PartialError(what, hint=hint))
    damaged = count_damaged(home)
    if damaged:
        what = f"what is in {count_of(damaged, 'kept credential')} that can't be opened"
        hint = "run 'brokerctl store check'"
        errors.append(PartialError(f"{what} may be good at its server", hint=hint))
    return ends


def run_export(tool: str, *, yes: bool) -> int:
    """Show the plan, ask, write the tool's file, and only then forget; 9 if something is left."""
    home = open_home(os.environ)
    target = plan_export(home, tool)
    lines = [f"  write in plain text, and keep no more: {held.shown}" for held in target.moving]
    lines += [f"  leave: {held.shown}: {why}" for held, why in target.left]
    lines += [f"  {note}" for note in target.notes]
    for line in (f"{target.path}:", *lines):
        typer.echo(safe(line, 1000), err=True)
    changed: list[KeptCredential] = []
    if target.moving:
        if not yes and not is_interactive():
            raise UsageError("there is nobody to ask", hint="say --yes")
        if not yes and not confirm("write these passwords in plain text?"):
            raise UsageError("stopped: nothing was changed", hint="answer y, or say --yes")
        changed = export_credentials(home, target)
        count = len(target.moving) - len(changed)
        typer.echo(f"{tool}: {count} put into {safe(target.path, 1000)}, and kept here no more")
    elif not target.left:
        typer.echo(f"{tool}: nothing is kept")
    left = len(target.left) + len(changed)
    if not left:
        return 0
    what = f"{count_of(left, 'credential')} of {tool} {'is' if left == 1 else 'are'} still kept"
    hint = "run 'brokerctl helper kept', and 'brokerctl helper forget' for what is of no use"
    return output.print_error(PartialError(what, hint=hint))


def _as_json(held: KeptCredential) -> dict[str, object]:
    one = held.one
    return {
        "tool": one.tool,
        "url": url_of(one),
        "username": one.username,
        "kept_at": freshness.timestamp(one.kept_at),
        "expires_at": None if one.expires_at is None else freshness.timestamp(one.expires_at),
        "kept_until": None if one.ends_at is None else freshness.timestamp(one.ends_at),
        "unanswered": held.unanswered,
    }


def _line(held: KeptCredential) -> str:
    text = f"{held.shown}, kept since {freshness.timestamp(held.one.kept_at)}"
    for word, at in (("ends", held.one.expires_at), ("forgotten", held.one.ends_at)):
        if at is not None:
            text += f", {word} {freshness.timestamp(at)}"
    return f"{text}; not answered: {held.unanswered}" if held.unanswered else text
