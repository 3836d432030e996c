"""Questions that are answered elsewhere: by `approve` in another terminal, and by a command."""

from __future__ import annotations

import json
import os
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from tests.answers import find_faults, read_document, read_examples
from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.schema import Schema
from tests.scripts.approve_room import RULE, AskingProgram, wait_until
from tests.scripts.test_json_shapes import OF_A_QUESTION, fits, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.program import Program


@pytest.fixture(scope="module")
def demo(trace_dir: str) -> Iterator[DemoIssuer]:
    """One embedded issuer for this file."""
    folder = tempfile.mkdtemp(prefix="demo-", dir=trace_dir)
    with DemoIssuer(folder, auto_approve=True) as running:
        yield running


@pytest.fixture
def asking(brokerctl: Program, demo: DemoIssuer) -> AskingProgram:
    """Return a program whose rule asks."""
    demo.reset()
    return AskingProgram(brokerctl, demo)


def approve(asking: AskingProgram, *words: str) -> tuple[int, str]:
    """Run `approve` at a terminal of its own; return its exit code and what it showed."""
    terminal = asking.spawn("approve", *words)
    return terminal.end(), terminal.shown


def test_yes_from_another_terminal(asking: AskingProgram) -> None:
    """Who has no terminal waits, and gets the token when another terminal says yes."""
    asking.rules(approve='wait = "60s"')
    waiting = asking.program.start("get", "service")
    name = asking.open_question()
    assert f"question {name}" in asking.program("approve", "list").stdout
    code, shown = approve(asking, "yes", name)
    assert (code, "yes, once" in shown) == (0, True)
    token, said = waiting.communicate()
    assert (waiting.returncode, len(token) > 20) == (0, True)
    assert f"brokerctl approve yes {name}" in said
    (answer,) = asking.records("question.answered")
    assert (answer["outcome"], answer["by"]) == ("yes", "elsewhere")
    assert answer["requester"]["tool"] == "approve"
    (handed_out,) = asking.records("token.handed_out")
    assert handed_out["decision"]["approval"] == {"by": "elsewhere", "question": name}


def test_no_from_another_terminal(asking: AskingProgram) -> None:
    """A no ends the wait with exit 4; an answer after that is too late."""
    asking.rules(approve='wait = "60s"')
    waiting = asking.program.start("get", "service")
    name = asking.open_question()
    assert asking.program("approve", "no", name).returncode == 0
    _, said = waiting.communicate()
    assert waiting.returncode == 4
    assert "the answer was no" in said
    code, shown = approve(asking, "yes", name)
    assert (code, "too late" in shown) == (2, True)
    assert asking.records("token.handed_out") == []


@pytest.mark.parametrize("command", OF_A_QUESTION)
def test_the_answer_as_json(asking: AskingProgram, command: str) -> None:
    """It is what the page says."""
    asking.rules(approve='wait = "60s"')
    waiting = asking.program.start("get", "service")
    _, *words = command.replace("ID", asking.open_question()).split()
    _, shown = approve(asking, *words)
    waiting.communicate()
    answer = json.loads(shown[shown.index('{"schema"') :].splitlines()[0])
    assert find_faults(Schema(read_document()), command, answer) == []
    assert fits(shape(json.loads(read_examples()[command])), shape(answer)), answer


def test_nobody_in_time(asking: AskingProgram) -> None:
    """The wait ends with exit 4, and an answer after it changes nothing."""
    asking.rules(approve='wait = "1s"')
    waiting = asking.program.start("get", "service")
    _, said = waiting.communicate()
    assert waiting.returncode == 4
    assert "nobody has answered within 1s" in said
    (question,) = asking.records("question.asked")
    code, shown = approve(asking, "yes", question["question"])
    assert (code, "too late" in shown) == (2, True)
    assert asking.records("lease.given", "token.handed_out") == []


def test_a_lease_from_another_terminal(asking: AskingProgram) -> None:
    """A lease that is given elsewhere holds, is listed, and `approve no` ends it."""
    asking.rules(approve='wait = "60s"')
    waiting = asking.program.start("get", "service")
    name = asking.open_question()
    code, _ = approve(asking, "yes", name, "--for", "15m", "--uses", "3")
    assert code == 0
    waiting.communicate()
    assert waiting.returncode == 0
    assert asking.program("get", "service").returncode == 0
    (lease,) = asking.listed()["leases"]
    assert (lease["uses_left"], lease["question"]) == (1, name)
    assert asking.program("approve", "no", lease["id"]).returncode == 0
    asking.rules()  # another policy, too: nobody waits any more
    assert asking.program("get", "service").returncode == 4
    (ended,) = asking.records("lease.ended")
    assert (ended["lease"], ended["reason"]) == (lease["id"], "a person ended it")


def test_an_edit_of_the_policy_ends_a_lease(asking: AskingProgram) -> None:
    """A lease was given under the rules as they were: any edit of them asks anew."""
    asking.rules(approve='wait = "60s"')
    waiting = asking.program.start("get", "service")
    assert approve(asking, "yes", asking.open_question(), "--for", "15m")[0] == 0
    waiting.communicate()
    assert asking.program("get", "service").returncode == 0
    asking.rules(approve='wait = "1s"')
    assert asking.program("get", "service").returncode == 4


