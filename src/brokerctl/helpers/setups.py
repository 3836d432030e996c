"""How tools are configured to ask brokerctl: the table, a set-up's interface, the usual kinds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from brokerctl.config.paths import home_folder
from brokerctl.errors import UsageError, shell_word
from brokerctl.helpers.edit import SetupFile
from brokerctl.helpers.edit.blocks import Form, put_block, take_block

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from brokerctl.model import Profile


class Tool(NamedTuple):
    """One line of the table: where a tool's set-up is, and what other files ask about the tool."""

    entry: str  # the module below `helpers`, and its class
    aliases: tuple[str, ...] = ()  # other programs with the same set-up
    asks_for_all: bool = False  # its configuration names no hosts: the tool always asks
    kept_by: str | None = None  # the helper under which the tool's own credentials are kept
    # Variables that the tool takes before it asks a helper. `*` stands for what it appends.
    variables: tuple[str, ...] = ()
    reads_netrc: bool = False
    runs_keyring: bool = False  # the first `keyring` in PATH
    reads_auth_files: bool = False  # containers-auth.json(5)
    has_other_helpers: bool = False  # its configuration can name several helpers


SETUPS = {
    "aws": Tool("aws.setup:AwsSetup", ("awscli", "boto3"), variables=("AWS_ACCESS_KEY_ID",)),
    "bazel": Tool("bazel.setup:BazelSetup"),
    "cargo": Tool("cargo.setup:CargoSetup", kept_by="cargo"),
    "docker": Tool("docker.setup:DockerSetup", kept_by="docker", variables=("DOCKER_AUTH_CONFIG",)),
    "gcp": Tool("gcp.setup:GcpSetup", ("google-auth",)),
    "git": Tool("git.setup:GitSetup", kept_by="git", reads_netrc=True, has_other_helpers=True),
    "goauth": Tool("goauth.setup:GoauthSetup", ("go",), asks_for_all=True, variables=("GOAUTH",)),
    "keyring": Tool(
        "keyring.setup:KeyringSetup",
        ("poetry", "twine"),
        asks_for_all=True,
        variables=("PYTHON_KEYRING_BACKEND", "TWINE_PASSWORD", "POETRY_HTTP_BASIC_*_PASSWORD"),
    ),
    "kubernetes": Tool("kubernetes.setup:KubernetesSetup", ("kubectl",)),
    "pip": Tool(
        "pip:PipSetup",
        asks_for_all=True,
        variables=("PIP_KEYRING_PROVIDER",),
        reads_netrc=True,
        runs_keyring=True,
    ),
    "pnpm": Tool("pnpm.setup:PnpmSetup"),
    "podman": Tool(
        "docker.setup:PodmanSetup",
        ("buildah", "skopeo"),
        kept_by="docker",
        reads_auth_files=True,
    ),
    "terraform": Tool(
        "terraform.setup:TerraformSetup", ("tofu",), asks_for_all=True, variables=("TF_TOKEN_*",)
    ),
    "uv": Tool(
        "uv:UvSetup",
        asks_for_all=True,
        variables=("UV_INDEX_*_PASSWORD", "UV_KEYRING_PROVIDER"),
        reads_netrc=True,
        runs_keyring=True,
    ),
    "vault": Tool("vault.setup:VaultSetup", asks_for_all=True, variables=("VAULT_TOKEN",)),
}
NO_HOSTS_HINT = "run 'brokerctl profile edit NAME --set hosts=https://HOST'"


def tool_name(word: str) -> str:
    """Return the name in the table that a word means; the word itself where there is none."""
    return next((name for name, tool in SETUPS.items() if word in tool.aliases), word)


class Part(NamedTuple):
    """What our part of a file is made of."""

    tool: str
    profiles: tuple[Profile, ...]
    script: str  # the path of our program for this tool
    environ: Mapping[str, str]
    keep: Container[str] = ()  # the helpers that keep what is stored for hosts of no profile
    kept: tuple[str, ...] = ()  # the URLs of what is kept for this tool

    def check_hosts(self) -> None:
        """Raise UsageError if no profile has a host that the tool could ask for."""
        if not any(profile.hosts for profile in self.profiles):
            raise UsageError(
                f"no profile has hosts, so {self.tool} has nothing to ask for", hint=NO_HOSTS_HINT
            )

    def one_profile(self) -> Profile:
        """Return the only profile; UsageError if there is none, or several."""
        if len(self.profiles) != 1:
            names = ", ".join(sorted(profile.name for profile in self.profiles)) or "none"
            raise UsageError(
                f"{self.tool} needs one profile ({names})",
                hint=f"run 'brokerctl helper install {shell_word(self.tool)} --profile NAME'",
            )
        return self.profiles[0]


