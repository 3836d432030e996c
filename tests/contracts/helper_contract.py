"""What every helper promises, whatever its tool: one class, a few lines for each.

A protocol has two methods: `read` makes a request of what a tool sends, and `answer` renders each
outcome of the closed set. What each tool is told in each case lies in `golden/`, a file a tool:
`BROKERCTL_GOLDEN=write pytest tests/contracts` writes them anew.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerctl.errors import (
    AuditError,
    BrokerError,
    DeniedError,
    IssuerError,
    LoginNeededError,
    StoreError,
    UsageError,
)
from brokerctl.helpers import (
    HELPERS,
    Credential,
    CredentialRequest,
    HelperReply,
    MalformedError,
    load,
)
from brokerctl.helpers.outcomes import (
    Forgotten,
    Malformed,
    NotOurs,
    OwnCredential,
    Stored,
    Users,
    refused_by,
)
from brokerctl.model import AccessToken, Profile
from brokerctl.secret import Secret
from brokerctl.store.values import ToolCredential
from tests.contracts.session_contract import SessionContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerctl.helpers import Helper, Outcome

TOKEN = "s3cret-token-of-alice"
PROFILE = Profile(name="forge", issuer="https://issuer.example", flow="code", client_id="app")
ANSWER = AccessToken(
    value=Secret(TOKEN),
    token_type="Bearer",
    expires_at=1795476591.7,
    scopes=("read",),
    profile="forge",
    issuer="https://issuer.example",
    subject=None,
    resource=(),
    fingerprint="0" * 32,
    source="cache",
    warning=None,
)
KEPT = ToolCredential(
    tool="git",
    protocol="https",
    host="h.example",
    port=443,
    path="",
    username="bob",
    secret=Secret("b0b-password"),
    kept_at=1.0,
)
ERRORS = {
    "login needed": LoginNeededError("no grant for 'forge'", hint="run 'brokerctl login forge'"),
    "denied": DeniedError("not \x1b[2J by\nus"),
    "usage": UsageError("it can't be meant"),
    "issuer": IssuerError("the issuer is down"),
    "store": StoreError("the store is locked", hint="unlock it"),
    "audit": AuditError("no record"),
    "unexpected": BrokerError("a bug"),
}
# Each outcome without a token of ours, by the name that the golden files have for it.
OUTCOMES: dict[str, Outcome] = {
    "own credential": OwnCredential(credential=KEPT),
    "own credential that ends": OwnCredential(
        credential=KEPT.replace(expires_at=1795476591.7, refresh_token=Secret("r3fresh"))
    ),
    "users of no place": Users(users={}),
    "users": Users(
        users={
            "https://h.example": "bob",
            "https://index.docker.io": "eve",
            "https://h.example/path": "x",
        }
    ),
    "name": Users(users={"https://git.example.com": "bob"}),
    "stored": Stored(is_kept=True, is_ours=False),
    "not stored, ours": Stored(is_kept=False, is_ours=True),
    "not stored, not ours": Stored(is_kept=False, is_ours=False),
    "forgotten": Forgotten(is_ours=True),
    "nothing to forget": Forgotten(is_ours=False),
    "not ours": NotOurs(),
    "malformed": Malformed(),
    **{f"refused: {name}": refused_by(error) for name, error in ERRORS.items()},
}
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
# What a method that is values in, values out never does (Python's audit events).
_EFFECTS = ("open", "os.", "socket.", "subprocess.", "shutil.", "time.sleep", "fcntl.")
_seen: list[str] = []
_watching: list[bool] = []


def _watch(event: str, _: object) -> None:
    if _watching and event.startswith(_EFFECTS):
        _seen.append(event)


sys.addaudithook(_watch)


def credential(
    helper: Helper, request: CredentialRequest, token: AccessToken, profile: Profile
) -> HelperReply:
    """Return what a helper answers with a token."""
    return helper.answer(Credential(request=request, token=token, profile=profile))


def refusal(helper: Helper, error: BrokerError) -> HelperReply:
    """Return what a helper answers where an error stands in the way."""
    return helper.answer(refused_by(error))


def check(helper: Helper, request: CredentialRequest, profile: Profile) -> None:
    """Raise the UsageError by which a tool refuses a profile, if it does."""
    fit = helper.traits.fit
    assert fit is not None
    verdict = fit(request, profile)
    if isinstance(verdict, UsageError):
        raise verdict


def shown(reply: HelperReply) -> dict[str, object]:
    """Return what a tool is told, without what is as usual."""
    fields: dict[str, object] = {
        "stdout": reply.stdout.decode(),
        "exit_code": reply.exit_code,
        "note": reply.note,
        "file": reply.file,
    }
    return {name: value for name, value in fields.items() if value}


def check_form(reply: HelperReply, *, is_json: bool) -> None:
    """Check what all protocols share: whole lines of plain text, and of JSON one."""
    text = reply.stdout.decode()
    assert all(char.isprintable() or char == "\n" for char in text), text
    if is_json:
        assert text.endswith("\n")
        assert text.count("\n") == 1
        assert isinstance(json.loads(text), dict)


class Watched(Mapping[str, str]):
    """An environment that notes which of its variables are looked at; nobody may list them."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """Return a variable, and note its name."""
        self.names.add(name)
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        """Refuse to list them."""
        raise AssertionError("all variables are listed")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._given)


class HelperContract(SessionContract):
    """Inherited once a helper: `words` and `request` ask for the credential of `url`."""

    name: ClassVar[str]
    words: ClassVar[list[str]]
    request: ClassVar[bytes]
    url: ClassVar[str | None]  # None: the tool does not say it
    refusal_code: ClassVar[int | None]  # None: that of the error
    environ: ClassVar[dict[str, str]] = {}
    token: ClassVar[str] = TOKEN
    profile: ClassVar[Profile] = PROFILE
    always_ends: ClassVar[bool] = False  # its tokens do, by their kind
    secret: ClassVar[str | None] = None  # what of the token is in any answer; None: all

    @pytest.fixture
    def helper(self) -> Helper:
        """Return it, as the table names it."""
        return load(self.name)

    def asked(self, helper: Helper) -> CredentialRequest:
        """Return the request for a credential."""
        return helper.read(self.words, self.request, self.environ)

    def test_a_protocol_has_two_methods(self, helper: Helper) -> None:
        """What else tells tools apart is data: no file asks a protocol anything more."""
        public = {name for name in vars(type(helper)) if not name.startswith("_")}
        assert public == {"read", "answer", "traits"}
        assert type(helper).__mro__ == (type(helper), object)
        assert f"{type(helper).__module__}:{type(helper).__name__}" == HELPERS[self.name]

    def test_a_request_names_its_url(self, helper: Helper) -> None:
        """What is asked for is read as it was written."""
        wanted = self.asked(helper)
        assert (wanted.action, wanted.url, wanted.reply) == ("get", self.url, None)

    def test_a_token_is_in_its_answer_once(self, helper: Helper) -> None:
        """And nowhere else, and the exit code is 0."""
        token = ANSWER.replace(value=Secret(self.token))
        answer = credential(helper, self.asked(helper), token, self.profile)
        assert answer.exit_code == 0
        assert answer.stdout.count(self.token.encode()) == 1
        assert answer.note is None

    @pytest.mark.parametrize("kind", [DeniedError, IssuerError, LoginNeededError])
    def test_a_refusal_shows_no_raw_text_of_the_error(
        self, helper: Helper, kind: type[IssuerError]
    ) -> None:
        """What others said is escaped, or left to stderr, and the code is the tool's."""
        error = kind("said \x1b[2J by\nsomebody else")
        answer = refusal(helper, error)
        code = error.exit_code if self.refusal_code is None else self.refusal_code
        assert answer.exit_code == code
        assert b"\x1b" not in answer.stdout
        assert b"by\n" not in answer.stdout

    def test_every_outcome_is_answered_as_ever(self, helper: Helper) -> None:
        """Each of the closed set, letter by letter, whether the tool ever asks for it or not."""
        token = ANSWER.replace(value=Secret(self.token))
        found = {name: shown(helper.answer(outcome)) for name, outcome in OUTCOMES.items()}
        found["credential"] = shown(credential(helper, self.asked(helper), token, self.profile))
        path = os.path.join(GOLDEN, f"{self.name}.json")
        if os.environ.get("BROKERCTL_GOLDEN") == "write":
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps(found, indent=1, sort_keys=True) + "\n")
        with open(path, encoding="utf-8") as file:
            assert found == json.load(file)

    def test_whatever_has_no_token_shows_none(self, helper: Helper) -> None:
        """Security: of all outcomes one hands out a token of ours, and one what is the tool's."""
        for name, outcome in OUTCOMES.items():
            reply = helper.answer(outcome)
            assert self.token.encode() not in reply.stdout
            if not isinstance(outcome, OwnCredential):
                assert b"b0b-password" not in reply.stdout, name

    def test_any_token_is_in_its_answer_once(self, helper: Helper) -> None:
        """Whenever it ends, and whoever's it is: an answer of the protocol, or our refusal."""
        asked, value = self.asked(helper), Secret(self.token)
        usual = credential(helper, asked, ANSWER.replace(value=value), self.profile)
        is_json = usual.stdout.startswith(b"{")
        ends = st.floats(0, 4e9) if self.always_ends else st.none() | st.floats(0, 4e9)
        user = st.none() | st.text(st.characters(categories=("L", "N", "P")), min_size=1)

        @settings(max_examples=50)
        @given(ends=ends, renew_at=st.none() | st.floats(0, 4e9), user=user, is_any=st.booleans())
        def answer(
            *, ends: float | None, renew_at: float | None, user: str | None, is_any: bool
        ) -> None:
            token = ANSWER.replace(value=value, expires_at=ends, renew_at=renew_at)
            match = "any" if is_any else "exact"
            owner = self.profile.replace(username=user, username_match=match)
            reply = credential(helper, asked, token, owner)
            assert reply.exit_code == 0
            assert reply.stdout.count((self.secret or self.token).encode()) == 1
            check_form(reply, is_json=is_json)

        answer()

    def test_any_error_is_a_reply_of_the_protocol(self, helper: Helper) -> None:
        """Security: an issuer's or a file's text in it ends no line and moves no cursor."""
        text = st.text(max_size=700)

        @settings(max_examples=50)
        @given(kind=st.sampled_from(list(ERRORS.values())), text=text, hint=st.none() | text)
        def refuse(kind: BrokerError, text: str, hint: str | None) -> None:
            reply = refusal(helper, type(kind)(text, hint=hint))
            assert set(shown(reply)) <= {"stdout", "exit_code"}
            check_form(reply, is_json=reply.stdout.startswith(b"{"))

        refuse()

    def test_any_bytes_are_a_request_or_none(self, helper: Helper) -> None:
        """Whatever a tool, or who pretends to be one, sends."""

        @given(data=st.binary() | st.text(alphabet="protcl=hos\n\r\0:/[]. \x1b").map(str.encode))
        def read(data: bytes) -> None:
            self.read_odd(helper, self.words, data, self.environ)

        read()  # made anew for each helper: one that is inherited can't be run by several classes

    def test_any_words_are_a_request_or_none(self, helper: Helper) -> None:
        """Whatever stands on a command line, in variables and on stdin, and nothing is done."""
        known = [
            "get",
            "store",
            "erase",
            "forget",
            "list",
            "--profile",
            "-p",
            "-",
            "--",
            *self.words,
        ]
        odd = st.text(st.characters(exclude_categories=()), max_size=20)
        word = st.sampled_from(known) | odd
        values = st.fixed_dictionaries({}, optional=dict.fromkeys(self.environ, odd))

        @settings(max_examples=50)
        @given(words=st.lists(word, max_size=5), data=st.binary(max_size=40), more=values)
        def read(words: list[str], data: bytes, more: dict[str, str]) -> None:
            self.read_odd(helper, words, data, {**self.environ, **more})

        read()

    def test_it_reads_the_variables_that_its_traits_name(self, helper: Helper) -> None:
        """Security: a helper in a session sends these to its supervisor, and no others."""
        seen = Watched(self.environ)
        assert helper.read(self.words, self.request, seen) == self.asked(helper)
        assert seen.names == set(helper.traits.variables), "each is needed"

        @settings(max_examples=50)
        @given(words=st.lists(st.sampled_from(["get", "erase", "-p", *self.words]), max_size=4))
        def read(words: list[str]) -> None:
            self.read_odd(helper, words, self.request, seen)
            assert seen.names == set(helper.traits.variables)

        read()

    @staticmethod
    def read_odd(helper: Helper, words: list[str], data: bytes, environ: Mapping[str, str]) -> None:
        """Read a request twice: the same comes of it, an error of ours or a request."""
        results: list[CredentialRequest | tuple[type, str]] = []
        for is_second in (False, True):  # what is imported at the first time is no effect
            _watching[:] = [True] * is_second
            try:
                results.append(helper.read(words, data, environ))
            except (MalformedError, BrokerError) as error:
                results.append((type(error), str(error)))
            finally:
                _watching.clear()
        assert results[0] == results[1]
        assert isinstance(results[0], CredentialRequest | tuple)
        assert not _seen