def test_yes_takes_a_terminal(asking: AskingProgram) -> None:
    """A program without a terminal can't say yes for a person, and its no is taken."""
    asking.rules(approve='wait = "60s"')
    waiting = asking.program.start("get", "service")
    name = asking.open_question()
    done = asking.program("approve", "yes", name)
    assert (done.returncode, "at a terminal" in done.stderr) == (2, True)
    assert asking.program("approve", "no", name).returncode == 0
    waiting.communicate()
    assert waiting.returncode == 4


def test_approve_knows_no_such_question(asking: AskingProgram) -> None:
    """An id that is none is exit 2."""
    assert asking.program("approve", "no", "ffffffff").returncode == 2
    assert approve(asking, "yes", "ffffffff")[0] == 2
    assert "nobody waits" in asking.program("approve", "list").stdout


def test_who_asks_at_a_terminal_can_be_answered_elsewhere(asking: AskingProgram) -> None:
    """A question at a terminal is also listed, and the first answer counts."""
    terminal = asking.get()
    terminal.prompt()
    code, _ = approve(asking, "yes", asking.open_question())
    assert code == 0
    assert terminal.end() == 0
    assert "answered elsewhere" in terminal.shown


def script(asking: AskingProgram, text: str, wait: str = "60s") -> str:
    """Make a command that answers, and configure it; return its path."""
    path = os.path.join(asking.program.home, "answer")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "w") as file:
        file.write(f"#!/bin/sh\n{text}\n")
    asking.rules(approve=f'wait = "{wait}"\ncommand = ["{path}"]')
    return path


def test_a_command_says_yes(asking: AskingProgram) -> None:
    """It gets an access evaluation, and a decision that is true is a yes for once."""
    script(asking, f'cat >"{asking.program.home}/asked"; echo \'{{"decision":true}}\'')
    done = asking.program("get", "service", "--purpose", "release")
    assert done.returncode == 0, done.stderr
    with open(os.path.join(asking.program.home, "asked"), encoding="utf-8") as file:
        asked = json.load(file)
    assert set(asked) == {"subject", "action", "resource", "context"}
    assert (asked["resource"]["type"], asked["resource"]["id"]) == ("profile", "service")
    assert asked["action"]["name"] == "token"
    assert asked["action"]["properties"]["scopes"] == ["read"]
    assert asked["action"]["properties"]["purpose"] == "release"
    assert asked["subject"]["properties"]["uid"] == os.getuid()
    assert asked["context"]["rule"] == "a person decides"
    (handed_out,) = asking.records("token.handed_out")
    assert handed_out["decision"]["approval"]["by"] == "command"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo '{\"decision\":false}'", "the answer was no"),
        ('echo \'{"decision":"yes"}\'', "no decision"),
        ("echo '{\"decision\":1}'", "no decision"),
        ('echo \'{"decision":true,"decision":true}\'', "no decision"),
        ("echo '[{\"decision\":true}]'", "no decision"),
        ("echo '{\"decision\":true} {}'", "no decision"),
        ("echo '{\"decision\":tru'", "no decision"),
        ("echo yes", "no decision"),
        ("exit 0", "no decision"),
        ("echo '{\"decision\":true}'; exit 1", "exit code 1"),
        ("echo '{\"decision\":true}'; kill -9 $$", "exit code -9"),
        ("yes", "failed"),
        ("exec sleep 60", "no answer within 1s"),
        ('(trap "" TERM INT HUP; echo \'{"decision":true}\'; exec sleep 60)', "within 1s"),
    ],
)
def test_a_command_that_is_no_yes(asking: AskingProgram, text: str, words: str) -> None:
    """Broken, slow, silent or endless: exit 4, and no token."""
    script(asking, text, wait="1s")
    done = asking.program("get", "service")
    assert done.returncode == 4, done.stderr
    assert words in done.stderr
    assert asking.records("token.handed_out") == []


def test_a_command_that_is_not_there(asking: AskingProgram) -> None:
    """A command that can't be run is a no, with its reason."""
    os.unlink(script(asking, "exit 0"))
    done = asking.program("get", "service")
    assert (done.returncode, "no such file" in done.stderr) == (4, True)


def test_a_command_that_asks_for_the_same(asking: AskingProgram) -> None:
    """A command that asks us for the very token that it decides about ends at once, with exit 2."""
    program = asking.program
    script(asking, f'"{program.path}" get service >"{program.home}/inner"; echo $? >"$HOME/code"')
    begun = time.monotonic()
    assert program("get", "service").returncode == 4
    assert time.monotonic() - begun < 50
    with open(os.path.join(program.home, "code"), encoding="utf-8") as file:
        assert file.read().strip() == "2"


