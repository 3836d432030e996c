"""A life in which the program writes each of its events once: the record's lines, made comparable.

The keys stand in their order, and each line is first shown to be written as all are: compact JSON
in ASCII. What is of chance becomes `"<text>"`, `0` or `<time>`; what is constant stays.
"""

from __future__ import annotations

import glob
import json
import os
import re
from typing import TYPE_CHECKING, Any

from tests.idp import main_job
from tests.scripts.golden_room import Forked, plainly

if TYPE_CHECKING:
    from tests.idp.issuer import DemoIssuer

# What differs from run to run, or from machine to machine.
CHANCE = frozenset(
    (
        *("seq", "pid", "uid", "exe", "parents", "host", "boot", "pid_ns", "prev", "mac", "names"),
        *("fingerprint", "digest", "of", "last_seq", "problems", "offset", "bytes", "session"),
    )
)
GIT = "protocol=https\nhost=git.example.com\nusername=alice\n"
CLIENT, HOSTS = 'client_id = "basic"', 'hosts = ["https://svc.example"]\n'
KEEP = '[helpers]\nkeep = ["git"]\n'


def play(program: Forked, demo: DemoIssuer, config: str) -> None:
    """Do what makes each event happen, and see what each ends with."""
    program.config(KEEP + config.replace(CLIENT, HOSTS + CLIENT))
    env = {"CI_SECRET": demo.secrets["basic"]}
    log = os.path.join(program.home, "state", "v1", "audit", "log")

    def run(code: int, words: str, stdin: str = "", stdout: str | None = None) -> None:
        done = program.run(*words.split(), stdin=stdin, env=env, stdout=stdout)
        assert done.returncode == code, (words, done)

    demo.reset()
    run(0, "get service")
    run(1, "get service", stdout="/dev/full")
    run(0, "exec --revoke -p service -- true")
    env.update(main_job.scripted_browser(demo))
    demo.reset()
    run(0, "login person")
    run(0, "get person --fresh")
    run(5, "login ci")
    _tools(program, env)
    for number in range(20):  # more refusals than there are counters: the first is told of
        run(4, f"get service --scope x{number}")
        run(4, f"get service --scope x{number}")
    run(2, "get nope")
    demo.mode(token="503")
    run(5, "get person --fresh --scope read")
    demo.reset()
    env["BROKERCTL_PASSPHRASE"] = "x"
    run(0, f"store backup {program.home}/all")
    run(0, f"store restore {program.home}/all")
    run(0, "store rekey --new-keys")
    for path in found_tokens(program):
        with open(path, "r+b") as token_file:
            data = token_file.read()
            token_file.seek(-1, os.SEEK_END)
            token_file.write(bytes([data[-1] ^ 1]))
    run(0, "get person --fresh")  # what was set aside: `store.damaged`
    run(9, "revoke person")  # it can say nothing of what is damaged
    demo.change(refresh_ttl=-1)
    run(0, "login person")
    run(3, "get person --fresh")
    demo.reset()
    with open(log, "ab") as file:
        file.write(b'{"v":1,"half')
    run(0, "audit repair")  # torn: `log.repaired`
    with open(log, "ab") as file:
        file.write(b"not ours\n")
    run(7, "audit repair")  # `log.tampered`
    run(0, "audit repair --accept --reason why")


def found_tokens(program: Forked) -> list[str]:
    """Return the files of the tokens held."""
    return glob.glob(os.path.join(program.home, "state", "v1", "tokens", "*", "*"))


def _tools(program: Forked, env: dict[str, str | None]) -> None:
    """Let git have its own credential kept, given, dropped and exported."""

    def git(word: str, text: str, stdout: str | None = None) -> None:
        program.run("helper", "git", word, stdin=f"{text}\n", env=env, stdout=stdout)

    git("store", f"{GIT.replace('git.', 'own.')}password=hunter2\n")
    git("get", GIT.replace("git.", "own."))
    git("get", GIT.replace("git.", "own."), "/dev/full")
    done = program.run("helper", "export", "git", "--yes", env=env)
    assert done.returncode == 0, done
    git("store", f"{GIT.replace('git.', 'own.')}password=hunter2\n")
    git("erase", f"{GIT.replace('git.', 'own.')}password=hunter2\n")
    token = program.run("get", "service", env=env).stdout.strip()
    git("erase", f"protocol=https\nhost=svc.example\nusername=a\npassword={token}\n")


def lines(program: Forked, names: dict[str, str]) -> dict[str, str]:
    """Return the first line of each event, and of each set of keys that it has."""
    found: dict[str, str] = {}
    folder = os.path.join(program.home, "state", "v1", "audit")
    texts = []
    for name in sorted(os.listdir(folder)):
        if name.startswith("log") and not name.endswith(".lock"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                texts += file.read().splitlines()
    for text in texts:
        try:
            record = json.loads(text)
        except ValueError:
            continue  # ours, torn
        assert json.dumps(record, separators=(",", ":")) == text
        shown = json.dumps(_plain(record), ensure_ascii=False)
        event, outcome = record["event"], record.get("outcome")
        keys = " ".join(record)
        key = f"{event} {outcome} {record.get('kind')} {keys}"
        found.setdefault(key, plainly(shown, {program.home: "<home>", **names}))
    return dict(sorted(found.items()))


def _plain(value: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON has any type
    if key in CHANCE and value is not None:
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {name: _plain(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"^[0-9a-f]{32,64}$", "<hex>", value)
    return value


# Names of that form that are something else: files, settings, modules.
NO_EVENTS = {"log.lock", "credential.helper", "session.inside", "session.start"}
ELSEWHERE = {
    "credential.denied": "only another user is refused: tests/unit",
    "credential.not_kept": "a disk that fails between the record and the store",
    "credential.not_dropped": "as above",
    "credential.not_exported": "as above: tests/scripts/test_helper_export.py",
    "gateway.used": "a gateway has to be used: tests/unit/test_gateway_target.py",
    "session.ended": "another terminal or a SIGKILL: tests/idp/test_session_elsewhere.py",
    "lease.ended": "a person has to answer: tests/scripts/test_approve_terminal.py",
    **dict.fromkeys(("lease.given", "question.answered", "question.asked"), "as above"),
}
