"""What a person is asked: its words for a terminal, its name, and what the typed answer means.

Security: all of it but our own words was written by others. It is escaped and cut, and a line that
goes on begins where values begin, so that no value looks like a line of ours.
"""

from __future__ import annotations

import unicodedata

from brokerctl import jsonlite
from brokerctl.broker.events import recorded_url, shown_requester
from brokerctl.config.duration import parse_duration, render_duration
from brokerctl.errors import UsageError
from brokerctl.freshness import UNITS_S
from brokerctl.model import Value
from brokerctl.store.entry import plain_name
from brokerctl.text import count_of, safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from brokerctl.model import Decision, Profile, TokenRequest

TOKEN, LOGIN, KEPT = "token", "login", "kept credential"
YES, NO = "yes", "no"
TERMINAL, ELSEWHERE, COMMAND, NOBODY = "terminal", "elsewhere", "command", "nobody"
PROMPT = "allow it? [n] "
ONCE_HELP = "y allows it once"
LEASE_HELP = "y allows it once; 15m, 3 or 15m 3 is a lease: the same for a time, or for uses"
SESSION_HELP = "a lease with 'session' behind it is for this session alone"
MOST_LEASE_S, USUAL_LEASE_S = 24 * 3600, 3600  # … and where only uses are said
_MOST_USES, _MOST_DIGITS = 1_000_000, 7
_COLUMNS, _LABEL = 80, 13
_CHARS, _LINES = 400, 6  # of one value
_ABOVE = 6
_WORDS_YES, _WORDS_NO = ("y", "yes", "once"), ("", "n", "no")
# What a question says of its requester and a lease does not depend on: another process has others.
_VOLATILE = ("pid", "parents", "session")


class Answer(Value):
    """What was answered; with `lease_s` it holds for that long."""

    is_yes: bool
    by: str  # terminal, elsewhere, command or nobody
    why: str = ""  # of a no that no person said
    lease_s: int | None = None
    uses: int | None = None
    is_for_session: bool = False


class Asked(Value):
    """A request about which a rule wants somebody to be asked."""

    action: str  # TOKEN, LOGIN or KEPT
    label: str  # what refusals call it
    profile: Profile | None  # None: what a tool had us keep
    request: TokenRequest
    decision: Decision

    @property
    def about(self) -> dict[str, Any]:
        """Everything that a question says; plain JSON."""
        profile, request, decision = self.profile, self.request, self.decision
        own = None if profile is None else profile.subject
        return {
            "action": self.action,
            "what": self.label,
            "profile": None if profile is None else profile.name,
            "issuer": None if profile is None else profile.issuer,
            "for_profile": request.for_profile,
            "made_out_to": list(request.made_out_to),
            "subject": request.subject or own,
            "scopes": list(decision.scopes),
            "resource": list(decision.resource),
            "audience": list(decision.audience),
            "max_ttl_s": decision.max_ttl_s,
            "url": None if request.url is None else recorded_url(request.url),
            "is_insecure": request.is_insecure,
            "is_own": request.is_own,
            "purpose": request.purpose or (None if profile is None else profile.purpose),
            "rule": decision.rule,
            "layer": decision.layer,
            "reason": decision.reason,
            "rules": [list(one) for one in decision.asking],
            "policy": decision.digest,
            "requester": shown_requester(request.requester),
        }


def question_name(name_key: bytes, about: dict[str, Any]) -> str:
    """Return the name of a question: that of all who ask the same, as one another would."""
    requester = about["requester"]
    alone = str(requester["pid"]) if requester["exe"] is None else None
    return plain_name(name_key, "question", _core(about), requester["session"], alone)


def lease_name(name_key: bytes, about: dict[str, Any], *, of_session: bool) -> str | None:
    """Return the name of the lease that covers this, of its requester or of its session alone.

    None where there can be none: the requester is not known, or is in no session.
    """
    requester = about["requester"]
    if requester["exe"] is None or (of_session and requester["session"] is None):
        return None
    session = requester["session"] if of_session else None
    return plain_name(name_key, "lease", _core(about), session)


def _core(about: dict[str, Any]) -> str:
    """Return what has to be the same: all that was shown, the requester by what it runs.

    Security: the programs above it are part of it. A shell is one, whoever started it.
    """
    requester = {name: value for name, value in about["requester"].items() if name not in _VOLATILE}
    requester["above"] = [exe for _, exe in about["requester"]["parents"]]
    return jsonlite.dumps(about | {"requester": requester}, sort=True)


def render_lines(about: dict[str, Any]) -> list[str]:
    """Return the question for a terminal, in lines of at most 80 columns."""
    first = {
        TOKEN: "a token is asked for, and a rule wants you to be asked",
        LOGIN: "a login is asked for, and a rule wants you to be asked",
        KEPT: "a kept credential is asked for, and a rule wants you to be asked",
    }
    lines = [f"brokerctl: {first[about['action']]}"]
    for label, value in shown_fields(about):
        lines += _field(label, value)
    return lines


