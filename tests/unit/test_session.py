"""The values of a session: its command line, its variables, its entry, its leftovers."""

from __future__ import annotations

import os
import signal as public_signal
from typing import TYPE_CHECKING, Any

import pytest

from brokerctl.errors import StoreError, UsageError
from brokerctl.model import Profile, Reference
from brokerctl.platform import signals
from brokerctl.platform.system import SYSTEM
from brokerctl.secret import Secret
from brokerctl.session import ExecRequest, child, environment, leftovers, token_files
from brokerctl.session.start import parse_exec, parse_pairs

if TYPE_CHECKING:
    from pathlib import Path


def make_profile(name: str, **fields: Any) -> Profile:  # noqa: ANN401 - any field of a profile
    """Return a profile with what every one needs."""
    return Profile(name=name, issuer="https://i.example", flow="code", client_id="c", **fields)


def test_whole_grammar() -> None:
    """Each option of the written grammar arrives where it belongs, in both spellings."""
    line = (
        "-p a --profile=b --env X=a --env=Y=b --file F=a --scope s2 --scope=s1 --ttl 5m"
        " --resource r2 --resource=r1 --audience b --audience a --subject=ann"
        " --min-ttl=9s --purpose=-x --revoke --clean-env -- cmd -p --ttl -- z"
    )
    assert parse_exec(line.split()) == ExecRequest(
        command=("cmd", "-p", "--ttl", "--", "z"),
        profiles=("a", "b"),
        env=(("X", "a"), ("Y", "b")),
        files=(("F", "a"),),
        subject="ann",
        scopes=("s1", "s2"),
        resource=("r1", "r2"),
        audience=("a", "b"),
        ttl_s=300,
        min_ttl_s=9,
        purpose="-x",
        is_own=True,
        is_clean=True,
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-p",
        "-p a",
        "-p a --",
        "-p a cmd",
        "-p -- cmd",
        "-pa -- cmd",
        "-p=a -- cmd",
        "--help -- cmd",
        "--env X -- cmd",
        "--env =a -- cmd",
        "--file X= -- cmd",
        "--ttl 5 -- cmd",
        "--ttl 5m --ttl 6m -- cmd",
        "--min-ttl x -- cmd",
        "--revoke --keep -- cmd",
        "--revoke=yes -- cmd",
        "--purpose -x -- cmd",
        "--subject -- cmd",
        "--subject= -- cmd",
        "--subject s --subject t -- cmd",
        "--resource -- cmd",
    ],
)
def test_not_in_the_grammar(line: str) -> None:
    """Anything else is left to the full program, which explains it."""
    assert parse_exec(line.split()) is None


def test_aws_names_a_profile() -> None:
    """It is one of the session's; no variable is set for it, and none that goes before is left."""
    ask = parse_exec(["-p", "a", "--aws", "b", "--", "cmd", "--aws", "c"])
    assert ask is not None
    assert (ask.aws, ask.is_bounded, ask.command) == ("b", True, ("cmd", "--aws", "c"))
    assert environment.names_of(ask, None) == ("a", "b")
    profiles = {"a": make_profile("a"), "b": make_profile("b").replace(flow="aws_web_identity")}
    wanted = environment.plan_variables(ask, profiles, None)
    assert [one.variables for one in wanted] == [("A_TOKEN",), ()]
    before = dict.fromkeys((*environment.BEFORE_AWS, "AWS_REGION", "HOME"), "x")
    for has_aws in (False, True):
        kept = environment.inherited(before, (), is_clean=False, has_aws=has_aws)
        assert kept == ({"AWS_REGION": "x", "HOME": "x"} if has_aws else before)


def test_aws_and_other_credentials_are_refused() -> None:
    """The SDKs would take the other ones, in silence."""
    ask = parse_exec(["-p", "a", "--aws", "b", "--", "cmd"])
    assert ask is not None
    profiles = {name: make_profile(name).replace(flow="aws_web_identity") for name in "ab"}
    with pytest.raises(UsageError, match="would take AWS_ACCESS_KEY_ID of 'a'"):
        environment.plan_variables(ask, profiles, None)


