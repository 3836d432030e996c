"""`brokerctl store`: checks the sealed store, and backs up, restores and re-keys it."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from brokerctl import jsonlite, output
from brokerctl.cli.app import make_app
from brokerctl.errors import PartialError, StoreError
from brokerctl.home import open_home
from brokerctl.store import Damage
from brokerctl.store.entry import KIND_NAMES
from brokerctl.text import safe

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_UNKNOWN = "entry"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    store = make_app()
    store.callback()(_top)
    for command in (check, backup, restore, rekey, gc, key):
        store.command(command.__name__)(command)
    app.add_typer(store, name="store")


def _top() -> None:
    """Check, back up, restore and re-key the sealed grants and tokens.

    \b
      brokerctl store check
      brokerctl store backup ~/brokerctl.backup
    """


def check(
    mend: Annotated[bool, typer.Option("--mend", help="Set damaged entries aside.")] = False,
    json: JSON = False,
) -> int:
    """Open every entry and say which do not open.

    Exit code 6 if there are any, 9 once they are set aside.

    \b
      brokerctl store check
      brokerctl store check --mend
    """
    from brokerctl.store import check

    found = check.check(open_home(os.environ).store, mend=mend)
    body: dict[str, object] = {
        "whole": found.is_whole,
        "entries": _counts(found.counts),
        "damaged": _damaged(found.damaged),
        "aside": list(found.aside),
        "unfinished": found.unfinished,
    }
    lines = [f"{sum(found.counts.values())} entries open", *_damage_lines(found.damaged)]
    if found.aside:
        lines.append(f"{len(found.aside)} lie in aside/")
    _print(body, lines, json=json)
    if found.is_whole:
        return 0
    what = f"{len(found.damaged)} entries are damaged"
    if all(damage.aside for damage in found.damaged):
        hint = "run 'brokerctl login' for the grants among them"
        return output.print_error(PartialError(f"{what} and set aside", hint=hint), is_json=json)
    hint = "'brokerctl store check --mend' sets them aside"
    return output.print_error(StoreError(what, hint=hint), is_json=json)


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file; '-' for stdout.")],
    json: JSON = False,
) -> int:
    """Write grants, tokens and secrets into one sealed file.

    Its passphrase comes from BROKERCTL_PASSPHRASE, from the file that BROKERCTL_PASSPHRASE_FILE
    names, or from the terminal. Secrets that profiles keep elsewhere are named, and not in it.

    \b
      brokerctl store backup ~/brokerctl.backup
    """
    from brokerctl.cli import store_archive

    home = open_home(os.environ)
    done = store_archive.write_backup(home, file)
    outside = store_archive.find_missing(home)
    body: dict[str, object] = {
        "file": file,
        "entries": _counts(done.counts),
        "damaged": _damaged(done.damaged),
        "outside": [one.as_dict() for one in outside],
    }
    lines = [f"{sum(done.counts.values())} entries in {safe(file)}", *_damage_lines(done.damaged)]
    _print(body, lines, json=json, err=file == "-")
    for one in outside:
        typer.echo(f"brokerctl: warning: not in the archive: {safe(str(one))}", err=True)
    if not done.damaged:
        return 0
    what = f"{len(done.damaged)} damaged entries are not in it"
    hint = "'brokerctl store check' names them"
    return output.print_error(PartialError(what, hint=hint), is_json=json)


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `store backup` wrote.")],
    json: JSON = False,
) -> int:
    """Put back what a backup holds; never over a newer grant.

    Exit code 9 if some can't be put back.

    \b
      brokerctl store restore ~/brokerctl.backup
    """
    from brokerctl.cli import store_archive

    done = store_archive.read_backup(open_home(os.environ), file)
    body: dict[str, object] = {
        "restored": list(done.restored),
        "kept": list(done.kept),
        "refused": _damaged(done.refused),
    }
    lines = [f"{len(done.restored)} entries restored", *_damage_lines(done.refused)]
    if done.kept:
        lines.append(f"{len(done.kept)} are here already, as new or newer")
    _print(body, lines, json=json)
    if not done.is_partial:
        return 0
    what = f"{len(done.refused)} entries could not be put back"
    return output.print_error(PartialError(what), is_json=json)


def rekey(
    keeper: Annotated[
        str | None, typer.Option("--to", metavar="KEEPER", help="Move the key to this keeper.")
    ] = None,
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="New seal and log keys; seal everything anew.")
    ] = False,
    json: JSON = False,
) -> int:
    """Replace the key that wraps the others, or move it.

    --new-keys replaces the others too, and seals everything anew. A new passphrase or key is asked
    for, or read from BROKERCTL_PASSPHRASE_NEW[_FILE] and BROKERCTL_KEY_NEW[_FILE].

    \b
      brokerctl store rekey
      brokerctl store rekey --to passphrase
      brokerctl store rekey --new-keys
    """
    from brokerctl.cli import store_rekey

    if new_keys and keeper is None:
        done = store_rekey.replace_keys(os.environ)
    else:
        done = store_rekey.move_key(os.environ, keeper, new_keys=new_keys)
    body: dict[str, object] = {
        "keeper": done.keeper,
        "resealed": done.resealed,
        "left": _damaged(done.left),
        "notices": list(done.notices),
    }
    lines = [
        f"the key was replaced; it is kept by '{done.keeper}'",
        *_damage_lines(done.left),
        *done.notices,
    ]
    if done.resealed is not None:
        lines.append(f"{done.resealed} entries sealed anew")
    _print(body, lines, json=json)
    if not done.left:
        return 0
    what = f"{len(done.left)} entries are still sealed by an older key"
    hint = "'brokerctl store check' names what is damaged; then run it again"
    return output.print_error(PartialError(what, hint=hint), is_json=json)


def gc(json: JSON = False) -> int:
    """Remove what nobody needs any more.

    Unfinished writes, old plans, slots of tokens that ended long ago.

    \b
      brokerctl store gc
    """
    from brokerctl.broker.approval import end_leases
    from brokerctl.store import check

    home = open_home(os.environ)
    ended = end_leases(home.store, home.log)  # recorded
    removed = check.gc(home.store, time.time()).as_dict()
    removed["approvals"] += ended
    lines = [f"{sum(removed.values())} files removed"]
    lines += [f"  {count} {name}" for name, count in removed.items() if count]
    _print({"removed": removed}, lines, json=json)
    return 0


def key(json: JSON = False) -> int:
    """Print a new key for BROKERCTL_KEY; nothing is stored.

    \b
      export BROKERCTL_KEY="$(brokerctl store key)"
    """
    from brokerctl.keys.making import new_key_text

    text = new_key_text()
    _print({"key": text}, [text], json=json)
    return 0


def _print(body: dict[str, object], lines: list[str], *, json: bool, err: bool = False) -> None:
    text = jsonlite.dumps({"schema": 1, **body}) if json else "\n".join(lines)
    typer.echo(text, err=err)


def _counts(counts: dict[int, int]) -> dict[str, int]:
    return {KIND_NAMES[kind]: count for kind, count in counts.items()}


def _damaged(found: tuple[Damage, ...]) -> list[dict[str, object]]:
    return [
        {
            "kind": KIND_NAMES.get(damage.kind, _UNKNOWN),
            "name": damage.name,
            "why": damage.why,
            "aside": damage.aside,
        }
        for damage in found
    ]


def _damage_lines(found: tuple[Damage, ...]) -> list[str]:
    return [
        f"{KIND_NAMES.get(damage.kind, _UNKNOWN)} {safe(damage.name)}: {safe(damage.why)}"
        for damage in found
    ]