def test_a_command_answers_alone(asking: AskingProgram) -> None:
    """Where a command answers no person is asked, at no terminal and by no `approve`."""
    path = os.path.join(asking.program.home, "go")
    script(asking, f'until [ -e "{path}" ]; do sleep 0.1; done; echo \'{{"decision":true}}\'')
    terminal = asking.get()
    code, shown = approve(asking, "yes", asking.open_question())
    assert (code, "a command answers it" in shown) == (2, True)
    with open(path, "w", encoding="utf-8"):
        assert terminal.end() == 0
    assert "allow it?" not in terminal.shown


def test_many_at_once_run_one_command(asking: AskingProgram) -> None:
    """Those that ask the same at the same time make one question of a command too."""
    home = asking.program.home
    script(
        asking,
        f'echo x >>"{home}/runs"; until [ -e "{home}/go" ]; do sleep 0.1; done;'
        " echo '{\"decision\":true}'",
    )
    started = [asking.program.start("get", "service") for _ in range(8)]
    wait_until(lambda: asking.waiting() >= 8)
    with open(os.path.join(home, "go"), "w", encoding="utf-8"):
        for one in started:
            one.communicate()
            assert one.returncode == 0
    with open(os.path.join(home, "runs"), encoding="utf-8") as file:
        assert file.read() == "x\n"


def test_a_project_names_no_command(asking: AskingProgram) -> None:
    """A project's file can't say who answers."""
    project = os.path.join(asking.program.home, "project")
    os.mkdir(project)
    with open(os.path.join(project, ".brokerctl.toml"), "w", encoding="utf-8") as file:
        file.write('[approve]\ncommand = ["/bin/true"]\n')
    done = asking.program("trust", project, "--yes")
    assert (done.returncode, "can't set approve" in done.stderr) == (2, True)


def test_a_helper_waits_and_never_asks(asking: AskingProgram) -> None:
    """A helper asks at no terminal, though it has one; it waits where the configuration says."""
    question = "protocol=https\nhost=api.example\n\n"
    asking.rules(hosts='["https://api.example"]')
    script = f"printf '{question}' | \"$B\" helper git get; exit $?".replace("\n", "\\n")
    terminal = asking.spawn("-c", script, path="/bin/sh", B=asking.program.path)
    terminal.end()
    assert "allow it?" not in terminal.shown
    assert "password=" not in terminal.shown
    asking.rules(approve='wait = "60s"', hosts='["https://api.example"]')
    terminal = asking.spawn("-c", script, path="/bin/sh", B=asking.program.path)
    assert approve(asking, "yes", asking.open_question())[0] == 0
    terminal.end()
    assert "password=" in terminal.shown
    assert "allow it?" not in terminal.shown


def test_what_a_tool_had_us_keep_is_asked_for(asking: AskingProgram) -> None:
    """A kept credential is handed out when somebody says yes, and its record says who."""
    program = asking.program
    main_job.service(program, asking.demo)
    path = os.path.join(program.home, "config.toml")
    with open(path, "a", encoding="utf-8") as file:
        file.write('[helpers]\nkeep = ["git"]\n')
    stored = "protocol=https\nhost=other.example\nusername=u\npassword=planted\n\n"
    assert program("helper", "git", "store", stdin=stored).returncode == 0
    with open(path, "a", encoding="utf-8") as file:
        file.write(RULE.format(more='when = { tool = "git" }') + '[approve]\nwait = "60s"\n')
    asked = program.start("helper", "git", "get")
    assert asked.stdin is not None
    asked.stdin.write("protocol=https\nhost=other.example\n\n")
    asked.stdin.close()
    asked.stdin = None
    name = asking.open_question()
    assert "a kept credential" not in program("approve", "list", "--json").stdout
    assert approve(asking, "yes", name)[0] == 0
    answer, _ = asked.communicate()
    assert "password=planted" in answer
    (handed_out,) = asking.records("credential.handed_out")
    assert handed_out["decision"]["approval"] == {"by": "elsewhere", "question": name}


def with_tokens(*names: str) -> list[str]:
    """Return the options of `exec` for several profiles."""
    return [word for name in names for word in ("-p", name, "--env", f"{name.upper()}={name}")]


def test_a_session_s_uses_are_counted(asking: AskingProgram) -> None:
    """What a rule gives a session three times is given to it three times, of any profile."""
    config = os.path.join(asking.program.home, "config.toml")
    main_job.service(asking.program, asking.demo)
    with open(config, encoding="utf-8") as file:
        service = file.read()
    others = "".join(service.replace("[profile.service]", f"[profile.{n}]") for n in ("b", "c"))
    rule = 'name = "twice"\neffect = "allow"\nuses = 2\nwhen = { session = true }\n'
    asking.program.config(
        f'{service}\n{others}\n[policy]\ndefault = "profile"\n[[policy.rule]]\n{rule}'
    )
    two = asking.program("exec", *with_tokens("service", "b"), "--keep", "--", "true")
    assert two.returncode == 0, two.stderr
    three = asking.program("exec", *with_tokens("service", "b", "c"), "--keep", "--", "true")
    assert three.returncode == 4
    assert "rule 'twice' of the user policy allows 2 uses" in three.stderr