class Setup(Protocol):
    """One tool's configuration files, and our part of them. Pure text."""

    script: str  # the program of ours that the tool runs

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the files to change, also missing ones; the first is the tool's configuration."""

    def put(self, place: SetupFile, text: str, part: Part) -> str:
        """Return the text with our part, brought up to date; UsageError if that can't be done."""

    def take(self, place: SetupFile, text: str) -> str | None:
        """Return the text without our part, as it was before; None if there is none.

        What others wrote stays, and means the same as before.
        """

    def advice(self, part: Part) -> str | None:
        """Return what the person still has to do, if anything."""

    def read_also(self, environ: Mapping[str, str]) -> Iterable[str]:
        """Return other files that the tool reads, which may name a file or program of ours."""

    def names(self, own: SetupFile, text: str) -> bool:
        """Return whether a file's text names a file of ours."""

    def names_us(self, text: str) -> bool:
        """Return whether this text, which is without our part, makes the tool ask brokerctl."""

    def farewell(self, environ: Mapping[str, str]) -> str | None:
        """Return a warning for the person before our part is taken out, if there is one."""


class UsualSetup:
    """The usual answers of a set-up: the tool has one file, which names our program."""

    script = "brokerctl"

    def read_also(self, environ: Mapping[str, str]) -> Iterable[str]:  # noqa: ARG002 - most have none
        """There is no other file."""
        return ()

    def names(self, own: SetupFile, text: str) -> bool:
        """Look for the file's path."""
        return any(own.path in row for row in _live_rows(text))

    def names_us(self, text: str) -> bool:
        """Look for our program's name, unless that is just `brokerctl`."""
        return self.script != "brokerctl" and any(self.script in row for row in _live_rows(text))

    def farewell(self, environ: Mapping[str, str]) -> str | None:  # noqa: ARG002 - most have none
        """There is nothing to warn of."""
        return None


class BlockSetup(UsualSetup):
    """The usual kind: one file, our lines between two comment lines at its end."""

    name: str
    lock: str | None = None

    if TYPE_CHECKING:

        def path(self, environ: Mapping[str, str]) -> str:
            """Return the file."""

        def lines(self, part: Part) -> list[str]:
            """Return our lines; UsageError if the profiles have nothing for this tool."""

        @staticmethod
        def is_ours(rows: list[str], at: int) -> bool:
            """Return whether a row has the form of our lines, whichever profiles they were for."""

    @staticmethod
    def is_header(row: str) -> bool:  # noqa: ARG004 - most formats have none
        """Return whether a row is the header of a section, as we write them."""
        return False

    @property
    def form(self) -> Form:
        """Return how our lines look."""
        return Form(self.is_ours, self.is_header)

    def places(self, environ: Mapping[str, str]) -> list[SetupFile]:
        """Return the one file."""
        return [SetupFile(self.path(environ), lock=self.lock)]

    def put(self, place: SetupFile, text: str, part: Part) -> str:  # noqa: ARG002 - there is one place
        """Put our lines where they were, else at the end."""
        return put_block(text, self.name, self.lines(part), self.form)

    def take(self, place: SetupFile, text: str) -> str | None:  # noqa: ARG002 - as `put`
        """Take our lines out."""
        return take_block(text, self.name, self.form)

    def advice(self, part: Part) -> str | None:  # noqa: ARG002 - most have none
        """Nothing is left to do."""
        return None


def _live_rows(text: str) -> list[str]:
    """Return the rows that are not comments."""
    return [row for row in text.split("\n") if row.lstrip()[:1] not in {"#", ";"}]


def home_path(environ: Mapping[str, str], *parts: str) -> str:
    """Return a path below the user's home; UsageError without one."""
    home = home_folder(environ)
    if home is None:
        raise UsageError("HOME is not set, so there is no configuration to change")
    return os.path.join(home, *parts)


def own_path(environ: Mapping[str, str], *parts: str) -> str:
    """Return a path in the folder where brokerctl puts what a tool has to run or read."""
    base = environ.get("XDG_DATA_HOME", "")
    if not base.startswith("/"):  # security: tools run files from here, in any working folder
        base = home_path(environ, ".local", "share")
    return os.path.join(base, "brokerctl", "helpers", *parts)