def test_wrong_pair_is_explained() -> None:
    """What is not NAME=PROFILE is named."""
    with pytest.raises(UsageError, match="'X' is not NAME=PROFILE"):
        parse_pairs("--env", {"--env": ["X"]})


@pytest.mark.parametrize(
    ("name", "env", "variable"),
    [
        ("gitlab", None, "GITLAB_TOKEN"),
        ("a.b-c_d", None, "A_B_C_D_TOKEN"),
        ("login.example-8443", None, "LOGIN_EXAMPLE_8443_TOKEN"),
        ("x", "MINE", "MINE"),
    ],
)
def test_default_variable(name: str, env: str | None, variable: str) -> None:
    """The profile's own variable, else its name in upper case with the rest as underscores."""
    assert environment.default_variable(make_profile(name, env=env)) == variable


def test_profile_with_a_digit_first_needs_a_name() -> None:
    """No shell could read 0A_TOKEN, so the refusal says how to name the variable."""
    with pytest.raises(UsageError, match="0A_TOKEN") as caught:
        environment.plan_variables(
            ExecRequest(command=("x",), profiles=("0a",)), {"0a": make_profile("0a")}, None
        )
    assert caught.value.hint == "write --env NAME=0a"


def test_file_alone_sets_no_token_variable() -> None:
    """A profile that is named by `--file` has its token in no variable."""
    ask = ExecRequest(command=("x",), profiles=("a",), files=(("F", "a"),))
    (wanted,) = environment.plan_variables(ask, {"a": make_profile("a")}, None)
    assert (wanted.variables, wanted.files) == ((), ("F",))


def test_references_of_every_profile_are_removed() -> None:
    """Also those of profiles that this session does not use; only `env` names variables."""
    profiles = [
        make_profile("a", client_secret=Reference(kind="env", target=("S1",))),
        make_profile("b", client_key=Reference(kind="env", target=("S2",))),
        make_profile("c", client_secret=Reference(kind="command", target=("S3",))),
    ]
    given = {"S1": "x", "S2": "x", "S3": "x", "BROKERCTL_KEYS": "x", "BROKERCTL_HOME": "x"}
    found = environment.inherited(given, profiles, is_clean=False)
    assert found == {"S3": "x", "BROKERCTL_HOME": "x"}


def test_session_entry_comes_back() -> None:
    """Parse after render is the same session; anything else is None and no error."""
    session = leftovers.describe("ab" * 16, ("a", "b"), "/run/x").replace(ends_at=5.0)
    assert leftovers.parse_session(leftovers.render_session(session)) == session
    for data in (b"", b"[]", b'{"v":2}', b'{"v":1}', b'{"v":1,"profiles":3}', b"\xff"):
        assert leftovers.parse_session(data) is None


def test_who_is_alive() -> None:
    """We are; another start time, another boot of this host is not; what can't be seen may be."""
    me = leftovers.describe("ab" * 16, (), None)
    assert leftovers.is_alive(me, me.at)
    assert not leftovers.is_alive(me.replace(started="1"), me.at)
    assert not leftovers.is_alive(me.replace(pid=2**22 + 1), me.at)
    assert not leftovers.is_alive(me.replace(boot="another"), me.at)
    for unseen in (me.replace(boot="another", host="other"), me.replace(pid_space="pid:[1]")):
        assert leftovers.is_alive(unseen, me.at + 60)
        assert not leftovers.is_alive(unseen, me.at + leftovers.UNSEEN_S + 1)
        assert not leftovers.is_alive(unseen.replace(ends_at=me.at + 5), me.at + 6)


def test_zombie_supervisor_is_gone() -> None:
    """A supervisor that ended and was not yet waited for counts as gone."""
    me = leftovers.describe("ab" * 16, (), None)
    pid = os.posix_spawn("/bin/true", ["true"], {})
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not leftovers.is_alive(me.replace(pid=pid), me.at)
    finally:
        os.waitpid(pid, 0)