def shown_fields(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a person needs to know, as labels and (untrusted) values."""
    requester = about["requester"]
    above = [name or exe or "?" for name, exe in requester["parents"][:_ABOVE]]
    rule = f"{about['rule']} ({about['layer']})"
    is_usual = about["reason"].startswith(f"rule '{about['rule']}' of the ")
    reason = "" if is_usual else f": {about['reason']}"
    found = [
        ("requester", f"{requester['exe'] or 'not known'}, process {requester['pid']}"),
        ("", f"by '{requester['tool']}'" + (f", below {', '.join(above)}" if above else "")),
        ("agent", requester.get("agent") or ""),
        ("session", requester["session"] or ""),
        ("profile", about["profile"] or about["what"]),
        ("for profile", about["for_profile"] or ""),
        ("issuer", about["issuer"] or ""),
        ("subject", about["subject"] or ""),
        ("scopes", " ".join(about["scopes"]) or ("-" if about["profile"] else "")),
        ("resource", " ".join(about["resource"])),
        ("audience", " ".join(about["audience"])),
        ("host", _host(about)),
        ("lifetime", _lifetime(about)),
        ("purpose", about["purpose"] or "-"),
        ("rule", rule + reason),
    ]
    return [(label, value) for label, value in found if value]


def _host(about: dict[str, Any]) -> str:
    insecure = " (its certificate would not be checked)" if about["is_insecure"] else ""
    return (about["url"] or "not known") + insecure


def _lifetime(about: dict[str, Any]) -> str:
    if about["action"] == KEPT:
        return "as its server has it"
    if about["action"] == LOGIN:
        return "until it is revoked, as its issuer has it"
    most = about["max_ttl_s"]
    return "as its issuer has it" if most is None else f"at most {render_duration(int(most))}"


def one_line(about: dict[str, Any]) -> str:
    """Return the question in one line, for a refusal: the terminal's escaping is its writer's."""
    requester = about["requester"]
    parts = [f"may {requester['exe'] or 'an unknown program'} ({requester['tool']}) have"]
    parts.append({TOKEN: "a token", LOGIN: "a login", KEPT: ""}[about["action"]])
    parts.append(f"of '{about['profile']}'" if about["profile"] else about["what"])
    if about["scopes"]:
        parts.append(f"with {' '.join(about['scopes'])}")
    if about["url"]:
        parts.append(f"at {about['url']}")
    if about["max_ttl_s"] is not None:
        parts.append(f"for at most {render_duration(int(about['max_ttl_s']))}")
    if about["purpose"]:
        parts.append(f"to {about['purpose']}")
    return " ".join(filter(None, parts))


def parse_answer(text: str, *, has_session: bool, may_lease: bool) -> Answer | None:
    """Return what was typed at the terminal; None where that is not clear."""
    words = text.strip().lower().split()
    if len(words) <= 1 and (not words or words[0] in _WORDS_NO):
        return Answer(is_yes=False, by=TERMINAL)
    if len(words) == 1 and words[0] in _WORDS_YES:
        return Answer(is_yes=True, by=TERMINAL)
    return _parse_lease(words, has_session=has_session) if may_lease else None


def _parse_lease(words: list[str], *, has_session: bool) -> Answer | None:
    seconds = uses = None
    is_for_session = words[-1] == "session"
    if is_for_session:
        words = words[:-1]
    if is_for_session and not has_session:
        return None
    for word in words:
        if word[-1] in UNITS_S and seconds is None and uses is None:
            seconds = _seconds(word)
            if seconds is None:
                return None
        elif uses is None and is_uses(word):
            uses = int(word)
        else:
            return None
    return make_lease_answer(TERMINAL, seconds, uses, is_for_session=is_for_session)


def is_uses(word: str) -> bool:
    """Return whether a word is a number of uses."""
    is_number = word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS
    return is_number and 0 < int(word) <= _MOST_USES


def make_lease_answer(
    by: str, seconds: int | None, uses: int | None, *, is_for_session: bool
) -> Answer | None:
    """Return the yes for a lease; None where it says neither for how long nor for how many uses."""
    if seconds is None and uses is None:
        return None
    return Answer(
        is_yes=True,
        by=by,
        lease_s=USUAL_LEASE_S if seconds is None else seconds,
        uses=uses,
        is_for_session=is_for_session,
    )


def _seconds(word: str) -> int | None:
    try:
        seconds = parse_duration(word)
    except UsageError:
        return None
    return seconds if 0 < seconds <= MOST_LEASE_S else None


def render_lease(answer: Answer) -> str:
    """Return the terms of a lease in words."""
    uses = "" if answer.uses is None else f" and {count_of(answer.uses, 'use')}"
    return f"for {render_duration(answer.lease_s or 0)}{uses}"


def _field(label: str, value: str) -> list[str]:
    """Return a value in lines that begin in the same column, cut where there are too many."""
    pieces = _cut(safe(value, _CHARS), _COLUMNS - _LABEL - 2)
    lines = [f"  {'':<{_LABEL}}{piece}" for piece in pieces[:_LINES]]
    return [f"  {label:<{_LABEL}}{pieces[0]}", *lines[1:]]


def _cut(text: str, columns: int) -> list[str]:
    """Return a text in pieces of at most so many columns, at spaces where there are any."""
    pieces: list[str] = []
    line, width = "", 0
    for char in text:
        more = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if width + more > columns:
            kept, space, rest = line.rpartition(" ")
            is_word = bool(space) and bool(kept.strip())
            pieces.append(kept if is_word else line)
            line = rest if is_word else ""
            width = sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line)
        line, width = line + char, width + more
    return [*pieces, line]
