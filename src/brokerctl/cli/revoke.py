"""`brokerctl revoke`: ends grants and tokens, at the issuer first, and says what may still live."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import freshness, jsonlite, output
from brokerctl.broker.held_grants import keys_of
from brokerctl.broker.request import find_profile, read_within, refuse_circle
from brokerctl.broker.revoke import Ending
from brokerctl.cli import options
from brokerctl.cli.helper_credentials import end_kept
from brokerctl.cli.unfinished import tend
from brokerctl.errors import AuditError, BrokerError, PartialError, UsageError
from brokerctl.home import Home, open_home
from brokerctl.model import EXPIRED, LOCAL_ONLY, REVOKED, UNKNOWN
from brokerctl.store.entry import GRANT, INTENT, QUEUE, TOKEN, grant_name
from brokerctl.store.file.earlier_copy import find_copy_time, place_of_copy
from brokerctl.store.values import Intent
from brokerctl.text import count_of

if TYPE_CHECKING:
    from brokerctl.broker.revoke import Revoker
    from brokerctl.cli.helper_credentials import KeptEnd
    from brokerctl.model import GrantKey, Profile

PARTIAL = 9
_ALIVE = (GRANT, TOKEN, QUEUE)
_Subject = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only this subject's.", callback=options.refuse_empty),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("revoke")(revoke)


def revoke(
    profile: options.AnyProfile = None,
    everything: Annotated[bool, typer.Option("--all", help="Every grant and token held.")] = False,
    subject: _Subject = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="With --all: forget what other tools had us keep, too.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove it by introspection, where there is one.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Revoke a profile's grant and tokens at the issuer and here.

    Each ends as revoked, expired, local only (it lives at the issuer until the time shown) or
    unknown (queued, and tried again by later commands). Exit code 9: not all of them are dead.

    What is kept for other tools (`helper kept`) can be ended by its own server alone. --all names
    it, with exit code 9; --kept forgets it here.

    \b
      brokerctl revoke gitlab --verify
      brokerctl revoke --all
      brokerctl revoke --all --kept
    """
    if bool(profile) == everything:
        raise UsageError("name one profile, or say --all", hint="run 'brokerctl revoke --help'")
    if kept and (subject is not None or not everything):
        raise UsageError("--kept goes with --all", hint="for one run 'brokerctl helper forget'")
    if profile:
        refuse_circle(read_within(os.environ), profile)  # a parent process holds the grant's lock
    home = open_home(os.environ)
    # Before a grant's lock is taken, since damaged entries are set aside then.
    errors = _find_damaged(home, home.plan.profiles.get(profile) if profile else None, subject)
    tend(home, first=profile)
    names = {profile} if profile else None
    targets = keys_of(home.store, home.plan.profiles, names, subject)
    if profile and not targets:
        find_profile(home.plan.profiles, profile)  # an unknown name is an error
    revoker = home.revoker("revoke")
    endings = _revoke_each(revoker, targets, errors, verify=verify)
    others = end_kept(home, errors, is_meant=kept) if everything and subject is None else []
    if everything and subject is None:
        errors += _find_nameless(home, targets)
    code = _answer(endings, others, errors, json=json)
    if others or any(not ending.is_dead for ending in endings):
        _tell_copy(home)
    return code


def _tell_copy(home: Home) -> None:
    """Say where what lives on elsewhere is still held: here it has just been dropped."""
    if find_copy_time(home.folder) is not None:
        place = place_of_copy(home.folder)
        output.note(f"what is not dead may lie in {place} too: remove it, or 'store gc' will")


def _answer(
    endings: list[Ending], others: list[KeptEnd], errors: list[BrokerError], *, json: bool
) -> int:
    """Print the result for each token and kept credential; return the exit code."""
    is_over = not errors and all(ending.is_dead for ending in endings)
    if json:
        body = _as_json(endings, is_over=is_over and not others)
        typer.echo(jsonlite.dumps(body | {"kept": [one.as_json() for one in others]}))
    elif endings or not (errors or others):
        _print(endings)
    for end in () if json else others:
        typer.echo(end.told)
    for error in errors:
        output.print_error(error, is_json=json)
    if len(errors) == 1 and not endings and not others:
        return errors[0].exit_code  # nothing was revoked
    return 0 if is_over else PARTIAL


