"""What every helper promises, whatever its tool: one class, a few lines for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerctl.errors import DeniedError, IssuerError, LoginNeededError
from brokerctl.helpers import HELPERS, CredentialRequest, HelperReply, MalformedError
from brokerctl.model import AccessToken, Profile
from brokerctl.secret import Secret

if TYPE_CHECKING:
    from brokerctl.helpers import Helper

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


class HelperContract:
    """Inherited once a helper: `words` and `request` ask for the credential of `url`."""

    name: ClassVar[str]
    words: ClassVar[list[str]]
    request: ClassVar[bytes]
    url: ClassVar[str | None]  # None: the tool does not say it
    refusal_code: ClassVar[int | None]  # None: that of the error
    environ: ClassVar[dict[str, str]] = {}
    token: ClassVar[str] = TOKEN
    profile: ClassVar[Profile] = PROFILE

    @pytest.fixture
    def helper(self) -> Helper:
        """Return it, as the table names it."""
        module, _, name = HELPERS[self.name].partition(":")
        found: Helper = getattr(__import__(module, fromlist=(name,)), name)()
        return found

    def test_a_request_names_its_url(self, helper: Helper) -> None:
        """What is asked for is read as it was written."""
        wanted = helper.read(self.words, self.request, self.environ)
        assert isinstance(wanted, CredentialRequest)
        assert (wanted.action, wanted.url) == ("get", self.url)

    def test_a_token_is_in_its_answer_once(self, helper: Helper) -> None:
        """And nowhere else, and the exit code is 0."""
        wanted = helper.read(self.words, self.request, self.environ)
        assert isinstance(wanted, CredentialRequest)
        token = ANSWER.replace(value=Secret(self.token))
        answer = helper.credential(wanted, token, self.profile)
        assert answer.exit_code == 0
        assert answer.stdout.count(self.token.encode()) == 1
        assert answer.note is None

    @pytest.mark.parametrize("kind", [DeniedError, IssuerError, LoginNeededError])
    def test_a_refusal_shows_no_raw_text_of_the_error(
        self, helper: Helper, kind: type[IssuerError]
    ) -> None:
        """What others said is escaped, or left to stderr, and the code is the tool's."""
        error = kind("said \x1b[2J by\nsomebody else")
        answer = helper.refusal(error)
        code = error.exit_code if self.refusal_code is None else self.refusal_code
        assert answer.exit_code == code
        assert b"\x1b" not in answer.stdout
        assert b"by\n" not in answer.stdout

    def test_not_ours_is_no_error(self, helper: Helper) -> None:
        """The tool may ask somebody else."""
        assert isinstance(helper.not_ours(), HelperReply)

    def test_any_bytes_are_a_request_or_none(self, helper: Helper) -> None:
        """Whatever a tool, or who pretends to be one, sends."""

        @given(data=st.binary() | st.text(alphabet="protcl=hos\n\r\0:/[]. \x1b").map(str.encode))
        def read(data: bytes) -> None:
            try:
                wanted = helper.read(self.words, data, self.environ)
            except MalformedError:
                return
            assert isinstance(wanted, CredentialRequest | HelperReply)

        read()  # made anew for each helper: one that is inherited can't be run by several classes
