"""Files of a tool as they really lie: whose they are, who may read them, how their lines end."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from brokerctl.errors import UsageError
from brokerctl.helpers.edit.file_changes import BACKUP, carry_out, tidy
from brokerctl.helpers.install import find_installed, plan_install, plan_uninstall
from brokerctl.model import Profile
from brokerctl.platform.system import System
from brokerctl.platform.user_files import locked_as_its_tool_does, locked_folder
from tests.tools.room import read, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALICE = 1000
PROFILE = Profile(
    name="d",
    issuer="https://issuer.example",
    client_id="app",
    flow="aws_web_identity",
    hosts=("https://git.example.com",),
    google=("//iam.example/pool",),
)
OTHER = PROFILE.replace(hosts=("https://new.example.com",))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """Return a home of its own, to which the way is open for every user."""
    home = tempfile.mkdtemp(prefix="install-")
    os.chmod(home, 0o755)  # noqa: S103 - as most homes are
    yield {"HOME": home, "PATH": "/usr/bin"}
    shutil.rmtree(home)


def install(tool: str, environ: dict[str, str], system: System | None = None) -> None:
    """Put our part in."""
    carry_out(plan_install(tool, [PROFILE], environ), system or System())


@contextmanager
def as_alice() -> Iterator[None]:
    """Have the rights of a user."""
    os.seteuid(ALICE)
    try:
        yield
    finally:
        os.seteuid(0)


@needs_root
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o664, 0o640])
def test_a_file_stays_its_owner_s(environ: dict[str, str], mode: int) -> None:
    """Root, with a user's HOME, changes what that user goes on to own; so it is with the copy."""
    path = os.path.join(environ["HOME"], ".gitconfig")
    write(path, b"[user]\n")
    os.chown(path, ALICE, ALICE)
    os.chmod(path, mode)
    install("git", environ)
    found, copy = os.stat(path), os.stat(path + BACKUP)
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (ALICE, ALICE, mode)
    assert (copy.st_uid, copy.st_mode & 0o777) == (ALICE, 0o600)


def machine(name: str, call: Callable[..., object]) -> System:
    """Return the real calls, but for one."""
    system = System()
    setattr(system, name, call)
    return system


def refuse_group(*_: int) -> None:
    """Refuse, as the kernel does where a user is not in a file's group."""
    raise PermissionError(1, "no group")


@needs_root
@pytest.mark.parametrize(
    ("mode", "left"), [(0o644, 0o644), (0o664, 0o644), (0o640, 0o600), (0o604, 0o644)]
)
def test_a_group_that_can_not_be_kept(environ: dict[str, str], mode: int, left: int) -> None:
    """Security: what the group alone had nobody has; what all have the group has too."""
    path = os.path.join(environ["HOME"], ".gitconfig")
    write(path, b"[user]\n")
    os.chown(path, -1, 60)
    os.chmod(path, mode)
    install("git", environ, machine("fchown", refuse_group))
    assert os.stat(path).st_mode & 0o777 == left


@needs_root
def test_another_user_s_file_is_refused(environ: dict[str, str]) -> None:
    """Who can't give it back to its owner changes nothing."""
    path = os.path.join(environ["HOME"], ".gitconfig")
    write(path, b"[user]\n")
    os.chmod(environ["HOME"], 0o777)  # noqa: S103 - as a folder that two users share
    with as_alice():
        with pytest.raises(UsageError, match="can't change") as caught:
            install("git", environ)
        assert "belongs to another user (uid 0)" in (caught.value.hint or "")
    assert (read(path), os.stat(path).st_uid) == (b"[user]\n", 0)
    assert os.listdir(environ["HOME"]) == [".gitconfig"]


