"""`brokerctl policy`: why a request is decided as it is, and checks and tests of the rules."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from brokerctl import jsonlite
from brokerctl.cli import options, policy_reading
from brokerctl.cli.app import make_app
from brokerctl.cli.get import find_name
from brokerctl.cli.policy_reading import wrapped
from brokerctl.config.duration import render_duration
from brokerctl.get import GetOptions, make_request, split_scopes, unique
from brokerctl.home import open_home
from brokerctl.output import is_wanted, paint
from brokerctl.text import count_of, safe

if TYPE_CHECKING:
    from brokerctl.broker.request import Surroundings
    from brokerctl.home import Home
    from brokerctl.model import Decision, TokenRequest
    from brokerctl.policy.explain import Step

_STDOUT, _TEXT_CHARS = 1, 1000
_OWN_TOOLS = ("exec", "get", "login")  # how a request of ours names its tool
_STYLES = {"allow": "good", "narrow": "good", "ask": "care", "deny": "bad"}
_MARKS = {True: "yes", False: "no", None: "-"}

_Url = Annotated[str | None, typer.Option("--for", metavar="URL", help="Where the token is to go.")]
_Tool = Annotated[str, typer.Option(metavar="NAME", help="As if this tool asked: git, docker.")]
_Agent = Annotated[str | None, typer.Option(metavar="NAME", help="As if this agent asked.")]
_Session = Annotated[bool, typer.Option("--session", help="As if a session of 'exec' asked.")]
_Claims = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="As a job with the claims of this JSON, taken as proven."),
]
_Time = Annotated[str | None, typer.Option(metavar="TIME", help="At this time, in RFC 3339.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    policy = make_app()
    policy.callback()(_top)
    policy.command("explain")(explain)
    policy.command("check")(check)
    policy.command("test")(run_tests)
    policy.command("init")(init)
    policy_reading.add_commands(policy)
    app.add_typer(policy, name="policy")


def _top() -> None:
    """Explain, check, test and compare the rules of who may have what.

    \b
      brokerctl policy explain gitlab --tool git
      brokerctl policy check
      brokerctl policy test cases.toml
      brokerctl policy who --profile gitlab
      brokerctl policy diff - new.toml
    """


def explain(
    profile: options.AnyProfile = None,
    scope: options.Scopes = None,
    resource: options.Resources = None,
    audience: options.Audiences = None,
    subject: options.Subject = None,
    purpose: options.Purpose = None,
    for_url: _Url = None,
    tool: _Tool = "get",
    agent: _Agent = None,
    session: _Session = False,
    as_ci: _Claims = None,
    at: _Time = None,
    json: options.Json = False,
) -> None:
    """Show how a request would be decided, and each rule's part in it.

    Nothing is handed out or recorded, and a denial is an answer like others. The requester is the
    process that asks, as for 'get', but for what is said here.

    \b
      brokerctl policy explain gitlab
      brokerctl policy explain gitlab --tool git --at 2026-03-01T03:00:00Z
      brokerctl policy explain deploy --as-ci claims.json
    """
    from brokerctl.broker.request import denial_text
    from brokerctl.broker.supposed import explain_request
    from brokerctl.policy.explain import render_explanation

    home = open_home(os.environ, may_use_memory=True)
    asked = GetOptions(_find_profile(home, profile, for_url))
    asked.scopes = split_scopes(scope) if scope else None
    asked.resource = unique(resource)
    asked.audience = unique(audience)
    asked.subject, asked.purpose, asked.url = subject, purpose, for_url
    request = _with_requester(make_request(asked, os.environ), tool, agent, is_session=session)
    around = _surroundings(home, as_ci, at)
    if as_ci is not None:
        requester = request.requester.replace(exe=None, parents=())
        request = request.replace(requester=requester)
    found, decision, steps = explain_request(home.plan, request, around)
    if json:
        typer.echo(jsonlite.dumps(render_explanation(found.name, decision, steps)))
        return
    _show_decision(denial_text(found, decision), decision)
    _show_steps(steps)


def check(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="A file; without one those in force.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Look for rules that say something else than they seem to.

    A broken policy is exit code 2, with file, line and column; every other command refuses it too.
    What is warned of is in force: a rule that never matches, one that another always goes before,
    one that the same user can evade.

    \b
      brokerctl policy check
      brokerctl policy check config.toml
    """
    from brokerctl.helpers import HELPERS
    from brokerctl.policy.check import find_warnings, render_check
    from brokerctl.policy.files import read_in_force, read_named

    found, profiles = read_named(files, os.environ) if files else read_in_force(os.environ)
    warnings = find_warnings(found, profiles, (*HELPERS, *_OWN_TOOLS))
    if json:
        typer.echo(jsonlite.dumps(render_check(found, warnings)))
        return
    for one in warnings:
        place = f"{one.path}:{one.line}:{one.column}"
        typer.echo(f"{safe(place, _TEXT_CHARS)}: {one.kind}: {safe(one.message, _TEXT_CHARS)}")
        if one.hint:
            typer.echo(f"  {safe(one.hint, _TEXT_CHARS)}")
    rules = sum(len(one.layer.rules) for one in found if one.layer is not None)
    told = f"{count_of(rules, 'rule')}, {count_of(len(warnings), 'warning')}"
    typer.echo(f"brokerctl: {told}", err=True)


