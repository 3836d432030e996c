"""What is typed and printed: command lines, JSON, masked streams, tokens in every form."""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

from brokerctl import jsonlite
from brokerctl.config.hosts import find_profiles
from brokerctl.errors import UsageError, shell_word
from brokerctl.get import FORMATS, parse_get, render
from brokerctl.helpers import Credential, MalformedError
from brokerctl.helpers.git import Git
from brokerctl.model import AccessToken, Profile
from brokerctl.secret import Secret
from brokerctl.session.environment import plan_variables
from brokerctl.session.mask import Masker, forms_of
from brokerctl.session.start import parse_exec
from brokerctl.text import safe
from tests.fuzz import driving as some
from tests.fuzz.driving import Target, bent, mutated
from tests.fuzz.of_config import HOME, USER, write
from tests.program import PROGRAM, clean_env

if TYPE_CHECKING:
    from collections.abc import Sequence

PROFILE = Profile(name="p", issuer="https://i.example", flow="code", client_id="c")
ODD_WORDS = some.mapped(some.odd_bytes, lambda data: some.as_text(data[:9000]))
TEXT = some.one_of(some.any_text, ODD_WORDS)
GET = ("--scope", "--resource", "--audience", "--subject", "--min-ttl", "--purpose", "--format")
EXEC = ("-p", "--profile", "--env", "--file", "--ttl", "--revoke", "--keep", "--mask", "--no-mask")
OPTIONS = (
    *GET,
    *EXEC,
    "--fresh",
    "--json",
    "--",
    "p",
    "p=",
    "A=p",
    "A=p=",
    "=p",
    "1h",
    "true",
    "json",
)
KNOWN = some.among(OPTIONS)
WORDS = some.lists(some.one_of(KNOWN, KNOWN, some.mapped(KNOWN, "{}=p".format), TEXT), 12)


def read_words(words: list[str]) -> None:
    """Read words by both written grammars; what is read leads to variables or to a refusal."""
    parse_get(words, None)
    parse_get(words, "p")
    ask = parse_exec(words)
    if ask is not None:
        assert list(ask.command) == words[words.index("--") + 1 :]
        plan_variables(ask, {"p": PROFILE, "true": PROFILE.replace(name="true")}, "p")


def read_json(data: bytes) -> None:
    """Read JSON; what passes is what the standard library reads, and is written as such."""
    value = jsonlite.loads(data)
    with contextlib.suppress(RecursionError):  # at the very edge of what may be nested
        assert json.loads(jsonlite.dumps(value)) == value


def mask(data: tuple[str, Sequence[bytes], Sequence[bool]]) -> None:
    """Mask a stream that holds a secret, however it is cut and paused."""
    secret, pieces, pauses = data
    raw = secret.encode("utf-8", "surrogateescape")
    masker = Masker(forms_of(secret))
    out = b""
    for piece, pause in itertools.zip_longest(
        (*pieces, raw, *pieces), pauses[: 2 * len(pieces) + 1]
    ):
        out += masker.feed(piece)
        out += masker.settle() if pause else b""
    out += masker.rest()
    assert not masker.is_holding
    assert len(raw) <= 3 or raw not in out.replace(b"****", b"\0")


