"""`http.sslVerify` as the real git reads it, wherever it stands and however it is written."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.helpers.git.config import find_last, is_true, read_sections
from brokerctl.helpers.git.files import may_be_unchecked
from brokerctl.helpers.git.urls import normalize
from tests.program import BIN, require_tool

if TYPE_CHECKING:
    from tests.program import Program

HOSTS = ("git.example.com", "*.example.com", "*.*.com", "GIT.Example.com", "example.com", "[::1]")
PATHS = ("", "/", "/team", "/team/", "/team/shop.git", "/te%61m", "/./team", "/x/../team/", "/t?q")
PORTS = ("", ":443", ":0443", ":8443", ":", ":80", ":x")
USERS = ("", "alice@", "al%69ce@", "bob:secret@", "@")
SECTIONS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(("https", "HTTPS", "http", "ftp", "1s")),
    st.sampled_from(USERS),
    st.sampled_from(HOSTS),
    st.sampled_from(PORTS),
    st.sampled_from(PATHS),
)
URLS = st.builds(
    "https://{}{}{}{}".format,
    st.sampled_from(("", "alice@", "bob@")),
    st.sampled_from(("git.example.com", "example.com", "[::1]", "other.example.com")),
    st.sampled_from(("", ":8443", ":443")),
    st.sampled_from(("", "/team", "/team/shop.git", "/x")),
)
VALUES = st.sampled_from(
    (
        *("true", "false", "TRUE", "Off", "no", "yes", "1", "0", "010", "0x0", "2k", "on", "-1"),
        *('"fal"se', "fa\\\nlse", "false # x", "true ; y", '"false" ', '"no"', '"" ', " off\t", ""),
        *('"on" "', "maybe", "\\q", '"a#b"'),
    )
)
HEADS = ("[http]", "[HTTP]", "[ http]", "[http] sslcainfo = x\n", '[http ""]')
LINE = st.one_of(
    st.builds(
        "{}\n\t{} = {}\n".format,
        st.one_of(st.sampled_from(HEADS), SECTIONS.map('[http "{}"]'.format)),
        st.sampled_from(("sslVerify", "sslverify", "SSLVERIFY", "proxy")),
        VALUES,
    ),
    st.sampled_from(
        (
            '[http "https://git.example.com"] sslVerify\n',
            "[http] sslVerify=false",
            "; sslVerify = false\n",
            "[core]\r\n\tbare = false\r\n",
            "sslVerify = false\n",
            '[http "https://git.\\example.com/"]\nsslVerify=off\n',
        )
    ),
)
CONDITIONS = st.sampled_from(
    (
        *("gitdir:{home}/repo/", "gitdir:{home}/repo/.git", "gitdir:~/repo/", "gitdir:repo/"),
        *("gitdir:{home}/other/", "gitdir:**/re?o/**", "gitdir:{home}/*/.git", "gitdir:*"),
        *("gitdir/i:{home}/REPO/", "gitdir:./repo/", "gitdir:~/re\\po/", "gitdir:**/.git"),
        *("gitdir:{home}/**/.git", "gitdir:/", "gitdir:{home}/re*/.g*", "gitdir:", "what:x"),
    )
)
INCLUDE = st.builds(
    "{}\npath = {}\n".format,
    st.one_of(st.just("[include]"), CONDITIONS.map('[includeIf "{}"]'.format)),
    st.sampled_from(("more", "{home}/more", "~/more", '"~/mo"re', "none", "~nobody-here/x")),
)
CONFIG = st.lists(st.one_of(LINE, LINE, INCLUDE), max_size=4).map("".join)
PARAMETER = st.tuples(
    st.one_of(st.just("http.sslVerify"), SECTIONS.map("http.{}.sslverify".format)),
    st.sampled_from(("true", "false", "it's!", None)),
)


class Case(NamedTuple):
    """All that git reads in one place."""

    files: dict[str, str]
    parameters: list[tuple[str, str | None]]
    counted: list[tuple[str, str | None]]
    url: str


CASES = st.builds(
    Case,
    st.fixed_dictionaries(
        {".gitconfig": CONFIG},
        optional={
            ".config/git/config": CONFIG,
            "system": CONFIG,
            "repo/.git/config": CONFIG,
            "repo/.git/config.worktree": CONFIG,
            "more": CONFIG,
        },
    ),
    st.lists(PARAMETER, max_size=2),
    st.lists(PARAMETER, max_size=2),
    URLS,
)


def write(home: str, case: Case) -> dict[str, str]:
    """Write the files of a case; return the environment."""
    for name, text in case.files.items():
        path = os.path.join(home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        more = text.replace("{home}", home)
        if name == "repo/.git/config":
            extra = "[extensions]\nworktreeConfig = true\n" if "alice" in case.url else ""
            more = f"[core]\nrepositoryformatversion = 1\n{extra}[x]\n{more}"
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(more)
    words = [
        shlex.quote(key) + "=" + ("" if value is None else "'" + value.replace("'", "'\\''") + "'")
        if "=" in key or len(key) % 2
        else "'" + key + ("" if value is None else "=" + value.replace("'", "'\\''")) + "'"
        for key, value in case.parameters
    ]
    environ = {
        "HOME": home,
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_SYSTEM": f"{home}/system",
        "GIT_CONFIG_PARAMETERS": " ".join(words),
        "GIT_CONFIG_COUNT": str(len(case.counted)),
    }
    for number, (key, value) in enumerate(case.counted):
        environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value or ""}
    return environ


def ask_git(url: str, environ: dict[str, str], folder: str) -> bool | None:
    """Return what git says; None where it says nothing, ValueError where it stops."""
    words = ["git", "config", "--type=bool", "--get-urlmatch", "http.sslVerify", url]
    done = subprocess.run(
        words, env=environ, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 1} or "error" in done.stderr:
        raise ValueError(done.stderr)
    return {"true": True, "false": False, "": None}[done.stdout.strip()]


@pytest.mark.slow(reason="each example asks the real git")
@given(case=CASES)
def test_it_is_read_as_git_reads_it(case: Case) -> None:
    """Security: the real git is the judge: files, includes, conditions, options, and whose URL."""
    require_tool("git")
    with tempfile.TemporaryDirectory() as home:
        folder = os.path.join(home, "repo")
        os.makedirs(f"{folder}/.git/objects")
        os.makedirs(f"{folder}/.git/refs")
        with open(f"{folder}/.git/HEAD", "w", encoding="utf-8") as file:
            file.write("ref: refs/heads/main\n")
        environ = write(home, case)
        try:
            said = ask_git(case.url, environ, folder)
        except ValueError:
            return
        asked = normalize(case.url)
        assert asked is not None
        found = find_last(asked, read_sections(environ, folder))
        assert (None if found is None else is_true(found.value)) == said
        assert said is not False or may_be_unchecked(environ, folder)


WORK = """
[profile.work]
issuer = "https://issuer.example"
client_id = "app"
flow = "code"
hosts = ["https://git.example.com"]
"""
OFF = "[http]\n\tsslVerify = false\n"
URL = "http.https://git.example.com/.sslVerify"
WAYS: dict[str, tuple[list[str], dict[str, str], dict[str, str]]] = {
    "option": (["-c", "http.sslVerify=false"], {}, {}),
    "option for the host": (["-c", f"{URL}=false"], {}, {}),
    "option from a variable": (["--config-env=http.sslVerify=NO"], {"NO": "0"}, {}),
    "variable": ([], {"GIT_SSL_NO_VERIFY": ""}, {}),
    "counted": (
        [],
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": URL, "GIT_CONFIG_VALUE_0": "no"},
        {},
    ),
    "user's file": ([], {}, {".gitconfig": OFF}),
    "XDG's file": ([], {}, {".config/git/config": OFF}),
    "another user's file": ([], {"GIT_CONFIG_GLOBAL": "{home}/g"}, {"g": OFF}),
    "system's file": ([], {"GIT_CONFIG_SYSTEM": "{home}/s"}, {"s": OFF}),
    "repository's file": ([], {}, {"repo/.git/config": OFF}),
    "included": ([], {}, {".gitconfig": "[include]\npath = more\n", "more": OFF}),
    "included by option": (["-c", "include.path={home}/more"], {}, {"more": OFF}),
    "included here": (
        [],
        {},
        {".gitconfig": '[includeIf "gitdir:~/repo/"]\npath = ~/more\n', "more": OFF},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_token_for_a_git_that_checks_nothing(brokerctl: Program, way: str) -> None:
    """Security: the real git is told not to check, our helper sees it, and the record says so."""
    words, env, files = WAYS[way]
    brokerctl.env["BROKERCTL_KEEPER"] = "file"
    brokerctl.config(WORK)
    home, git = brokerctl.home, require_tool("git")
    subprocess.run([git, "init", "-q", f"{home}/repo"], check=True)
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"{home}/{name}"), exist_ok=True)
        with open(f"{home}/{name}", "a", encoding="utf-8") as file:
            file.write(text)
    helper = ["-c", f"credential.helper={BIN}/git-credential-brokerctl"]
    environ = brokerctl.environment({name: text.format(home=home) for name, text in env.items()})
    given_words = [word.format(home=home) for word in words]

    def fill(*more: str) -> str:
        done = subprocess.run(
            [git, *helper, *more, "credential", "fill"],
            input="protocol=https\nhost=git.example.com\n\n",
            env=environ | {"GIT_TERMINAL_PROMPT": "0"},
            cwd=f"{home}/repo",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        return done.stderr

    assert "the server's certificate would not be checked" in fill(*given_words)
    if "GIT_SSL_NO_VERIFY" not in env:  # the last value of the most specific URL counts
        undone = ["-c", "http.https://git.example.com.sslVerify=true"]
        assert "no grant for 'work'" in fill(*given_words, *undone)
    assert brokerctl("audit", "log", "--json").stdout.count('"token.denied"') == 1