def run_tests(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="A file of cases.")],
    json: options.Json = False,
) -> int:
    """Decide the cases of a file, and compare with what each expects.

    Exit code 1 if a case fails, with what is different. The policy is the one in force, or the
    files that the cases name.

    \b
      brokerctl policy test policy-tests.toml
      brokerctl policy test tests/*.toml --json
    """
    from brokerctl.broker.supposed import decide_cases
    from brokerctl.policy.cases import read_cases, render_results

    results = [one for path in files for one in decide_cases(read_cases(path), os.environ)]
    failed = [one for one in results if one.differences]
    if json:
        typer.echo(jsonlite.dumps(render_results(results)))
        return 1 if failed else 0
    for one in failed:
        typer.echo(f"{safe(one.path, _TEXT_CHARS)}:{one.case.line}: {safe(one.case.name)}")
        for line in one.differences:
            typer.echo(f"  {line.field}:")
            typer.echo(f"    - {safe(line.expected, _TEXT_CHARS)}")
            typer.echo(f"    + {safe(line.found, _TEXT_CHARS)}")
        typer.echo("\n".join(wrapped(f"  because: {one.decision.reason}", 4)))
    told = f"{len(results) - len(failed)} of {count_of(len(results), 'case')}"
    typer.echo(f"{told} decided as expected")
    return 1 if failed else 0


def init(
    name: Annotated[str, typer.Argument(metavar="KIND", help="agents, ci or team.")] = "agents",
    cases: Annotated[bool, typer.Option("--tests", help="Print its cases instead.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Add it to your configuration, its cases beside it.")
    ] = False,
) -> None:
    """Print a policy to begin with, or add it to your configuration.

    It is commented, and comes with cases for 'policy test'. A policy that you have is never
    changed.

    \b
      brokerctl policy init agents
      brokerctl policy init team --write
    """
    from brokerctl.policy.starters import get_starter

    starter = get_starter(name)
    if not write:
        typer.echo(starter.cases if cases else starter.policy, nl=False)
        return
    from brokerctl.config.edit import write_policy

    path, beside = write_policy(os.environ, starter.policy, starter.cases)
    typer.echo(f"{safe(path, _TEXT_CHARS)}: policy added")
    typer.echo(f"{safe(beside, _TEXT_CHARS)}: its cases, for 'brokerctl policy test'")


def _find_profile(home: Home, given: str | None, for_url: str | None) -> str:
    if for_url and not given:
        from brokerctl.config.hosts import match_profile

        return match_profile(for_url, home.plan.profiles)
    return find_name(given, None)


def _with_requester(
    request: TokenRequest, tool: str, agent: str | None, *, is_session: bool
) -> TokenRequest:
    """Return the request as that tool, agent or session would make it."""
    session = "explained" if is_session or agent is not None else None
    requester = request.requester.replace(tool=tool, agent=agent, session=session)
    return request.replace(requester=requester)


def _surroundings(home: Home, as_ci: str | None, at: str | None) -> Surroundings:
    import time

    from brokerctl.broker.supposed import AtTime, Supposed
    from brokerctl.policy.cases import parse_time, read_claims

    now = None if at is None else parse_time(at)
    if as_ci is None:
        return home if now is None else AtTime(home, now)
    return Supposed(home.plan, time.time() if now is None else now, read_claims(as_ci))


def _show_decision(text: str, decision: Decision) -> None:
    effect = paint(decision.effect, _STYLES[decision.effect], is_on=is_wanted(_STDOUT))
    for number, line in enumerate(wrapped(f"{decision.effect}: {text}", 4)):
        typer.echo(effect + line[len(decision.effect) :] if number == 0 else line)
    rows = [("rule", decision.rule), ("layer", decision.layer)]
    rows += [
        (name, " ".join(words))
        for name, words in (
            ("scopes", decision.scopes),
            ("resource", decision.resource),
            ("audience", decision.audience),
        )
        if words
    ]
    if decision.max_ttl_s is not None:
        rows.append(("max_ttl", render_duration(int(decision.max_ttl_s))))
    for name, value in rows:
        typer.echo("\n".join(wrapped(f"  {name + ':':<10}{value}", 12)))


def _show_steps(steps: list[Step]) -> None:
    layer = None
    for step in steps:
        if step.layer != layer:
            layer = step.layer
            typer.echo(f"\n{layer}")
        begin = f"  {_MARKS[step.is_matched]:<4}{step.effect:<6}"
        typer.echo("\n".join(wrapped(f"{begin}{step.rule}: {step.why}", 12)))
