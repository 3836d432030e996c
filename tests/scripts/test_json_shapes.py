"""docs/json.md is what the program prints: every example has the answer's keys and types.

Every answer also fits docs/json.schema.json.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.answers import PAGE, find_faults, read_document, read_examples
from tests.house.source import ROOT, read
from tests.identities import jwt
from tests.idp import main_job
from tests.idp.issuer import DemoIssuer
from tests.schema import Schema

if TYPE_CHECKING:
    from tests.program import Program

CASES = """[[case]]
name = "a person reads"
request = { profile = "person", scopes = ["read"] }
expect = { effect = "allow" }
"""
POLICY = """[policy]
default = "deny"
[[policy.rule]]
name = "git"
when = { tool = "git" }
effect = "allow"
"""
# Where an example's order would not do: one command prepares the next.
OF_A_QUESTION = ("approve yes ID --json", "approve no ID --json")  # test_approve_elsewhere.py
OF_A_SESSION = ("session show ID --json",)  # tests/idp/test_session_elsewhere.py
LAST = ("revoke person --verify --json", "error")


def shape(value: Any) -> Any:  # noqa: ANN401 - JSON has any type
    """Return keys and types alone; `null` and an empty list fit everything."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else None
    return None if value is None else type(value).__name__


def fits(example: Any, answer: Any) -> bool:  # noqa: ANN401 - JSON has any type
    """Return whether two shapes have the same keys, and no two different types."""
    if isinstance(example, dict) and isinstance(answer, dict):
        return example.keys() == answer.keys() and all(
            fits(example[key], answer[key]) for key in example
        )
    if isinstance(example, list) and isinstance(answer, list):
        return fits(example[0], answer[0])
    return example is None or answer is None or example == answer


def job_of(example: str, words: str) -> dict[str, str]:
    """Return the variables of the CI job whose claims an example has."""
    if "--ci" not in words:
        return {}
    claims = json.loads(example)["identities"][0]["claims"]
    token = jwt(**{name: claims[name] for name in claims.keys() - {"iat", "exp"}})
    return {"GITLAB_CI": "true", "CI_JOB_ID": "811", "BROKERCTL_ID_TOKEN": token}


@pytest.mark.slow("some thirty commands, a login among them")
def test_every_example_is_what_the_program_prints(brokerctl: Program, trace_dir: str) -> None:
    """Each command of the page, run for a person who is logged in, prints its example's shape."""
    examples, schema = read_examples(), Schema(read_document())
    assert len(examples) > 20
    brokerctl.env.update({"BROKERCTL_KEEPER": "file", "BROKERCTL_PASSPHRASE": "x"})
    wrong = {}
    with DemoIssuer(tempfile.mkdtemp(prefix="demo-", dir=trace_dir), auto_approve=True) as demo:
        main_job.person(brokerctl, demo, hosts='["https://git.example.com"]')
        browser = main_job.scripted_browser(demo)
        shop = os.path.join(brokerctl.home, "shop")
        os.mkdir(shop)
        with open(os.path.join(shop, ".brokerctl.toml"), "w", encoding="utf-8") as file:
            file.write('[profile.person]\nscopes = ["read"]\n')
        cases, policy = (os.path.join(brokerctl.home, name) for name in ("cases.toml", "new.toml"))
        for path, text in ((cases, CASES), (policy, POLICY)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        order = [
            "login person --json",
            *(name for name in examples if name not in {*LAST, *OF_A_QUESTION, *OF_A_SESSION}),
            *LAST,
        ]
        for command in dict.fromkeys(order):
            words = "get nope --json" if command == "error" else command
            words = words.replace("FILE", os.path.join(brokerctl.home, "all.backup"))
            words = words.replace("DIR", shop).replace("CASES", cases).replace("POLICY", policy)
            done = brokerctl(*words.split(), env=browser | job_of(examples[command], words))
            answer = json.loads(done.stderr if command == "error" else done.stdout or "null")
            faults = find_faults(schema, command, answer)
            if faults or not fits(shape(json.loads(examples[command])), shape(answer)):
                wrong[command] = (faults, answer, done.stderr)
    assert not wrong


def test_every_command_that_has_json_is_on_the_page() -> None:
    """A page of the manual that names --json has its section in docs/json.md."""
    page = read(PAGE)
    headings = set(re.findall(r"^## (.+)$", page, re.MULTILINE))
    named = {word for heading in headings for word in heading.split(", ")}
    with_json = {
        name.removeprefix("brokerctl-").removesuffix(".1")
        for name in os.listdir(os.path.join(ROOT, "man"))
        if "\\-\\-json" in read(f"man/{name}")
    }
    assert with_json == named
