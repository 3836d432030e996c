"""pnpm's protocol, and what its set-up writes."""

from __future__ import annotations

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers import CredentialRequest, HelperReply, MalformedError
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.pnpm import Pnpm
from brokerctl.helpers.pnpm.setup import PnpmSetup
from brokerctl.helpers.setups import Part
from tests.contracts.helper_contract import ANSWER, PROFILE, TOKEN, credential

HOME = {"HOME": "/home/alice"}
SCRIPT = "/home/alice/.local/share/brokerctl/helpers/pnpm-token"


def part(*hosts: str, **environ: str) -> Part:
    """Return what a set-up is told, for one profile."""
    return Part("pnpm", (PROFILE.replace(hosts=hosts),), "/opt/b/brokerctl", {**HOME, **environ})


@pytest.mark.parametrize("option", ["--profile", "-p"])
def test_the_profile_is_named(option: str) -> None:
    """By the script that `install` made, for there is nothing else to go by."""
    assert Pnpm().read([option, "forge"], b"", {}) == CredentialRequest(
        action="get", profile="forge"
    )


@pytest.mark.parametrize(
    "words", [[], ["--profile"], ["--profile", ""], ["forge"], ["--profile", "a", "b"], ["-x", "a"]]
)
def test_without_a_profile_there_is_no_request(words: list[str]) -> None:
    """No profile is the default: the token would go to whatever registry asks."""
    with pytest.raises(MalformedError):
        Pnpm().read(words, b"", {})


def test_the_answer_is_the_header_s_value() -> None:
    """Every version of pnpm sends what has a scheme as it is."""
    said = credential(Pnpm(), CredentialRequest(action="get", profile="forge"), ANSWER, PROFILE)
    assert said == HelperReply(stdout=f"Bearer {TOKEN}\n".encode())


def test_a_line_for_each_registry() -> None:
    """As npm writes its URLs: without the scheme, with a slash at the end."""
    hosts = ("https://npm.example.com", "http://127.0.0.1:4873", "https://x.example/a/b")
    assert PnpmSetup().lines(part(*hosts, "https://*.example.com")) == [
        f"//npm.example.com/:tokenHelper={SCRIPT}",
        f"//127.0.0.1:4873/:tokenHelper={SCRIPT}",
        f"//x.example/a/b/:tokenHelper={SCRIPT}",
    ]


@pytest.mark.parametrize("path", ["a:tokenHelper=/tmp/x;", "${HOME}", "a;b", 'a"b'])
def test_a_path_names_no_program(path: str) -> None:
    """Security: pnpm would run what stands behind the first `=` of a line."""
    with pytest.raises(UsageError, match="no plain character"):
        PnpmSetup().lines(part("https://npm.example.com", f"https://x.example/{path}"))


@pytest.mark.parametrize("folder", ["data", "./data", ""])
def test_the_script_s_path_is_absolute(folder: str) -> None:
    """Security: a relative one would be looked up in whatever repository pnpm is run in."""
    lines = PnpmSetup().lines(part("https://npm.example.com", XDG_DATA_HOME=folder))
    assert lines == [f"//npm.example.com/:tokenHelper={SCRIPT}"]


@pytest.mark.parametrize("hosts", [(), ("https://*.example.com",)])
def test_no_exact_host_is_no_registry(hosts: tuple[str, ...]) -> None:
    """There is no line that could stand for many."""
    with pytest.raises(UsageError, match="no exact hosts"):
        PnpmSetup().lines(part(*hosts))


@pytest.mark.parametrize("home", ["/a b", "/a$b", "/a`b", '/a"b', "/a'b", "/a%b", "/a;b", "/a\\b"])
def test_a_path_that_pnpm_would_read_otherwise(home: str) -> None:
    """A shell runs it, and `.npmrc` has characters of its own."""
    with pytest.raises(UsageError, match="takes no spaces"):
        PnpmSetup().lines(part("https://npm.example.com", XDG_DATA_HOME=home))


def test_two_profiles_are_none() -> None:
    """One token for all lines: which, has to be said."""
    both = Part("pnpm", (PROFILE, PROFILE.replace(name="other")), "/opt/b/brokerctl", HOME)
    with pytest.raises(UsageError, match="needs one profile"):
        PnpmSetup().lines(both)


def test_what_comes_after_a_section_belongs_to_it() -> None:
    """So a file that has one is left alone."""
    with pytest.raises(UsageError, match="has sections"):
        PnpmSetup().put(
            SetupFile("/x/.npmrc"), "a=b\n[other]\nc=d\n", part("https://npm.example.com")
        )


def test_the_script_runs_ours_by_its_whole_path() -> None:
    """Whatever PATH says, and from a folder with a space."""
    place = PnpmSetup().places(HOME)[1]
    told = part("https://npm.example.com")._replace(script="/opt/a b/brokerctl")
    text = PnpmSetup().put(place, "", told)
    assert text.split("\n")[2] == "exec '/opt/a b/brokerctl' helper pnpm --profile forge \"$@\""
    assert PnpmSetup().put(place, text, told) == text
    assert PnpmSetup().take(place, text) == ""


@pytest.mark.parametrize("name", ["npm_config_userconfig", "NPM_CONFIG_USERCONFIG"])
def test_the_user_s_file_may_be_elsewhere(name: str) -> None:
    """Where pnpm itself would look."""
    assert PnpmSetup().path({**HOME, name: "/etc/mine"}) == "/etc/mine"
    assert PnpmSetup().path(HOME) == "/home/alice/.npmrc"