@needs_root
@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        (".gitconfig", 0o000, "run 'chmod u+r {}'"),
        ("", 0o000, "run 'chmod u+x {}'"),
        ("", 0o555, "run 'chmod u+w {}'"),
    ],
)
def test_the_path_and_the_mend_are_named(
    environ: dict[str, str], name: str, mode: int, said: str
) -> None:
    """Of a file that can't be read, of its folder that can't be entered or written to."""
    home = environ["HOME"]
    path, odd = os.path.join(home, ".gitconfig"), os.path.join(home, name).rstrip("/")
    write(path, b"[user]\n")
    for one in (home, path):
        os.chown(one, ALICE, ALICE)
    with as_alice():
        os.chmod(odd, mode)
        with pytest.raises(UsageError, match=path) as caught:
            install("git", environ)
        hint = caught.value.hint or ""
        assert hint == said.format(odd)
        if mode == 0:
            assert find_installed("git", environ)[2:4] == (caught.value.message, hint)
        os.chmod(odd, 0o700)
        install("git", environ)


@pytest.mark.parametrize("tool", ["aws", "git", "goauth", "kubernetes", "pip", "pnpm", "vault"])
def test_a_file_whose_lines_end_otherwise_now(environ: dict[str, str], tool: str) -> None:
    """An editor, or a checkout of dotfiles, wrote CRLF: our part is found, and goes."""
    install(tool, environ)
    path = plan_uninstall(tool, environ).path
    text = read(path) or b""
    write(path, b"# mine\n".replace(b"\n", b"\r\n") + text.replace(b"\n", b"\r\n"))
    assert find_installed(tool, environ).is_in
    assert not plan_install(tool, [PROFILE], environ).is_change
    carry_out(plan_uninstall(tool, environ))
    assert read(path) in {b"# mine\r\n", b"# mine\r\nkind: Config\r\napiVersion: v1\r\n"}


@pytest.mark.parametrize("tool", ["aws", "docker", "git", "kubernetes", "pip", "pnpm", "uv"])
@pytest.mark.parametrize("before", [None, b""])
def test_an_empty_file_is_a_file(environ: dict[str, str], tool: str, before: bytes | None) -> None:
    """One that was there stays, and one that was not goes again, with no copy of either."""
    path = plan_uninstall(tool, environ).path
    write(path, before)
    install(tool, environ)
    carry_out(plan_uninstall(tool, environ))
    assert read(path) == before
    assert read(path + BACKUP) is None


def test_an_old_copy_is_told_of(environ: dict[str, str]) -> None:
    """Where a file was changed since, the copy stays: `uninstall` and `list` name it."""
    path = os.path.join(environ["HOME"], ".gitconfig")
    write(path, b"[user]\n")
    install("git", environ)
    write(path, (read(path) or b"") + b"[alias]\n")
    planned = plan_uninstall("git", environ)
    carry_out(planned)
    assert planned.backups == [path + BACKUP]
    assert find_installed("git", environ).copies == (path + BACKUP,)
    write(path, b"[user]\n")
    tidy(plan_uninstall("git", environ))
    assert find_installed("git", environ).copies == ()


@pytest.mark.parametrize(
    ("tool", "file", "text"),
    [
        ("pnpm", ".npmrc", '//x/:tokenHelper="{own}"\n'),
        ("pnpm", ".config/pnpm/rc", "//x/:tokenHelper={own}\n"),
        ("terraform", ".terraformrc", 'credentials_helper "brokerctl" {{\n  args = ["x"]\n}}\n'),
        ("terraform", ".terraform.d/x.tfrc", 'credentials_helper "brokerctl" {{}}\n'),
        ("keyring", ".config/python_keyring/keyringrc.cfg", "[backend]\nkeyring-path={own_dir}/\n"),
    ],
)
def test_what_a_file_still_names_stays(
    environ: dict[str, str], tool: str, file: str, text: str
) -> None:
    """And is said: without the script every run of the tool would fail."""
    install(tool, environ)
    own = next(one.path for one in plan_uninstall(tool, environ).changes if one.place.is_own)
    path = os.path.join(environ["HOME"], file)
    write(path, text.format(own=own, own_dir=os.path.dirname(own)).encode())
    planned = plan_uninstall(tool, environ)
    carry_out(planned)
    assert f"{path} still names {own}, which stays" in planned.left
    assert os.path.exists(own)
    os.unlink(path)
    again = plan_uninstall(tool, environ)
    carry_out(again)
    assert (again.left, os.path.exists(own)) == ((), False)