def _revoke_each(
    revoker: Revoker,
    targets: list[tuple[Profile, GrantKey]],
    errors: list[BrokerError],
    *,
    verify: bool,
) -> list[Ending]:
    """Revoke one grant after the other; an error is noted, and the next grant follows."""
    endings: list[Ending] = []
    for profile, key in targets:
        try:
            endings += revoker.revoke(profile, key, verify=verify)
        except BrokerError as error:
            error.message = f"'{profile.name}': {error.message}"
            errors.append(error)
            if isinstance(error, AuditError):
                break  # nothing is ended without a record
    return endings


def _find_nameless(home: Home, targets: list[tuple[Profile, GrantKey]]) -> list[BrokerError]:
    """Return an error for killed logins whose subject is not known.

    An intent holds no grant key. Its name can be computed only if the subject is known.
    """
    known = {grant_name(home.ring.name_key, key) for _, key in targets}
    nameless = [
        entry.value.at
        for entry in home.store.entries(INTENT)
        if isinstance(entry.value, Intent)
        and entry.value.kind == "login"
        and entry.name not in known
    ]
    if not nameless:
        return []
    count = count_of(len(nameless), "login that got no answer", "logins that got no answer")
    last = freshness.timestamp(max(nameless))
    return [
        PartialError(
            f"{count} may have brought a grant that nobody holds (the last at {last}),"
            " for a subject that the store doesn't know",
            hint="run 'brokerctl revoke PROFILE --subject NAME' for the subject of that login",
        )
    ]


def _find_damaged(
    home: Home, profile: Profile | None, subject: str | None = None
) -> list[BrokerError]:
    """Return errors for entries that can't be opened, of one profile's subject or of all."""
    own = home.store.name_of(home.key_of(profile, subject)) if profile else ""
    damaged = [
        entry
        for kind in _ALIVE
        for entry in (home.store.entries_of(kind, own) if own else home.store.entries(kind))
        if entry.damage is not None
    ]
    # An entry that was set aside may still live at the issuer; `store gc` removes it later.
    aside = [name for kind in _ALIVE for name in home.store.names_aside(kind)]
    aside = [name for name in aside if own in name]
    if not damaged and not aside:
        return []
    count = count_of(len(damaged) + len(aside), "damaged entry", "damaged entries")
    hint = "end it at the issuer, and run 'brokerctl store check'"
    return [PartialError(f"what is in {count} may be alive at the issuer", hint=hint)]


def _as_json(endings: list[Ending], *, is_over: bool) -> dict[str, object]:
    return {
        "schema": 1,
        "all_dead": is_over,
        "endings": list(map(ending_json, endings)),
    }


def ending_json(ending: Ending) -> dict[str, object]:
    """Return one result as every JSON answer has it."""
    return {
        "profile": ending.profile,
        "subject": ending.subject,
        "kind": ending.kind,
        "fingerprint": ending.fingerprint,
        "outcome": ending.outcome,
        "until": freshness.timestamp(ending.until) if ending.until else None,
        "proven": ending.is_proven,
        "reason": ending.reason or None,
    }


def _print(endings: list[Ending]) -> None:
    if not endings:
        typer.echo("nothing to revoke")
    for ending in endings:
        typer.echo(ending_line(ending))


def ending_line(ending: Ending) -> str:
    """Return one result as a line."""
    what = ending.kind.replace("_", " ")
    return f"{ending.profile}: {what} {ending.fingerprint[:12]}: {told(ending)}"


def told(ending: Ending) -> str:
    """Return one result as text; for a token that could not be revoked, until when it lives."""
    until = freshness.timestamp(ending.until) if ending.until else "the issuer ends it"
    text = {
        REVOKED: "revoked",
        EXPIRED: "expired",
        LOCAL_ONLY: f"local only until {until}",
        UNKNOWN: "unknown, queued",
    }[ending.outcome]
    if ending.is_proven:
        text += ", introspection says inactive"
    return f"{text} ({ending.reason})" if ending.reason else text