def show(data: tuple[str, int]) -> None:
    """Make text safe to show, and one word for a shell."""
    text, limit = data
    shown = safe(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    if text.isprintable() and "'" not in text and text[:1] not in {"", "-"}:
        assert shlex.split(shell_word(text)) == [text]


def make_token(value: str, until: float | None = None, subject: str | None = None) -> AccessToken:
    """Make a token to print."""
    return AccessToken(
        value=Secret(value),
        token_type="Bearer",
        expires_at=until,
        scopes=("a",),
        profile="p",
        issuer=PROFILE.issuer,
        subject=subject,
        resource=(),
        fingerprint="f",
        source="cache",
    )


def print_token(data: tuple[str, dict[str, Any], float]) -> None:
    """Print a token in every form: one line of ASCII, or a refusal."""
    value, fields, until = data
    token = make_token(value, until, fields.get("subject"))
    for form in FORMATS:
        try:
            line = render(token, PROFILE.replace(**fields), form, 1.5e9)
        except UsageError:
            assert form == "netrc"
        else:
            assert line.isascii()
            assert line.count(b"\n") == 1 or form == "netrc"


def ask_as_git(data: bytes) -> None:
    """Ask as git does, in any bytes; what is answered has only lines that were meant."""
    wanted = Git().read(["get"], data, {})
    if wanted.reply is not None:
        assert wanted.reply.stdout == b""
        return
    of = PROFILE.replace(hosts=("https://git.example.com/team",))
    with contextlib.suppress(UsageError):
        find_profiles(wanted.url or "", [of], wanted.username)
    outcome = Credential(request=wanted, token=make_token("secret-token"), profile=of)
    lines = Git().answer(outcome).stdout.decode().split("\n")
    assert {line.partition("=")[0] for line in lines[:-1]} in LINES
    assert sum(line.endswith("=secret-token") for line in lines) == 1


def run_program(data: tuple[str, list[str]]) -> None:
    """Run the program itself: no words make it end as if it had a bug, or print a traceback."""
    words = [*data[0].split(), *data[1]]
    config = write("program.toml", USER)
    env = clean_env(HOME, ci=True, BROKERCTL_CONFIG=config, BROKERCTL_HOME=f"{HOME}/state")
    if any("\0" in word for word in words):
        return  # no command line can hold one
    done = subprocess.run(
        [PROGRAM, *words],
        env=env | {"BROKERCTL_KEEPER": "file"},
        cwd=HOME,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 2, 3, 4, 5, 6, 7, 8, 9}, (done.returncode, done.stderr)
    assert b"Traceback" not in done.stderr
    assert b"this is a bug" not in done.stderr


COMMANDS = some.among(
    [
        *("get hub.1", "status", "audit log", "audit verify", "audit tokens", "profile list"),
        *("profile show hub.1", "profile edit hub.1", "profile remove hub.1", "profile add x"),
        *("store check", "trust --list", "trust", "revoke hub.1", "get", "profile", "", "help"),
        *("exec -p hub.1 -- true", "exec", "lock", "store gc", "profile schema", "profile secret"),
    ]
)
PROGRAM_OPTIONS = some.among(
    [
        *("--json", "--set", "--unset", "--since", "--until", "--event", "--limit", "--issuer"),
        *("--client-id", "--scope", "--client-secret", "--preset", "--flow", "--help", "--yes"),
        *("--min-ttl", "--format", "--subject", "--purpose", "--for", "--session", "--requester"),
        *("owner=x", "scopes=[1.5]", "extra={ a = 1 }", "env:X", "https://a.example", "2h", "-1"),
    ]
)
TOKENS = some.chars("".join(map(chr, range(0x21, 0x7F))), 1, 40)
MAYBE = some.one_of(some.among([None]), some.any_text)
HOLDERS = some.mapped(
    some.tuples(
        MAYBE,
        some.among([(), ("https://a.example",), ("https://*.a.example/x",)]),
        some.among([None, "X_TOKEN"]),
        MAYBE,
    ),
    lambda made: dict(zip(("username", "hosts", "env", "subject"), made, strict=True)),
)
SECRETS = some.chars('abcXYZ01-._~+/= "\\é\udcff', 4, 30)
PIECES = some.lists(some.one_of(some.few_bytes, some.among([b"ab", b"abcX", b"%2F"])), 6)
PAUSES = some.lists(some.among([True, False]), 12)
JSON = bent({"a": [1, 2.5, None, {"b": "\u00e9\ud83d\ude00"}]})
GIT = b"""capability[]=authtype
protocol=https
host=git.example.com
path=team/repo.git
username=alice
wwwauth[]=Bearer realm="x", error="invalid_token"
wwwauth[]=Basic realm="x"

"""
LINES = ({"username", "password"}, {"capability[]", "authtype", "credential", "ephemeral"})
GIT_WORDS = (b"\nhost=evil.example\n", b"\rhost=x", b"%0ahost=x", b"protocol=http\n", b"[]=", b"@")
TARGETS: dict[str, Target] = {
    "git's requests": Target(
        mutated([GIT, GIT.replace(b"Basic", b"X")], GIT_WORDS), ask_as_git, (MalformedError,)
    ),
    "written grammars": Target(WORDS, read_words),
    "JSON": Target(some.one_of(JSON, JSON, some.nested), read_json, (ValueError,)),
    "masked streams": Target(some.tuples(SECRETS, PIECES, PAUSES), mask),
    "text to show": Target(some.tuples(TEXT, lambda rng: rng.randint(0, 300)), show),
    "printed tokens": Target(
        some.tuples(TOKENS, HOLDERS, lambda rng: rng.uniform(0, 4e9)), print_token
    ),
    "command lines": Target(
        some.tuples(COMMANDS, some.lists(some.one_of(PROGRAM_OPTIONS, TEXT), 4)), run_program, few=8
    ),
}