@pytest.mark.parametrize(
    ("tool", "ours", "theirs"),
    [
        ("aws", "credential_process = ", "credential_process = /mine"),
        ("git", "\thelper = /", "\thelper = /mine"),
        ("vault", "token_helper = ", 'token_helper = "/mine"'),
        ("bazel", "common ", "common --credential_helper=x.example=/mine"),
        ("cargo", "global-cred", 'global-credential-providers = ["/mine"]'),
    ],
)
def test_what_was_written_in_place_of_ours_stays(
    environ: dict[str, str], tool: str, ours: str, theirs: str
) -> None:
    """`aws configure set credential_process`, `gh auth setup-git`: the line is somebody's then."""
    install(tool, environ)
    path = plan_uninstall(tool, environ).path
    rows = (read(path) or b"").decode().split("\n")
    changed = [theirs if row.startswith(ours) else row for row in rows]
    write(path, "\n".join(changed).encode())
    if tool == "aws":
        with pytest.raises(UsageError, match="has a section"):
            install(tool, environ)
    carry_out(plan_uninstall(tool, environ))
    left = (read(path) or b"").decode().split("\n")
    headers = [row for row in rows if row[:1] == "["]
    empty = ["\thelper ="] if tool == "git" else []  # it is what makes theirs the only one
    assert left == [*headers, *empty, theirs, ""]


@pytest.mark.parametrize(
    ("tool", "before", "is_theirs"),
    [
        ("pip", b"", False),
        ("pip", b"[global]\ntimeout = 60\n", False),
        ("pip", b"[global]\nkeyring-provider = subprocess\n", True),
        ("pnpm", b"fund=false\n", False),
    ],
)
def test_a_tool_that_writes_no_comments(
    environ: dict[str, str], tool: str, before: bytes, *, is_theirs: bool
) -> None:
    """Our lines are known by their value; one that was there before stays."""
    path = plan_uninstall(tool, environ).path
    key = b"keyring-provider" if tool == "pip" else b"tokenHelper"
    for is_set_up in (False, True):
        write(path, before)
        if is_set_up:
            install(tool, environ)
        rows = (read(path) or b"").split(b"\n")
        write(path, b"\n".join(row for row in rows if row[:1] != b"#"))
        if is_set_up and not is_theirs:
            assert not plan_install(tool, [PROFILE], environ).is_change
            assert find_installed(tool, environ).fault is None
        carry_out(plan_uninstall(tool, environ))
        assert (read(path) or b"") == before
        assert (key in before) == is_theirs
        if tool == "pip":  # a person's own, who never had a set-up
            write(path, b"[global]\nkeyring-provider = subprocess\n")
            assert not plan_uninstall(tool, environ).is_change


def test_a_lock_that_is_held_is_not_called_left(environ: dict[str, str]) -> None:
    """`list` beside an `install` that is at work says nothing of a lock."""
    lock = os.path.join(environ["HOME"], ".gitconfig.lock")
    install("git", environ)
    with locked_folder(environ["HOME"]), locked_as_its_tool_does(lock[:-5], ".lock"):
        assert os.path.lexists(lock)
        assert lock not in (find_installed("git", environ).fault or "")
    os.symlink("brokerctl-1", lock)
    assert lock in (find_installed("git", environ).fault or "")
    assert plan_install("git", [OTHER], environ).is_change
    carry_out(plan_install("git", [OTHER], environ))
    assert not os.path.lexists(lock)