def test_only_our_folders_are_emptied(tmp_path: object) -> None:
    """A path in an entry that is no session's folder is refused, and one that is gone is fine."""
    with pytest.raises(StoreError, match="not a folder of a session"):
        token_files.remove_files(str(tmp_path), SYSTEM)
    token_files.remove_files(f"{tmp_path}/brokerctl-gone", SYSTEM)


def test_folder_through_a_link_is_refused(tmp_path: object) -> None:
    """Security: a link that was put in the folder's place is neither filled nor emptied."""
    os.mkdir(f"{tmp_path}/target", 0o700)
    os.symlink(f"{tmp_path}/target", f"{tmp_path}/brokerctl-x")
    with pytest.raises(StoreError):
        token_files.write_files(f"{tmp_path}/brokerctl-x", {"F": Secret("t")}, SYSTEM)
    with pytest.raises(StoreError):
        token_files.remove_files(f"{tmp_path}/brokerctl-x", SYSTEM)


def test_file_folder_is_private_or_sticky(tmp_path: object) -> None:
    """A runtime folder that others can write to is passed over."""
    os.mkdir(f"{tmp_path}/open", 0o700)
    os.chmod(f"{tmp_path}/open", 0o777)  # noqa: S103 - what must be passed over
    found = token_files.folder_path({"XDG_RUNTIME_DIR": f"{tmp_path}/open"}, "ab", SYSTEM)
    assert not found.startswith(str(tmp_path))


def test_program_is_found_by_the_childs_path(tmp_path: object) -> None:
    """PATH is the child's; an empty part is the working folder; 126 only if nothing can be run."""
    for name, mode in (("a", 0o755), ("b", 0o644)):
        os.makedirs(f"{tmp_path}/{name}")
        with open(f"{tmp_path}/{name}/tool", "w", encoding="ascii") as file:
            file.write("")
        os.chmod(f"{tmp_path}/{name}/tool", mode)
    path = {"PATH": f"{tmp_path}/b:{tmp_path}/a"}
    assert child.find_program("tool", path) == f"{tmp_path}/a/tool"
    for command, where, kind in (
        ("tool", {"PATH": f"{tmp_path}/b"}, child.NotExecutableError),
        ("tool", {"PATH": f"{tmp_path}"}, child.NotFoundError),
        ("", path, child.NotFoundError),
    ):
        with pytest.raises(kind):
            child.find_program(command, where)


def test_private_signals_are_the_public_ones() -> None:
    """The numbers of the private module are those of `signal`: the fallback changes nothing."""
    assert {public_signal.SIGINT, public_signal.SIGTSTP, public_signal.SIGWINCH} <= signals.TERMINAL
    assert signals.IGNORED_BY_PYTHON == (public_signal.SIGPIPE, public_signal.SIGXFSZ)
    waited = signals.waited()
    assert {public_signal.SIGCHLD, public_signal.SIGTERM, public_signal.SIGCONT} <= waited
    assert waited.isdisjoint({public_signal.SIGKILL, public_signal.SIGSEGV, public_signal.SIGPIPE})


def test_tokens_end_also_where_the_child_spoilt_its_folder(tmp_path: Path) -> None:
    """A folder that can't be removed keeps the entry, and never a token alive."""
    folder = tmp_path / "brokerctl-spoilt"
    (folder / "made-by-the-child").mkdir(parents=True)
    folder.chmod(0o700)
    session = leftovers.describe("5p01", ("payments",), str(folder))
    asked: list[tuple[str, ...]] = []

    def revoke_own(session_id: str, names: tuple[str, ...]) -> list[Any]:
        asked.append((session_id, *names))
        return []

    store: Any = None  # it would raise AttributeError if the entry were dropped
    with pytest.raises(StoreError, match="can't remove"):
        leftovers.settle(session, store, "name", revoke_own, SYSTEM)
    assert asked == [("5p01", "payments")]
