"""The papers say what the program does: made ones are current, hand-written ones checked."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import sys

import pytest

from brokerctl.config import fields
from brokerctl.config.presets import PRESETS
from brokerctl.errors import EXIT_CODES
from brokerctl.model import FLOWS, KEEPERS, Profile
from tests.house.source import ROOT, read
from tests.program import PROGRAM, clean_env, require_tool

CHECKS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}
FILES = {"bash": "brokerctl.bash", "zsh": "_brokerctl", "fish": "brokerctl.fish"}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program at the repository's root."""
    return subprocess.run(
        words,
        cwd=ROOT,
        env=clean_env("/nonexistent"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_made_from_the_program_is_current() -> None:
    """Man pages, completions and the page of commands are what `make papers` writes."""
    done = run(sys.executable, "scripts/papers.py", "--check")
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.slow("some sixty commands against the embedded issuer")
def test_the_sessions_in_the_papers_are_what_is_printed() -> None:
    """Each command of a ```console block was run, and printed what the paper shows."""
    require_tool("curl")
    done = run(sys.executable, "scripts/sessions.py", "--check")
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.slow("a crowd of 64 on a terminal, against the embedded issuer")
def test_the_picture_is_what_a_terminal_shows() -> None:
    """The README's picture was run; it is small, and fetches nothing from anywhere."""
    require_tool("curl")
    done = run(sys.executable, "scripts/picture.py", "--check")
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    svg = read("docs/demo.svg")
    assert len(svg) < 120_000
    assert set(re.findall(r"[a-z]+://[^\"' )<]+", svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://127.0.0.1:8765/auth?response_type=code&amp;client_id=cli&amp;...",
    }
    assert "@font-face" not in svg


def test_the_first_session_shows_no_error() -> None:
    """What a reader sees first is the job being done, not a profile that is missing."""
    first = re.search(r"^```console\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)
    assert first is not None
    assert all(f"$ brokerctl {word} " in first[1] for word in ("login", "get", "exec", "revoke"))
    assert "error:" not in first[1]


def test_man_pages_are_good_roff() -> None:
    """Mandoc has no warning about any page."""
    pages = sorted(glob.glob(f"{ROOT}/man/*.1"))
    assert len(pages) > 10
    done = run(require_tool("mandoc"), "-T", "lint", "-W", "warning", *pages)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("shell", CHECKS)
def test_completions_are_good_scripts(shell: str) -> None:
    """The shell itself can read its file."""
    require_tool(shell)
    done = run(*CHECKS[shell], f"completions/{FILES[shell]}")
    assert (done.stderr, done.returncode) == ("", 0)


def test_bash_completes_a_command_and_an_option() -> None:
    """Bash with our file loaded completes as a person would see it."""
    script = (
        "source completions/brokerctl.bash; COMP_WORDS=(brokerctl store re); COMP_CWORD=2;"
        " _brokerctl_completion brokerctl; echo ${COMPREPLY[@]};"
        " COMP_WORDS=(brokerctl get --min); _brokerctl_completion brokerctl; echo ${COMPREPLY[@]}"
    )
    done = run("bash", "-c", script)
    assert (done.stdout, done.stderr) == ("restore rekey\n--min-ttl\n", "")


def test_the_readme_has_the_table_of_exit_codes() -> None:
    """The README's table is errors.EXIT_CODES, row by row."""
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", read("README.md"), re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in rows] == list(EXIT_CODES)


def test_no_help_shows_a_mark_of_ours() -> None:
    """Typer's mark for kept lines is a control character: a raw docstring would show it."""
    for page in glob.glob(f"{ROOT}/man/*.1"):
        assert "\\eb" not in read(os.path.relpath(page, ROOT)), page
    assert "\\b" not in run(PROGRAM, "--help").stdout


def test_links_between_the_papers_lead_somewhere() -> None:
    """Every relative link of a paper names a file that is there."""
    papers = [*glob.glob(f"{ROOT}/*.md"), *glob.glob(f"{ROOT}/docs/*.md")]
    for paper in papers:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(os.path.relpath(paper, ROOT))):
            assert os.path.exists(os.path.join(os.path.dirname(paper), link)), (paper, link)


def test_papers_are_free_of_tabs_and_of_machines() -> None:
    """No paper has a path of a developer's machine, and no line is left to be filled in."""
    for paper in [*glob.glob(f"{ROOT}/*.md"), *glob.glob(f"{ROOT}/docs/*.md")]:
        text = read(os.path.relpath(paper, ROOT))
        assert not re.search(r"/work/|/root/|^@[A-Z]+@$", text, re.MULTILINE), paper


def rows(path: str) -> dict[str, tuple[str, str, str]]:
    """Return (type, default, meaning) by key, of a page's tables of keys."""
    found = re.findall(
        r"^\| `([a-z_.]+)` \| ([^|]+) \| ([^|]+) \| (.+) \|$", read(path), re.MULTILINE
    )
    assert len(found) == len({key for key, *_ in found}), "a key stands twice"
    return {key: (kind, default, meaning) for key, kind, default, meaning in found}


def test_every_key_of_the_configuration_is_on_its_page() -> None:
    """docs/configuration.md has each key that compile accepts, and no other."""
    settings = {f"{group}.{key}" for group, keys in fields.SETTINGS.items() for key in keys}
    assert set(rows("docs/configuration.md")) == {*fields.PROFILE, *settings}


def test_the_defaults_on_the_page_are_the_profile_s() -> None:
    """Where the page shows a default in code, it is what a profile that leaves it out has."""
    bare = Profile(name="p", issuer="https://i", flow="code", client_id="c")
    spelled = {True: "`true`", False: "`false`", 20: "`20s`", 300: "`5m`"}
    shown = {
        key: default
        for key, (_, default, _) in rows("docs/configuration.md").items()
        if default.startswith("`") and "." not in key and key != "env"
    }
    names = {key: fields.FIELD_NAMES.get(key, key) for key in shown}
    values = {key: getattr(bare, name) for key, name in names.items()}
    assert shown == {key: spelled.get(value, f"`{value}`") for key, value in values.items()}


def test_every_word_that_a_key_takes_is_on_the_page() -> None:
    """Flows, ways of client authentication, keepers, presets and references are all named."""
    page = read("docs/configuration.md")
    words = {*FLOWS, *fields.CLIENT_AUTHS, *KEEPERS, *PRESETS}
    assert not {word for word in words if f"`{word}`" not in page}
    assert not {kind for kind in fields.REFERENCE_KINDS if f"{{ {kind} = " not in page}
    assert not {name for name in fields.LATER_TOP if f"`{name}`" not in page}