@pytest.mark.parametrize("tool", ["git", "pip", "pnpm"])
@pytest.mark.parametrize("at", [0, -1])
def test_what_was_written_since_it_was_shown_is_not_lost(
    environ: dict[str, str], tool: str, at: int
) -> None:
    """Somebody reads the change and answers: a file that is another by then stops all of it."""
    planned = plan_install(tool, [PROFILE], environ)
    path = planned.changes[at].path
    write(path, b"# newer\n")
    with pytest.raises(UsageError, match="has changed meanwhile"):
        carry_out(planned)
    assert read(path) == b"# newer\n"
    assert sum(len(names) for _, _, names in os.walk(environ["HOME"])) == 1


def make_twice(path: str, mode: int) -> None:
    """Find a folder there, which somebody else has made just now."""
    os.mkdir(path, mode)
    os.mkdir(path, mode)


@pytest.mark.parametrize("tool", ["aws", "pnpm"])
def test_a_folder_that_somebody_else_makes(environ: dict[str, str], tool: str) -> None:
    """It is as good as ours."""
    install(tool, environ, machine("mkdir", make_twice))
    assert find_installed(tool, environ).is_in


@pytest.mark.parametrize("name", [".npmrc.before-brokerctl", ".config/pnpm/rc"])
def test_a_file_beside_that_can_not_be_read_stops_nothing(
    environ: dict[str, str], name: str
) -> None:
    """It is not the one to change."""
    install("pnpm", environ)
    os.makedirs(os.path.join(environ["HOME"], name))
    planned = plan_uninstall("pnpm", environ)
    carry_out(planned)
    assert not find_installed("pnpm", environ).is_in


def refuse_write(*_: object) -> int:
    """Refuse, as the kernel does where the disk is full."""
    raise OSError(28, "no space")


@pytest.mark.parametrize("tool", ["aws", "pip", "pnpm"])
def test_after_an_error_no_folder_is_left(environ: dict[str, str], tool: str) -> None:
    """What was made for files that could not be is taken away."""
    with pytest.raises(UsageError, match="no space left"):
        install(tool, environ, machine("write", refuse_write))
    assert os.listdir(environ["HOME"]) == []


@pytest.mark.parametrize("tool", ["pip", "pnpm", "terraform", "uv"])
def test_a_script_that_somebody_changed_stays(environ: dict[str, str], tool: str) -> None:
    """With their lines, through the next `install`, and `uninstall` says so."""
    install(tool, environ)
    own = next(one.path for one in plan_uninstall(tool, environ).changes if one.place.is_own)
    text = (read(own) or b"").replace(b"\nexec ", b"\nexport HTTPS_PROXY=http://p\nexec ")
    write(own, text)
    install(tool, environ)
    assert read(own) == text
    planned = plan_uninstall(tool, environ)
    carry_out(planned)
    assert planned.left == (f"{own} was changed by hand, and stays",)
    assert read(own) == text
    write(own, text.replace(b"\nexec ", b"\n"))
    with pytest.raises(UsageError, match="was changed by hand"):
        install(tool, environ)


@pytest.mark.parametrize(
    ("tool", "file", "text"),
    [
        ("git", ".gitconfig", "[credential]\n\thelper = brokerctl\n"),
        (
            "cargo",
            ".cargo/config.toml",
            '[registry]\nglobal-credential-providers = ["x", "{us}"]\n',
        ),
        ("bazel", ".bazelrc", "build --credential_helper=*.x.example={us}\n"),
        ("vault", ".vault", "token_helper = '{us}'\n"),
    ],
)
def test_a_line_of_somebody_s_that_asks_us_is_told_of(
    environ: dict[str, str], tool: str, file: str, text: str
) -> None:
    """It stays, and nobody is told that brokerctl is out."""
    us = {"cargo": "cargo-credential-brokerctl", "bazel": "/b/brokerctl-bazel"}
    path = os.path.join(environ["HOME"], file)
    whole = text.format(us=us.get(tool, "/b/brokerctl-vault")).encode()
    write(path, whole)
    planned = plan_uninstall(tool, environ)
    assert planned.left == (f"{path} names brokerctl in lines that are not its own",)
    assert not planned.is_change
