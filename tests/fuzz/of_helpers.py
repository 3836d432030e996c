"""What tools send to their helpers: words, stdin and the one variable that holds a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from brokerctl.helpers import Credential, MalformedError, find_owners, load
from brokerctl.helpers.outcomes import NotOurs
from brokerctl.model import Profile
from tests.fuzz import driving as some
from tests.fuzz.driving import Target, mutated
from tests.fuzz.of_words import make_token

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

INFO = "KUBERNETES_EXEC_INFO"
ADDRESS = "VAULT_ADDR"
ALLOWED = {
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
    "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE": "urn:ietf:params:oauth:token-type:jwt",
}


class Question(NamedTuple):
    """A tool's question, with what of it is bent: stdin, its last word or a variable."""

    tool: str
    words: tuple[str, ...]
    stdin: bytes = b""
    variable: str | None = None
    environ: tuple[tuple[str, str], ...] = ()


QUESTIONS = (
    Question("git", ("get",), b"protocol=https\nhost=git.example.com\npath=a/b.git\n\n"),
    Question(
        "git",
        ("--timeout=60", "store"),
        b"protocol=https\nhost=git.example.com\nusername=a\npassword=b\npassword_expiry_utc=9\n\n",
    ),
    Question("git", ("erase",), b"protocol=smtp\nhost=git.example.com:25\nusername=a\n\n"),
    Question("docker", ("get",), b"git.example.com"),
    Question("docker", ("get",), b"127.0.0.1:5000"),
    Question("docker", ("store",), b'{"ServerURL":"git.example.com","Username":"a","Secret":"b"}'),
    Question(
        "cargo",
        ("--cargo-plugin",),
        b'{"v":1,"kind":"get","operation":"read","registry":{"index-url":'
        b'"sparse+https://git.example.com/index/"}}',
    ),
    Question(
        "cargo",
        ("--cargo-plugin",),
        b'{"v":1,"kind":"login","token":"t","registry":{"index-url":"https://git.example.com"}}',
    ),
    Question("bazel", ("get",), b'{"uri":"https://git.example.com/blobs/1"}'),
    Question("askpass", ("Password for 'https://a%20b@git.example.com:8443': ",)),
    Question("keyring", ("--mode=creds", "get", "https://a@git.example.com/simple/")),
    Question("keyring", ("get", "127.0.0.1:3141", "a")),
    Question("goauth", ("-p", "p", "https://git.example.com/team/mod?go-get=1")),
    Question("terraform", ("get", "git.example.com:8443")),
    Question("terraform", ("forget", "git.example.com")),
    Question("pnpm", ("--profile=p",)),
    Question("gcp", ("--profile", "p"), environ=tuple(ALLOWED.items())),
    Question("vault", ("get",), b"https://git.example.com:8200", ADDRESS),
    Question(
        "kubernetes",
        ("-p", "p"),
        b'{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":'
        b'{"cluster":{"server":"https://git.example.com","proxy-url":"http://a@p:1/",'
        b'"certificate-authority-data":"QUJD"}}}',
        INFO,
    ),
)
WORDS = (b"\n", b"\r", b"\0", b"=", b'"', b"{", b"\\ud800", b"%0a", b"@", b"://", b"evil.example")
HOSTS = ("https://git.example.com", "https://git.example.com/index", "http://127.0.0.1:5000")
PROFILE = Profile(
    name="p", issuer="https://i.example", flow="code", client_id="c", hosts=HOSTS, google=("",)
)


def make_question(rng: random.Random) -> Question:
    """Make a question that is nearly right."""
    asked = rng.choice(QUESTIONS)
    bent: Callable[[bytes], bytes] = lambda data: mutated([data], WORDS)(rng)  # noqa: E731 - of this one
    if asked.stdin:
        return asked._replace(stdin=bent(asked.stdin))
    *words, last = asked.words
    return asked._replace(words=(*words, some.as_text(bent(last.encode()))))


def ask(asked: Question) -> None:
    """Ask as a tool does; each answer has the token once, or not at all."""
    helper, environ = load(asked.tool), dict(asked.environ)
    if asked.variable is not None:
        environ[asked.variable] = some.as_text(asked.stdin)
    request = helper.read([*asked.words], asked.stdin, environ)
    assert b"secret-token" not in helper.answer(NotOurs()).stdout
    if request.reply is not None or request.action == "list":
        return
    request, owners = find_owners(helper, request, {"p": PROFILE})
    for owner in owners if request.action == "get" else ():
        outcome = Credential(request=request, token=make_token("secret-token"), profile=owner)
        assert helper.answer(outcome).stdout.count(b"secret-token") == 1


TARGETS: dict[str, Target] = {
    "tools' questions": Target(make_question, ask, (MalformedError,)),
}
